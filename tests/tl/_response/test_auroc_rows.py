from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def rows(adata: ad.AnnData) -> pd.DataFrame:
    frame = adata.uns["tests"]
    return frame.set_index(["analysis", "edges", "name"]).sort_index()


def test_rows_are_the_tests_of_scipy(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(signal=0.3)
    result = score(adata, edges=["attention", "spearman"])
    found = rows(adata)
    values = result.of("attention")["auroc"].to_numpy()
    chance = found.loc["A01", "attention", "above_chance"]
    test = stats.ttest_1samp(values, 0.5)
    np.testing.assert_allclose(
        chance[["statistic", "p_raw", "effect_size"]].astype(float), [test.statistic, test.pvalue, values.mean()]
    )
    assert tuple(chance[["ci_low", "ci_high"]]) == pytest.approx(tuple(test.confidence_interval()))
    pairs = result.of("attention")
    assert (chance["n"], chance["n_pos"]) == (pairs[["n_pos", "n_neg"]].to_numpy().sum(), pairs["n_pos"].sum())
    assert (chance["n_units"], chance["unit"], chance["null_mean"]) == (30, "perturbation", 0.5)
    # 80 % of replicates at the smallest detectable effect are significant
    rng = np.random.default_rng(0)
    drawn = rng.normal(chance["minimum_detectable"], values.std(ddof=1), (4000, 30))
    assert (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.03)

    difference = values - result.of("variance")["auroc"].to_numpy()
    row = found.loc["A04", "attention", "vs_variance"]
    wilcoxon = stats.wilcoxon(difference, correction=True, method="asymptotic")
    np.testing.assert_allclose(
        row[["statistic", "p_raw", "effect_size"]].astype(float),
        [wilcoxon.statistic, wilcoxon.pvalue, difference.mean()],
    )
    contrast = result.contrast("attention", "variance")
    told = ["twoway_low", "twoway_high", "equivalence", "margin", "minimum_detectable", "status"]
    entered = ["ci_low", "ci_high", "equivalence", "margin", "minimum_detectable", "status"]
    assert row[entered].tolist() == contrast[told].tolist()


def test_every_comparison_is_entered_once(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit()
    result = score(adata)
    found = rows(adata)
    assert set(found.loc["A04", "attention"].index) == {
        f"vs_{name}" for name in ("variance", "mean", "detection_rate", "de_frequency", "position", "coverage")
    }
    scales = [f"attention_{name}" for name in ("uniform_fold", "centered", "randomized")]
    assert set(found.loc["A01", "attention"].index) == {
        "above_chance",
        "vs_spearman",
        "vs_spearman_signed",
        *(f"vs_{name}" for name in scales),
    }
    assert "vs_attention" not in found.loc["A01", "spearman"].index
    tests = adata.uns["tests"]
    assert len(tests) == len(result["contrasts"]) - 1 + 2  # attention and spearman once, and each against chance
    primary = tests.loc[tests["is_primary"], ["analysis", "edges", "name"]]
    assert primary.to_numpy().tolist() == [
        ["A01", "attention", "vs_spearman"],
        ["A04", "attention", "vs_variance"],
        ["A04", "spearman", "vs_variance"],
    ]
    assert set(tests.loc[tests["role"] != "confirmatory", "name"]) == {"vs_spearman_signed"}
    trivial = result["summary"].query("kind == 'baseline'").set_index("predictor")["auroc"]
    assert set(tests["baseline_value"]) == {trivial.max()}
    assert set(tests["baseline_name"]) <= set(trivial.index[trivial == trivial.max()])


@pytest.mark.parametrize("order", [["attention", "spearman"], ["spearman", "attention"]])
def test_edges_speak_for_themselves_against_the_correlation(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], order: list[str]
) -> None:
    adata = make_audit(signal=0.5)
    result = score(adata, edges=order)
    row = rows(adata).loc["A01", "attention", "vs_spearman"]
    contrast = result.contrast("attention", "spearman")
    assert row["effect_size"] == contrast["difference"] > 0
    assert row["ci_low"] == contrast["twoway_low"]


def test_what_cannot_be_tested_is_a_row_with_the_reason(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(n_units=5)
    adata.var = adata.var.drop(columns="mean")
    score(adata, edges="spearman")
    found = rows(adata)
    chance = found.loc["A01", "spearman", "above_chance"]
    assert (chance["status"], chance["n_units"]) == ("too_few_units", 5)
    assert chance["reason"] == "5 perturbations count, and 6 are needed"
    assert np.isfinite(chance["effect_size"])
    assert np.isnan(chance["p_raw"])
    absent = found.loc["A04", "spearman", "vs_mean"]
    assert (absent["status"], absent["reason"]) == ("not_run", "there is nothing to read mean from")
    assert absent[["p_raw", "effect_size", "ci_low"]].isna().all()


def test_leaks_and_unrecorded_layers_follow_the_edges(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit(signal=1.0)
    noise = np.random.default_rng(0).normal(size=(adata.n_vars, adata.n_vars))
    store_edges(adata, "leaking", noise, cells="all_cells")
    store_edges(adata, "chosen", noise, layer_rule="unrecorded")
    score(adata, edges=["attention", "leaking", "chosen"], allow_different_cells=True)
    tests = adata.uns["tests"]
    assert set(tests.query("edges == 'leaking'")["status"]) == {"label_leak"}
    assert tests.query("edges == 'leaking' and name == 'above_chance'")["p_raw"].notna().all()
    assert set(tests.query("edges == 'attention' and name == 'vs_leaking'")["status"]) == {"label_leak"}
    assert set(tests.query("edges == 'chosen'")["role"]) == {"exploratory"}
    record = adata.uns["attention"]["params"]
    row = tests.query("edges == 'attention'").iloc[0]
    hashes = (row["cells_hash"], row["genes_hash"], row["labels_hash"])
    assert hashes == (record["cells_hash"], record["genes_hash"], "labels")


def test_settings_are_counted_and_results_with_other_names_stand_beside(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(n_units=8)
    for direction in ("source", "target", "source"):
        score(adata, edges="spearman", direction=direction, n_boot=50)
    tests = adata.uns["tests"]
    assert set(tests["n_runs"]) == {3}
    assert set(tests["n_distinct_params"]) == {2}
    score(adata, edges="spearman", n_boot=50, key_added="other")
    assert len(adata.uns["tests"]) == 2 * len(tests)
    kept = adata.uns["tests"].query("key == 'perturbation_auroc'").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, tests)
