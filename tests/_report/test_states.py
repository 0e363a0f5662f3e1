from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps
from scepsis._report._battery import battery
from scepsis._report._states import states

if TYPE_CHECKING:
    import anndata as ad

QUIET: dict[str, Any] = {"show_progress_bar": False, "min_targets": 1}


def text_of(parts: list[str]) -> str:
    """What a section says, without its markup."""
    plain = unescape(re.sub(r"<[^>]+>", " ", " ".join(parts)))
    return re.sub(r"\s+", " ", plain.replace("\u00a0", " "))


def sections(adata: ad.AnnData) -> dict[str, str]:
    return {title: text_of(parts) for title, parts in states(adata)}


@pytest.fixture(scope="module")
def planted() -> ad.AnnData:
    """Six states with edges of their own; labels of another column say nothing."""
    adata = sps.datasets.simulate_cssi(n_states=6, rng=1)
    network = adata.uns["simulate_cssi"]["network"]
    adata.obs["nothing"] = adata.obs["cell_state"].sample(frac=1, random_state=0).to_numpy()
    for groupby, key in (("cell_state", "true"), ("nothing", "none")):
        sps.tl.cssi(adata, groupby=groupby, key_added=key)
        sps.tl.cssi_null(adata, network, key=key, nulls="size_matched", n_null=39, key_added=f"{key}_null", **QUIET)
    sps.tl.cssi_split_half(adata, network, key="true", n_splits=2, variants=["max", "std"], **QUIET)
    adata.obsm["X_pca"] = adata.X[:, :5]
    sps.tl.cssi_scan(adata, network, n_states=[4, 600], use_rep="X_pca", n_null=2, min_cells=5, **QUIET)
    sps.tl.scaling_curve(adata, reference=network, n_cells=[100, 300, 5000], n_seeds=2, **QUIET)
    return adata


def test_sections_hold_the_numbers_and_say_what_they_mean(planted: ad.AnnData) -> None:
    found = sections(planted)
    assert list(found) == ["Networks per cell state", "More cells"]
    told = found["Networks per cell state"]
    for key in ("true", "none"):
        row = planted.uns[f"{key}_null"]["nulls"].iloc[0]
        assert f"AUROC {row['observed']:.3f}; {row['null_mean']:.3f} for groups" in told
        assert f"{row['pooled']:.3f} for all cells together" in told
    assert (
        "true ranks the pairs of reference better than random groups of the same sizes do, and than all cells" in told
    )
    assert "none ranks the pairs of reference no better than all cells together, nor is it shown to beat" in told
    splits = planted.uns["cssi_split_half"]["splits"]
    assert f"differs from all cells together by {splits['gain'].mean():+.3f} in AUROC" in told
    assert f"{splits['held_out'].mean():.3f}, and {splits['auroc_first'].mean():.3f} on the cells" in told
    assert "(no test: too few units)" in told  # of five regulators
    calls = planted.uns["cssi_split_half"]["edges"]
    share = calls["n_found_again"].sum() / calls["n_called"].sum()
    assert f"{100 * share:.3g} % are found again" in told
    assert "1 number of states could not be reached" in told
    changes = planted.uns["scaling_curve"]["changes"].query("metric == 'auroc'").iloc[0]
    assert f"AUROC 100 300 {changes['mean_change']:+.3f}".replace("-", "−") in found["More cells"]
    assert "Left out for want of cells: 5000 cells." in found["More cells"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gain": -0.1}, "but not than all cells together"),
        ({"n_null": 19, "p_value": 0.05}, "of which too few were drawn"),
        ({"p_value": 0.3}, "so that the gain is not shown to come from states"),
        ({"p_value": 0.3, "gain": -0.1}, "no better than all cells together, nor is it shown"),
    ],
)
def test_words_follow_from_the_numbers(planted: ad.AnnData, changes: dict[str, float], said: str) -> None:
    adata = planted.copy()
    for name, value in changes.items():
        adata.uns["true_null"]["nulls"][name] = value
    del adata.uns["none_null"]
    assert said in sections(adata)["Networks per cell state"]


def test_without_results_there_is_no_section(planted: ad.AnnData) -> None:
    adata = planted.copy()
    del adata.uns["scaling_curve"]
    assert list(sections(adata)) == ["Networks per cell state"]
    adata.uns = {"tests": planted.uns["tests"], "spearman": {"params": {"method": "spearman"}}}
    assert states(adata) == []


def test_what_could_have_been_found_is_told(planted: ad.AnnData) -> None:
    adata = planted.copy()
    adata.uns["cssi_null"] = adata.uns["none_null"]
    told = text_of(dict(battery(adata))["What could have been found"])
    frame = adata.uns["cssi_null"]["detection"]
    own = frame[(frame["test"] == "null/size_matched") & frame["detected"]]
    smallest = f"{own['delta'].min():g} sd" if len(own) else "none up to 2 sd"
    assert f"AUROC of states on the reference none null, size matched {smallest}" in told


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_page_holds_the_sections(tmp_path: Any) -> None:
    adata = sps.datasets.demo()
    sps.pp.select_cells(adata, n_cells=400)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    sps.tl.perturbation_effects(adata)
    sps.tl.perturbation_auroc(adata, edges="spearman")
    sps.tl.cssi(adata, groupby="cell_state")
    page = sps.report(adata, tmp_path / "page.html").read_text()
    titles = re.findall(r"<h2>([^<]*)</h2>", page)
    assert titles.index("Numbers") < titles.index("Networks per cell state") < titles.index("What was audited")
