"""Edges without a model: what is read and recorded, that every scoring tool takes them, and what raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import mutual_info_score

import scepsis as sps
from scepsis._core._edge_slots import stale
from scepsis._core._types import BaselineMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

METHODS = get_args(BaselineMethod)
each_method = pytest.mark.parametrize("method", METHODS)


def _made(adata: ad.AnnData, method: str, **more: Any) -> np.ndarray:
    quick = {"n_trees": 5} if method == "genie3_like" else {}
    sps.tl.baseline_edges(adata, method=method, show_progress_bar=False, key_added="made", **quick | more)
    return sps.get.edge_matrix(adata, "made").to_numpy()


def _logged(adata: ad.AnnData) -> np.ndarray:
    counts = adata.X.toarray().astype(np.float64)
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)


@each_method
def test_reads_the_chosen_cells_and_genes_and_says_so(screen: ad.AnnData, method: str) -> None:
    sps.pp.select_cells(screen, n_cells=100)
    screen.var["edge_panel"] = np.arange(60) % 4 != 0
    found = _made(screen, method)
    assert found.shape == (45, 45)
    assert np.isnan(np.diag(found)).all()
    assert np.isfinite(found[~np.eye(45, dtype=bool)]).all()
    chosen = screen[screen.obs["edge_cells"], screen.var["edge_panel"]].copy()
    chosen.layers["lognorm"] = sparse.csr_matrix(
        _logged(screen)[np.ix_(screen.obs["edge_cells"], screen.var["edge_panel"])]
    )
    np.testing.assert_allclose(_made(chosen, method), found, atol=1e-5)
    params = screen.uns["made"]["params"]
    assert stale(screen, params) == []
    assert {name: params[name] for name in ("method", "layer_rule", "cells", "genes", "n_cells", "n_genes")} == {
        "method": method, "layer_rule": "single", "cells": "edge_cells", "genes": "edge_panel", "n_cells": 100,
        "n_genes": 45,
    }  # fmt: skip
    assert params["signed"] == (method in {"partial_correlation", "ridge"})
    assert list(screen.uns["made"]["edges_keys"]) == ["made"]


def test_mutual_information_is_of_the_values(screen: ad.AnnData) -> None:
    found = _made(screen, "mutual_information", n_bins=2)
    detected = screen.X.toarray() > 0
    assert found[3, 7] == pytest.approx(mutual_info_score(detected[:, 3], detected[:, 7]), abs=1e-6)


@pytest.mark.parametrize("feature", ["mean", "variance", "detection_rate"])
def test_gene_product_is_that_of_gene_features(screen: ad.AnnData, feature: str) -> None:
    sps.pp.gene_features(screen)
    sps.tl.baseline_edges(screen, method="gene_product", feature=feature)
    values = screen.var[feature].to_numpy(dtype=float)
    expected = np.outer(values, values)
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(screen.varp[f"{feature}_product"], expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["ridge", "genie3_like"])
def test_sources_alone_have_rows(screen: ad.AnnData, method: str) -> None:
    _made(screen, method, sources=["G2", "G0"])
    frame = sps.get.edges(screen, "made")
    assert set(frame["source"]) == {"G0", "G2"}
    assert len(frame) == 2 * 59
    assert list(screen.uns["made"]["params"]["sources"]) == ["G0", "G2"]


@each_method
def test_every_scoring_tool_takes_them(make_audit: Callable[..., ad.AnnData], method: str) -> None:
    adata = make_audit(n_genes=60, n_units=12, companions=())
    adata.layers["lognorm"] = sparse.csr_matrix(np.log1p(adata.X))
    more = {"sources": list(adata.var_names[:15])} if method == "ridge" else {}
    _made(adata, method, **more)
    sps.tl.perturbation_auroc(adata, edges=["made", "spearman"], n_boot=20)
    sps.tl.incremental_value(adata, edges="made", n_boot=20, learners="logistic")
    sps.tl.matched_evaluation(adata, edges="made")
    reference = sps.get.edges(adata, "attention", top=150)
    sps.tl.reference_auroc(adata, reference, edges="made", n_boot=20)
    tests = sps.get.tests(adata, edges="made")
    assert {"A01", "A04", "A05", "A11", "R"} <= set(tests["analysis"])
    assert set(tests["layer_rule"]) == {"single"}
    assert (tests["cells_hash"] != "").all()


@pytest.mark.parametrize("method", ["partial_correlation", "genie3_like"])
def test_a_planted_edge_is_found_and_a_gene_level_confound_is_not(
    make_screen: Callable[..., ad.AnnData], method: str
) -> None:
    adata = make_screen(n_controls=600, n_perturbed=2)
    values = _logged(adata)
    rng = np.random.default_rng(3)
    values[:, 41] = np.maximum(values[:, 40] + 0.1 * rng.normal(size=len(values)), 0)  # a pair, and
    values[:, 50] = np.maximum(6 + rng.normal(size=len(values)), 0)  # a gene that is high and variable by itself
    adata.layers["lognorm"] = sparse.csr_matrix(values)
    sources = [f"G{index}" for index in range(38, 53)]
    found = np.abs(_made(adata, method, **({"n_trees": 30, "sources": sources} if method == "genie3_like" else {})))
    assert np.nanargmax(found[:, 41]) == 40
    assert np.nanmedian(found[50]) < 2 * np.nanmedian(found)


@each_method
def test_survives_disk_and_repeats(
    screen: ad.AnnData, method: str, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    found = _made(screen, method)
    for back in roundtrips(screen):
        np.testing.assert_array_equal(sps.get.edge_matrix(back, "made"), found)
        assert back.uns["made"]["params"]["method"] == method
    np.testing.assert_array_equal(_made(screen, method, n_jobs=2), found)


def test_seed_matters_for_trees(screen: ad.AnnData) -> None:
    assert not np.array_equal(_made(screen, "genie3_like"), _made(screen, "genie3_like", rng=1), equal_nan=True)


def test_masks_of_ones_own_and_copy(screen: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    with untouched(screen):
        copy = sps.tl.baseline_edges(screen, method="ridge", mask_obs=np.arange(280) < 90, copy=True)
    np.testing.assert_array_equal(copy.obs["ridge_cells"], np.arange(280) < 90)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"method": "arboreto"}, ValueError, "method"),
        ({"method": "gene_product", "feature": "length"}, ValueError, "feature"),
        ({"method": "mutual_information", "n_bins": 1}, ValueError, "n_bins"),
        ({"method": "ridge", "penalty": 0}, ValueError, "penalty"),
        ({"method": "ridge", "sources": ["ENSG1"]}, ValueError, r"not in the panel: 'ENSG1'.*force"),
        ({"method": "ridge", "sources": []}, ValueError, "sources"),
        ({"method": "mutual_information", "sources": ["G1"]}, ValueError, "'ridge', 'genie3_like'"),
        ({"method": "genie3_like", "n_trees": 0}, ValueError, "n_trees"),
        ({"method": "ridge", "layer": "scaled"}, KeyError, "scaled"),
        ({"method": "ridge", "key_added": "a/b"}, ValueError, "key_added"),
        ({"method": "ridge", "mask_var": "nothing"}, KeyError, "nothing"),
        ({"method": "partial_correlation", "memory_limit": 1000}, MemoryError, r"select_panel.*n_top_genes"),
    ],
)
def test_bad_input_raises_before_any_work(
    screen: ad.AnnData,
    untouched: Callable[[ad.AnnData], Any],
    given: dict[str, Any],
    error: type[Exception],
    match: str,
) -> None:
    with untouched(screen), pytest.raises(error, match=match):
        sps.tl.baseline_edges(screen, **given)


def test_raw_counts_are_refused(screen: ad.AnnData) -> None:
    screen.layers["lognorm"] = screen.X.copy()
    with pytest.raises(ValueError, match="raw counts"):
        sps.tl.baseline_edges(screen, method="ridge")


def test_remedy_for_other_cells_names_the_tool(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=60, n_units=12, companions=())
    adata.layers["lognorm"] = sparse.csr_matrix(np.log1p(adata.X))
    sps.tl.baseline_edges(adata, method="ridge", mask_obs="other_cells")
    with pytest.raises(ValueError, match=r"scepsis.tl.baseline_edges\(adata, method='ridge', key_added='ridge'\)"):
        sps.tl.perturbation_auroc(adata, edges="ridge")


@pytest.mark.real_data
def test_real_screen(data_dir: Path) -> None:
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    sps.pp.select_cells(adata, n_cells=500)
    found = {}
    for method in ("mutual_information", "partial_correlation", "ridge"):
        _made(adata, method, n_bins=2)
        found[method] = np.asarray(adata.varp["made"])
    cells = adata.obs["edge_cells"].to_numpy()
    detected = adata.X[cells].toarray() > 0
    for i, j in np.random.default_rng(0).integers(adata.n_vars, size=(20, 2)):
        if i != j and np.isfinite(found["mutual_information"][i, j]):
            expected = mutual_info_score(detected[:, i], detected[:, j])
            assert found["mutual_information"][i, j] == pytest.approx(expected, abs=1e-6)
    partial = found["partial_correlation"]
    known = np.isfinite(partial)
    assert known.mean() > 0.9
    assert np.abs(partial[known]).max() <= 1
    np.testing.assert_array_equal(known, np.isfinite(found["ridge"]))
    assert 0 < adata.uns["made"]["params"]["n_cells"] == 500
