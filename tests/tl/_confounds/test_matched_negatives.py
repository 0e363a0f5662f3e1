from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:There is no record of the cells", "ignore:.*looks truncated")


def _world(*, signal: float = 0.0, confound: float = 0.0, seed: int = 0) -> tuple[ad.AnnData, pd.DataFrame]:
    """
    A network that lists pairs of highly expressed genes, with edges of two kinds.

    Edges are noise, plus `signal` on listed pairs, plus `confound` times both genes' log means.
    """
    rng = np.random.default_rng(seed)
    n, n_regulators = 250, 30
    names = [f"G{k}" for k in range(n)]
    mean = np.exp(rng.normal(0, 0.5, n))
    rate = 1 - np.exp(-mean)
    log_mean = np.log(mean)
    chance = np.exp(1.2 * (log_mean[:n_regulators, None] + log_mean[None, :]))
    chance[np.arange(n_regulators), np.arange(n_regulators)] = 0
    listed = rng.random(chance.shape) < 0.05 * chance / chance.mean()
    edges = rng.normal(size=(n, n)) + confound * (log_mean[:, None] + log_mean[None, :])
    edges[:n_regulators] += signal * listed
    np.fill_diagonal(edges, np.nan)
    var = pd.DataFrame({"mean": mean, "variance": mean * rng.lognormal(0, 0.3, n), "detection_rate": rate}, index=names)
    adata = ad.AnnData(np.ones((3, n), dtype=np.float32), var=var)
    adata.varp["edges"] = np.exp(edges).astype(np.float32)
    source, target = np.nonzero(listed)
    return adata, pd.DataFrame({"source": [names[i] for i in source], "target": [names[i] for i in target]})


def _run(adata: ad.AnnData, net: pd.DataFrame, **options: Any) -> dict[str, Any]:
    assert sps.tl.matched_negatives(adata, net, **{"edges": "edges"} | options) is None
    return adata.uns[options.get("key_added", "matched_negatives")]


def _row(result: dict[str, Any], predictor: str = "edges", statistic: str = "matched") -> pd.Series:
    return result["summary"].set_index(["predictor", "statistic"]).loc[(predictor, statistic)]


def test_a_confound_of_expression_is_taken_away() -> None:
    adata, net = _world(confound=6)
    sps.tl.reference_auroc(adata, net, edges="edges", n_boot=50)
    before = adata.uns["reference_auroc"]["summary"].query("predictor == 'edges' and statistic == 'pooled'").iloc[0]
    assert before["ci_low"] > 0.6
    result = _run(adata, net)
    # within 20 % negatives lie lower: a part stays, which the product of means shows, and no more than that
    kept = _row(result)["auroc"]
    assert 0.55 < kept < before["auroc"] - 0.1
    assert _row(result, "mean_product")["auroc"] >= kept
    assert _row(result, statistic="balanced")["auroc"] == pytest.approx(0.5, abs=0.03)
    assert _row(result, statistic="balanced")["ci_low"] < 0.5
    for name in ("mean_product", "detection_rate_product"):
        assert _row(result, name, "balanced")["auroc"] == pytest.approx(0.5, abs=0.01)
    balance = result["balance"].set_index("covariate")
    assert (balance["before"] > 0.3).all()
    assert (balance["after"].abs() < 0.2 * balance["before"]).all()
    closer = _row(_run(adata, net, tolerance=0.03, wider=0.03))["auroc"]
    assert abs(closer - 0.5) < 0.5 * abs(kept - 0.5)


def test_a_signal_of_pairs_stays() -> None:
    adata, net = _world(signal=1.0, confound=1.0)
    result = _run(adata, net)
    # a normal shift of 1: Phi(1 / sqrt 2)
    balanced = _row(result, statistic="balanced")
    assert balanced["auroc"] == pytest.approx(0.76, abs=0.04)
    assert balanced["ci_low"] > 0.65
    versus = result["contrasts"].set_index(["versus", "statistic"]).loc[("mean_product", "balanced")]
    assert versus["ci_low"] > 0.15
    other = _row(result, "mean_product", "balanced")["auroc"]
    assert versus["difference"] == pytest.approx(balanced["auroc"] - other)


def test_what_would_have_been_found() -> None:
    result = _run(*_world())
    found = result["detection"].set_index("delta")
    assert not found.loc[0.25, "detected"] or found.loc[0.25, "statistic"] > 0.5
    assert found.loc[2.0, "detected"]
    assert found["statistic"].is_monotonic_increasing
    assert _row(result)["minimum_detectable"] < 0.1


