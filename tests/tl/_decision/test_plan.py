from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


@pytest.fixture(scope="module")
def demo() -> ad.AnnData:
    adata = sps.datasets.demo()
    sps.pp.select_cells(adata)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    sps.tl.perturbation_effects(adata, show_progress_bar=False)
    return adata


@pytest.fixture
def adata(demo: ad.AnnData) -> ad.AnnData:
    return demo.copy()


def _network(adata: ad.AnnData) -> pd.DataFrame:
    return adata.uns["simulate_screen"]["network"][["source", "target"]].drop_duplicates()


def test_steps_count_what_the_tools_would_do(adata: ad.AnnData) -> None:
    """The counts are those of a run: cells, fits of `incremental_value`, networks, passes of an ablation."""
    adata.var["edge_panel"] = np.arange(adata.n_vars) < 120
    model = sps.models.load("demo")
    sps.tl.plan(adata, model, edges=["spearman", "attention"], reference=_network(adata), n_null=70)
    steps = adata.uns["plan"]["steps"].set_index("step")
    assert list(steps.index) == [
        "attention_edges",
        "incremental_value/logistic",
        "incremental_value/gbdt",
        "degree_null",
        "rank_heads",
        "ablate_heads",
    ]
    assert steps.loc["rank_heads", "n_units"] == adata.obs["edge_cells"].sum()
    assert steps.loc["attention_edges", "n_units"] == adata.obs["edge_cells"].sum()
    # 35 folds, gene features alone once, and two sets with five placebos each
    assert steps.loc["incremental_value/gbdt", "n_units"] == 35 * (1 + 2 * 6)
    assert steps.loc["degree_null", "n_units"] == 70
    assert (steps["status"] == "ok").all()
    assert (steps["seconds_per_unit"] > 0).all()
    np.testing.assert_allclose(steps["seconds"], steps["seconds_per_unit"] * steps["n_units"])
    # sums and counts of two maps over 120 genes; two maps and their mean over all genes
    expected = 120**2 * (8 * 2 + 4) + 3 * 4 * adata.n_vars**2
    assert steps.loc["attention_edges", "n_bytes"] == expected
    quiet = {"show_progress_bar": False}
    sps.tl.rank_heads(adata, model, reference=_network(adata), **quiet)
    sps.tl.ablate_heads(adata, model, n_random=1, n_cells=4, n_fidelity=2, **quiet)
    result = adata.uns["head_ablation"]
    able = result["results"].query("status != 'not_applicable'")["condition"].nunique()
    assert len(result["held_out"]) == 1
    # one without anything, each condition, the heads of either half, and all random sets
    assert steps.loc["ablate_heads", "n_units"] == adata.obs["edge_cells"].sum() * (1 + able + 2 + 70)


def test_diagonal_and_jobs_cost_less(adata: ad.AnnData) -> None:
    sps.tl.plan(adata, edges="spearman", joint_mode="diagonal", n_placebo=2, n_jobs=3)
    row = adata.uns["plan"]["steps"].set_index("step").loc["incremental_value/gbdt"]
    assert row["n_units"] == 15 * (1 + 3)
    assert row["seconds"] == pytest.approx(row["seconds_per_unit"] * row["n_units"] / 3)


def test_pilot_has_the_error_of_a_run(adata: ad.AnnData) -> None:
    """What a pilot says before is what the rows of `incremental_value` say afterwards."""
    sps.tl.plan(adata, edges="spearman", gain=0.004, key_added="before")
    options = {"splits": ["perturbation"], "metrics": ["auroc"], "n_boot": 50, "n_placebo": 1}
    sps.tl.incremental_value(adata, edges="spearman", **options)
    sps.tl.plan(adata, edges="spearman", gain=0.004)
    before = adata.uns["before"]["power"].iloc[0]
    after = adata.uns["plan"]["power"].set_index("learner")
    assert (before["basis"], after.loc["logistic", "basis"]) == ("pilot", "rows")
    for column in ("n_units", "n_genes", "standard_error", "error_by_unit", "error_shared", "n_needed"):
        assert after.loc["logistic", column] == pytest.approx(before[column], rel=1e-9)
    # and both are those of the stored intervals
    gains = adata.uns["incremental_value"]["gains"].set_index("learner")
    for learner, low, high in (("logistic", "ci_low", "ci_high"), ("gbdt", "placebo_low", "placebo_high")):
        row = gains.loc[learner]
        df = min(row["n_units"], row["n_genes"]) - 1
        assert after.loc[learner, "standard_error"] == pytest.approx((row[high] - row[low]) / 2 / t.ppf(0.975, df))
        assert after.loc[learner, "minimum_detectable"] == pytest.approx(row["minimum_detectable"], rel=1e-6)


