from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
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


def _section(page: str, title: str) -> str:
    return re.search(rf"<h2>{title}</h2>(.*?)</section>", page, re.DOTALL)[1].replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def profiled(scored: ad.AnnData) -> ad.AnnData:
    """The same screen, with a network of twelve regulators, half of which are of a class."""
    rng = np.random.default_rng(1)
    names = scored.var_names.to_numpy(dtype=object)
    network = pd.DataFrame(
        [(names[5 * index], target) for index in range(12) for target in rng.choice(names[60:], 6, replace=False)],
        columns=["source", "target"],
    )
    classes = {str(names[5 * index]): "master" for index in range(0, 12, 2)}
    sps.tl.tf_profile(scored, network, edges="attention_L2", classes=classes, n_null=200)
    sps.tl.attention_vs_coexpression(
        scored, {"complexes": {"one": list(names[:20])}}, edges=["attention_L0", "attention_L2"], n_null=50,
        show_progress_bar=False,
    )  # fmt: skip
    return scored


def test_regulators_have_a_section_with_what_is_stored(profiled: ad.AnnData, tmp_path: Path) -> None:
    section = _section(sps.report(profiled, tmp_path / "page.html").read_text(), "Regulators one by one")
    result = profiled.uns["tf_profile"]
    assert "12 regulators of 12 have at least 3 evaluated targets" in section
    assert "fewer than 50: the tests are underpowered and no inference" in section
    units = result["per_regulator"].sort_values("auroc")
    for row in (units.iloc[0], units.iloc[-1]):
        assert f"{row['regulator']} ({row['auroc']:.3f})" in section
    tests = result["tests"].query("subset == 'several_targets'")
    assert section.count("<tr>") == 1 + len(tests)
    gap = tests.set_index("test").loc["class/master", "statistic"]
    assert f"{gap:+.3f}".replace("-", "\N{MINUS SIGN}") in section


def test_co_expression_has_a_section_with_what_is_stored(profiled: ad.AnnData, tmp_path: Path) -> None:
    page = sps.report(profiled, tmp_path / "page.html").read_text()
    section = _section(page, "Along co-expression")
    summary = profiled.uns["attention_vs_coexpression"]["summary"]
    assert section.count("<tr>") == 1 + len(summary)
    for rho in summary["rho"]:
        assert f"{rho:+.3f}".replace("-", "\N{MINUS SIGN}") in section
    assert "permute the genes 50 times" in section
    found = _section(page, "What could have been found")
    for key in ("tf_profile", "attention_vs_coexpression"):
        frame = profiled.uns[key]["detection"]
        names = "against" if key.startswith("attention") else "test"
        for (edges, name), own in frame.groupby(["edges", names], sort=False):
            seen = own.loc[own["detected"], "delta"]
            smallest = f"{seen.min():g} sd" if len(seen) else "none up to 2 sd"
            judged = f"with {name}" if names == "against" else name.replace("/", ", ").replace("_", " ")
            cells = f"{re.escape(edges)}</td><td[^>]*>{re.escape(judged)}</td><td[^>]*>{smallest}</td>"
            assert re.search(cells, found), (edges, name)


def test_without_a_result_there_is_no_section(reported: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    page = sps.report(reported(), tmp_path / "page.html").read_text()
    for title in ("What layers know", "Regulators one by one", "Along co-expression"):
        assert title not in page
