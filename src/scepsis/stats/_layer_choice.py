"""Choosing one of several scores without letting the choice flatter it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._bootstrap import bootstrap_means, draw_counts
from scepsis.stats._paired import DECIMALS

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray


def best(values: FloatArray) -> IntArray:
    """Column of the largest value in every row, the first of several that are equal; -1 in a row without any."""
    rounded = np.round(np.where(np.isnan(values), -np.inf, values), DECIMALS)
    chosen: IntArray = np.argmax(rounded, axis=1)
    return np.where(np.isneginf(rounded).all(axis=1), -1, chosen)


def shares(values: FloatArray) -> FloatArray:
    """How often each column holds the largest value of a row, as a share of the rows that have one."""
    chosen = best(values)
    counts = np.bincount(chosen[chosen >= 0], minlength=values.shape[1])
    return counts / max(int(counts.sum()), 1)


@dataclass(frozen=True)
class Nested:
    """One column chosen for each fold of the units, from the units of the other folds."""

    #: Fold of every unit.
    fold: IntArray
    #: Column of every fold, and its mean over the units that it was chosen on.
    chosen: IntArray
    of_training: FloatArray

    @property
    def of_unit(self) -> IntArray:
        """Column that was chosen without each unit."""
        columns: IntArray = self.chosen[self.fold]
        return columns


def nested(values: FloatArray, n_folds: int, rng: np.random.Generator) -> Nested:
    """Choose the column with the largest mean in each training part; `values` are units x columns, NaN-free."""
    fold = rng.permutation(len(values)) % n_folds
    means = np.stack([values[fold != number].mean(axis=0) for number in range(n_folds)])
    chosen = best(means)
    return Nested(fold, chosen, means[np.arange(n_folds), chosen])


def stability(values: FloatArray, n_boot: int, rng: np.random.Generator) -> FloatArray:
    """Share of replicates, units resampled, in which each column has the largest mean."""
    return shares(bootstrap_means(values, n_boot, rng))


class TopRanked:
    """One ranking of clustered pairs, whose F1 among the first k is taken under any weights of clusters."""

    def __init__(self, scores: FloatArray, positive: BoolArray, clusters: IntArray) -> None:
        """Sort the pairs once (all three: one for each pair)."""
        order = np.argsort(-scores, kind="stable")
        self.positive = positive[order].astype(np.float64)
        self.clusters = clusters[order]
        ranked = scores[order]
        first = np.append(True, ranked[1:] != ranked[:-1])
        starts = np.flatnonzero(first)
        tie = np.cumsum(first) - 1
        self.start, self.end = starts[tie], np.append(starts[1:], len(ranked))[tie]

    def f1(self, k: int, weights: FloatArray) -> float:
        r"""
        :math:`2 H / (k + n_+)` with H the expected hits among the first k, ties at the cut broken at random.

        The same as if all pairs of a cluster had been copied as often as its weight says, and ranked anew.
        """
        of_pair = weights[self.clusters]
        n = np.concatenate([[0.0], np.cumsum(of_pair)])
        hits = np.concatenate([[0.0], np.cumsum(of_pair * self.positive)])
        if n[-1] < k or not hits[-1]:
            return np.nan
        at = int(np.searchsorted(n[1:], k))
        start, end = self.start[at], self.end[at]
        share = (k - n[start]) / (n[end] - n[start])
        return float(2 * (hits[start] + share * (hits[end] - hits[start])) / (k + hits[-1]))


def resampled_f1(
    rankings: list[TopRanked], k: int, n_clusters: int, n_boot: int, rng: np.random.Generator
) -> FloatArray:
    """F1 among the first k over resampled clusters, replicates x rankings; all share the draws."""
    counts = draw_counts(n_boot, n_clusters, rng)
    return np.array([[one.f1(k, weights) for one in rankings] for weights in counts])
