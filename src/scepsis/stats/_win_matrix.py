"""
Pooled AUROCs under any weights of clusters, without ranking anything again.

A pooled AUROC counts in how many of all couples of a positive and a negative the positive stands higher. Summed by
the clusters of both (one cluster for each regulator), these counts are a small matrix, and resampling, reweighting or
leaving out clusters needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._bootstrap import draw_counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: Counts held at a time while the matrix is made.
BLOCK = 1 << 21
#: How often a replicate with one class only is drawn again.
MAX_REDRAWS = 20


@dataclass(frozen=True)
class WinMatrix:
    r"""
    Wins of the positives of every cluster over the negatives of every cluster.

    With U the wins (ties one half), p and n the numbers of positives and negatives, clusters that are taken w times
    have the pooled AUROC :math:`w^\top U w / (w^\top p \; w^\top n)`, the same as if all their pairs had been copied
    and ranked anew.
    """

    #: Clusters x clusters, positives in rows: twice the wins, whole numbers.
    twice: FloatArray
    n_pos: IntArray
    n_neg: IntArray

    @classmethod
    def of(cls, scores: FloatArray, positive: BoolArray, clusters: IntArray, n_clusters: int) -> WinMatrix:
        """
        Count wins.

        Parameters
        ----------
        scores
            One for each pair, NaN-free.
        positive
            Whether the pair should stand high.
        clusters
            Cluster of each pair, from 0.
        n_clusters
            Number of clusters; one without pairs is allowed.

        Notes
        -----
        ``N log N + C K`` for N pairs, C clusters and K distinct scores of positives; memory is a bounded block of
        the ``C K`` counts.
        """
        values, step = np.unique(scores[positive], return_inverse=True)
        of_positives = clusters[positive]
        n_pos = np.bincount(of_positives, minlength=n_clusters)
        n_neg = np.bincount(clusters[~positive], minlength=n_clusters)
        twice = np.zeros((n_clusters, n_clusters))
        if len(values) and n_neg.any():
            at = _sums_by_cluster(of_positives, step, n_clusters, len(values))
            for block, below in _negatives_below(scores[~positive], clusters[~positive], values, n_clusters):
                twice[:, block] = at @ below.T
        return cls(twice, n_pos, n_neg)

    @property
    def n_clusters(self) -> int:
        return len(self.twice)

    def auroc(self, weights: FloatArray | None = None) -> FloatArray:
        """Pooled AUROC under each row of `weights` (replicates x clusters), NaN where a class has no weight."""
        weights = np.ones((1, self.n_clusters)) if weights is None else weights
        wins = np.einsum("bc,bc->b", weights @ self.twice, weights)
        couples = (weights @ self.n_pos) * (weights @ self.n_neg)
        return _shares(wins, couples)

    @cached_property
    def within(self) -> FloatArray:
        """AUROC of every cluster by itself."""
        return _shares(np.diagonal(self.twice), self.n_pos * self.n_neg)

    @cached_property
    def without(self) -> FloatArray:
        """Pooled AUROC without each cluster in turn."""
        twice, n_pos, n_neg = self.twice, self.n_pos, self.n_neg
        wins = twice.sum() - twice.sum(axis=0) - twice.sum(axis=1) + np.diagonal(twice)
        return _shares(wins, (n_pos.sum() - n_pos) * (n_neg.sum() - n_neg))

    def jackknife_variance(self) -> float:
        """Variance of the pooled AUROC over clusters, from leaving each out; NaN if one leaves a class empty."""
        n = self.n_clusters
        return float((n - 1) * np.var(self.without)) if n > 1 else np.nan


def bootstrap_aurocs(matrices: Sequence[WinMatrix], n_boot: int, rng: np.random.Generator) -> FloatArray:
    """
    Pooled AUROCs over resampled clusters, replicates x scores.

    All scores see the same draws, so that differences of columns are paired. A replicate without any positive or
    without any negative is drawn again, 20 times at most, and is NaN after that.

    Parameters
    ----------
    matrices
        One for each score, of the same pairs.
    n_boot
        Number of replicates.
    rng
        Generator of the draws.
    """
    first = matrices[0]
    possible = bool(first.n_pos.any() and first.n_neg.any())
    result = np.full((n_boot, len(matrices)), np.nan)
    size = max(1, BLOCK // max(first.n_clusters, 1))
    for start in range(0, n_boot if possible else 0, size):
        weights = draw_counts(min(size, n_boot - start), first.n_clusters, rng)
        for _ in range(MAX_REDRAWS):
            empty = np.flatnonzero((weights @ first.n_pos == 0) | (weights @ first.n_neg == 0))
            if not len(empty):
                break
            weights[empty] = draw_counts(len(empty), first.n_clusters, rng)
        for column, one in enumerate(matrices):
            result[start : start + size, column] = one.auroc(weights)
    return result


def _sums_by_cluster(clusters: IntArray, step: IntArray, n_clusters: int, n_steps: int) -> FloatArray:
    """Positives of every cluster at every distinct score, as a sparse matrix."""
    from scipy import sparse

    counts: FloatArray = sparse.csr_matrix((np.ones(len(step)), (clusters, step)), shape=(n_clusters, n_steps))
    return counts


def _negatives_below(
    scores: FloatArray, clusters: IntArray, values: FloatArray, n_clusters: int
) -> Iterator[tuple[slice, FloatArray]]:
    """Blocks of clusters, and twice how many of their negatives stand below each of `values`, ties counted once."""
    if (clusters[1:] < clusters[:-1]).any():
        order = np.argsort(clusters, kind="stable")
        scores, clusters = scores[order], clusters[order]
    starts = np.searchsorted(clusters, np.arange(n_clusters + 1))
    n_steps = len(values) + 1
    size = max(1, BLOCK // n_steps)
    for first in range(0, n_clusters, size):
        block = slice(first, min(first + size, n_clusters))
        here = slice(starts[block.start], starts[block.stop])
        # a negative stands below all values from this step on, and beside the one before where they are equal
        upto = values.searchsorted(scores[here], "right")
        from_tie = upto - (values.take(np.maximum(upto - 1, 0)) == scores[here])
        offset = (clusters[here] - first) * n_steps
        counts = np.zeros((block.stop - first) * n_steps, dtype=np.int64)
        for place in (upto, from_tie):
            counts += np.bincount(place + offset, minlength=len(counts))
        below = np.cumsum(counts.reshape(-1, n_steps), axis=1)[:, :-1]
        yield block, below.astype(np.float64)


def _shares(twice: FloatArray, couples: FloatArray | IntArray) -> FloatArray:
    share: FloatArray = np.divide(twice, 2.0 * couples, out=np.full(len(twice), np.nan), where=couples > 0)
    return share
