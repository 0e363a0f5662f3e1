"""Correlation of every pair of columns, with memory that grows with the stored values and not with their square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepsis._core._types import FloatArray

#: Cells made dense at a time.
_BLOCK = 2048


def correlation(blocks: Iterable[sparse.csr_matrix], method: Literal["spearman", "pearson"]) -> FloatArray:
    """
    Correlate all pairs of genes over the cells of all blocks.

    Parameters
    ----------
    blocks
        Cells x genes, CSR, in turn. They are held together in their sparse form, in 32 bits.
    method
        ``"spearman"`` replaces values by average ranks first.

    Returns
    -------
    numpy.ndarray
        Genes x genes, float32, accumulated in float64; NaN on the diagonal, and in row and column of a gene that is
        the same in all cells.
    """
    columns = sparse.vstack([block.astype(np.float32) for block in blocks], format="csc")
    constant = _is_constant(columns)
    if method == "spearman":
        columns = _ranked(columns)
    cells = columns.tocsr()
    del columns
    centre = np.asarray(cells.sum(axis=0, dtype=np.float64)).ravel() / cells.shape[0]
    products = np.zeros((cells.shape[1], cells.shape[1]))
    for start in range(0, cells.shape[0], _BLOCK):
        dense = cells[start : start + _BLOCK].toarray().astype(np.float64)
        dense -= centre
        products += dense.T @ dense
    scale = np.sqrt(np.diag(products))
    scale[constant] = np.nan
    products /= scale[:, None]
    products /= scale[None, :]
    np.clip(products, -1, 1, out=products)
    np.fill_diagonal(products, np.nan)
    return products.astype(np.float32)


def correlation_bytes(n_cells: int, n_genes: int) -> int:
    """Memory that `correlation` takes: products, result, a dense block, sparse copies (of up to a third non-zero)."""
    return 12 * n_genes**2 + 12 * min(_BLOCK, n_cells) * n_genes + 8 * n_cells * n_genes


def _is_constant(columns: sparse.csc_matrix) -> np.ndarray:
    lowest, highest = (extreme(axis=0).toarray().ravel() for extreme in (columns.min, columns.max))
    return np.asarray(lowest == highest)


def _ranked(columns: sparse.csc_matrix) -> sparse.csc_matrix:
    """
    Average ranks within columns, shifted so that the rank of zero is 0 and the matrix stays sparse.

    Ranks are whole or half numbers, which 32 bits hold exactly for up to four million cells.
    """
    from scipy.stats import rankdata

    columns = columns.copy()
    columns.eliminate_zeros()
    n = columns.shape[0]
    for start, stop in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
        values = columns.data[start:stop]
        n_zero, n_below = n - len(values), int((values < 0).sum())
        rank_of_zero = n_below + (n_zero + 1) / 2
        ranks = rankdata(values)
        ranks[values > 0] += n_zero
        columns.data[start:stop] = ranks - rank_of_zero
    return columns
