from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from scepsis.stats import _ranking
from scepsis.stats._contrasts import contrasts
from scepsis.stats._order import Order, Ranked
from scepsis.stats._ranking import Responders, mean_deciles, rank_responders
from scepsis.stats._row_scores import EdgeRows, GeneRows

if TYPE_CHECKING:
    from scepsis.stats._ranking import Ranking


class _Matrix:
    """Scores given as they are."""

    def __init__(self, values: np.ndarray, *, narrows: bool = True) -> None:
        self.values, self.narrows = values, narrows

    def rows(self, block: slice) -> np.ndarray:
        return self.values[block]


def _problem(seed: int = 0, shape: tuple[int, int] = (23, 60)) -> tuple[list[_Matrix], np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=shape).astype(np.int8)
    first = rng.integers(8, size=shape).astype(np.float32) + labels
    first[:, :5] = np.nan
    second = rng.normal(size=shape)
    second[:, 5:8] = np.nan
    third = rng.integers(3, size=shape).astype(float)
    third[:, 8:20] = np.nan
    return [_Matrix(first), _Matrix(second), _Matrix(third, narrows=False)], labels


def _oracle(scores: np.ndarray, labels: np.ndarray, use: np.ndarray) -> np.ndarray:
    return np.array(
        [
            roc_auc_score(y[u] == 1, s[u]) if 0 < (y[u] == 1).sum() < u.sum() else np.nan
            for s, y, u in zip(scores, labels, use, strict=True)
        ]
    )


