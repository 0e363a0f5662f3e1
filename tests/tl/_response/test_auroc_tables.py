from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad
    import pytest

KEY = "perturbation_auroc"
BASELINES = ["variance", "mean", "detection_rate", "de_frequency", "position", "coverage"]


def test_missing_features_are_rows_and_say_what_to_call(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], caplog: pytest.LogCaptureFixture
) -> None:
    adata = make_audit()
    adata.var = adata.var[["edge_panel"]]
    del adata.uns["gene_features"], adata.varp["attention_n_cells"]
    result = score(adata)
    assert "scepsis.pp.gene_features(adata)" in caplog.text
    summary = result["summary"].set_index("predictor")
    absent = ["variance", "mean", "detection_rate", "position", "coverage"]
    assert set(summary.loc[absent, "status"]) == {"not_run"}
    assert summary.loc[absent, "auroc"].isna().all()
    assert summary.loc["de_frequency", "status"] == "ok"
    rows = result["per_perturbation"].query("predictor in @absent")
    assert (rows["status"] == "not_run").all()
    assert rows["auroc"].isna().all()
    assert (rows["n_pos"] == 0).all()
    assert result.contrast("attention", "mean")["status"] == "not_run"
    assert len(result["by_mean_decile"]) == 0


def test_without_attention_there_is_no_position(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    summary = score(make_audit(), edges="spearman")["summary"].set_index("predictor")["status"]
    assert summary["position"] == summary["coverage"] == "not_run"


def test_statuses_of_perturbations(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=120, n_units=20, outside=10)
    table = adata.uns["perturbation_effects"]["perturbations"]
    target = adata.varm["perturbation_target"]
    target[:, 0] = 0
    target[:, 1] = 1
    target[:, 2] = 0
    target[7, 2] = 1
    target[9:, 3] = np.nan
    target[:4, 3] = 1
    table.loc[4, "gene"] = ""
    table.loc[5, "gene"] = "G115"  # no token
    table.loc[6, ["gene", "status"]] = "", "multi_target"
    target[:, 7] = np.nan
    table.loc[7, "status"] = "too_few_units"
    table.loc[8, "status"] = "underpowered"
    adata.varp["attention"][9, :] = 1.0
    result = score(adata)
    found = result.of("attention")
    assert found["status"].iloc[:10].tolist() == [
        "no_positives",
        "no_negatives",
        "too_few_units",
        "too_few_units",
        "missing_vocab",
        "missing_vocab",
        "multi_target",
        "too_few_units",
        "underpowered",
        "constant_score",
    ]
    assert (found["status"].iloc[10:] == "ok").all()
    defined = found["auroc"].notna().iloc[:10].tolist()
    assert defined == [False, False, True, True, False, False, False, False, True, True]
    assert found["auroc"].iloc[9] == 0.5
    assert result.of("spearman")["status"].iloc[9] == "ok"
    # a perturbation whose gene is no token is missing for everything, with the numbers that others have
    assert result.of("spearman")["status"].iloc[5] == "missing_vocab"
    assert np.isfinite(result.of("spearman")["auroc_own"].iloc[5])
    summary = result["summary"].set_index("predictor")
    assert summary.loc["attention", "n_units"] == 11
    assert summary.loc["spearman", "n_units"] == 12
    assert result.contrast("attention", "spearman")["n_units"] == 11


def test_constant_scores_are_one_half_and_leave_with_their_partner(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit()
    adata.var["mean"] = 2.0
    result = score(adata)
    row = result["summary"].set_index("predictor").loc["mean"]
    assert (row["auroc"], row["n_units"], row["status"]) == (0.5, 0, "constant_score")
    assert (result.of("mean")["auroc"] == 0.5).all()
    contrast = result.contrast("attention", "mean")
    assert (contrast["n_units"], contrast["status"]) == (0, "constant_score")
    assert np.isnan(contrast["p_value"])


def test_few_perturbations_have_numbers_without_inference(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(n_units=5)
    result = score(adata)
    assert set(result["summary"]["status"]) == {"too_few_units"}
    assert result["summary"]["auroc"].notna().all()
    assert result["summary"][["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
    assert set(result["contrasts"]["status"]) == {"too_few_units"}
    assert result["contrasts"]["difference"].notna().all()
    numbers = ["ci_low", "ci_high", "twoway_low", "twoway_high", "boot_low", "boot_high", "p_value", "q_value"]
    assert result["contrasts"][numbers].isna().all(axis=None)
    assert set(result["contrasts"]["equivalence"]) == {""}
    assert (score(adata, min_units=5)["summary"]["p_value"].notna()).all()


def test_a_set_without_any_edge_leaves_rows(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit()
    adata.varp["spearman"][:30] = np.nan
    result = score(adata)
    assert set(result.of("attention")["status"]) == {"missing_vocab"}
    assert set(result["summary"]["status"]) == {"too_few_units"}
    assert np.isfinite(result.of("attention")["auroc_own"]).all()


def test_several_guides_of_one_gene_do_not_give_the_answer_away(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(n_units=12)
    table = adata.uns["perturbation_effects"]["perturbations"]
    table["perturbation"] = [f"{gene}/guide {n % 2}+x" for n, gene in enumerate(table["gene"])]
    table["gene"] = [f"G{n // 2}" for n in range(12)]
    target = adata.varm["perturbation_target"]
    target[:, 1::2] = target[:, 0::2]  # both guides call the same genes
    found = score(adata, edges="spearman").of("de_frequency")
    assert 0.3 < found["auroc"].mean() < 0.7
    assert list(found.index) == list(table["perturbation"])
