"""
Many scores against many sets of positives, on the same pairs of genes.

A score is sorted once. Where a pair stands does not depend on which pairs are positive, so that every set of positives
needs only counts along that order: an AUROC is a sum over its positives, and the influence of every pair on it one
look-up in a table with an entry for every distinct score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from scepsis.stats._influence import variance_of_sums

if TYPE_CHECKING:
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

    @property
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


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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
class Standing:
    """How the positives stand among all pairs of one score."""

    auroc: float
    n_pos: int
    n_neg: int
    #: Influence on the AUROC of a positive, and of a negative, with each of the distinct scores.
    of_positive: FloatArray
    of_negative: FloatArray

    @classmethod
    def of(cls, ranks: Ranks, positives: IntArray) -> Standing:
        r"""
        Rank `positives`, positions of pairs, against all others; ties count one half.

        The influence is DeLong's: :math:`\sqrt{n/(n-1)}\,(V - \mathrm{AUROC})/n`, with V the share of the other
        class on the right side of the pair and n the size of its own class.
        """
        n_steps = len(ranks.bounds) - 1
        n_pos, n_neg = len(positives), len(ranks.step) - len(positives)
        if not n_pos or not n_neg:
            nothing = np.zeros(n_steps)
            return cls(np.nan, n_pos, n_neg, nothing, nothing)
        own = np.bincount(ranks.step[positives], minlength=n_steps)
        before = np.cumsum(own) - own
        others = np.diff(ranks.bounds) - own
        wins = ranks.bounds[:-1] - before + others / 2  # negatives below a positive
        losses = before + own / 2  # positives below a negative
        auroc = float(own @ wins) / (n_pos * n_neg)
        of_positive = _weight(n_pos) * (wins / n_neg - auroc)
        of_negative = _weight(n_neg) * (1 - losses / n_pos - auroc)
        return cls(auroc, n_pos, n_neg, of_positive, of_negative)

    def influence(self, ranks: Ranks, listed: BoolArray) -> FloatArray:
        """Influence of every pair."""
        result: FloatArray = np.where(listed, self.of_positive[ranks.step], self.of_negative[ranks.step])
        return result


def _weight(n: int) -> float:
    return float(np.sqrt(n / (n - 1)) / n) if n > 1 else 0.0


@dataclass
class InfluenceSums:
    """Sums over pairs of the influence on one AUROC, and on its difference from another."""

    by_row: FloatArray
    by_column: FloatArray
    of_pairs: float
    difference_by_row: FloatArray
    difference_by_column: FloatArray
    difference_of_pairs: float


def influence_sums(
    space: PairSpace, ranks: Ranks, listed: BoolArray, standing: Standing, base: FloatArray, slope: FloatArray,
    weight: float,
) -> InfluenceSums:  # fmt: skip
    """
    Sum the influence of every pair by row and by column, in one pass over the pairs.

    `base` is the influence of every pair on the AUROC of what is compared with; `slope` is added `weight` times the
    influence, so that several scores make up the influence on a weighted sum of their AUROCs.
    """
    n_rows, n_columns = space.shape
    sums = np.zeros((2, n_rows)), np.zeros((2, n_columns)), np.zeros(2)
    _sum(
        ranks.step, space.row, space.column, listed, standing.of_positive, standing.of_negative, base, slope,
        weight, *sums,
    )  # fmt: skip
    by_row, by_column, of_pairs = sums
    return InfluenceSums(by_row[0], by_column[0], float(of_pairs[0]), by_row[1], by_column[1], float(of_pairs[1]))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum(  # noqa: PLR0913 - a loop over arrays
    step: NDArray[np.int32],
    row: NDArray[np.int32],
    column: NDArray[np.int32],
    listed: NDArray[np.bool_],
    of_positive: NDArray[np.float64],
    of_negative: NDArray[np.float64],
    base: NDArray[np.float32],
    slope: NDArray[np.float32],
    weight: float,
    by_row: NDArray[np.float64],
    by_column: NDArray[np.float64],
    of_pairs: NDArray[np.float64],
) -> None:
    for pair in range(len(step)):
        value = of_positive[step[pair]] if listed[pair] else of_negative[step[pair]]
        difference = value - base[pair]
        slope[pair] += np.float32(weight * value)
        by_row[0, row[pair]] += value
        by_column[0, column[pair]] += value
        of_pairs[0] += value * value
        by_row[1, row[pair]] += difference
        by_column[1, column[pair]] += difference
        of_pairs[1] += difference * difference


def sums_of(space: PairSpace, influence: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Sums by row, by column, and of squares, of values of pairs."""
    by_row = np.bincount(space.row, influence, minlength=space.shape[0])
    by_column = np.bincount(space.column, influence, minlength=space.shape[1])
    return by_row, by_column, float(np.vdot(influence, influence))
