"""Cells in batches, from wherever the matrix lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepsis._core._types import IntArray

BLOCK = 1024


def iter_blocks(matrix: Any, rows: IntArray, *, size: int = BLOCK) -> Iterator[tuple[IntArray, sparse.csr_matrix]]:
    """
    Yield ``(rows, block)`` with `block` a CSR matrix of the cells asked for.

    Takes a numpy array, a scipy sparse matrix, a backed h5 matrix or a dask array; only one block is in memory
    at a time. `rows` must be ascending, which is the order that files are read in. A block may share memory with
    `matrix`: it is read, never written into.
    """
    if sparse.issparse(matrix) and matrix.format != "csr":
        matrix = matrix.tocsr()
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        yield chosen, _as_csr(_take(matrix, chosen))


def _take(matrix: Any, rows: IntArray) -> Any:
    contiguous = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    if contiguous and sparse.issparse(matrix) and matrix.has_canonical_format:
        return _share(matrix, int(rows[0]), int(rows[-1]) + 1)
    block = matrix[slice(int(rows[0]), int(rows[-1]) + 1)] if contiguous else matrix[rows]
    return block.compute() if hasattr(block, "compute") else block


def _share(matrix: sparse.csr_matrix, start: int, stop: int) -> sparse.csr_matrix:
    """Rows of a CSR matrix without a copy of what they hold, which the constructor would make."""
    begin, end = matrix.indptr[start], matrix.indptr[stop]
    block = sparse.csr_matrix((stop - start, matrix.shape[1]), dtype=matrix.dtype)
    block.data, block.indices = matrix.data[begin:end], matrix.indices[begin:end]
    block.indptr = matrix.indptr[start : stop + 1] - begin
    block.has_canonical_format = True
    return block


def _as_csr(block: Any) -> sparse.csr_matrix:
    if isinstance(block, sparse.csr_matrix) and block.has_canonical_format:
        return block
    if sparse.issparse(block):
        result = sparse.csr_matrix(block)
        result.sum_duplicates()
        return result
    return sparse.csr_matrix(np.asarray(block))
