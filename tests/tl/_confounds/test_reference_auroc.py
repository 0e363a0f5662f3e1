from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

pytestmark = pytest.mark.filterwarnings("ignore:There is no record of the cells", "ignore:.*looks truncated")
FRAMES = ("summary", "per_regulator", "contrasts", "top_k", "network", "detection")


def run(adata: ad.AnnData, frame: pd.DataFrame, **more: Any) -> dict[str, Any]:
    options = {"edges": "edges", "n_boot": 300, "min_targets": 1, "top_k": (20, 100)}
    assert sps.tl.reference_auroc(adata, frame, **(options | more)) is None
    return adata.uns[more.get("key_added", "reference_auroc")]


def row(result: dict[str, Any], predictor: str = "edges", statistic: str = "pooled") -> pd.Series:
    frame = result["summary"]
    return frame[(frame["predictor"] == predictor) & (frame["statistic"] == statistic)].iloc[0]


def contrast(result: dict[str, Any], edges: str, versus: str, statistic: str = "pooled") -> pd.Series:
    frame = result["contrasts"]
    chosen = (frame["edges"] == edges) & (frame["versus"] == versus) & (frame["statistic"] == statistic)
    return frame[chosen].iloc[0]


def long(adata: ad.AnnData, frame: pd.DataFrame, key: str = "edges") -> pd.DataFrame:
    """Every pair of a regulator and another gene, with label and score, by a loop."""
    pairs = set(frame[["source", "target"]].itertuples(index=False, name=None))
    names = list(adata.var_names)
    rows = [
        (source, target, (source, target) in pairs, adata.varp[key][names.index(source), names.index(target)])
        for source in sorted(set(frame["source"]))
        for target in names
        if source != target
    ]
    return pd.DataFrame(rows, columns=["source", "target", "label", "score"])


def test_numbers_are_those_of_scikit_learn(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=0.6)
    adata.varp["edges"] = np.round(adata.varp["edges"], 1)  # ties
    result, pairs = run(adata, frame), long(adata, frame)
    found = row(result)
    assert found["auroc"] == pytest.approx(roc_auc_score(pairs["label"], pairs["score"]), abs=1e-12)
    precision = average_precision_score(pairs["label"], pairs["score"])
    assert found["average_precision"] == pytest.approx(precision, abs=1e-12)
    assert found["prevalence"] == pytest.approx(pairs["label"].mean())
    assert found["lift"] == pytest.approx(precision / pairs["label"].mean())
    expected = roc_auc_score(pairs["label"], pairs["score"], max_fpr=0.05)
    assert found["partial_auroc"] == pytest.approx(expected, abs=1e-9)
    assert (found["n"], found["n_pos"]) == (len(pairs), len(frame))
    areas = {}
    own = result["per_regulator"].query("predictor == 'edges'").set_index("regulator")
    for source, part in pairs.groupby("source"):
        areas[source] = roc_auc_score(part["label"], part["score"])
        assert own.loc[source, "auroc"] == pytest.approx(areas[source], abs=1e-12)
        assert own.loc[source, "n_pos"] == part["label"].sum()
    several = [area for source, area in areas.items() if own.loc[source, "n_pos"] >= 2]
    assert row(result, statistic="per_regulator")["auroc"] == pytest.approx(np.mean(several), abs=1e-12)
    mean = adata.var["mean"]
    expected = roc_auc_score(pairs["label"], mean[pairs["target"]])
    assert row(result, "mean")["auroc"] == pytest.approx(expected, abs=1e-12)


def test_first_pairs_share_out_ties_at_the_cut(make_network: Callable[..., Any]) -> None:
    """Average over many random orders of the ties."""
    adata, frame = make_network(signal=0.6)
    adata.varp["edges"] = np.round(adata.varp["edges"])
    found = run(adata, frame)["top_k"].query("predictor == 'edges' and k == 100").iloc[0]
    pairs, rng = long(adata, frame), np.random.default_rng(0)
    hits = [
        pairs.sample(frac=1, random_state=rng).sort_values("score", kind="stable", ascending=False)["label"][:100].sum()
        for _ in range(400)
    ]
    assert found["hits"] == pytest.approx(np.mean(hits), abs=4 * np.std(hits) / 20)
    assert found["precision"] == pytest.approx(found["hits"] / 100)
    assert found["recall"] == pytest.approx(found["hits"] / len(frame))
    assert found["f1"] == pytest.approx(2 * found["hits"] / (100 + len(frame)))


