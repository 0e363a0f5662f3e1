from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import scepsis as sps
from scepsis._core._hashing import hash_strings

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

KEY = "perturbation_auroc"
BASELINES = ["variance", "mean", "detection_rate", "de_frequency", "position", "coverage"]


def test_edges_from_different_cells_are_refused(
    score: Callable[..., Any],
    make_audit: Callable[..., ad.AnnData],
    store_edges: Callable[..., None],
    untouched: Callable[..., Any],
) -> None:
    adata = make_audit()
    store_edges(adata, "spearman", np.asarray(adata.varp["spearman"]), cells="other_cells", signed=True)
    pattern = "(?s)attention.*spearman.*40 cells.*35 cells.*select_cells.*correlation_edges.*allow_different_cells"
    with untouched(adata), pytest.raises(ValueError, match=pattern):
        sps.tl.perturbation_auroc(adata)
    result = score(adata, allow_different_cells=True)
    assert result["params"]["allow_different_cells"]
    assert not result["params"]["same_cells"]
    assert score(adata, edges="attention")["params"]["same_cells"]


def test_features_from_different_cells_are_refused(
    score: Callable[..., Any],
    make_audit: Callable[..., ad.AnnData],
    store_edges: Callable[..., None],
    untouched: Callable[..., Any],
) -> None:
    adata = make_audit()
    store_edges(adata, "spearman", np.asarray(adata.varp["spearman"]), cells="other_cells", signed=True)
    with untouched(adata), pytest.raises(ValueError, match=r"gene_features.*scepsis.pp.gene_features\(adata\)"):
        sps.tl.perturbation_auroc(adata, edges="spearman")
    assert (score(adata, edges="spearman", baselines=("de_frequency",))["summary"]["status"] == "ok").all()


def test_perturbed_cells_behind_edges_leak_labels(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit()
    clean = score(adata)
    store_edges(adata, "spearman", np.asarray(adata.varp["spearman"]), cells="all_cells", signed=True)
    result = score(adata, allow_different_cells=True)
    for predictor in ("spearman", "spearman_signed"):
        found = result.of(predictor)
        assert (found["status"] == "label_leak").all()
        np.testing.assert_array_equal(found["auroc"], clean.of(predictor)["auroc"])
    summary = result["summary"].set_index("predictor")["status"]
    assert set(summary[["spearman", "spearman_signed"]]) == {"label_leak"}
    assert set(summary.drop(["spearman", "spearman_signed"])) == {"ok"}
    leaked = result["contrasts"].query("edges == 'spearman' or versus.str.startswith('spearman')", engine="python")
    assert set(leaked["status"]) == {"label_leak"}
    assert leaked["p_value"].notna().all()


def test_perturbed_cells_behind_features_leak_labels(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit()
    adata.obs["edge_cells"] = True
    for entry in adata.uns.values():
        if "cells_hash" in entry["params"]:
            entry["params"]["cells_hash"] = hash_strings(adata.obs_names)
    result = score(adata)["summary"].set_index("predictor")["status"]
    assert result.index[result != "label_leak"].tolist() == ["de_frequency"]
