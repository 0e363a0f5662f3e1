from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from scepsis._core._rows import iter_blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = {
    "all": np.arange(50),
    "contiguous": np.arange(7, 31),
    "scattered": np.array([0, 3, 4, 9, 28, 49]),
    "one": np.array([17]),
    "none": np.array([], dtype=np.int64),
}


@pytest.fixture
def dense() -> np.ndarray:
    return np.random.default_rng(0).poisson(0.4, (50, 12)).astype(np.float32)


def _same(matrix: Any, dense: np.ndarray, rows: np.ndarray, size: int) -> None:
    seen = []
    for chosen, block in iter_blocks(matrix, rows, size=size):
        assert isinstance(block, sparse.csr_matrix)
        assert block.has_canonical_format
        assert 0 < block.shape[0] <= size
        np.testing.assert_array_equal(block.toarray(), dense[chosen])
        seen.append(chosen)
    np.testing.assert_array_equal(np.concatenate([*seen, []]), rows)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "form",
    [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array],
    ids=lambda f: f.__name__,
)
def test_matrices_in_memory(form: Callable[..., Any], dense: np.ndarray, rows: np.ndarray, size: int) -> None:
    _same(form(dense), dense, rows, size)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix], ids=lambda f: f.__name__)
def test_matrices_on_disk(form: Callable[..., Any], dense: np.ndarray, rows: np.ndarray, tmp_path: Path) -> None:
    ad.AnnData(X=form(dense)).write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    _same(backed.X, dense, rows, 8)
    backed.file.close()


def test_dask_arrays(dense: np.ndarray) -> None:
    da = pytest.importorskip("dask.array", reason="dask is an extra")
    array = da.from_array(dense, chunks=(9, 12))
    for rows in ROWS.values():
        _same(array, dense, rows, 8)


def test_views(dense: np.ndarray) -> None:
    adata = ad.AnnData(X=sparse.csr_matrix(dense))[::2, 1:9]
    _same(adata.X, dense[::2, 1:9], np.arange(25), 4)


def test_repeated_entries_are_summed() -> None:
    double = sparse.csr_matrix((np.ones(3), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    (_, block), *_ = iter_blocks(double, np.arange(2))
    np.testing.assert_array_equal(block.toarray(), [[0, 2], [1, 0]])
