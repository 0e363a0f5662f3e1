from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import anndata as ad


@pytest.fixture
def scored(
    make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None], reported: Callable[..., ad.AnnData]
) -> ad.AnnData:
    """A scored screen with three layers, the last of which knows complexes of five genes."""
    adata = make_audit(n_genes=80, n_units=10)
    scores = reported().uns
    adata.uns |= {name: scores[name] for name in ("perturbation_auroc", "perturbation_effects")}
    rng = np.random.default_rng(0)
    complexes = {f"set{index}": list(adata.var_names[5 * index : 5 * index + 5]) for index in range(14)}
    together = np.kron(np.eye(16), np.ones((5, 5)))
    for layer in range(3):
        edges = np.exp(rng.normal(size=(80, 80)) + layer * together)
        store_edges(adata, f"attention_L{layer}", edges, method="attention", scale="probability")
    keys = [f"attention_L{layer}" for layer in range(3)]
    sps.tl.characterize_layers(
        adata, {"complexes": complexes, "none": {"one": ["G0", "G1"]}}, edges=keys, n_null=20, show_progress_bar=False
    )
    return adata


def test_section_and_figure_say_what_is_stored(scored: ad.AnnData, tmp_path: Path) -> None:
    page = sps.report(scored, tmp_path / "page.html").read_text()
    section = re.search(r"<h2>What layers know</h2>(.*?)</section>", page, re.DOTALL)[1]
    trend = scored.uns["characterize_layers"]["trends"].set_index("reference").loc["complexes"]
    assert f"{trend['slope']:+.4f}" in section
    partial = scored.uns["characterize_layers"]["partial"].query(
        "reference == 'complexes' and edges == 'attention_L2' and scale == 'rank'"
    )
    kept = partial.set_index("given").loc["pair_and_genes", "retained"]
    assert f"{kept:.0%}".replace("%", "\N{NO-BREAK SPACE}%") in section
    assert "too few units" in section
    assert "AUROC of references at every layer, highest: complexes" in page


def test_without_a_result_there_is_no_section(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    assert "What layers know" not in sps.report(reported(), tmp_path / "page.html").read_text()
