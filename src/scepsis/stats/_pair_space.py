"""
Many scores against many sets of positives, on the same pairs of genes.

A score is sorted once. Where a pair stands does not depend on which pairs are positive, so that every set of positives
needs only counts along that order: an AUROC is a sum over its positives, and the influence of every pair on it one
look-up in a table with an entry for every distinct score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numba
import numpy as np

from scepsis.stats._influence import variance_of_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._influence import PooledVariance


#: Pairs whose influence is looked up before any of it is added up.
BLOCK = 512


@dataclass(frozen=True)
class PairSpace:
    """Pairs that are ranked against each other, one after the other."""

    #: Row and column of every pair, in the order in which scores come.
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    shape: tuple[int, int]
    #: Whether rows and columns are the same genes and no pair has a direction.
    dyadic: bool

    @classmethod
    def of(cls, valid: BoolArray, *, dyadic: bool) -> PairSpace:
        """Pairs of `valid`, rows x columns, row by row."""
        row, column = (part.astype(np.int32) for part in np.nonzero(valid))
        return cls(row, column, (valid.shape[0], valid.shape[1]), dyadic)

    @property
    def n(self) -> int:
        return len(self.row)

    @property
    def places(self) -> IntArray:
        """Positions of the pairs in a flattened matrix."""
        places: IntArray = self.row.astype(np.int64) * self.shape[1] + self.column
        return places

    @cached_property
    def took_part(self) -> tuple[BoolArray, BoolArray]:
        """Rows and columns that any pair is in."""
        rows, columns = (np.zeros(size, dtype=bool) for size in self.shape)
        rows[self.row], columns[self.column] = True, True
        return rows, columns

    @property
    def n_clusters(self) -> int:
        """Genes in either place, or rows."""
        rows, columns = self.took_part
        return int((rows | columns).sum() if self.dyadic else rows.sum())

    def variance(self, by_row: FloatArray, by_column: FloatArray, of_pairs: float) -> PooledVariance:
        """Variance of a sum over pairs from sums by gene, clustered by what pairs share."""
        return variance_of_sums(by_row, by_column, of_pairs, took_part=self.took_part, dyadic=self.dyadic)


@dataclass(frozen=True)
class Ranks:
    """Order of one score."""

    #: Which of the distinct scores, in ascending order, a pair has.
    step: NDArray[np.int32]
    #: Pairs with a lower score than each distinct one, and their number.
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, scores: FloatArray) -> Ranks:
        """
        Rank scores without NaN, in 32 bits.

        Read as whole numbers that ascend with them, the scores are sorted by their lower and then by their upper half,
        by counting: a third of the time that a sort by comparison takes.
        """
        narrow = scores.astype(np.float32) + np.float32(0)  # no negative zeros
        bits = narrow.view(np.int32)
        bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
        keys = bits.view(np.uint32) ^ np.uint32(0x80000000)
        order = _by_half(keys, _by_half(keys, np.arange(len(keys), dtype=np.int32), 0), 16)
        step = np.empty(len(keys), dtype=np.int32)
        bounds = np.empty(len(keys) + 1, dtype=np.int64)
        n_steps = _number(keys, order, step, bounds)
        return cls(step, bounds[: n_steps + 1].copy())

    @property
    def constant(self) -> bool:
        """Whether there is one score only."""
        return len(self.bounds) < 3

    def top(self, k: int) -> IntArray:
        """Pairs of the k highest scores; a tie that the cut goes through is left out."""
        cut = int(np.searchsorted(self.bounds, max(len(self.step) - k, 0)))
        above: IntArray = np.flatnonzero(self.step >= cut)
        return above


@numba.njit(cache=True, nogil=True)
def _by_half(keys: NDArray[np.uint32], order: NDArray[np.int32], shift: int) -> NDArray[np.int32]:
    """Sort positions by 16 bits of their keys, leaving those that are equal in their order."""
    ends = np.zeros(65_537, dtype=np.int64)
    for key in keys:
        ends[((key >> shift) & 0xFFFF) + 1] += 1
    for place in range(1, len(ends)):
        ends[place] += ends[place - 1]
    result = np.empty_like(order)
    for position in order:
        half = (keys[position] >> shift) & 0xFFFF
        result[ends[half]] = position
        ends[half] += 1
    return result


@numba.njit(cache=True, nogil=True)
def _number(
    keys: NDArray[np.uint32], order: NDArray[np.int32], step: NDArray[np.int32], bounds: NDArray[np.int64]
) -> int:
    """Number the distinct keys in ascending order; tell every pair which it has, and where each begins."""
    current = -1
    for place in range(len(order)):
        if place == 0 or keys[order[place]] != keys[order[place - 1]]:
            current += 1
            bounds[current] = place
        step[order[place]] = current
    bounds[current + 1] = len(order)
    return current + 1


@dataclass(frozen=True)
class Standings:
    """How several sets of positives stand among all pairs of one score."""

    auroc: FloatArray
    #: Distinct scores x sets: influence on the AUROC of a negative with that score.
    of_negative: NDArray[np.float32]
    #: The same for every positive of each set.
    of_positives: list[NDArray[np.float64]]

    @classmethod
    def of(cls, ranks: Ranks, sets: Sequence[NDArray[np.int64]]) -> Standings:
        r"""
        Rank the positives of each set, positions of pairs, against all other pairs; ties count one half.

        The influence is DeLong's: :math:`\sqrt{n/(n-1)}\,(V - \mathrm{AUROC})/n`, with V the share of the other
        class on the right side of the pair and n the size of its own class.
        """
        n_steps = len(ranks.bounds) - 1
        auroc, of_positives = np.full(len(sets), np.nan), []
        of_negative = np.zeros((n_steps, len(sets)), dtype=np.float32)
        for index, positives in enumerate(sets):
            n_pos, n_neg = len(positives), len(ranks.step) - len(positives)
            if not n_pos or not n_neg:
                of_positives.append(np.zeros(n_pos))
                continue
            at = ranks.step[positives]
            own = np.bincount(at, minlength=n_steps).astype(np.int32)
            wins = np.empty(n_pos)
            _wins(at, np.cumsum(own) - own, own, ranks.bounds, wins)
            area = auroc[index] = float(wins.sum()) / (n_pos * n_neg)
            of_positives.append(_weight(n_pos) * (wins / n_neg - area))
            _losses(own, _weight(n_neg) * (1 - area), _weight(n_neg) / n_pos, of_negative[:, index])
        return cls(auroc, of_negative, of_positives)

    def influence(self, ranks: Ranks, sets: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Influence of every pair, pairs x sets."""
        result = self.of_negative[ranks.step]
        for index, (positives, own) in enumerate(zip(sets, self.of_positives, strict=True)):
            result[positives, index] = own
        return result