def test_rows_of_the_registry_and_frames() -> None:
    adata, net = _world(signal=0.5)
    result = _run(adata, net, reference_name="mine")
    tests = adata.uns["tests"]
    assert set(tests["analysis"]) == {"L3"}
    versus = {f"{row.statistic}_vs_{row.versus}" for row in result["contrasts"].itertuples()}
    assert set(tests["name"]) == {"matched", "balanced", "pooled"} | versus
    assert (tests["role"] == "descriptive").all()
    assert (tests["reference"] == "mine").all()
    pairs = result["pairs"]
    assert pairs["wins_edges"].mean() == pytest.approx(_row(result)["auroc"])
    assert len(pairs) == _row(result)["n_pos"]
    assert pairs["n_negatives"].sum() == _row(result)["n_neg"]
    steps = result["network"].set_index("step")["n"]
    assert steps["n_matched"] + steps["n_skipped"] == steps["n_evaluated"]
    listed = set(zip(net["source"], net["target"], strict=True))
    assert set(zip(pairs["source"], pairs["target"], strict=True)) <= listed


def test_seed_order_and_storage(roundtrips: Callable[..., Any]) -> None:
    adata, net = _world()
    first = _run(adata, net, rng=3)
    again = _run(adata, net.sample(frac=1, random_state=0), rng=3, key_added="again")
    pd.testing.assert_frame_equal(first["summary"], again["summary"])
    other = _run(adata, net, rng=4, key_added="other")
    assert (first["summary"]["auroc"] != other["summary"]["auroc"]).any()
    for back in roundtrips(adata):
        for name in ("summary", "contrasts", "balance", "pairs", "network", "detection"):
            pd.testing.assert_frame_equal(back.uns["matched_negatives"][name], first[name], check_dtype=False)


def test_degenerate_data_give_statuses() -> None:
    adata, net = _world()
    adata.varp["flat"] = np.where(np.isnan(adata.varp["edges"]), np.nan, 1.0)
    result = _run(adata, net, edges=["edges", "flat"])
    assert _row(result, "flat")["status"] == "constant_score"
    assert _row(result, "flat")["auroc"] == 0.5
    few = net[net["source"].isin(net["source"].unique()[:3])]
    result = _run(adata, few)
    assert _row(result)["status"] == "too_few_units"
    assert np.isnan(_row(result)["ci_low"])
    assert np.isfinite(_row(result)["auroc"])
    adata.var["mean"] = np.geomspace(1, 1e9, adata.n_vars)
    result = _run(adata, net, tolerance=0.001, wider=0.001)
    assert _row(result)["status"] in {"no_negatives", "too_few_units"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tolerance": 0}, ValueError, "`tolerance` must be between"),
        ({"wider": 0.1}, ValueError, "`wider` must be at least 0.2"),
        ({"n_matched": 0}, ValueError, "`n_matched`"),
        ({"min_units": 1}, ValueError, "`min_units`"),
        ({"edges": "nothing"}, KeyError, "nothing"),
        ({"key_added": "a/b"}, ValueError, "without '/'"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    options: dict[str, Any], error: type[Exception], words: str, untouched: Callable[..., Any]
) -> None:
    adata, net = _world()
    with untouched(adata), pytest.raises(error, match=words):
        _run(adata, net, **options)


def test_features_and_a_direction_are_needed(untouched: Callable[..., Any]) -> None:
    adata, net = _world()
    with untouched(adata), pytest.raises(ValueError, match=r"without a direction.*need a directed network"):
        _run(adata, net.assign(directed=False))
    del adata.var["detection_rate"]
    with untouched(adata), pytest.raises(KeyError, match=r"scepsis\.pp\.gene_features"):
        _run(adata, net)


@pytest.mark.parametrize("name", ["mean", "mean_product"])
def test_edges_that_are_called_like_a_baseline_are_refused(name: str, untouched: Callable[..., Any]) -> None:
    adata, net = _world()
    with untouched(adata), pytest.raises(ValueError, match=f"has the name '{name}', which another predictor has too"):
        _run(adata, net, edges={name: "edges"})


@pytest.mark.real_data
def test_trrust_on_a_whole_transcriptome(data_dir: Path) -> None:
    cells = ad.read_h5ad(data_dir / "cells" / "scmixology_lung_lines_5batches.h5ad")
    ids = pd.read_json(data_dir / "geneformer" / "gene_name_id_dict.json", typ="series").to_dict()
    net = sps.references.convert_ids(sps.references.from_file(data_dir / "networks" / "trrust_human.tsv"), ids)
    detected = np.asarray((cells.X > 0).sum(axis=0)).ravel() > 300
    listed = cells.var_names.isin(net["source"]) | cells.var_names.isin(net["target"])
    panel = cells[:, np.flatnonzero(detected & listed)[:800]].copy()
    sps.pp.select_cells(panel, groupby="cell_line", control="H1975", n_cells=200)
    sps.pp.gene_features(panel)
    sps.tl.correlation_edges(panel)
    result = _run(panel, net, edges="spearman")
    assert _row(result, "spearman")["n_pos"] > 100
    assert (result["balance"]["after"].abs() < 0.1).all()
    assert _row(result, "mean_product")["auroc"] > 0.55, "20 % are not close enough here"
    assert _row(result, "mean_product", "balanced")["auroc"] == pytest.approx(0.5, abs=1e-9)