def test_needed_perturbations_reach_the_gain_and_genes_can_bar_it(adata: ad.AnnData) -> None:
    sps.tl.plan(adata, edges="spearman", gain=[1e-4, 0.004, 0.4])
    power = adata.uns["plan"]["power"]
    assert power["reachable"].tolist() == [False, True, True]
    assert np.isnan(power["n_needed"].iloc[0])
    assert power["smallest_gain"].iloc[0] > 1e-4
    assert power["n_needed"].iloc[2] == 6
    row = power.iloc[1]
    n = row["n_needed"]
    variance = row["error_by_unit"] ** 2 * row["n_units"] / n + row["error_shared"] ** 2
    df = min(n, row["n_genes"]) - 1
    assert (t.ppf(0.975, df) + t.ppf(0.8, df)) * np.sqrt(variance) <= 0.004
    text = adata.uns["plan"]["text"]
    assert "not reachable with this panel" in text
    assert f"at least {n:.0f} perturbations" in text


def test_what_is_not_there_yet_is_said(adata: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scepsis"):
        sps.tl.plan(adata, gain=0.02)
    power = adata.uns["plan"]["power"]
    assert power["status"].tolist() == ["not_run"]
    assert power["reachable"].isna().all()
    assert "the edges do not exist yet" in caplog.text
    del adata.varm["perturbation_target"]
    sps.tl.plan(adata, edges="spearman", gain=0.02)
    plan = adata.uns["plan"]
    assert plan["steps"]["status"].tolist() == ["not_run"]
    assert "perturbation_effects" in plan["steps"]["reason"][0]
    assert plan["power"]["status"].tolist() == ["not_run"]
    adata.var["edge_panel"] = np.arange(adata.n_vars) < 30
    sps.tl.plan(adata, sps.models.load("demo"), edges="spearman", reference=_network(adata), n_null=50)
    steps = adata.uns["plan"]["steps"].set_index("step")
    assert (steps.loc[["rank_heads", "ablate_heads"], "status"] == "not_run").all()


def test_what_would_not_fit_is_not_tried(adata: ad.AnnData) -> None:
    sps.tl.plan(adata, sps.models.load("demo"), edges="spearman", memory_limit=1000)
    steps = adata.uns["plan"]["steps"].set_index("step")
    assert not steps.loc["attention_edges", "fits"]
    assert steps.loc["attention_edges", "status"] == "not_run"


def test_survives_the_disk_and_copies(adata: ad.AnnData, roundtrips: Callable[..., Any]) -> None:
    result = sps.tl.plan(adata, edges=["spearman", "attention"], copy=True)
    assert "plan" not in adata.uns
    for again in roundtrips(result):
        for frame in ("steps", "power"):
            pd.testing.assert_frame_equal(again.uns["plan"][frame], result.uns["plan"][frame], check_dtype=False)


def test_layers_are_those_of_the_model(adata: ad.AnnData, untouched: Callable[..., Any]) -> None:
    with untouched(adata), pytest.raises(ValueError, match="layers"):
        sps.tl.plan(adata, sps.models.load("demo"), edges="spearman", layers=[7])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gain": 0}, "gain"),
        ({"power": 2}, "power"),
        ({"n_null": 0}, "n_null"),
        ({"joint_mode": "some"}, "joint_mode"),
        ({"reference": pd.DataFrame({"source": ["x"], "target": ["y"]})}, "reference"),
    ],
)
def test_bad_input_is_refused(
    adata: ad.AnnData, untouched: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with untouched(adata), pytest.raises((ValueError, KeyError), match=message):
        sps.tl.plan(adata, edges="spearman", **options)
