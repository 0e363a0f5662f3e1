from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    import anndata as ad


def test_a_bare_matrix_is_labelled(screen: ad.AnnData) -> None:
    values = np.random.default_rng(0).random((60, 60))
    screen.varp["mine"] = values
    matrix = sps.get.edge_matrix(screen, "mine")
    assert matrix.index.name == "source"
    assert matrix.columns.name == "target"
    assert matrix.loc["G3", "G7"] == np.float32(values[3, 7])
    assert matrix.loc["G7", "G3"] == np.float32(values[7, 3])
    assert np.isnan(np.diagonal(matrix)).all()
    assert screen.varp["mine"][0, 0] == values[0, 0]


def test_absent_entries_of_a_sparse_matrix_were_never_evaluated(screen: ad.AnnData) -> None:
    data, row, column = np.array([0.5, 0.0, -1.0]), np.array([1, 1, 4]), np.array([4, 2, 1])
    screen.varp["mine"] = sparse.csr_matrix((data, (row, column)), shape=(60, 60))
    matrix = sps.get.edge_matrix(screen, "mine")
    assert list(matrix.index) == ["G1", "G2", "G4"]
    assert matrix.loc["G1", "G4"] == 0.5
    assert matrix.loc["G1", "G2"] == 0
    assert matrix.loc["G4", "G1"] == -1
    assert matrix.isna().sum().sum() == 6


def test_changed_genes_are_warned_about(screen: ad.AnnData) -> None:
    sps.pp.select_cells(screen)
    sps.tl.correlation_edges(screen)
    fewer = screen[:, :50].copy()
    with pytest.warns(UserWarning, match="other genes"):
        matrix = sps.get.edge_matrix(fewer, "spearman")
    assert matrix.shape == (50, 50)


def test_an_absent_key_is_named(screen: ad.AnnData) -> None:
    with pytest.raises(KeyError, match=r"adata.varp\['attention'\].*attention_edges"):
        sps.get.edge_matrix(screen, "attention")
    with pytest.raises(TypeError, match="AnnData"):
        sps.get.edge_matrix(screen, "attention", mod="rna")