def test_recall_is_of_listed_pairs_without_an_edge_too(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=0.6)
    adata.var["edge_panel"] = True
    before = run(adata, frame)
    lost = frame["target"].iloc[0]
    adata.varp["edges"][:, adata.var_names.get_loc(lost)] = np.nan
    after = run(adata, frame)
    counts = after["network"].set_index("step")["n"]
    assert counts["n_listed"] == len(frame)
    assert counts["n_evaluated"] == (frame["target"] != lost).sum()
    found = after["top_k"].query("predictor == 'edges' and k == 20").iloc[0]
    assert found["recall"] == pytest.approx(found["hits"] / len(frame))
    assert row(after)["n"] < row(before)["n"]


def test_bootstrap_is_the_naive_one_over_regulators(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=0.4, n_regulators=10)
    result, pairs = run(adata, frame, n_boot=2000), long(adata, frame)
    parts = [part for _, part in pairs.groupby("source")]
    rng = np.random.default_rng(5)
    naive = []
    for _ in range(400):
        drawn = pd.concat([parts[i] for i in rng.integers(len(parts), size=len(parts))])
        naive.append(roc_auc_score(drawn["label"], drawn["score"]))
    found = row(result)
    width = np.diff(np.percentile(naive, [2.5, 97.5]))[0]
    assert found["boot_high"] - found["boot_low"] == pytest.approx(width, rel=0.2)
    assert found["boot_low"] < found["auroc"] < found["boot_high"]


def test_a_planted_signal_beats_the_target_and_a_confound_does_not(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=1.2, n_regulators=20, n_edges=250)
    popular = frame["target"].value_counts().reindex(adata.var_names, fill_value=0).to_numpy(dtype=float)
    adata.var["mean"] = popular + np.random.default_rng(1).random(adata.n_vars)
    adata.varp["confound"] = np.tile(adata.var["mean"].to_numpy(dtype=np.float32), (adata.n_vars, 1))
    result = run(adata, frame, edges=["edges", "confound"])
    assert row(result, "confound")["ci_low"] > 0.5, "popularity alone is above chance"
    exact = contrast(result, "confound", "mean")
    assert exact["difference"] == pytest.approx(0, abs=1e-6)
    assert exact["equivalence"] == "equivalent"
    assert contrast(result, "edges", "variance")["ci_low"] > 0
    assert contrast(result, "edges", "variance", "per_regulator")["p_value"] < 0.01
    forward, back = contrast(result, "edges", "confound"), contrast(result, "confound", "edges")
    assert forward["difference"] == pytest.approx(-back["difference"])
    assert forward["ci_low"] == pytest.approx(-back["ci_high"])
    assert forward["boot_low"] == pytest.approx(-back["boot_high"])


