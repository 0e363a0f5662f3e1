"""Cells in batches, from wherever the matrix lives."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepsis._core._types import IntArray

BLOCK = 1024


def is_dask(matrix: Any) -> bool:
    """Whether a matrix is a dask array; dask is not imported to find out."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(matrix, dask_array.Array)


def require_rows(matrix: Any, slot: str) -> None:
    """Raise `ValueError` when a matrix cannot be read cell by cell without reading all of it each time."""
    if is_dask(matrix) and len(matrix.chunks[1]) > 1:
        msg = (
            f"`{slot}` is a dask array whose chunks cut through the genes ({len(matrix.chunks[1])} chunks of genes, "
            f"{len(matrix.chunks[0])} of cells), where a cell must be read whole. Call "
            f"`{slot} = {slot}.rechunk((1000, -1))`; a file stored by columns is better written anew by rows."
        )
        raise ValueError(msg)
    if getattr(matrix, "format", None) == "csc" and not sparse.issparse(matrix):
        msg = (
            f"`{slot}` is backed by a file that stores it by columns (CSC), where cells are read: every block of cells "
            "would read the whole file. Call `adata = adata.to_memory()`, or write it by rows: "
            "`adata.X = adata.X.tocsr()` before `adata.write_h5ad(...)`."
        )
        raise ValueError(msg)


def iter_blocks(matrix: Any, rows: IntArray, *, size: int = BLOCK) -> Iterator[tuple[IntArray, sparse.csr_matrix]]:
    """
    Yield ``(rows, block)`` with `block` a CSR matrix of the cells asked for.

    Takes a numpy array, a scipy sparse matrix, a backed h5 matrix or a dask array; only one block is in memory
    at a time, of a dask array the chunks that it lies in. `rows` must be ascending, which is the order that files are
    read in. A block may share memory with `matrix`: it is read, never written into.
    """
    if is_dask(matrix):
        yield from _iter_chunks(matrix, rows, size)
        return
    if sparse.issparse(matrix) and matrix.format != "csr":
        matrix = matrix.tocsr()
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        yield chosen, _as_csr(_take(matrix, chosen))


def row_chunks(matrix: Any, rows: IntArray) -> Iterator[tuple[int, int, int, IntArray]]:
    """Yield ``(number, start, stop, rows)`` of each row chunk of a dask array that holds cells asked for."""
    stop = 0
    for number, length in enumerate(matrix.chunks[0]):
        start, stop = stop, stop + length
        first, last = np.searchsorted(rows, [start, stop])
        if first < last:
            yield number, start, stop, rows[first:last]


def _iter_chunks(matrix: Any, rows: IntArray, size: int) -> Iterator[tuple[IntArray, sparse.csr_matrix]]:
    """Blocks that end where chunks do, so that no chunk is computed twice; small chunks are computed together."""
    waiting: list[IntArray] = []
    begin = 0
    chunks = list(row_chunks(matrix, rows))
    for position, (_, start, stop, chosen) in enumerate(chunks):
        begin = begin if waiting else start
        waiting.append(chosen)
        if stop - begin >= size or position == len(chunks) - 1:
            together = np.concatenate(waiting)
            for local, block in iter_blocks(matrix[begin:stop].compute(), together - begin, size=size):
                yield local + begin, block
            waiting = []


def _take(matrix: Any, rows: IntArray) -> Any:
    contiguous = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    if contiguous and sparse.issparse(matrix) and matrix.has_canonical_format:
        return _share(matrix, int(rows[0]), int(rows[-1]) + 1)
    return matrix[slice(int(rows[0]), int(rows[-1]) + 1)] if contiguous else matrix[rows]


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
