"""Models on the same cells, genes and pairs: against the tools that score one alone, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis._core._edge_slots import stale
from scepsis._core._rng import child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import anndata as ad

pytestmark = pytest.mark.filterwarnings("ignore:`adata` has:UserWarning", "ignore:Attention is scored:UserWarning")
QUICK: dict[str, Any] = {"n_boot": 50, "show_progress_bar": False}


def _reference(adata: ad.AnnData, n_sources: int = 8, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (source, target)
        for source in adata.var_names[:n_sources]
        for target in rng.choice(adata.var_names[n_sources:], 6, replace=False)
    ]
    return pd.DataFrame(rows, columns=["source", "target"])


def _auroc(adata: ad.AnnData, edges: pd.DataFrame, reference: pd.DataFrame) -> float:
    """AUROC of listed pairs from the listed sources to all other genes, by scikit-learn."""
    rows = sorted(set(reference["source"]))
    listed = set(zip(reference["source"], reference["target"], strict=True))
    pairs = [(s, t) for s in rows for t in edges.columns if s != t and np.isfinite(edges.loc[s, t])]
    return float(roc_auc_score([pair in listed for pair in pairs], [abs(edges.loc[pair]) for pair in pairs]))


@pytest.fixture
def other_model(make_scgpt_checkpoint: Callable[..., Path]) -> Any:
    """A model of the other family, which knows fewer genes."""
    return sps.models.load(make_scgpt_checkpoint(n_genes=40))


def test_both_families_are_read_in_the_same_cells_over_common_genes(
    screen: ad.AnnData, small_model: Any, other_model: Any
) -> None:
    sps.pp.select_cells(screen, n_cells=50)
    reference = _reference(screen)
    sps.tl.correlation_edges(screen)
    models = {"one": small_model, "two": other_model, "correlation": "spearman"}
    sps.tl.compare_models(screen, models, reference, randomized=False, **QUICK)
    result = screen.uns["compare_models"]
    table = result["models"].set_index("model")
    common = screen.var["compare_models_genes"].to_numpy()
    assert set(table["n_common"]) == {common.sum()}
    assert common.sum() == min(table["n_panel"]) < screen.n_vars
    assert table["family"].tolist() == ["geneformer", "scgpt", ""]
    summary = result["summary"].query("statistic == 'pooled'").set_index("predictor")
    assert summary.loc[["one", "two"], "n"].tolist() == [summary.loc["correlation", "n"]] * 2
    # each alone, read by its own tool over the same genes and cells
    for name, model in (("one", small_model), ("two", other_model)):
        sps.tl.attention_edges(screen, model, mask_var=common, key_added="alone", show_progress_bar=False)
        edges, own = (sps.get.edge_matrix(screen, key) for key in ("alone", f"compare_models_{name}"))
        pd.testing.assert_frame_equal(own, edges)
        within = reference[reference["source"].isin(edges.index) & reference["target"].isin(edges.columns)]
        kept = within.groupby("source").filter(lambda rows: len(rows) >= 3)
        assert summary.loc[name, "auroc"] == pytest.approx(_auroc(screen, edges, kept))
        params = screen.uns[f"compare_models_{name}"]["params"]
        assert stale(screen, params) == []
        assert params["model_fingerprint"] == model.fingerprint


def test_fewer_cells_are_nested_and_scored_on_the_same_pairs(
    screen: ad.AnnData, small_model: Any, other_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sps.pp.select_cells(screen, n_cells=50)
    sps.pp.gene_features(screen)
    sps.tl.correlation_edges(screen)
    models = {"one": small_model, "two": other_model, "correlation": "spearman"}
    options: dict[str, Any] = {"randomized": False, "rng": 5} | QUICK
    once = sps.tl.compare_models(screen, models, _reference(screen), copy=True, **options)
    n_read: list[int] = []
    tokenize = type(small_model).tokenize
    monkeypatch.setattr(
        type(small_model), "tokenize", lambda self, counts, *rest: [n_read.append(counts.shape[0])]
        and tokenize(self, counts, *rest),
    )  # fmt: skip
    sps.tl.compare_models(screen, models, _reference(screen), n_cells=[40, 12, 900, 40], **options)
    assert sum(n_read) == 50  # every cell once, however many samples it is in
    result = screen.uns["compare_models"]
    assert (list(result["params"]["n_cells"]), list(result["params"]["left_out"])) == ([12, 40, 50], [900])
    for name in ("summary", "contrasts", "per_regulator"):
        pd.testing.assert_frame_equal(result[name], once.uns["compare_models"][name], rtol=1e-5)
    curve = result["curve"].query("statistic == 'pooled'").set_index(["n_cells", "predictor"])
    assert set(curve.index.get_level_values("predictor")[curve["kind"] == "edges"]) == set(models)
    given = curve.drop(index=["one", "two"], level="predictor")
    assert set(given.index.get_level_values("n_cells")) == {50}
    assert len(set(curve["n"])) == 1
    # by the tool that reads one model alone, in the same cells, and scikit-learn
    order = child(5, "compare_models", "cells").permutation(np.flatnonzero(screen.obs["edge_cells"]))
    common = screen.var["compare_models_genes"].to_numpy()
    edges = {("correlation", 50): sps.get.edge_matrix(screen, "spearman").to_numpy()[np.ix_(common, common)]}
    for name, model in (("one", small_model), ("two", other_model)):
        for n in (12, 40, 50):
            cells = np.isin(np.arange(screen.n_obs), order[:n])
            more: dict[str, Any] = {"mask_obs": cells, "mask_var": common, "rng": 5, "show_progress_bar": False}
            sps.tl.attention_edges(screen, model, key_added="alone", **more)
            edges[name, n] = np.full((common.sum(), common.sum()), np.nan)
            frame = sps.get.edge_matrix(screen, "alone")
            place = np.flatnonzero(np.isin(screen.var_names[common], frame.index))
            edges[name, n][np.ix_(place, place)] = frame
    everywhere = np.isfinite(np.stack(list(edges.values()))).all(axis=0)
    names = screen.var_names[common]
    listed = set(_reference(screen).itertuples(index=False, name=None))
    truth = np.array([[(source, target) in listed for target in names] for source in names]) & everywhere
    rows = truth.sum(axis=1) >= 3
    for (name, n), values in edges.items():
        expected = roc_auc_score(truth[rows][everywhere[rows]], np.abs(values[rows][everywhere[rows]]))
        assert curve.loc[(n, name), "auroc"] == pytest.approx(expected), (name, n)


def test_random_weights_stand_beside(screen: ad.AnnData, small_model: Any) -> None:
    sps.pp.select_cells(screen, n_cells=40)
    sps.tl.correlation_edges(screen)
    reference = _reference(screen)
    sps.tl.compare_models(screen, {"m": small_model, "r": "spearman"}, reference, rng=3, **QUICK)
    twin = sps.models.randomize(small_model, rng=3)
    sps.tl.attention_edges(screen, twin, key_added="twin", show_progress_bar=False, rng=3)
    np.testing.assert_array_equal(screen.varp["compare_models_m_randomized"], screen.varp["twin"])
    summary = screen.uns["compare_models"]["summary"].query("statistic == 'pooled'").set_index("predictor")
    baselines = dict.fromkeys(("variance", "mean", "detection_rate"), "baseline")
    assert summary["kind"].to_dict() == {"m": "edges", "r": "edges", "m_randomized": "control"} | baselines
    sps.tl.reference_auroc(screen, reference, edges=["twin", "spearman"], n_boot=50)
    alone = screen.uns["reference_auroc"]["summary"].query("statistic == 'pooled'").set_index("predictor")
    assert summary.loc["m_randomized", "auroc"] == pytest.approx(alone.loc["twin", "auroc"])
    assert summary.loc["r", "ci_low"] == pytest.approx(alone.loc["spearman", "ci_low"])


def test_planted_edges_win_and_a_gene_level_confound_is_seen_beside(screen: ad.AnnData) -> None:
    sps.pp.select_cells(screen)
    sps.pp.gene_features(screen)
    reference = _reference(screen)
    rng = np.random.default_rng(1)
    pairs = pd.MultiIndex.from_product([screen.var_names] * 2, names=["source", "target"])
    frame = pairs.to_frame(index=False).query("source != target")
    listed = frame.merge(reference.assign(hit=1.0), how="left")["hit"].fillna(0).to_numpy()
    planted = frame.assign(weight=2 * listed + rng.normal(size=len(frame)) + 10)
    popular = frame.assign(weight=screen.var["mean"].loc[frame["target"]].to_numpy())
    with pytest.warns(UserWarning, match="no record"):
        sps.tl.compare_models(screen, {"planted": planted, "popular": popular}, reference, **QUICK)
    summary = screen.uns["compare_models"]["summary"].query("statistic == 'pooled'").set_index("predictor")
    assert summary.loc["planted", "ci_low"] > 0.7
    assert summary.loc["popular", "auroc"] == pytest.approx(summary.loc["mean", "auroc"])
    tests = sps.get.tests(screen, analysis="A28").set_index(["edges", "name"])
    assert tests.loc[("planted", "pooled"), "p_raw"] < 1e-4
    assert tests.loc[("popular", "pooled"), "p_raw"] > 1e-3
    assert tests.loc[("planted", "vs_popular"), "equivalence"] == "different"
    assert (tests["role"] == "confirmatory").sum() == 2
    assert tests["is_primary"].sum() == 2


def test_survives_disk_and_does_not_depend_on_batches(
    screen: ad.AnnData, small_model: Any, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    sps.tl.correlation_edges(screen, mask_obs=np.arange(280) < 30)
    models = {"m": small_model, "r": "spearman"}
    more = {"mask_obs": "spearman_cells", "randomized": False, "layers": {"m": [1, 2]}, "n_cells": [20]} | QUICK
    copy = sps.tl.compare_models(screen, models, _reference(screen), copy=True, **more)
    sps.tl.compare_models(screen, models, _reference(screen), batch_size=7, **more)
    np.testing.assert_allclose(
        np.asarray(copy.varp["compare_models_m"]), np.asarray(screen.varp["compare_models_m"]), rtol=1e-5
    )
    assert list(screen.uns["compare_models_m"]["params"]["layers"]) == [1, 2]
    assert set(sps.get.tests(screen, edges="m")["layer_rule"]) == {"unrecorded"}
    assert set(sps.get.tests(screen, edges="m")["role"]) == {"exploratory"}
    for back in roundtrips(screen):
        for name, frame in screen.uns["compare_models"].items():
            if name != "params":
                stored = back.uns["compare_models"][name].reset_index(drop=True)
                pd.testing.assert_frame_equal(stored, frame, check_dtype=False)


def test_bad_input_raises_before_any_work(
    screen: ad.AnnData, small_model: Any, make_model: Callable[..., Any], untouched: Callable[[ad.AnnData], Any]
) -> None:
    sps.pp.select_cells(screen, n_cells=50)
    sps.tl.correlation_edges(screen)
    sps.tl.correlation_edges(screen, mask_obs=np.arange(280) < 90, key_added="elsewhere")
    reference = _reference(screen)
    few = sps.get.edges(screen, "spearman").query("source in ['G58', 'G59'] and target in ['G58', 'G59']")
    good = {"m": small_model, "r": "spearman"}
    mouse = reference.assign(source=reference["source"] + "_mouse", target=reference["target"] + "_mouse")
    wrong: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        ({"m": small_model}, reference, {}, ValueError, "at least two"),
        ([small_model, "spearman"], reference, {}, TypeError, "dict of at least two"),
        ({"m": small_model, "x": 3}, reference, {}, TypeError, r"models\['x'\].*int"),
        ({"m": small_model, "x": "nothing"}, reference, {}, KeyError, "nothing"),
        ({"a/b": small_model, "r": "spearman"}, reference, {}, ValueError, "a/b"),
        ({"m": small_model, "x": "elsewhere"}, reference, {}, ValueError, "other cells.*mask_obs"),
        (good, reference.rename(columns={"target": "to"}), {}, KeyError, "target"),
        (good, mouse, {}, ValueError, "reference"),
        (good, [("G1", "G2")], {}, TypeError, "frame"),
        (good, reference, {"layers": {"n": 1}}, ValueError, "no model 'n'"),
        (good, reference, {"n_cells": [50, 60]}, ValueError, "None of `n_cells` is below the 50 cells"),
        (good, reference, {"n_cells": [1, 20]}, ValueError, "n_cells"),
        (good, reference, {"n_cells": []}, ValueError, "n_cells"),
        ({"r": "spearman", "s": "spearman"}, reference, {"n_cells": [20]}, ValueError, "`n_cells` needs a model"),
        (good, reference, {"layers": 9}, ValueError, "layers 0 to 2"),
        (good, reference, {"universe": "some"}, ValueError, "universe"),
        (good, reference, {"memory_limit": 10}, MemoryError, "select_panel"),
        (good, reference, {"key_added": "a/b"}, ValueError, "key_added"),
    ]
    for models, network, given, error, match in wrong:
        with untouched(screen), pytest.raises(error, match=match):
            sps.tl.compare_models(screen, models, network, **QUICK | given)
    screen.var["edge_panel"] = np.arange(60) < 30
    with (
        untouched(screen),
        pytest.warns(UserWarning, match="no record"),
        pytest.raises(ValueError, match=r"have 0 in common.*m 30"),
    ):
        sps.tl.compare_models(screen, {"m": small_model, "few": few}, reference, **QUICK)


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_real_screen_on_a_real_network(data_dir: Path) -> None:
    import anndata as ad

    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    sps.pp.select_cells(adata, n_cells=300)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    sps.tl.baseline_edges(adata, method="partial_correlation")
    collectri = pd.read_csv(data_dir / "networks" / "collectri.csv")
    models = {"correlation": "spearman", "partial": "partial_correlation"}
    sps.tl.compare_models(adata, models, collectri[["source", "target"]], min_targets=2, **QUICK)
    result = adata.uns["compare_models"]
    steps = result["network"].set_index("step")["n"]
    assert steps["n_rows"] > 40_000
    assert 0 < steps["n_evaluated"] <= steps["n_in_panel"] < 2000
    summary = result["summary"].query("statistic == 'pooled'").set_index("predictor")
    assert summary.loc["correlation", "n_pos"] == summary.loc["partial", "n_pos"] == steps["n_evaluated"]
