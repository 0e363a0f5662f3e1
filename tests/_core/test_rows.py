from __future__ import annotations

import h5py
import numpy as np
import pytest
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from scepsis._core._rows import iter_blocks

N_CELLS, N_GENES = 53, 11
ROWS = {
    "all": np.arange(N_CELLS),
    "some": np.array([0, 1, 2, 3, 9, 20, 21, 22, 52]),
    "middle": np.arange(7, 40),
    "none": np.zeros(0, dtype=int),
}


@pytest.fixture
def dense() -> np.ndarray:
    return np.random.default_rng(0).poisson(0.7, (N_CELLS, N_GENES)).astype(np.float32)


@pytest.fixture(params=["array", "csr", "csc", "csr_array", "csr on disk", "array on disk", "dask"])
def matrix(request, dense, tmp_path):
    if request.param == "dask":
        yield pytest.importorskip("dask.array").from_array(dense, chunks=(10, -1))
        return
    kinds = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "csr_array": sparse.csr_array}
    made = kinds[request.param.split()[0]](dense) if request.param.split()[0] in kinds else dense
    if "disk" not in request.param:
        yield made
        return
    with h5py.File(tmp_path / "matrix.h5", "w") as file:
        write_elem(file, "X", made)
        yield sparse_dataset(file["X"]) if sparse.issparse(made) else file["X"]


@pytest.mark.parametrize("which", ROWS)
@pytest.mark.parametrize("size", [1, 8, 1000])
def test_blocks_are_the_rows_in_order(matrix, dense, which: str, size: int) -> None:
    blocks = list(iter_blocks(matrix, ROWS[which], size=size))
    assert all(block.shape[0] == len(rows) <= size for rows, block in blocks)
    assert all(isinstance(block, sparse.csr_matrix) and block.has_canonical_format for _, block in blocks)
    if not blocks:
        assert which == "none"
        return
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in blocks]), ROWS[which])
    np.testing.assert_array_equal(sparse.vstack([block for _, block in blocks]).toarray(), dense[ROWS[which]])


def test_entries_stored_twice_are_one_value_and_stay_as_they_are() -> None:
    parts = (np.array([1.0, 2, 4]), np.array([3, 3, 0]), np.array([0, 3, 3]))
    matrix = sparse.csr_matrix(tuple(part.copy() for part in parts), shape=(2, 4))
    ((_, block),) = iter_blocks(matrix, np.arange(2))
    np.testing.assert_array_equal(block.toarray(), [[4, 0, 0, 3], [0, 0, 0, 0]])
    assert block.nnz == 2
    for now, before in zip((matrix.data, matrix.indices, matrix.indptr), parts, strict=True):
        np.testing.assert_array_equal(now, before)


def test_contiguous_rows_in_memory_are_not_copied(dense) -> None:
    matrix = sparse.csr_matrix(dense)
    assert all(np.shares_memory(block.data, matrix.data) for _, block in iter_blocks(matrix, ROWS["middle"], size=9))