@pytest.mark.parametrize("block", [1, 300, 10**6], ids=["row by row", "a few rows", "all rows"])
def test_numbers_are_those_of_sklearn_on_the_right_pairs(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(_ranking, "BLOCK", block)
    scores, labels = _problem()
    ranking = rank_responders(list(scores), Responders(labels, np.ones(len(labels), dtype=bool)))
    present = [~np.isnan(one.values) for one in scores]
    complete = (labels >= 0) & present[0] & present[1]
    for index, one in enumerate(scores):
        use = complete & present[index]
        own, everything = (labels >= 0) & present[index], labels >= 0
        filled = np.nan_to_num(one.values)
        for name, expected in (
            ("auroc", _oracle(one.values, labels, use)),
            ("auroc_own", _oracle(one.values, labels, own)),
            ("auroc_filled", _oracle(filled, labels, everything)),
        ):
            np.testing.assert_allclose(getattr(ranking, name)[index], expected, rtol=0, atol=1e-12, err_msg=name)
        precision = [average_precision_score(labels[g, use[g]] == 1, one.values[g, use[g]]) for g in range(len(labels))]
        np.testing.assert_allclose(ranking.auprc[index], precision, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(ranking.n_pos[index], ((labels == 1) & use).sum(axis=1))
        np.testing.assert_array_equal(ranking.n_neg[index], ((labels == 0) & use).sum(axis=1))
        np.testing.assert_array_equal(ranking.n_filled[index], (everything & ~present[index]).sum(axis=1))
        pooled = roc_auc_score(labels[use] == 1, one.values[use])
        assert ranking.pooled[index] == pytest.approx(pooled, abs=1e-12)


def test_deciles_are_ranked_on_their_own() -> None:
    scores, labels = _problem(1, (12, 90))
    means = np.random.default_rng(0).gamma(1, size=90)
    means[30:33] = np.nan
    deciles = mean_deciles(means)
    ranking = rank_responders(list(scores), Responders(labels, np.ones(12, dtype=bool), deciles=deciles))
    complete = (labels >= 0) & ~np.isnan(scores[0].values) & ~np.isnan(scores[1].values)
    for decile in range(10):
        expected = _oracle(scores[0].values, labels, complete & (deciles == decile))
        np.testing.assert_allclose(ranking.by_decile[0, :, decile], expected, rtol=0, atol=1e-12)


def test_deciles_hold_a_tenth_each_and_keep_ties_together() -> None:
    deciles = mean_deciles(np.random.default_rng(0).permutation(200).astype(float))
    np.testing.assert_array_equal(np.bincount(deciles), [20] * 10)
    tied = mean_deciles(np.array([0.0] * 50 + list(range(1, 51)) + [np.nan]))
    assert set(tied[:50]) == {2}
    assert tied[-1] == -1
    assert tied.max() == 9


def test_what_counts() -> None:
    labels = np.zeros((6, 12), dtype=np.int8)
    labels[:, :3] = 1
    labels[1, 1:3] = 0  # one positive
    labels[2] = 1  # no negatives
    labels[3, 9:] = -1  # nine candidates
    values = np.tile(np.arange(12.0), (6, 1))
    values[4] = 3.0  # constant
    usable = np.array([True, True, True, True, True, False])
    ranking = rank_responders([_Matrix(values)], Responders(labels, usable))
    np.testing.assert_array_equal(ranking.used[0], [True, False, False, False, False, False])
    np.testing.assert_array_equal(np.isnan(ranking.auroc[0]), [False, False, True, False, False, False])
    assert ranking.auroc[0, 4] == 0.5
    assert ranking.constant[0].tolist() == [False, False, False, False, True, False]


def test_sums_for_a_comparison_are_those_of_the_perturbations_that_count_for_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_ranking, "BLOCK", 200)
    scores, labels = _problem(2)
    scores[2].values[4] = 1.0
    scores[2].values[4, :20] = np.nan  # constant there
    ranking = rank_responders(list(scores), Responders(labels, np.ones(len(labels), dtype=bool)), [(0, 1), (0, 2)])
    complete = (labels >= 0) & ~np.isnan(scores[0].values) & ~np.isnan(scores[1].values)
    for (first, second), sums in ranking.clusters.items():
        both = ranking.used[first] & ranking.used[second]
        assert (second == 1) == both.all()
        influence = []
        for one in (scores[first], scores[second]):
            use = complete & ~np.isnan(one.values)
            influence.append(Ranked(Order.of(one.values), labels == 1, use).influence()[both])
        difference = influence[0] - influence[1]
        np.testing.assert_allclose(sums.by_gene, difference.sum(axis=0), atol=1e-12)
        assert sums.of_pairs == pytest.approx((difference**2).sum(), rel=1e-10)
        assert sums.n_units == both.sum()
        np.testing.assert_array_equal(sums.took_part, complete[both].any(axis=0))


def _compare(ranking: Ranking, **more: float) -> dict:
    options = {"margin": 0.02, "min_units": 6, "n_boot": 200, "rng": np.random.default_rng(0)} | more
    return contrasts(ranking, **options)


def test_comparisons_seen_from_either_side() -> None:
    scores, labels = _problem(3)
    ranking = rank_responders(list(scores), Responders(labels, np.ones(len(labels), dtype=bool)), [(0, 1)])
    one = _compare(ranking)[0, 1]
    back = one.reversed()
    assert one.difference == pytest.approx((ranking.auroc[0] - ranking.auroc[1]).mean())
    for name in ("interval", "two_way", "boot"):
        low, high = getattr(one, name)
        assert low < one.difference < high
        assert getattr(back, name) == (-high, -low)
    assert back.difference == -one.difference
    assert back.cohen_d == -one.cohen_d
    assert back.p_value == one.p_value


def test_few_perturbations_have_a_difference_and_nothing_else() -> None:
    scores, labels = _problem(4, (5, 60))
    ranking = rank_responders(list(scores), Responders(labels, np.ones(5, dtype=bool)), [(0, 1)])
    one = _compare(ranking)[0, 1]
    assert one.n_units == 5
    assert np.isfinite(one.difference)
    for value in (*one.interval, *one.two_way, *one.boot, one.p_value, one.cohen_d, one.minimum_detectable):
        assert np.isnan(value)
    assert one.equivalence == ""


def test_a_score_against_itself_is_equivalent() -> None:
    scores, labels = _problem(5)
    ranking = rank_responders([scores[0], scores[0]], Responders(labels, np.ones(len(labels), dtype=bool)), [(0, 1)])
    one = _compare(ranking)[0, 1]
    assert one.difference == 0
    assert one.equivalence == "equivalent"
    assert one.p_value == 1
    assert np.isnan(one.cohen_d)


def test_no_candidates_at_all() -> None:
    labels = np.full((3, 8), -1, dtype=np.int8)
    edges = EdgeRows(np.zeros((8, 8), dtype=np.float32), np.array([0, -1, 2]), np.arange(8))
    ranking = rank_responders(
        [edges, GeneRows(np.ones(8), 3)],
        Responders(labels, np.ones(3, dtype=bool), deciles=np.zeros(8, dtype=int)),
        [(0, 1)],
    )
    assert np.isnan(ranking.auroc).all()
    assert np.isnan(ranking.pooled).all()
    assert not ranking.used.any()
    assert _compare(ranking)[0, 1].n_units == 0


def test_no_comparison_asked_for() -> None:
    scores, labels = _problem(6)
    assert _compare(rank_responders(list(scores), Responders(labels, np.ones(len(labels), dtype=bool)))) == {}
