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
    bounds: IntArray

    @classmethod
    def of(cls, scores: FloatArray) -> Ranks:
        """
        Rank scores without NaN, in 32 bits.

        Read as whole numbers that ascend with them, the scores are sorted with the position of the pair in the lower
        half of each number, in less time than it takes to sort positions.
        """
        narrow = scores.astype(np.float32) + np.float32(0)  # no negative zeros
        bits = narrow.view(np.int32)
        bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
        packed = bits.astype(np.int64)
        packed <<= 32
        packed |= np.arange(len(packed), dtype=np.int64)
        packed.sort()
        step = np.empty(len(packed), dtype=np.int32)
        bounds = np.empty(len(packed) + 1, dtype=np.int64)
        n_steps = _number(packed, step, bounds)
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
def _number(packed: NDArray[np.int64], step: NDArray[np.int32], bounds: NDArray[np.int64]) -> int:
    """Number the distinct scores of sorted, packed ones; tell every pair which it has, and where each begins."""
    current = -1
    for place in range(len(packed)):
        if place == 0 or (packed[place] >> 32) != (packed[place - 1] >> 32):
            current += 1
            bounds[current] = place
        step[packed[place] & 0xFFFFFFFF] = current
    bounds[current + 1] = len(packed)
    return current + 1


@dataclass(frozen=True)
class Standings:
    """How several sets of positives stand among all pairs of one score."""

    auroc: FloatArray
    #: Distinct scores x sets: influence on the AUROC of a negative with that score.
    of_negative: NDArray[np.float32]
    #: The same for every positive of each set.
    of_positives: list[FloatArray]

    @classmethod
    def of(cls, ranks: Ranks, sets: Sequence[IntArray]) -> Standings:
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

    def influence(self, ranks: Ranks, sets: Sequence[IntArray]) -> NDArray[np.float32]:
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
    """Sums over pairs of the influence on AUROCs, and on their differences from others: sets in the last axis."""

    #: Two (AUROC, difference) x rows x sets; x columns x sets; of squares, x sets.
    by_row: FloatArray
    by_column: FloatArray
    of_pairs: FloatArray

    def of(self, index: int, *, difference: bool) -> tuple[FloatArray, FloatArray, float]:
        """Those of one set."""
        which = int(difference)
        return self.by_row[which, :, index], self.by_column[which, :, index], float(self.of_pairs[which, index])


def influence_sums(
    space: PairSpace,
    ranks: Ranks,
    standings: Standings,
    sets: Sequence[IntArray],
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
    n_rows, n_columns = space.shape
    sums = np.zeros((2, n_rows, len(sets))), np.zeros((2, n_columns, len(sets))), np.zeros((2, len(sets)))
    _sum(ranks.step, space.row, space.column, standings.of_negative, base, slope, weight, *sums)
    for index, (positives, own) in enumerate(zip(sets, standings.of_positives, strict=True)):
        others = standings.of_negative[ranks.step[positives], index]
        _exchange(
            positives, own, others, space.row, space.column, base, slope, weight, index, *sums
        )  # a positive was counted as if it were a negative
    return InfluenceSums(*sums)


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
    for pair in range(len(step)):
        i, j, s = row[pair], column[pair], step[pair]
        for index in range(of_negative.shape[1]):
            value = np.float64(of_negative[s, index])
            difference = value - base[pair, index]
            by_row[0, i, index] += value
            by_column[0, j, index] += value
            of_pairs[0, index] += value * value
            by_row[1, i, index] += difference
            by_column[1, j, index] += difference
            of_pairs[1, index] += difference * difference
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
        i, j = row[pair], column[pair]
        new, old, compared = own[number], np.float64(others[number]), np.float64(base[pair, index])
        for which in range(2):
            by_row[which, i, index] += new - old
            by_column[which, j, index] += new - old
        of_pairs[0, index] += new * new - old * old
        of_pairs[1, index] += (new - compared) ** 2 - (old - compared) ** 2
        if wanted:
            slope[pair, index] += np.float32(weight * (new - old))


def sums_of(space: PairSpace, influence: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Sums by row, by column, and of squares, of values of pairs."""
    by_row = np.bincount(space.row, influence, minlength=space.shape[0])
    by_column = np.bincount(space.column, influence, minlength=space.shape[1])
    return by_row, by_column, float(np.vdot(influence, influence))
