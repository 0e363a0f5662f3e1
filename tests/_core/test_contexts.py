"""Contexts: which modalities are some, and cells that are known by their values."""

from __future__ import annotations

from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scepsis._core._contexts import for_context, read_contexts, require_contexts


def _together(**contexts: ad.AnnData) -> Any:
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData(contexts, axis=1)


def _cells(n_cells: int, seed: int, n_genes: int = 300) -> ad.AnnData:
    counts = sparse.random(n_cells, n_genes, 0.2, format="csr", rng=np.random.default_rng(seed), dtype=np.float32)
    counts.data = np.ceil(counts.data * 3)
    obs = pd.DataFrame(index=[f"AAAC-{index}" for index in range(n_cells)])
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"G{index}" for index in range(n_genes)]))


@pytest.mark.filterwarnings("ignore::UserWarning")  # the same barcodes, as droplets of two runs have
def test_many_different_cells_of_the_same_names_are_different() -> None:
    contexts = read_contexts(_together(a=_cells(15_000, 0), b=_cells(15_000, 1)))
    assert list(contexts) == ["a", "b"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("storage", [sparse.csr_matrix, sparse.csc_matrix, lambda matrix: matrix.toarray()])
def test_a_cell_is_found_by_its_values_however_they_are_stored(storage: Any) -> None:
    first, second = _cells(100, 0), _cells(100, 1)
    values = second.X.tolil()
    values[7] = first.X[40]
    second.X = storage(values.tocsr())
    with pytest.raises(ValueError, match=r"1 cells are in two contexts.*AAAC-40 of a and AAAC-7 of b"):
        read_contexts(_together(a=first, b=second))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("swapped", [False, True])
def test_a_cell_is_found_whatever_else_is_stored_beside_its_counts(swapped: bool) -> None:
    first, second = _cells(100, 0), _cells(100, 1)
    values = second.X.tolil()
    values[7] = first.X[40]
    second.X = values.tocsr()
    first.layers["counts"] = first.X.copy()
    first.X = np.log1p(first.X.multiply(1e4 / first.X.sum(axis=1))).tocsr()
    contexts = {"b": second, "a": first} if swapped else {"a": first, "b": second}
    with pytest.raises(ValueError, match="1 cells are in two contexts"):
        read_contexts(_together(**contexts))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nearly_empty_cells_may_be_alike() -> None:
    first, second = _cells(50, 0), _cells(50, 1)
    for one in (first, second):
        values = one.X.tolil()
        values[3] = 0
        values[3, 10] = 1
        one.X = values.tocsr()
    assert set(read_contexts(_together(a=first, b=second))) == {"a", "b"}


def test_what_one_context_is_given() -> None:
    names = ["a", "b"]
    assert for_context("x", "a", names=names, argument="control") == "x"
    assert for_context({"a": "x", "b": "y"}, "b", names=names, argument="control") == "y"
    with pytest.raises(ValueError, match="`control` says nothing of the context 'b'"):
        for_context({"a": "x"}, "b", names=names, argument="control")
    with pytest.raises(ValueError, match="`modality` names no context 'c'; there are: 'a', 'b'"):
        require_contexts({"c": "x"}, names, argument="modality")
