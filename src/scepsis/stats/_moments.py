"""Additive group moments: what t tests, means and detection rates need, from one pass over the cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Moments:
    """
    Sums over the cells of each group, for each gene.

    Moments of disjoint sets of cells add up, whether the sets come from blocks, files or machines. `moments[group]`
    is one group, with arrays over genes.
    """

    #: Cells, one number for each group.
    n: IntArray
    #: Cells with a value above zero, groups x genes.
    n_expressing: IntArray
    #: Sum of the values, groups x genes, float64.
    total: FloatArray
    #: Sum of their squares, groups x genes, float64.
    squares: FloatArray

    @classmethod
    def zeros(cls, n_groups: int, n_genes: int) -> Moments:
        """Moments of no cells."""
        shape = (n_groups, n_genes)
        return cls(
            np.zeros(n_groups, dtype=np.int64), np.zeros(shape, dtype=np.int32), np.zeros(shape), np.zeros(shape)
        )

    def __getitem__(self, group: int) -> Moments:
        """Moments of one group."""
        return Moments(*(field[group] for field in self._fields()))

    def of_genes(self, genes: BoolArray | IntArray) -> Moments:
        """Moments of some of the genes."""
        return Moments(self.n, self.n_expressing[..., genes], self.total[..., genes], self.squares[..., genes])

    def __add__(self, other: Moments) -> Moments:
        """Moments of two disjoint sets of cells together."""
        return Moments(*(mine + others for mine, others in zip(self._fields(), other._fields(), strict=True)))

    def __sub__(self, part: Moments) -> Moments:
        """Moments of what is left when a part of the cells is taken away; exactly zero where nothing is left."""
        left = self.n_expressing - part.n_expressing
        total = np.where(left > 0, self.total - part.total, 0.0)
        squares = np.where(left > 0, self.squares - part.squares, 0.0)
        return Moments(self.n - part.n, left, total, squares)

    def _fields(self) -> tuple[Any, ...]:
        return self.n, self.n_expressing, self.total, self.squares

    def add(self, block: sparse.csr_matrix, members: sparse.csc_matrix) -> None:
        """Add the cells of a block to the groups they are members of (cells x groups, a cell may be in several)."""
        self.n[:] += np.diff(members.indptr)
        _accumulate(
            block.indptr,
            block.indices,
            block.data,
            members.indptr,
            members.indices,
            self.n_expressing,
            self.total,
            self.squares,
        )

    @cached_property
    def mean(self) -> FloatArray:
        """Mean value; NaN in an empty group."""
        return self._per(self.total, self._n)

    @cached_property
    def detection_rate(self) -> FloatArray:
        """Share of cells with a value above zero; NaN in an empty group."""
        return self._per(self.n_expressing, self._n)

    @cached_property
    def variance(self) -> FloatArray:
        """
        Sample variance (n - 1); NaN below two cells.

        A spread within the rounding error of the sums is none: a gene with one value in all cells has variance 0.
        """
        spread = self.squares - self.total * self.mean
        noise = self._n * np.finfo(np.float64).eps * self.squares
        return self._per(np.where(spread <= noise, 0.0, spread), self._n - 1)

    @property
    def _n(self) -> IntArray:
        """Cells in a shape that meets the genes."""
        return np.asarray(self.n)[..., None]

    @staticmethod
    def _per(total: FloatArray | IntArray, n: IntArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            result: FloatArray = total / n
        return result


@numba.njit(cache=True, nogil=True)
def _accumulate(
    row_start: Any,
    genes: Any,
    values: Any,
    group_start: Any,
    cells: Any,
    n_expressing: IntArray,
    total: FloatArray,
    squares: FloatArray,
) -> None:
    """Go group by group, so that the sums of one group stay in the cache while its cells pass."""
    for group in range(len(group_start) - 1):
        expressing_here, total_here, squares_here = n_expressing[group], total[group], squares[group]
        for member in range(group_start[group], group_start[group + 1]):
            cell = cells[member]
            for entry in range(row_start[cell], row_start[cell + 1]):
                value = np.float64(values[entry])
                gene = np.uint32(genes[entry])  # unsigned: no test for indices that count from the end
                expressing_here[gene] += value > 0
                total_here[gene] += value
                squares_here[gene] += value * value


def membership(groups: Sequence[IntArray], n_cells: int) -> sparse.csr_matrix:
    """Cells x groups indicator from the cells of each group."""
    sizes = [len(cells) for cells in groups]
    rows = np.concatenate(groups) if groups else np.zeros(0, dtype=np.int64)
    columns = np.repeat(np.arange(len(groups)), sizes)
    return sparse.csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(n_cells, len(groups)))


def group_moments(
    blocks: Iterable[tuple[IntArray, sparse.csr_matrix]],
    groups: Sequence[IntArray],
    *,
    n_cells: int,
    n_genes: int,
) -> Moments:
    """
    Moments of each group of cells.

    Every group is summed in the order in which its cells arrive, so the result does not depend, to the last bit, on
    where the stream is cut into blocks.

    Parameters
    ----------
    blocks
        Pairs of cell positions and the CSR matrix of these cells (cells x genes).
    groups
        Cell positions of each group; groups may overlap.
    n_cells
        Cells in all.
    n_genes
        Genes in all.
    """
    return member_moments(blocks, membership(groups, n_cells), n_genes=n_genes)


def member_moments(
    blocks: Iterable[tuple[IntArray, sparse.csr_matrix]], members: sparse.csr_matrix, *, n_genes: int
) -> Moments:
    """Moments of each group, `members` saying of every cell (a row) which groups (columns) it is in."""
    moments = Moments.zeros(members.shape[1], n_genes)
    for rows, block in blocks:
        contiguous = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
        moments.add(block, (members[rows[0] : rows[-1] + 1] if contiguous else members[rows]).tocsc())
    return moments
