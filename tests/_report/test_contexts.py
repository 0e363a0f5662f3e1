"""Sections on contexts, models and gene universes: there where there is a result, with its numbers."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import mudata
import pytest

import scepsis as sps
from scepsis._report._contexts import compared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import anndata as ad

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
SKIP = ["incremental_value", "matched_evaluation", "explain_edges", "residualize_edges"]


def _texts(data: Any, adata: ad.AnnData) -> dict[str, str]:
    def plain(parts: list[str]) -> str:
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", " ".join(parts))).replace("\u00a0", " "))

    return {title: plain(parts) for title, parts in compared(data, adata)}


@pytest.fixture
def mdata(make_audit: Callable[..., ad.AnnData]) -> Any:
    contexts = {
        name: make_audit(signal=signal, seed=seed, n_genes=120, companions=())
        for seed, (name, signal) in enumerate({"A": 0.0, "B": 0.0, "C": 1.5}.items())
    }
    with mudata.set_options(pull_on_update=False):
        result = mudata.MuData(contexts, axis=1)
    sps.tl.cross_context(
        result, edges="attention", modality={"A": "CRISPRi"}, skip=SKIP, n_boot=50, show_progress_bar=False
    )
    return result


def test_contexts_have_their_section(mdata: Any) -> None:
    found = _texts(mdata, mdata.mod["A"])["Across contexts"]
    result = mdata.uns["cross_context"]
    assert result["claims"]["reason"].iloc[0] in found
    assert "A CRISPRi" in found
    row = result["summary"].query("edges == 'attention' and name == 'above_chance'").iloc[0]
    assert f"A01 above_chance – C 3 of 3 {row['mean']:.3f}" in found


def test_the_page_of_a_context_tells_of_the_others(tmp_path: Path) -> None:
    size = {"n_genes": 120, "n_regulators": 14, "n_other": 4, "n_controls": 200, "cells_per_perturbation": 55}
    with mudata.set_options(pull_on_update=False):
        lines = mudata.MuData({name: sps.datasets.simulate_screen(**size, rng=ord(name)) for name in "AB"}, axis=1)
    sps.tl.cross_context(lines, edges="spearman", skip=SKIP, n_boot=20, show_progress_bar=False)
    page = sps.report(lines, tmp_path / "a.html", mod="B").read_text()
    assert "Across contexts" in page
    assert "Beside other models" not in page


def test_models_and_gene_universes_have_theirs(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_units=40, companions=())
    assert _texts(adata, adata) == {}
    sps.tl.gene_universe_effect(adata, n_top_genes=120, n_boot=50)
    reference = sps.get.edges(adata, "attention", top=150)
    sps.tl.compare_models(
        adata,
        {"one": "attention", "two": "spearman"},
        reference,
        n_boot=50,
        reference_name="net",
        mask_obs="edge_cells",
    )
    found = _texts(adata, adata)
    assert list(found) == ["Beside other models", "Forced and natural genes"]
    summary = adata.uns["compare_models"]["summary"].query("statistic == 'pooled'").set_index("predictor")
    assert f"{summary.loc['two', 'auroc']:.3f}" in found["Beside other models"]
    assert "200 genes that all have, and on the same pairs of net" in found["Beside other models"]
    shift = adata.uns["gene_universe_effect"]["shifts"].iloc[0]
    assert f"{abs(shift['shift']):.3f}" in found["Forced and natural genes"]
    assert "forced genes: 80." in found["Forced and natural genes"]
