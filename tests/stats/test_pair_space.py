from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._influence import dyadic_variance, pooled_variance
from scepsis.stats._pair_ranks import Members, Ranks, Standings
from scepsis.stats._pair_space import BLOCK, PairSpace, influence_sums, sums_of
from scepsis.stats._pooled import PooledScore


def make(
    n_genes: int, *, dyadic: bool, ties: bool, seed: int = 0
) -> tuple[PairSpace, np.ndarray, list[np.ndarray], np.ndarray]:
    """A space, two scores of its pairs, positions of two sets of positives, and the pairs that are valid."""
    rng = np.random.default_rng(seed)
    shape = (n_genes, n_genes) if dyadic else (6, n_genes)
    valid = rng.random(shape) < 0.9
    valid = np.triu(valid, 1) if dyadic else valid
    space = PairSpace.of(valid, dyadic=dyadic)
    scores = rng.normal(size=(2, space.n)).astype(np.float32)
    scores = np.round(scores) if ties else scores
    sets = [np.flatnonzero(rng.random(space.n) < share) for share in (0.3, 0.08)]
    return space, scores, sets, valid


@pytest.mark.parametrize("n_genes", [14, BLOCK + 90])
@pytest.mark.parametrize("dyadic", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_influence_and_its_sums_are_those_of_the_one_by_one_code(n_genes: int, dyadic: bool, ties: bool) -> None:
    """`PooledScore` computes the influence of every pair by another route; variances come from the whole matrices."""
    space, scores, sets, valid = make(n_genes, dyadic=dyadic, ties=ties)
    members = Members.of(space.n, sets)
    standings = [Standings.of(Ranks.of(one), members) for one in scores]
    base = standings[0].influence()
    slope = np.zeros_like(base)
    of_base = influence_sums(space, standings[0], np.zeros_like(base))
    found = influence_sums(space, standings[1], base, slope, -0.5)
    for index, positives in enumerate(sets):
        expected = []
        for score in scores:
            matrix, positive = np.full(valid.shape, np.nan), np.zeros(valid.shape, dtype=bool)
            matrix[valid], positive[space.row[positives], space.column[positives]] = score, True
            expected.append(PooledScore.of(matrix, positive, valid).influence)
        np.testing.assert_allclose(base[index], expected[0][valid], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(slope[index], -0.5 * expected[1][valid], rtol=1e-5, atol=1e-7)
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