def _weight(n: int) -> float:
    return float(np.sqrt(n / (n - 1)) / n) if n > 1 else 0.0


@numba.njit(cache=True, nogil=True)
def _wins(
    at: NDArray[np.int32],
    before: NDArray[np.int64],
    own: NDArray[np.int32],
    bounds: NDArray[np.int64],
    wins: NDArray[np.float64],
) -> None:
    """Negatives below each positive, those with the same score one half; `before` are the positives below a score."""
    for index in range(len(at)):
        step = at[index]
        below = bounds[step] - before[step]
        wins[index] = below + (bounds[step + 1] - bounds[step] - own[step]) / 2.0


@numba.njit(cache=True, nogil=True)
def _losses(own: NDArray[np.int32], level: float, slope: float, result: NDArray[np.float32]) -> None:
    """Influence of a negative with each score: `level` less `slope` times the positives below it."""
    before = 0.0
    for step in range(len(own)):
        result[step] = level - slope * (before + own[step] / 2.0)
        before += own[step]


@dataclass(frozen=True)
class InfluenceSums:
    """Sums over pairs of the influence on AUROCs, sets in the last axis."""

    by_row: FloatArray
    by_column: FloatArray
    #: Of squares, and of products with the influence on the AUROCs that are compared with.
    of_pairs: FloatArray
    of_products: FloatArray

    def of(self, index: int) -> tuple[FloatArray, FloatArray, float]:
        """Those of one set."""
        return self.by_row[:, index], self.by_column[:, index], float(self.of_pairs[index])

    def difference(self, index: int, base: InfluenceSums) -> tuple[FloatArray, FloatArray, float]:
        """Those of the difference from what is compared with, whose own sums are `base`."""
        by_row = self.by_row[:, index] - base.by_row[:, index]
        by_column = self.by_column[:, index] - base.by_column[:, index]
        squares = self.of_pairs[index] - 2 * self.of_products[index] + base.of_pairs[index]
        return by_row, by_column, max(float(squares), 0.0)


