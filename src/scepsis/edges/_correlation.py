"""Correlation of every pair of columns, with memory that grows with the stored values and not with their square."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numba
import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scepsis._core._types import FloatArray, IntArray

#: Cells that come at a time.
BLOCK = 1024
#: Cells made dense at a time.
_BLOCK = 2048
#: Share of the cells up to which a gene is rare: its products take only the cells in which it is seen.
_SPARSE = 0.15
#: Columns that are added to at a time.
_TILE = 256
#: Rows and columns of the pieces in which a symmetric result is written.
_SQUARE = 64


@dataclass
class PairMoments:
    """
    Products of all pairs of columns about their means, in 64 bits; those of disjoint sets of cells add up.

    Sets are joined by ``S = S_a + S_b + d d' n_a n_b / (n_a + n_b)``, ``d`` the difference of means, so that no large
    squares cancel.
    """

    n: int
    mean: FloatArray
    products: FloatArray
    lowest: FloatArray
    highest: FloatArray

    @classmethod
    def zeros(cls, n_genes: int) -> PairMoments:
        """Moments of no cells."""
        extremes = np.full(n_genes, np.inf), np.full(n_genes, -np.inf)
        return cls(0, np.zeros(n_genes), np.zeros((n_genes, n_genes)), *extremes)

    @classmethod
    def of(cls, blocks: Iterable[sparse.csr_matrix]) -> PairMoments:
        """Moments of the cells of all blocks, of which there is at least one, read in 32 bits."""
        rest = iter(blocks)
        first = next(rest)
        moments = cls.zeros(first.shape[1])
        for block in chain([first], rest):
            for start in range(0, block.shape[0], _BLOCK):
                moments._see(block[start : start + _BLOCK].astype(np.float32))
        return moments

    def _see(self, block: sparse.csr_matrix) -> None:
        n_new = block.shape[0]
        # The last row is what joining adds: products of it with itself are the joining term.
        dense = np.empty((n_new + 1, block.shape[1]))
        dense[:-1] = block.toarray()
        cells = dense[:-1]
        self.lowest, self.highest = np.minimum(self.lowest, cells.min(0)), np.maximum(self.highest, cells.max(0))
        mean = cells.mean(0)
        cells -= mean
        if self.n:
            dense[-1] = (mean - self.mean) * np.sqrt(self.n * n_new / (self.n + n_new))
            self.products += dense.T @ dense
        else:  # nothing to join
            self.products = cells.T @ cells
        self.mean = self.mean + (mean - self.mean) * (n_new / (self.n + n_new))
        self.n += n_new

    def __add__(self, other: PairMoments) -> PairMoments:
        n = self.n + other.n
        difference = other.mean - self.mean
        joining = np.outer(difference, difference)
        joining *= self.n * other.n / max(n, 1)
        joining += self.products
        joining += other.products
        return PairMoments(
            n,
            self.mean + difference * (other.n / max(n, 1)),
            joining,
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
        )

    def correlation(self) -> FloatArray:
        """
        Pearson's correlation, genes x genes, float32.

        NaN on the diagonal, and in row and column of a gene that is the same in all cells.
        """
        scale = np.sqrt(np.diag(self.products))
        scale[self.lowest == self.highest] = np.nan
        result = self.products / scale[:, None]
        result /= scale[None, :]
        np.clip(result, -1, 1, out=result)
        np.fill_diagonal(result, np.nan)
        return result.astype(np.float32)


def correlation(blocks: Iterable[sparse.csr_matrix], method: Literal["spearman", "pearson"]) -> FloatArray:
    """
    Correlate all pairs of genes over the cells of all blocks; see :meth:`PairMoments.correlation` for the result.

    Parameters
    ----------
    blocks
        Cells x genes, CSR, in turn; read in 32 bits.
    method
        ``"spearman"`` replaces values by average ranks first, for which all blocks are held together, sparse.
    """
    if method == "spearman":
        return rank_correlation(sparse.vstack([block.astype(np.float32) for block in blocks], format="csc"))
    return PairMoments.of(blocks).correlation()


def correlation_bytes(n_cells: int, n_genes: int) -> int:
    """Memory that `correlation` takes: products, result, a dense block, sparse copies (of up to a third non-zero)."""
    return 16 * n_genes**2 + 12 * min(_BLOCK, n_cells) * n_genes + 8 * n_cells * n_genes


def correlations_within(
    cells: sparse.csr_matrix, members: Iterable[IntArray], method: Literal["spearman", "pearson"]
) -> Iterator[FloatArray]:
    """
    Correlate all pairs of genes within each of several sets of cells, one after the other.

    Ranks are those within a set. A set of all cells gives what `correlation` gives of them, to the bit.

    Parameters
    ----------
    cells
        Cells x genes, read once.
    members
        Rows of each set, ascending.
    method
        See :func:`correlation`.
    """
    for rows in members:
        block = cells[rows]
        if method == "spearman":
            yield rank_correlation(block.astype(np.float32).tocsc())
        else:
            yield correlation((block[start : start + BLOCK] for start in range(0, len(rows), BLOCK)), method)


def rank_correlation(columns: sparse.csc_matrix) -> FloatArray:
    """
    Spearman's correlation of all pairs of columns, float32; see :meth:`PairMoments.correlation`.

    Most genes are zero in most cells. With ranks shifted so that zero has rank 0, products of genes that are seen in
    few cells take only the cells in which they are seen; genes that are seen in many are multiplied as a dense matrix.
    All of it in 64 bits.
    """
    ranked = _ranked(columns)
    n, n_genes = ranked.shape
    seen = np.diff(ranked.indptr)
    mean, scale = np.zeros(n_genes), np.zeros(n_genes)
    _moments(ranked.indptr, ranked.data, n, mean, scale)
    order = np.argsort(seen > _SPARSE * n, kind="stable")  # genes seen in few cells first
    n_rare = int((seen <= _SPARSE * n).sum())
    rare, often = ranked[:, order[:n_rare]].tocsr(), ranked[:, order[n_rare:]].tocsr()
    products = np.zeros((n_genes, n_genes))  # in this order; above the diagonal where a rare gene is in the pair
    _rare_products(rare.indptr, rare.indices, rare.data, mean[order[:n_rare]], products)
    rare = rare.tocsc()
    for start in range(0, n if n_rare < n_genes else 0, _BLOCK):
        stop = min(start + _BLOCK, n)
        dense = np.empty((stop - start, n_genes - n_rare))
        dense[:] = often[start:stop].toarray()
        dense -= mean[order[n_rare:]]
        if start:
            products[n_rare:, n_rare:] += dense.T @ dense
        else:
            products[n_rare:, n_rare:] = dense.T @ dense
        _mixed_products(rare.indptr, rare.indices, rare.data, start, dense, products)
    result = np.empty((n_genes, n_genes), dtype=np.float32)
    _standardize(products, scale[order], order, result)
    return result


@numba.njit(cache=True, nogil=True)
def _moments(indptr: Any, data: Any, n: int, mean: FloatArray, scale: FloatArray) -> None:
    """Mean of every column, and the root of its sum of squares about it; NaN where all values are the same."""
    for column in range(len(indptr) - 1):
        values = data[indptr[column] : indptr[column + 1]]
        if len(values) == 0 or (len(values) == n and values.min() == values.max()):
            scale[column] = np.nan
            continue
        total = 0.0
        for value in values:
            total += value
        mean[column] = total / n
        squares = (n - len(values)) * mean[column] ** 2
        for value in values:
            squares += (value - mean[column]) ** 2
        scale[column] = np.sqrt(squares)


@numba.njit(cache=True, nogil=True)
def _rare_products(indptr: Any, genes: Any, ranks: Any, mean: FloatArray, products: FloatArray) -> None:
    """Products of pairs of rare genes about their means, on and above the diagonal; rows are cells."""
    n = len(indptr) - 1
    for cell in range(n):
        for one in range(indptr[cell], indptr[cell + 1]):
            rank, row = np.float64(ranks[one]), products[genes[one]]
            for other in range(one, indptr[cell + 1]):
                row[genes[other]] += rank * ranks[other]
    for one in range(len(mean)):
        for other in range(one, len(mean)):
            products[one, other] -= n * mean[one] * mean[other]


@numba.njit(cache=True, nogil=True)
def _mixed_products(indptr: Any, cells: Any, ranks: Any, start: int, dense: FloatArray, products: FloatArray) -> None:
    """
    Add products of rare genes (columns) with the others, of which `dense` holds the cells from `start` on.

    The others are about their means, so that a rare gene's own mean does not matter. Columns of `dense` are taken some
    at a time, so that they stay in the cache.
    """
    n, n_often = dense.shape
    n_rare = len(indptr) - 1
    for left in range(0, n_often, _TILE):
        right = min(left + _TILE, n_often)
        for gene in range(n_rare):
            total = products[gene, n_rare + left : n_rare + right]
            for place in range(indptr[gene], indptr[gene + 1]):
                cell = cells[place] - start
                if 0 <= cell < n:
                    rank, values = np.float64(ranks[place]), dense[cell, left:right]
                    for column in range(right - left):
                        total[column] += rank * values[column]


@numba.njit(cache=True, nogil=True)
def _standardize(products: FloatArray, scale: FloatArray, order: IntArray, result: FloatArray) -> None:
    """Correlations from what is on and above the diagonal of `products`, tile by tile, back where the genes were."""
    n = len(order)
    weight = 1 / scale
    for top in range(0, n, _SQUARE):
        for left in range(top, n, _SQUARE):
            for one in range(top, min(top + _SQUARE, n)):
                row = order[one]
                for other in range(max(left, one), min(left + _SQUARE, n)):
                    value = products[one, other] * weight[one] * weight[other]
                    if not np.isnan(value):
                        value = min(1.0, max(-1.0, value))
                    result[row, order[other]] = value
                    result[order[other], row] = value
    for gene in range(n):
        result[gene, gene] = np.nan


def _ranked(columns: sparse.csc_matrix) -> sparse.csc_matrix:
    """
    Average ranks within columns, shifted so that the rank of zero is 0 and the matrix stays sparse.

    Ranks are whole or half numbers, which 32 bits hold exactly for up to four million cells.
    """
    columns = columns.copy()
    columns.eliminate_zeros()
    _rank_columns(columns.indptr, columns.data, columns.shape[0])
    return columns


@numba.njit(cache=True, nogil=True)
def _rank_columns(indptr: Any, data: Any, n: int) -> None:
    """Replace the stored values of every column, none of them zero."""
    for column in range(len(indptr) - 1):
        values = data[indptr[column] : indptr[column + 1]]
        n_stored = len(values)
        order = np.argsort(values)
        n_below = 0
        while n_below < n_stored and values[order[n_below]] < 0:
            n_below += 1
        rank_of_zero = n_below + (n - n_stored + 1) / 2
        ranks = np.empty(n_stored)
        first = 0
        while first < n_stored:
            last = first
            while last + 1 < n_stored and values[order[last + 1]] == values[order[first]]:
                last += 1
            rank = (first + last) / 2 + 1
            if values[order[first]] > 0:
                rank += n - n_stored
            for place in range(first, last + 1):
                ranks[order[place]] = rank - rank_of_zero
            first = last + 1
        values[:] = ranks
