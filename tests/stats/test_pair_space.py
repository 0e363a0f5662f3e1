from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis.stats._influence import dyadic_variance, pooled_variance
from scepsis.stats._pair_space import PairSpace, Ranks, Standings, influence_sums, sums_of
from scepsis.stats._pooled import PooledScore


def make(*, dyadic: bool, ties: bool, seed: int = 0) -> tuple[PairSpace, np.ndarray, list[np.ndarray], np.ndarray]:
    """A space, two scores of its pairs, positions of two sets of positives, and the pairs that are valid."""
    rng = np.random.default_rng(seed)
    shape = (14, 14) if dyadic else (6, 14)
    valid = rng.random(shape) < 0.9
    valid = np.triu(valid, 1) if dyadic else valid
    space = PairSpace.of(valid, dyadic=dyadic)
    scores = rng.normal(size=(2, space.n)).astype(np.float32)
    scores = np.round(scores) if ties else scores
    sets = [np.flatnonzero(rng.random(space.n) < share) for share in (0.3, 0.08)]
    return space, scores, sets, valid


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_that_of_scikit_learn(ties: bool) -> None:
    _, scores, sets, _ = make(dyadic=True, ties=ties)
    ranks = Ranks.of(scores[0].astype(np.float64))
    found = Standings.of(ranks, sets)
    for area, positives in zip(found.auroc, sets, strict=True):
        labels = np.isin(np.arange(scores.shape[1]), positives)
        assert area == pytest.approx(roc_auc_score(labels, scores[0]), abs=1e-12)


def test_order_and_top_leave_a_cut_tie_out() -> None:
    ranks = Ranks.of(np.array([0.5, -2.0, 3.0, 0.5, -0.0, 0.0]))
    np.testing.assert_array_equal(ranks.step, [2, 0, 3, 2, 1, 1])
    np.testing.assert_array_equal(ranks.bounds, [0, 1, 3, 5, 6])
    assert ranks.top(1).tolist() == [2]
    assert ranks.top(2).tolist() == [2]  # 0.5 is twice there, and one of the two would not fit
    assert ranks.top(3).tolist() == [0, 2, 3]
    assert not ranks.constant
    assert Ranks.of(np.full(4, 7.0)).constant


@pytest.mark.parametrize("dyadic", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_influence_and_its_sums_are_those_of_the_one_by_one_code(dyadic: bool, ties: bool) -> None:
    """`PooledScore` computes the influence of every pair by another route; variances come from the whole matrices."""
    space, scores, sets, valid = make(dyadic=dyadic, ties=ties)
    ranks = [Ranks.of(one) for one in scores]
    standings = [Standings.of(one, sets) for one in ranks]
    base = standings[0].influence(ranks[0], sets)
    slope = np.zeros((space.n, len(sets)), dtype=np.float32)
    of_base = influence_sums(space, ranks[0], standings[0], sets, np.zeros_like(base), slope[:0], 0.0)
    found = influence_sums(space, ranks[1], standings[1], sets, base, slope, -0.5)
    for index, positives in enumerate(sets):
        expected = []
        for score in scores:
            matrix, positive = np.full(valid.shape, np.nan), np.zeros(valid.shape, dtype=bool)
            matrix[valid], positive[space.row[positives], space.column[positives]] = score, True
            expected.append(PooledScore.of(matrix, positive, valid).influence)
        np.testing.assert_allclose(base[:, index], expected[0][valid], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(slope[:, index], -0.5 * expected[1][valid], rtol=1e-5, atol=1e-7)
        variance = dyadic_variance if dyadic else pooled_variance
        for influence, sums in (
            (expected[1], found.of(index)),
            (expected[1] - expected[0], found.difference(index, of_base)),
        ):
            wanted = variance(influence, valid)
            got = space.variance(*sums)
            assert got.two_way == pytest.approx(wanted.two_way, rel=1e-4)
            assert got.df == wanted.df
            assert space.variance(*sums_of(space, influence[valid])).two_way == pytest.approx(wanted.two_way)


def test_without_either_class_there_is_nothing() -> None:
    space, scores, _, _ = make(dyadic=True, ties=False)
    found = Standings.of(Ranks.of(scores[0]), [np.arange(0), np.arange(space.n)])
    assert np.isnan(found.auroc).all()
    assert not found.of_negative.any()