def influence_sums(
    space: PairSpace,
    ranks: Ranks,
    standings: Standings,
    sets: Sequence[NDArray[np.int64]],
    base: NDArray[np.float32],
    slope: NDArray[np.float32],
    weight: float,
) -> InfluenceSums:
    """
    Sum the influence of every pair by row and by column, for all sets in one pass over the pairs.

    `base`, pairs x sets, is the influence on the AUROCs that are compared with. `weight` times the influence is added
    to `slope`, pairs x sets (which has no pairs when it is not wanted): scores after each other make it the influence
    on a weighted sum of their AUROCs.
    """
    n_sets = len(sets)
    sums = np.zeros((space.shape[0], n_sets)), np.zeros((space.shape[1], n_sets)), np.zeros((2, n_sets))
    _sum(ranks.step, space.row, space.column, standings.of_negative, base, slope, weight, *sums)
    for index, (positives, own) in enumerate(zip(sets, standings.of_positives, strict=True)):
        others = standings.of_negative[ranks.step[positives], index]  # a positive was counted as if it were a negative
        _exchange(positives, own, others, space.row, space.column, base, slope, weight, index, *sums)
    by_row, by_column, (of_pairs, of_products) = sums
    return InfluenceSums(by_row, by_column, of_pairs, of_products)


@numba.njit(cache=True, nogil=True)
def _sum(
    step: NDArray[np.int32],
    row: NDArray[np.int32],
    column: NDArray[np.int32],
    of_negative: NDArray[np.float32],
    base: NDArray[np.float32],
    slope: NDArray[np.float32],
    weight: float,
    by_row: NDArray[np.float64],
    by_column: NDArray[np.float64],
    of_pairs: NDArray[np.float64],
) -> None:
    wanted = len(slope) > 0
    n_sets = of_negative.shape[1]
    values = np.empty((BLOCK, n_sets), dtype=np.float32)
    for start in range(0, len(step), BLOCK):
        stop = min(start + BLOCK, len(step))
        for pair in range(start, stop):  # by themselves, look-ups do not wait for each other
            for index in range(n_sets):
                values[pair - start, index] = of_negative[step[pair], index]
        for pair in range(start, stop):
            i, j = row[pair], column[pair]
            for index in range(n_sets):
                value = np.float64(values[pair - start, index])
                by_row[i, index] += value
                by_column[j, index] += value
                of_pairs[0, index] += value * value
                of_pairs[1, index] += value * base[pair, index]
                if wanted:
                    slope[pair, index] += np.float32(weight * value)


@numba.njit(cache=True, nogil=True)
def _exchange(
    positives: NDArray[np.int64],
    own: NDArray[np.float64],
    others: NDArray[np.float32],
    row: NDArray[np.int32],
    column: NDArray[np.int32],
    base: NDArray[np.float32],
    slope: NDArray[np.float32],
    weight: float,
    index: int,
    by_row: NDArray[np.float64],
    by_column: NDArray[np.float64],
    of_pairs: NDArray[np.float64],
) -> None:
    wanted = len(slope) > 0
    for number in range(len(positives)):
        pair = positives[number]
        new, old = own[number], np.float64(others[number])
        by_row[row[pair], index] += new - old
        by_column[column[pair], index] += new - old
        of_pairs[0, index] += new * new - old * old
        of_pairs[1, index] += (new - old) * base[pair, index]
        if wanted:
            slope[pair, index] += np.float32(weight * (new - old))


def sums_of(space: PairSpace, influence: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Sums by row, by column, and of squares, of values of pairs."""
    by_row: FloatArray = np.bincount(space.row, influence, minlength=space.shape[0]).astype(np.float64)
    by_column: FloatArray = np.bincount(space.column, influence, minlength=space.shape[1]).astype(np.float64)
    return by_row, by_column, float(np.vdot(influence, influence))