def test_a_regulator_with_one_target_is_shown_and_not_averaged(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(n_edges=60)
    single = frame.groupby("source").head(1).iloc[[0]]
    frame = pd.concat([frame[frame["source"] != single["source"].iloc[0]], single])
    result = run(adata, frame)
    own = result["per_regulator"].query("predictor == 'edges'").set_index("regulator")
    alone = own.loc[single["source"].iloc[0]]
    assert 0 <= alone["auroc"] <= 1
    assert np.isnan(alone["ci_low"])
    assert alone["status"] == "too_few_units"
    counted = own[own["n_pos"] >= 2]["auroc"]
    assert row(result, statistic="per_regulator")["auroc"] == pytest.approx(counted.mean())
    assert row(result, statistic="per_regulator")["n_units"] == len(counted)


def test_universes(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=1.0)
    n = adata.n_vars
    every = run(adata, frame, universe="all_pairs")
    assert row(every)["n"] == n * (n - 1)
    assert set(every["summary"]["predictor"]) >= {"mean", "mean_product"}
    label = np.zeros((n, n), dtype=bool)
    label[adata.var_names.get_indexer(frame["source"]), adata.var_names.get_indexer(frame["target"])] = True
    off = ~np.eye(n, dtype=bool)
    values = adata.varp["edges"].astype(float)
    assert row(every)["auroc"] == pytest.approx(roc_auc_score(label[off], values[off]), abs=1e-12)
    mean = adata.var["mean"].to_numpy(dtype=float)
    expected = roc_auc_score(label[off], np.outer(mean, mean)[off])
    assert row(every, "mean_product")["auroc"] == pytest.approx(expected, abs=1e-12)
    once = run(adata, frame, universe="unordered")
    upper = np.triu_indices(n, 1)
    expected = roc_auc_score((label | label.T)[upper], ((values + values.T) / 2)[upper])
    assert row(once)["auroc"] == pytest.approx(expected, abs=1e-12)
    assert set(once["summary"]["statistic"]) == {"pooled"}
    assert np.isfinite(row(once)["ci_low"])
    assert len(once["per_regulator"]) == 0


def test_companions_and_several_sets_stand_beside(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=60, n_units=20)
    source, target = np.nonzero(np.random.default_rng(0).random((20, 60)) < 0.1)
    frame = pd.DataFrame({"source": adata.var_names[source], "target": adata.var_names[target]})
    frame = frame[frame["source"] != frame["target"]]
    result = run(adata, frame, edges=["attention", "spearman"])
    kinds = result["summary"].drop_duplicates("predictor").set_index("predictor")["kind"]
    assert kinds["attention_randomized"] == "control"
    assert kinds["attention_uniform_fold"] == "scale"
    tests = adata.uns["tests"]
    assert set(tests["edges"]) == {"attention", "spearman"}
    own = tests[tests["edges"] == "attention"]
    assert {"pooled", "per_regulator", "vs_spearman", "vs_mean", "vs_attention_randomized"} <= set(own["name"])
    assert set(tests["role"]) == {"descriptive"}
    assert tests["p_raw"].isna().all()
    pooled = own.set_index("name").loc["pooled"]
    assert pooled["effect_size"] == row(result, "attention")["auroc"]
    assert pooled["baseline_name"] in {"mean", "variance", "detection_rate"}
    assert pooled["cells_hash"] == adata.uns["attention"]["params"]["cells_hash"]
    assert own.set_index("name").loc["vs_spearman", "margin"] == 0.02


@pytest.mark.parametrize(
    ("change", "options", "status"),
    [
        (lambda a, f: f[f["source"] == "G0"], {}, "too_few_units"),
        (lambda a, f: f, {"min_targets": 99}, "no_positives"),
        (lambda a, f: a.varp["edges"].fill(1.0) or f, {}, "constant_score"),
        (lambda a, f: pd.DataFrame({"source": "G0", "target": a.var_names[1:]}), {}, "no_negatives"),
    ],
    ids=["one regulator", "no regulator", "constant", "all listed"],
)
def test_degenerate_data_have_a_status(
    make_network: Callable[..., Any], change: Any, options: dict[str, Any], status: str
) -> None:
    adata, frame = make_network()
    result = run(adata, change(adata, frame), **options)
    found = row(result)
    assert found["status"] == status
    assert adata.uns["tests"].set_index("name").loc["pooled", "status"] == status
    assert np.isnan(found["ci_low"]) or status == "constant_score"
    if status == "constant_score":
        assert found["auroc"] == 0.5
    if status == "too_few_units":
        assert 0 < found["auroc"] < 1
        assert (result["per_regulator"]["regulator"] == "G0").all()
    if status in {"no_positives", "no_negatives"}:
        assert np.isnan(found["auroc"])


def test_a_missing_feature_is_not_run(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network()
    del adata.var["detection_rate"]
    result = run(adata, frame)
    assert row(result, "detection_rate")["status"] == "not_run"
    assert contrast(result, "edges", "detection_rate")["status"] == "not_run"


def test_rows_repeated_and_shuffled_change_nothing_and_files_keep_all(
    make_network: Callable[..., Any], roundtrips: Callable[..., Any]
) -> None:
    adata, frame = make_network()
    one = run(adata, frame)
    two = run(adata, pd.concat([frame, frame]).sample(frac=1, random_state=0), key_added="again")
    for name in FRAMES:
        if name != "network":
            pd.testing.assert_frame_equal(one[name], two[name])
    assert two["network"]["n"].iloc[0] == 2 * len(frame)
    assert two["network"]["n"].iloc[1] == len(frame)
    for back in roundtrips(adata):
        for name in FRAMES:
            pd.testing.assert_frame_equal(back.uns["reference_auroc"][name], one[name], check_dtype=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"edges": "nothing"}, KeyError, "nothing"),
        ({"universe": "all"}, ValueError, "`universe` takes one of"),
        ({"baselines": ["height"]}, ValueError, "`baselines` takes one of"),
        ({"top_k": (0,)}, ValueError, "top_k"),
        ({"n_boot": 0}, ValueError, "n_boot"),
        ({"edges": {"mean": "edges"}}, ValueError, "another predictor"),
        ({"gene_symbols": "symbol"}, KeyError, "symbol"),
        ({"reference_name": "a/b"}, ValueError, "reference_name"),
    ],
)
def test_wrong_arguments_are_refused(
    make_network: Callable[..., Any], untouched: Callable[..., Any], options: Any, error: Any, message: str
) -> None:
    adata, frame = make_network()
    with untouched(adata), pytest.raises(error, match=message):
        run(adata, frame, **options)


