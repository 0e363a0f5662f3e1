from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr

import scepsis as sps
from scepsis._core._edge_slots import stale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Untouched = Callable[[ad.AnnData], Any]


def _logged(adata: ad.AnnData, cells: np.ndarray | None = None) -> np.ndarray:
    counts = adata.X.toarray().astype(np.float64)
    values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32).astype(np.float64)
    return values if cells is None else values[cells]


def _spearman(values: np.ndarray) -> np.ndarray:
    found = spearmanr(values).statistic
    np.fill_diagonal(found, np.nan)
    return found


def test_edges_are_scipys_over_the_chosen_cells_and_genes(screen: ad.AnnData) -> None:
    sps.pp.select_cells(screen, n_cells=100)
    screen.var["edge_panel"] = np.arange(60) % 4 != 0
    sps.tl.correlation_edges(screen)
    cells, genes = screen.obs["edge_cells"].to_numpy(), screen.var["edge_panel"].to_numpy()
    matrix = screen.varp["spearman"]
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix[np.ix_(genes, genes)], _spearman(_logged(screen, cells)[:, genes]), atol=1e-6)
    assert np.isnan(matrix[~genes]).all()
    assert np.isnan(matrix[:, ~genes]).all()
    params = screen.uns["spearman"]["params"]
    assert {key: params[key] for key in ("signed", "scale", "layer_rule", "cells", "genes", "n_cells", "n_genes")} == {
        "signed": True,
        "scale": "correlation",
        "layer_rule": "single",
        "cells": "edge_cells",
        "genes": "edge_panel",
        "n_cells": 100,
        "n_genes": 45,
    }
    assert list(screen.uns["spearman"]["edges_keys"]) == ["spearman"]
    assert stale(screen, params) == []


def test_pearson_and_a_key_of_ones_own(screen: ad.AnnData) -> None:
    sps.tl.correlation_edges(screen, method="pearson")
    sps.tl.correlation_edges(screen, method="pearson", key_added="mine", mask_obs=np.arange(280) < 90)
    expected = np.corrcoef(_logged(screen), rowvar=False)
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(screen.varp["pearson"], expected, atol=1e-6)
    assert not np.allclose(screen.varp["mine"], expected, equal_nan=True)
    assert screen.uns["mine"]["params"]["method"] == "pearson"
    np.testing.assert_array_equal(screen.obs["mine_cells"], np.arange(280) < 90)
    assert stale(screen, screen.uns["mine"]["params"]) == []


@pytest.mark.parametrize("storage", [sparse.csc_matrix, lambda x: x.toarray()])
def test_any_storage(make_screen: Callable[..., ad.AnnData], storage: Any) -> None:
    adata = make_screen(storage=storage)
    sps.tl.correlation_edges(adata)
    np.testing.assert_allclose(adata.varp["spearman"], _spearman(_logged(make_screen())), atol=1e-6)


def test_stored_values_are_used(screen: ad.AnnData) -> None:
    sps.pp.lognormalize(screen, totals="n_umis_total")
    sps.tl.correlation_edges(screen)
    stored = screen.layers["lognorm"].toarray().astype(np.float64)
    np.testing.assert_allclose(screen.varp["spearman"], _spearman(stored), atol=1e-6)
    assert screen.uns["spearman"]["params"]["values"] == "adata.layers['lognorm']"


def test_a_small_panel_is_stored_sparse(screen: ad.AnnData) -> None:
    mask = np.arange(60) < 10
    sps.tl.correlation_edges(screen, mask_var=mask)
    assert isinstance(screen.varp["spearman"], sparse.csr_matrix)
    np.testing.assert_allclose(sps.get.edge_matrix(screen, "spearman"), _spearman(_logged(screen)[:, :10]), atol=1e-6)
    np.testing.assert_array_equal(screen.var["spearman_genes"], mask)


def test_genes_that_do_not_vary_have_no_edges(screen: ad.AnnData) -> None:
    counts = screen.X.toarray()
    counts[:, 4] = 0
    screen.X = sparse.csr_matrix(counts)
    sps.tl.correlation_edges(screen)
    assert np.isnan(screen.varp["spearman"][4]).all()
    assert np.isnan(screen.varp["spearman"][:, 4]).all()
    assert np.isfinite(screen.varp["spearman"]).sum() == 59 * 58


