"""Forced against natural genes: planted effects of candidates and of extraction, and the tools that score one alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK: dict[str, Any] = {"n_boot": 100, "n_top_genes": 100}


def _run(adata: ad.AnnData, model: Any = None, **more: Any) -> dict[str, Any]:
    sps.tl.gene_universe_effect(adata, model, **QUICK | more)
    return adata.uns["gene_universe_effect"]


def _of(frame: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


@pytest.fixture
def forced(make_audit: Callable[..., ad.AnnData]) -> ad.AnnData:
    """Half of 200 genes are natural (``var["height"]``), with 20 of 40 perturbed ones among them."""
    adata = make_audit(n_units=40, companions=(), rate=0.2)
    adata.var["height"] = np.arange(200) % 2 + np.linspace(0, 0.1, 200)
    return adata


def test_aurocs_are_scikit_learns_on_the_candidates_of_each_protocol(forced: ad.AnnData) -> None:
    result = _run(forced, by="height")
    natural = forced.var["height"].to_numpy() > 1
    labels = sps.get.effects(forced, "target")
    edges = sps.get.edge_matrix(forced, "attention")
    for protocol, units, candidates in (
        ("forced", np.ones(40, bool), np.ones(200, bool)),
        ("forced_natural", natural[:40], np.ones(200, bool)),
        ("restricted", natural[:40], natural),
    ):
        own = _of(result["per_perturbation"], protocol=protocol, predictor="attention").set_index("perturbation")
        assert own.index[own["used"]].tolist() == list(forced.var_names[:40][units])
        for name in own.index[own["used"]][:5]:
            genes = [gene for gene in forced.var_names[candidates] if gene != name]
            expected = roc_auc_score(labels.loc[genes, name], edges.loc[name, genes])
            assert own.loc[name, "auroc"] == pytest.approx(expected)
        mean = _of(result["summary"], protocol=protocol, predictor="attention").iloc[0]
        assert mean["auroc"] == pytest.approx(own.loc[own["used"], "auroc"].mean())
        assert mean["n_units"] == own["used"].sum()


@pytest.mark.filterwarnings("ignore:Attention is scored:UserWarning")
def test_agrees_with_perturbation_auroc_where_nothing_is_restricted(forced: ad.AnnData, score: Any) -> None:
    result = _run(forced, by="height")
    alone = score(forced, edges=["attention", "spearman"])
    contrast = alone.contrast("attention", "spearman")
    own = _of(result["summary"], protocol="forced", predictor="attention").iloc[0]
    assert own["difference"] == pytest.approx(contrast["difference"])
    assert (own["ci_low"], own["ci_high"]) == pytest.approx((contrast["twoway_low"], contrast["twoway_high"]))
    assert own["p_value"] == pytest.approx(contrast["p_value"])
    variance = _of(result["summary"], protocol="forced", predictor="variance").iloc[0]
    assert variance["auroc"] == pytest.approx(alone["summary"].set_index("predictor").loc["variance", "auroc"])


def test_easy_negatives_are_found_and_random_ones_are_not(forced: ad.AnnData) -> None:
    result = _run(forced, by="height")
    nothing = result["shifts"].iloc[0]
    assert (nothing["shift_of"], nothing["status"]) == ("candidates", "ok")
    assert nothing["ci_low"] < 0 < nothing["ci_high"]
    assert nothing["p_value"] > 0.01
    # attention puts every forced gene at the bottom, and no forced gene responds
    natural = forced.var["height"].to_numpy() > 1
    forced.varp["attention"][:, ~natural] -= 100
    target = forced.varm["perturbation_target"]
    target[~natural] = 0
    shift = _run(forced, by="height")["shifts"].iloc[0]
    assert shift["shift"] < -0.1
    assert shift["ci_high"] < 0
    assert shift["shift"] == pytest.approx(shift["shift_edges"] - shift["shift_versus"])
    row = sps.get.tests(forced, analysis="A19").iloc[0]
    assert row["is_primary"]
    assert (row["name"], row["equivalence"], row["n_runs"]) == ("shift/candidates", "different", 2)
    assert row["effect_size"] == shift["shift"]


@pytest.mark.filterwarnings("ignore:`adata` has:UserWarning")
def test_edges_made_anew_are_those_of_cells_without_the_other_genes(screen: ad.AnnData, small_model: Any) -> None:
    sps.pp.select_cells(screen, n_cells=60)
    sps.pp.gene_features(screen)
    sps.tl.correlation_edges(screen)
    sps.tl.attention_edges(screen, small_model, layers=[0, 2], show_progress_bar=False, layer_rule="frozen")
    sps.tl.perturbation_effects(screen, min_cells=30, show_progress_bar=False)
    more = {"edges": ["attention_L2", "spearman"], "n_top_genes": 30, "min_positives": 1, "show_progress_bar": False}
    result = _run(screen, small_model, reextract=True, **more)
    natural = np.zeros(60, dtype=bool)
    natural[np.argsort(-screen.var["variance"].to_numpy(), kind="stable")[:30]] = True
    only = screen[screen.obs["edge_cells"], natural].copy()
    for slot in ("varp", "uns"):
        getattr(only, slot).clear()
    sps.tl.attention_edges(only, small_model, layers=[2], show_progress_bar=False)
    edges, before = sps.get.edge_matrix(only, "attention"), sps.get.edge_matrix(screen, "attention_L2")
    assert not np.allclose(edges, before.loc[edges.index, edges.columns], equal_nan=True)
    own = _of(result["per_perturbation"], protocol="reextracted", predictor="attention_L2").set_index("perturbation")
    labels = sps.get.effects(screen, "target")
    assert own["used"].any()
    for name in own.index[own["used"]]:
        genes = [g for g in edges.columns if g != name and np.isfinite(labels.loc[g, name]) and g in before.columns]
        genes = [g for g in genes if np.isfinite(edges.loc[name, g]) and np.isfinite(before.loc[name, g])]
        assert own.loc[name, "auroc"] == pytest.approx(roc_auc_score(labels.loc[genes, name], edges.loc[name, genes]))
    assert result["shifts"]["shift_of"].tolist() == ["candidates", "extraction", "both"]
    assert list(result["params"]["extracted_anew"]) == ["attention_L2"]
    sizes = [
        _of(result["per_perturbation"], predictor="spearman", protocol=protocol)["n_neg"].tolist()
        for protocol in ("restricted", "reextracted")
    ]
    assert sizes[0] == sizes[1]
    assert "edge_cells" in screen.obs
    assert set(screen.varp) == {"attention", "attention_L0", "attention_L2", "attention_n_cells", "spearman"}
    # what is not made anew has nothing to shift on the same candidates
    sps.tl.baseline_edges(screen, method="gene_product", key_added="product")
    shifts = _run(screen, small_model, reextract=True, **more | {"edges": ["attention_L2", "product", "spearman"]})
    shifts = shifts["shifts"].set_index(["edges", "shift_of"])
    assert shifts.loc[("product", "extraction"), "status"] == "structurally_null"
    assert (shifts["status"] == "structurally_null").sum() == 1


def test_too_few_natural_perturbations_have_no_p(forced: ad.AnnData) -> None:
    forced.var["height"] = -np.arange(200.0)  # the last genes of all perturbed ones are not natural
    result = _run(forced, by="height", n_top_genes=150)
    assert result["shifts"]["status"].tolist() == ["ok"]
    forced.var["height"] = np.arange(200.0)
    result = _run(forced, by="height", n_top_genes=163)  # three perturbed genes
    row = result["shifts"].iloc[0]
    assert (row["status"], row["n_units"]) == ("too_few_units", 3)
    assert np.isnan([row["p_value"], row["ci_low"]]).all()
    assert np.isfinite(row["shift"])
    assert "3 natural perturbations" in sps.get.tests(forced, analysis="A19")["reason"].iloc[0]


def test_what_cannot_shift_is_no_evidence_that_it_does_not(forced: ad.AnnData) -> None:
    result = _run(forced, by="height", n_top_genes=200)
    assert result["universe"].set_index("what").loc["forced genes", "n"] == 0
    shift = result["shifts"].iloc[0]
    assert (shift["status"], shift["equivalence"], shift["shift"]) == ("structurally_null", "", 0)
    assert shift[["p_value", "ci_low", "ci_high", "boot_low", "cohen_d", "minimum_detectable"]].isna().all()
    row = sps.get.tests(forced, analysis="A19").iloc[0]
    assert (row["status"], row["equivalence"]) == ("structurally_null", "")
    assert "0 by construction" in row["reason"]


def test_perturbed_cells_are_told(forced: ad.AnnData, store_edges: Callable[..., None]) -> None:
    store_edges(forced, "leaky", np.random.default_rng(0).normal(size=(200, 200)), cells="all_cells")
    result = _run(forced, by="height", edges=["leaky", "spearman"], allow_different_cells=True)
    assert result["shifts"]["status"].tolist() == ["label_leak"]
    assert sps.get.tests(forced, analysis="A19")["status"].tolist() == ["label_leak"]


def test_survives_disk_and_repeats(
    forced: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]], untouched: Callable[[ad.AnnData], Any]
) -> None:
    with untouched(forced):
        copy = sps.tl.gene_universe_effect(forced, by="height", copy=True, **QUICK)
    result = _run(forced, by="height")
    for back in roundtrips(forced):
        for name, frame in result.items():
            if name != "params":
                pd.testing.assert_frame_equal(copy.uns["gene_universe_effect"][name], frame)
                stored = back.uns["gene_universe_effect"][name].reset_index(drop=True)
                pd.testing.assert_frame_equal(stored, frame, check_dtype=False)


def test_bad_input_raises_before_any_work(
    forced: ad.AnnData, untouched: Callable[[ad.AnnData], Any], small_model: Any
) -> None:
    forced.var["words"] = "a"
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"versus": "pearson"}, ValueError, "versus='pearson'"),
        ({"edges": "spearman"}, ValueError, "beside another"),
        ({"edges": ["nothing", "spearman"]}, KeyError, "nothing"),
        ({"by": "length"}, KeyError, "length.*gene_features"),
        ({"by": "words"}, TypeError, "numbers"),
        ({"n_top_genes": 1}, ValueError, "n_top_genes"),
        ({"reextract": True}, ValueError, "needs the model"),
        ({"effects": "other"}, KeyError, "other"),
        ({"direction": "both"}, ValueError, "direction"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
    ]
    for given, error, match in wrong:
        with untouched(forced), pytest.raises(error, match=match):
            sps.tl.gene_universe_effect(forced, **QUICK | given)


@pytest.mark.filterwarnings("ignore:`adata` has:UserWarning")
def test_attention_of_another_model_is_refused(screen: ad.AnnData, small_model: Any) -> None:
    sps.pp.select_cells(screen, n_cells=60)
    sps.pp.gene_features(screen)
    sps.tl.correlation_edges(screen)
    sps.tl.perturbation_effects(screen, min_cells=30, show_progress_bar=False)
    twin = sps.models.randomize(small_model)
    sps.tl.correlation_edges(screen, method="pearson")
    with pytest.raises(ValueError, match="none of the `edges` is attention"):
        sps.tl.gene_universe_effect(screen, small_model, edges=["pearson", "spearman"], reextract=True)
    sps.tl.attention_edges(screen, small_model, show_progress_bar=False)
    with pytest.raises(ValueError, match="whose weights are not those"):
        sps.tl.gene_universe_effect(screen, twin, reextract=True)


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_screen(data_dir: Path) -> None:
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    sps.pp.lognormalize(adata, totals="n_umis_total")
    sps.pp.select_cells(adata, n_cells=500)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    sps.tl.baseline_edges(adata, method="mutual_information")
    sps.tl.perturbation_effects(adata, lfc_threshold=0.1, show_progress_bar=False, n_null_splits=2)
    result = _run(adata, edges=["mutual_information", "spearman"], n_top_genes=150)
    counts = result["universe"].set_index("what")["n"]
    assert counts["natural genes"] == 150
    assert counts["perturbations, forced"] >= counts["perturbations, restricted"] > 0
