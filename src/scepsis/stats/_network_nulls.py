"""
What a score would reach on networks that are drawn at random.

Scores are ranked once; on any network the AUROC is then a sum of ranks over its pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from scepsis.stats._pooled import MIN_TARGETS
from scepsis.stats._rewire import shuffle_within

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: Spread of a null below which nothing can be compared with it.
NO_SPREAD = 1e-12


@dataclass(frozen=True)
class RankedPairs:
    """Scores of sources x targets as ranks, for networks yet to come."""

    #: Twice the average rank of each pair, in the flattened matrix, among all; 0 for pairs without a score.
    pooled: IntArray
    #: The same among the pairs of its source.
    by_source: IntArray
    #: Pairs with a score, for each source.
    n: IntArray

    @classmethod
    def of(cls, scores: FloatArray, valid: BoolArray, *, by_source: bool = True) -> RankedPairs:
        """Rank `scores` among the `valid` pairs that have one; without `by_source`, in the pooled ranking alone."""
        valid = valid & ~np.isnan(scores)
        pooled, own = np.zeros((2, scores.size), dtype=np.int64)
        pooled[valid.ravel()] = _twice_ranks(scores[valid])
        if by_source:
            for source, (row, some) in enumerate(zip(scores, valid, strict=True)):
                own[source * scores.shape[1] : (source + 1) * scores.shape[1]][some] = _twice_ranks(row[some])
        return cls(pooled, own, valid.sum(axis=1))

    def aurocs(self, cells: IntArray) -> FloatArray:
        """
        Pooled AUROC, and mean AUROC over sources of at least two targets, of every network (networks x 2).

        `cells` are the pairs of the networks, networks x pairs, as places in the flattened matrix. A pair without a
        score takes no part. NaN where a class is empty, or no source counts.
        """
        result = np.empty((len(cells), 2))
        _score(cells, self.pooled, self.by_source, self.n, len(self.pooled) // max(len(self.n), 1), result)
        return result


def _twice_ranks(values: FloatArray) -> IntArray:
    from scipy.stats import rankdata

    ranks: IntArray = (2 * rankdata(values)).astype(np.int64)
    return ranks


@numba.njit(cache=True, nogil=True)
def _score(
    cells: IntArray, pooled: IntArray, by_source: IntArray, n: IntArray, n_targets: int, result: FloatArray
) -> None:
    total = n.sum()
    n_pos, sums = np.empty(len(n), dtype=np.int64), np.empty(len(n), dtype=np.int64)
    for network in range(len(cells)):
        n_pos[:], sums[:] = 0, 0
        everything = 0
        for cell in cells[network]:
            if pooled[cell] > 0:
                source = cell // n_targets
                n_pos[source] += 1
                sums[source] += by_source[cell]
                everything += pooled[cell]
        result[network, 0] = _area(everything, n_pos.sum(), total)
        mean, counted = 0.0, 0
        for source in range(len(n)):
            if MIN_TARGETS <= n_pos[source] < n[source]:
                mean += _area(sums[source], n_pos[source], n[source])
                counted += 1
        result[network, 1] = mean / counted if counted else np.nan


@numba.njit(cache=True, nogil=True)
def _area(twice_ranks: int, n_pos: int, n: int) -> float:
    """AUROC from twice the sum of the ranks of the positives among n."""
    if n_pos in (0, n):
        return np.nan
    return (twice_ranks - n_pos * (n_pos + 1)) / (2.0 * n_pos * (n - n_pos))


def shuffled(listed: BoolArray, allowed: BoolArray, n_draws: int, *, seed: int) -> IntArray:
    """As many pairs as are listed, from all that are allowed; draws x pairs, places in the flattened matrix."""
    members = np.flatnonzero(allowed)
    groups, chosen = np.array([0, len(members)]), np.array([int(listed.sum())])
    return shuffle_within(groups, chosen, members, n_draws, seed=seed, name="label_shuffle")


def shuffled_by_source(listed: BoolArray, allowed: BoolArray, n_draws: int, *, seed: int) -> IntArray:
    """The same, each source keeping its number of targets."""
    groups = np.append(0, np.cumsum(allowed.sum(axis=1)))
    chosen = listed.sum(axis=1)
    return shuffle_within(groups, chosen, np.flatnonzero(allowed), n_draws, seed=seed, name="row_only")


@dataclass(frozen=True)
class Against:
    """An observed value against the values under a null, greater being the alternative."""

    observed: float
    null_mean: float
    null_sd: float
    z: float
    p_value: float
    n_null: int


def against(observed: float, null: FloatArray) -> Against:
    """
    Place an observed value among draws: ``z = (observed - mean) / sd`` and ``p = (1 + #{null >= observed}) / (1 + B)``.

    NaN where there is nothing to compare; z is NaN without spread. Draws that are NaN are left out.
    """
    null = null[~np.isnan(null)]
    if not np.isfinite(observed) or len(null) < 2:
        return Against(observed, np.nan, np.nan, np.nan, np.nan, len(null))
    mean, sd = float(null.mean()), float(null.std(ddof=1))
    # sums of ranks are exact, but their ratios may differ in the last bit
    p_value = (1 + int((null >= observed - NO_SPREAD).sum())) / (1 + len(null))
    z = (observed - mean) / sd if sd >= NO_SPREAD else np.nan
    return Against(observed, mean, sd, z, p_value, len(null))