def test_cells_of_equal_values_tie(screen: ad.AnnData) -> None:
    """Counts of 1 in 3000 and 2 in 6000 are the same value, whatever the last bit says."""
    counts = np.zeros((60, 4), dtype=np.float32)
    rng = np.random.default_rng(0)
    factor = rng.integers(1, 50, 60)
    counts[:, 0] = factor
    counts[:, 1] = factor * rng.integers(1, 3, 60)
    counts[:, 2] = 100 * factor - counts[:, 1]
    adata = ad.AnnData(X=sparse.csr_matrix(counts))
    sps.tl.correlation_edges(adata)
    matrix = sps.get.edge_matrix(adata, "spearman")
    assert list(matrix.index) == ["1", "2"]  # gene 0 is the same share of every cell, gene 3 is never seen
    assert matrix.loc["1", "2"] == pytest.approx(-1)


def test_wrong_input_is_refused(screen: ad.AnnData, untouched: Untouched) -> None:
    screen.layers["raw"] = screen.X.copy()
    screen.layers["scaled"] = screen.X.toarray() - 1.5
    large = ad.AnnData(X=sparse.csr_matrix((3, 5001), dtype=np.float32))
    with untouched(screen), untouched(large):
        for layer, message in (("raw", "whole numbers only"), ("scaled", "negative values")):
            with pytest.raises(ValueError, match=message):
                sps.tl.correlation_edges(screen, layer=layer)
        with pytest.raises(ValueError, match="'spearman', 'pearson', not 'kendall'"):
            sps.tl.correlation_edges(screen, method="kendall")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="without '/'"):
            sps.tl.correlation_edges(screen, key_added="a/b")
        with pytest.raises(MemoryError, match=r"60 genes.*select_panel"):
            sps.tl.correlation_edges(screen, memory_limit=1000)
        with pytest.raises(ValueError, match="5001 genes and no panel"):
            sps.tl.correlation_edges(large)
        with pytest.raises(KeyError, match="'absent'"):
            sps.tl.correlation_edges(screen, mask_var="absent")
        with pytest.raises(KeyError, match="'absent'"):
            sps.tl.correlation_edges(screen, layer="absent")
    screen.X = np.log1p(screen.X.toarray())
    with untouched(screen), pytest.raises(ValueError, match=r"fractions.*uns\['log1p'\]"):
        sps.tl.correlation_edges(screen)


def test_views_files_and_copies(screen: ad.AnnData, untouched: Untouched, tmp_path: Path) -> None:
    view = screen[50:, :40]
    with untouched(screen), pytest.warns(UserWarning, match="is a view"):
        sps.tl.correlation_edges(view)
    np.testing.assert_allclose(view.varp["spearman"], _spearman(_logged(screen[50:, :40])), atol=1e-6)
    with untouched(screen):
        copy = sps.tl.correlation_edges(screen, copy=True)
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    sps.tl.correlation_edges(backed)
    np.testing.assert_array_equal(backed.varp["spearman"], copy.varp["spearman"])
    backed.file.close()


def test_it_survives_writing(screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    sps.tl.correlation_edges(screen, mask_obs=np.arange(280) < 200, mask_var=np.arange(60) < 50)
    for back in roundtrips(screen):
        np.testing.assert_array_equal(back.varp["spearman"], screen.varp["spearman"])
        assert stale(back, back.uns["spearman"]["params"]) == []


@pytest.mark.real_data
def test_real_values(data_dir: Path) -> None:
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")[:100].copy()
    sps.pp.lognormalize(adata, totals="n_umis_total")
    sps.tl.correlation_edges(adata)
    values = adata.layers["lognorm"].toarray().astype(np.float64)
    varying = values.std(axis=0) > 0
    np.testing.assert_allclose(
        adata.varp["spearman"][np.ix_(varying, varying)], _spearman(values[:, varying]), atol=1e-6
    )
    assert np.isnan(adata.varp["spearman"][~varying]).all()
