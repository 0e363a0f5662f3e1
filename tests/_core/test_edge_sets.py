from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from scepsis._core._edge_slots import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

KEY = "perturbation_auroc"
BASELINES = ["variance", "mean", "detection_rate", "de_frequency", "position", "coverage"]


def _frame(adata: ad.AnnData, key: str = "spearman") -> pd.DataFrame:
    values = np.asarray(adata.varp[key])
    source, target = np.nonzero(~np.isnan(values))
    names = adata.var_names.to_numpy()
    return pd.DataFrame({"source": names[source], "target": names[target], "weight": values[source, target]})


def test_predictors_and_kinds(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    summary = score(make_audit())["summary"]
    assert list(zip(summary["predictor"], summary["kind"], strict=True)) == [
        ("attention", "edges"),
        ("spearman", "edges"),
        ("attention_uniform_fold", "scale"),
        ("attention_centered", "scale"),
        ("attention_randomized", "control"),
        ("spearman_signed", "signed"),
        *((name, "baseline") for name in BASELINES),
    ]


def test_missing_companions_are_named_once(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(companions=("centered",))
    with pytest.warns(UserWarning, match="attention_uniform_fold.*attention_randomized.*randomize") as caught:
        result = score(adata)
    assert len(caught) == 1
    assert list(result["params"]["missing_companions"]) == ["attention_uniform_fold", "attention_randomized"]
    assert "attention_centered" in set(result["summary"]["predictor"])


def test_companions_of_a_layer_are_those_of_that_layer(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit()
    rng = np.random.default_rng(0)
    for owner in ("attention", "attention_uniform_fold", "attention_centered", "attention_randomized"):
        adata.varp[f"{owner}_L1"] = rng.random((200, 200)).astype(np.float32)
        adata.uns[owner]["edges_keys"] = [owner, f"{owner}_L1"]
    summary = score(adata, edges=["attention_L1"], baselines=("position", "coverage"))["summary"]
    assert summary["predictor"].tolist() == [
        "attention_L1",
        "attention_uniform_fold_L1",
        "attention_centered_L1",
        "attention_randomized_L1",
        "position",
        "coverage",
    ]
    assert (summary["status"] == "ok").all()


def test_a_scale_asked_for_by_name_is_edges_and_not_scored_twice(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    summary = score(make_audit(), edges=["attention", "attention_centered"])["summary"].set_index("predictor")
    assert summary.loc["attention_centered", "kind"] == "edges"
    assert summary.index.is_unique


def test_a_scale_alone_has_the_position_and_coverage_of_its_attention(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    summary = score(make_audit(), edges="attention_centered")["summary"].set_index("predictor")
    assert (summary.loc[["position", "coverage"], "status"] == "ok").all()


def test_edges_as_table_dict_and_groups(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit()
    frame = _frame(adata)
    by_key = score(adata, edges="spearman")
    with pytest.warns(UserWarning, match="no record of the cells"):
        by_frame = score(adata, edges=frame)
    np.testing.assert_array_equal(by_frame.of("edges")["auroc"], by_key.of("spearman")["auroc"])
    assert set(by_frame["summary"]["predictor"]) >= {"edges", "edges_signed"}
    assert list(by_frame["params"]["edges_cells_hash"]) == [""]
    both = pd.concat([frame.assign(group="a/b"), frame.assign(group="c", weight=frame["weight"].abs())])
    with pytest.warns(UserWarning, match="no record of the cells"):
        mixed = score(adata, edges={"mine": both, "rank": "spearman", "model 1": "attention"})
    predictors = mixed["summary"].query("kind == 'edges'")["predictor"].tolist()
    assert predictors == ["mine_a/b", "mine_c", "rank", "model 1"]
    assert "model 1_randomized" in set(mixed["summary"]["predictor"])
    signed = mixed["summary"].query("kind == 'signed'")["predictor"].tolist()
    assert signed == ["mine_a/b_signed", "rank_signed"]


def test_bare_matrices_are_scored_with_a_warning(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit()
    adata.varp["mine"] = np.abs(adata.varp["spearman"])
    with pytest.warns(UserWarning, match=r"no record of the cells behind \"adata.varp\['mine'\]\""):
        result = score(adata, edges="mine")
    assert "mine_signed" not in set(result["summary"]["predictor"])
    np.testing.assert_array_equal(result.of("mine")["auroc"], score(adata, edges="spearman").of("spearman")["auroc"])


def test_sparse_edges_are_the_same_as_dense_ones(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(n_genes=60, n_units=8)
    values = np.asarray(adata.varp["spearman"]).copy()
    values[40:], values[:, 40:] = np.nan, np.nan
    adata.varp["spearman"] = values
    dense = score(adata, edges="spearman")["per_perturbation"]
    adata.varp["spearman"] = pack(values[:40, :40], np.arange(40), 60)
    pd.testing.assert_frame_equal(dense, score(adata, edges="spearman")["per_perturbation"])


def test_signed_edges_are_scored_by_size_with_the_sign_beside(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit()
    responds = adata.varm["perturbation_target"].T
    values = np.random.default_rng(0).normal(0, 0.1, size=(200, 200))
    values[:30] -= 5 * responds  # strong and negative
    store_edges(adata, "spearman", values, signed=True)
    summary = score(adata, edges="spearman")["summary"].set_index("predictor")
    assert summary.loc["spearman", "auroc"] > 0.99
    assert summary.loc["spearman_signed", "auroc"] < 0.01
    # negative values that are no sign, such as logarithms, stay as they are
    store_edges(adata, "spearman", values, signed=False)
    summary = score(adata, edges="spearman")["summary"].set_index("predictor")
    assert summary.loc["spearman", "auroc"] < 0.01
    assert "spearman_signed" not in summary.index


def test_baselines_never_narrow_the_edges(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit()
    before = score(adata).of("attention")["n_neg"]
    adata.var.loc[adata.var_names[50:80], "mean"] = np.nan
    result = score(adata)
    np.testing.assert_array_equal(before, result.of("attention")["n_neg"])
    assert (result.of("mean")[["n_pos", "n_neg"]].sum(axis=1) == 169).all()


def test_the_panel_bounds_candidates(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=100, n_units=8)
    with pytest.warns(UserWarning, match="no record of the cells"):
        everything = score(adata, edges=_frame(adata), baselines=("mean",))
    adata.var["edge_panel"] = np.arange(100) < 60
    with pytest.warns(UserWarning, match="no record of the cells"):
        panel = score(adata, edges=_frame(adata), baselines=("mean",))
    for result, n_candidates in ((everything, 99), (panel, 59)):
        counts = result.of("mean")[["n_pos", "n_neg", "n_filled"]].sum(axis=1)
        assert (counts == n_candidates).all()
        assert result["params"]["n_candidates"] == n_candidates + 1
