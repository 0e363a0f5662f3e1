from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable


def run(adata: ad.AnnData, references: Any = None, **more: Any) -> dict[str, Any]:
    options = {"edges": "attention_L0", "n_null": 99, "show_progress_bar": False}
    assert sps.tl.attention_vs_coexpression(adata, references, **(options | more)) is None
    return adata.uns[more.get("key_added", "attention_vs_coexpression")]


@pytest.mark.parametrize("universe", ["unordered", "all_pairs"])
def test_numbers_are_those_of_other_libraries(make_layers: Callable[..., Any], universe: str) -> None:
    adata, references = make_layers(along=1.0)
    summary = run(adata, {"net": references["regulation"]}, universe=universe, n_null=5)["summary"]
    n = adata.n_vars
    edges, spearman = (adata.varp[key].astype(np.float64) for key in ("attention_L0", "spearman"))
    listed = adata.varp["regulation"] != 0
    mean = adata.var["mean"].to_numpy(dtype=np.float64)
    valid = ~np.eye(n, dtype=bool)
    if universe == "unordered":
        edges, listed, valid = (edges + edges.T) / 2, listed | listed.T, np.triu(valid, 1)
    known = valid & ~np.isnan(edges)
    rows = summary.set_index("against")
    for name, other in (
        ("spearman", np.abs(spearman)), ("spearman_signed", spearman), ("mean_product", np.outer(mean, mean)),
        ("mean_sum", mean[:, None] + mean), ("net", listed.astype(float)),
    ):  # fmt: skip
        assert rows.loc[name, "rho"] == pytest.approx(spearmanr(edges[known], other[known]).statistic, abs=1e-9)
        assert rows.loc[name, "r2"] == pytest.approx(np.corrcoef(edges[known], other[known])[0, 1] ** 2, rel=1e-6)
    assert rows.loc["net", "auroc"] == pytest.approx(roc_auc_score(listed[known], edges[known]))
    assert rows.loc["net", "n_pos"] == listed[known].sum()
    best = spearmanr(listed[known], listed[known] + 1e-6 * np.arange(known.sum())).statistic
    assert rows.loc["net", "rho_max"] == pytest.approx(best, abs=1e-6)


def test_edges_that_follow_co_expression_are_found_and_noise_is_not(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers(signal=0, confound=0, along=8)
    found = run(adata, {"net": references["regulation"]})["summary"].set_index("against")
    assert found.loc["spearman", "rho"] > 0.2
    assert found.loc["spearman", "p_value"] == pytest.approx(0.01)
    p = []
    for seed in range(5):
        adata, references = make_layers(signal=0, confound=0, seed=seed)
        p.extend(run(adata, {"net": references["regulation"]})["summary"]["p_value"])
    assert np.mean(np.array(p) < 0.05) < 0.2
    row = sps.get.tests(adata).query("analysis == 'A29'").set_index("name")
    assert row["is_primary"].to_dict() == {"spearman": True, "mean_product": False, "net": False}


def test_a_gene_level_confound_looks_like_expression(make_layers: Callable[..., Any]) -> None:
    adata, _ = make_layers(signal=0, confound=1.0)
    found = run(adata)["summary"].set_index("against")
    assert found.loc["mean_product", "rho"] > 0.5
    assert found["rho"].idxmax() in {"mean_product", "mean_sum"}
    bins = adata.uns["attention_vs_coexpression"]["bins"]
    assert len(bins) == 20
    assert bins["n"].sum() == adata.n_vars * (adata.n_vars - 1) // 2
    assert bins["coexpression"].is_monotonic_increasing


def test_what_would_have_been_found(make_layers: Callable[..., Any]) -> None:
    """Noise: hardly any signal is seen when it is weak, and a strong one always."""
    adata, references = make_layers(signal=0, confound=0)
    result = run(adata, {"net": references["regulation"]})
    frame = result["detection"]
    assert list(dict.fromkeys(frame["against"])) == ["spearman", "mean_product", "net"]
    for against, own in frame.groupby("against", sort=False):
        assert own["statistic"].is_monotonic_increasing, against
        assert own.set_index("delta").loc[2.0, "detected"], against
    assert (frame["detected"] == (frame["ci_low"] > 0)).all()
    # a loop of the whole test over edges that have the signal
    n = adata.n_vars
    edges = (adata.varp["attention_L0"].astype(np.float64) + adata.varp["attention_L0"].T) / 2
    valid = np.triu(~np.eye(n, dtype=bool), 1) & ~np.isnan(edges)
    other = np.abs(adata.varp["spearman"].astype(np.float64))[valid]
    top = np.flatnonzero(other > np.sort(other)[-len(other) // 20 - 1])
    values = edges[valid]
    generator = sps._core._rng.child(0, "attention_vs_coexpression", "planted", "attention_L0", "spearman")
    values[generator.permutation(top)[: len(top) // 2]] += 0.5 * values.std()
    expected = spearmanr(values, other).statistic
    row = frame.query("against == 'spearman' and delta == 0.5").iloc[0]
    assert row["statistic"] == pytest.approx(expected, abs=1e-9)
    few = run(adata, n_null=10, key_added="few")["detection"]
    assert not few["detected"].any(), "ten permutations give no p below 0.05"


@pytest.mark.parametrize("universe", ["unordered", "all_pairs"])
def test_gene_sets_of_a_frame_are_those_of_a_mapping(make_layers: Callable[..., Any], universe: str) -> None:
    adata, references = make_layers()
    sets = references["complexes"]
    frame = pd.DataFrame([(name, gene) for name, own in sets.items() for gene in own], columns=["source", "target"])
    rows = run(adata, {"mapping": sets, "frame": frame}, universe=universe)["summary"].set_index("against")
    pd.testing.assert_series_equal(
        rows.loc["mapping", ["n_pos", "rho", "auroc"]], rows.loc["frame", ["n_pos", "rho", "auroc"]], check_names=False
    )


def test_degenerate_edges_have_a_status_and_wrong_input_is_told(
    make_layers: Callable[..., Any], untouched: Callable[..., Any], roundtrips: Callable[..., Any]
) -> None:
    adata, references = make_layers()
    adata.varp["attention_L0"][:] = 1
    everything = {"all": {"one": list(adata.var_names)}, "none": references["regulation"].head(1)}
    adata.varp["attention_L0"][:, adata.var_names.get_loc(everything["none"]["target"].iloc[0])] = np.nan
    result = run(adata, everything)
    assert result["summary"].set_index("against")["status"].to_dict() == {
        "spearman": "constant_score", "spearman_signed": "constant_score", "mean_product": "constant_score",
        "mean_sum": "constant_score", "all": "no_negatives", "none": "no_positives",
    }  # fmt: skip
    assert result["summary"]["p_value"].isna().all()
    assert result["detection"].empty
    for back in roundtrips(ad.AnnData(np.zeros((1, 1)), uns={"attention_vs_coexpression": result})):
        frame = back.uns["attention_vs_coexpression"]["summary"]
        pd.testing.assert_frame_equal(frame, result["summary"], check_dtype=False)
    for more, error, words in (
        ({"universe": "regulators"}, ValueError, "universe"),
        ({"references": references["regulation"]}, TypeError, "must be a dict from names"),
        ({"versus": "pearson"}, KeyError, "pearson"),
        ({"n_null": 1}, ValueError, "n_null"),
        ({"references": {"spearman": references["regulation"]}}, ValueError, "another predictor has too"),
        ({"edges": "spearman"}, ValueError, "nothing but 'spearman', which edges are compared with"),
    ):
        with untouched(adata), pytest.raises(error, match=words):
            run(adata, **more)
