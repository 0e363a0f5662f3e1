"""Pairs of genes that are ranked against each other, and sums over them by gene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numba
import numpy as np

from scepsis.stats._influence import variance_of_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._influence import PooledVariance
    from scepsis.stats._pair_ranks import Standings


#: Pairs whose influence is looked up before any of it is added up.
BLOCK = 512
#: In place of a slope that is not wanted.
NOWHERE = np.zeros(0, dtype=np.float32)


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

    @cached_property
    def places(self) -> IntArray:
        """Positions of the pairs in a flattened matrix."""
        places: IntArray = self.row.astype(np.int64) * self.shape[1] + self.column
        return places

    @cached_property
    def mirrored(self) -> IntArray:
        """Positions of the pairs with their genes exchanged."""
        places: IntArray = self.column.astype(np.int64) * self.shape[1] + self.row
        return places

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where the pairs of each row begin, and their number."""
        return np.searchsorted(self.row, np.arange(self.shape[0] + 1)).astype(np.int64)

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
    standings: Standings,
    base: NDArray[np.float32],
    slope: NDArray[np.float32] | None = None,
    weight: float = 0.0,
) -> InfluenceSums:
    """
    Sum the influence of every pair by row and by column, for each set in one pass over the pairs.

    `base`, sets x pairs, is the influence on the AUROCs that are compared with. `weight` times the influence is added
    to `slope`, sets x pairs: scores after each other make it the influence on a weighted sum of their AUROCs.
    """
    n_sets = len(standings.table)
    by_row, by_column = np.zeros((space.shape[0], n_sets)), np.zeros((space.shape[1], n_sets))
    of_pairs, of_products = np.zeros(n_sets), np.zeros(n_sets)
    columns = space.column.view(np.uint32)  # unsigned, none is counted from the end
    for index, table in enumerate(standings.table):
        sums = np.zeros(space.shape[0]), np.zeros(space.shape[1])
        added = NOWHERE if slope is None else slope[index]
        of_pairs[index], of_products[index] = _sum(
            standings.place, table, space.ends, columns, base[index], added, np.float32(weight), *sums
        )
        by_row[:, index], by_column[:, index] = sums
    return InfluenceSums(by_row, by_column, of_pairs, of_products)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _sum(
    place: NDArray[np.uint32],
    table: NDArray[np.float32],
    ends: NDArray[np.int64],
    column: NDArray[np.uint32],
    base: NDArray[np.float32],
    slope: NDArray[np.float32],
    weight: np.float32,
    by_row: NDArray[np.float64],
    by_column: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the sums of squares and of products with `base`; `ends` are the bounds of rows among the pairs."""
    squares, products = 0.0, 0.0
    values = np.empty(BLOCK, dtype=np.float32)
    for row in range(len(by_row)):
        total = 0.0
        for start in range(ends[row], ends[row + 1], BLOCK):
            size = min(BLOCK, ends[row + 1] - start)
            places, columns, compared = (
                place[start : start + size], column[start : start + size], base[start : start + size],
            )  # fmt: skip
            for index in range(size):  # by themselves, look-ups do not wait for each other
                values[index] = table[places[index]]
            for index in range(size):
                value = np.float64(values[index])
                total += value
                squares += value * value
                products += value * compared[index]
            for index in range(size):
                by_column[columns[index]] += values[index]
            if len(slope):
                added = slope[start : start + size]
                for index in range(size):
                    added[index] += weight * values[index]
        by_row[row] = total
    return squares, products


def sums_of(space: PairSpace, influence: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Sums by row, by column, and of squares, of values of pairs."""
    by_row: FloatArray = np.bincount(space.row, influence, minlength=space.shape[0]).astype(np.float64)
    by_column: FloatArray = np.bincount(space.column, influence, minlength=space.shape[1]).astype(np.float64)
    return by_row, by_column, float(np.vdot(influence, influence))