def test_copy_leaves_the_data_alone(make_network: Callable[..., Any], untouched: Callable[..., Any]) -> None:
    adata, frame = make_network()
    with untouched(adata):
        changed = sps.tl.reference_auroc(adata, frame, edges="edges", n_boot=10, copy=True)
    assert "reference_auroc" in changed.uns


def _references(folder: Path) -> dict[str, pd.DataFrame]:
    networks = folder / "networks"
    trrust = pd.read_csv(networks / "trrust_human.tsv", sep="\t", names=["source", "target", "mode", "pmid"])
    collectri = pd.read_csv(networks / "collectri.csv")
    dorothea = pd.read_csv(networks / "dorothea_hs.csv.gz")
    result = {"trrust": trrust}
    for name, frame in (("collectri", collectri), ("dorothea", dorothea)):
        renamed = frame.rename(columns={"tf": "source"})
        if "confidence" in renamed:
            renamed = renamed[renamed["confidence"].isin(["A", "B", "C"])]
        result[name] = renamed[["source", "target"]]
    return result


@pytest.mark.real_data
@pytest.mark.skipif("SCEPSIS_DATA" not in os.environ, reason="SCEPSIS_DATA names no folder")
def test_correlation_of_real_cells_against_three_references() -> None:
    """Five lung lines: regulators whose targets are listed in hundreds, and symbols beside Ensembl ids."""
    import anndata as ad

    folder = Path(os.environ["SCEPSIS_DATA"])
    adata = ad.read_h5ad(folder / "cells" / "scmixology_lung_lines_5batches.h5ad")
    adata = adata[:, np.asarray((adata.X > 0).mean(axis=0)).ravel() > 0.02].copy()
    sps.pp.select_panel(adata, n_top_genes=2000)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    ids = json.loads((folder / "geneformer" / "gene_name_id_dict.json").read_text())
    symbol = {gene: name for name, gene in ids.items()}
    names = pd.Series([symbol.get(gene, gene) for gene in adata.var_names], index=adata.var_names)
    adata.var["symbol"] = names.where(~names.duplicated(keep=False), names.index)
    for name, frame in _references(folder).items():
        with pytest.raises(ValueError, match="two namespaces"):
            sps.tl.reference_auroc(adata, frame, edges="spearman")
        result = run(
            adata, frame, edges="spearman", gene_symbols="symbol", min_targets=3, key_added=name,
            reference_name=name, n_boot=2000,
        )  # fmt: skip
        counts, found = result["network"].set_index("step")["n"], row(result, "spearman")
        assert counts["n_rows"] >= counts["n_unique"] >= counts["n_non_self"] > counts["n_in_panel"] > 0
        assert found["n_units"] == counts["n_sources"] > 6
        assert found["n_pos"] == counts["n_evaluated"]
        assert found["ci_low"] < found["auroc"] < found["ci_high"]
        assert found["status"] == "ok"
    assert set(adata.uns["tests"]["reference"]) == {"trrust", "collectri", "dorothea"}
