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


def run(adata: ad.AnnData, network: Any, **more: Any) -> dict[str, Any]:
    options = {"edges": "attention_L7", "n_null": 200}
    assert sps.tl.tf_profile(adata, network, **(options | more)) is None
    return adata.uns[more.get("key_added", "tf_profile")]


def masters(network: pd.DataFrame) -> dict[str, str]:
    """Every other regulator."""
    return dict.fromkeys(sorted(network["source"].unique())[::2], "master")


def with_class_signal(adata: ad.AnnData, network: pd.DataFrame, strength: float) -> None:
    """Strengthen the listed edges of one class."""
    rows = [adata.var_names.get_loc(name) for name in masters(network)]
    listed = adata.varp["regulation"][rows] != 0
    adata.varp["attention_L7"][rows] *= np.exp(strength * listed).astype(np.float32)


def test_numbers_of_regulators_are_those_of_scikit_learn(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers()
    units = run(adata, references["regulation"])["per_regulator"]
    assert len(units) == references["regulation"]["source"].nunique()
    for row in units.itertuples():
        index = adata.var_names.get_loc(row.regulator)
        others = np.arange(adata.n_vars) != index
        listed = adata.varp["regulation"][index][others] != 0
        assert row.auroc == pytest.approx(roc_auc_score(listed, adata.varp["attention_L7"][index][others]))
        assert row.n_targets == listed.sum()
        assert row.mean == pytest.approx(adata.var["mean"].iloc[index])


def test_tests_are_those_of_scipy_and_a_loop(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers()
    classes = masters(references["regulation"])
    result = run(adata, references["regulation"], classes=classes, min_regulators=5)
    units = result["per_regulator"].query("n_targets >= 3")
    tests = result["tests"].query("subset == 'several_targets'").set_index("test")
    expected = spearmanr(units["mean"], units["auroc"])
    assert tests.loc["property/mean", "statistic"] == pytest.approx(expected.statistic)
    assert tests.loc["property/mean", "p_value"] == pytest.approx(expected.pvalue)
    inside = units["tf_class"] == "master"
    gap = units["auroc"][inside].mean() - units["auroc"][~inside].mean()
    assert tests.loc["class/master", "statistic"] == pytest.approx(gap)
    assert len(tests) == 6
    known = tests["p_value"].dropna().sort_values()
    assert (tests["q_value"].dropna() >= tests["p_value"].dropna()).all()
    assert tests["q_value"].min() <= known.iloc[0] * len(known) + 1e-12


def test_a_planted_class_is_found_and_labels_without_meaning_are_not(make_layers: Callable[..., Any]) -> None:
    p = []
    for seed in range(4):
        adata, references = make_layers(signal=0.0, seed=seed)
        network = references["regulation"]
        result = run(adata, network, classes=masters(network), min_regulators=5)
        p.append(result["tests"].query("subset == 'several_targets' and test == 'class/master'")["p_value"].iloc[0])
    assert np.sum(np.array(p) < 0.05) <= 1
    with_class_signal(adata, network, 2.0)
    found = run(adata, network, classes=masters(network), min_regulators=5)["tests"]
    assert found.query("test == 'class/master'")["p_value"].max() < 0.01
    rows = sps.get.tests(adata).query("analysis == 'A27'").set_index("name")
    assert rows.loc["class/master", "is_primary"]
    assert rows.loc["class/master", "status"] == "ok"
    assert rows["is_primary"].sum() == 1
    assert rows.loc["class/master/all", "role"] == "descriptive"


def test_few_regulators_are_no_inference(make_layers: Callable[..., Any]) -> None:
    """24 regulators: all numbers, and no evidence."""
    adata, references = make_layers()
    result = run(adata, references["regulation"])
    assert set(result["tests"].query("statistic == statistic")["status"]) == {"underpowered"}
    assert np.isfinite(result["tests"]["p_value"]).any()
    sps.tl.correct_tests(adata)
    assert sps.get.tests(adata).query("analysis == 'A27'")["p_bh"].isna().all()


def test_a_single_target_is_shown_and_in_no_test(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers()
    network = references["regulation"]
    single = network["source"].unique()[:6]
    network = pd.concat(
        [network[~network["source"].isin(single)], network.drop_duplicates("source").query("source in @single")]
    )
    result = run(adata, network, min_regulators=5)
    units = result["per_regulator"].set_index("regulator").loc[list(single)]
    assert set(units["status"]) == {"too_few_units"}
    assert units["auroc"].notna().all()
    assert units["ci_low"].isna().all()
    counts = result["tests"].groupby("subset")["n_units"].max()
    assert counts["all"] - counts["several_targets"] >= 6


def test_results_survive_the_disk_and_wrong_input_is_told(
    make_layers: Callable[..., Any], roundtrips: Callable[..., Any], untouched: Callable[..., Any]
) -> None:
    adata, references = make_layers()
    network = references["regulation"]
    result = run(adata, network, classes=pd.Series(masters(network)))
    for back in roundtrips(ad.AnnData(np.zeros((1, 1)), uns={"tf_profile": result})):
        for name in ("per_regulator", "tests", "detection"):
            pd.testing.assert_frame_equal(back.uns["tf_profile"][name], result[name], check_dtype=False)
    for more, error, words in (
        ({"classes": {"nobody": "a"}}, ValueError, "names none"),
        ({"classes": ["TF01"]}, TypeError, "a dict or a series"),
        ({"min_targets": 1}, ValueError, "min_targets"),
        ({"edges": "nowhere"}, KeyError, "nowhere"),
    ):
        with untouched(adata), pytest.raises(error, match=words):
            run(adata, network, **more)
    nothing = pd.DataFrame({"source": ["TF01"], "target": ["TF02"]})
    adata.varp["attention_L7"][adata.var_names.get_loc("TF01")] = np.nan
    empty = run(adata, nothing, key_added="empty")
    assert len(empty["per_regulator"]) == len(empty["tests"]) == len(empty["detection"]) == 0


def test_what_would_have_been_found_is_what_is_found_in_edges_that_have_it(make_layers: Callable[..., Any]) -> None:
    adata, references = make_layers(signal=0.0, confound=0.0)
    network = references["regulation"]
    classes = masters(network)
    before = run(adata, network, classes=classes, min_regulators=5)
    seen = before["detection"].set_index(["test", "delta"])
    assert list(dict.fromkeys(before["detection"]["test"])) == list(dict.fromkeys(before["tests"]["test"]))
    gap = seen.loc["class/master", "statistic"]
    assert gap.is_monotonic_increasing
    assert seen.loc[("class/master", 2.0), "detected"]
    assert not seen.loc[("class/master", 0.25), "detected"]
    assert (seen["detected"] == (seen["ci_low"] > 0)).all()
    # the same signal put into the edges, by hand, in regulators of the class alone
    edges = adata.varp["attention_L7"].astype(np.float64)
    listed = (adata.varp["regulation"] != 0) & ~np.isnan(edges)
    sources = [adata.var_names.get_loc(name) for name in before["per_regulator"]["regulator"]]
    taken = edges[sources]
    places = np.flatnonzero(listed[sources] & (np.arange(adata.n_vars) != np.array(sources)[:, None]))
    generator = sps._core._rng.child(0, "tf_profile", "planted", "attention_L7")
    chosen = generator.permutation(places)[: len(places) // 2]
    raised = taken.copy()
    raised.flat[chosen] += 2.0 * np.nanstd(taken)
    inside = [name in classes for name in before["per_regulator"]["regulator"]]
    edges[np.array(sources)[inside]] = raised[inside]
    adata.varp["lifted"] = edges
    with pytest.warns(UserWarning, match="no record"):
        after = run(adata, network, edges="lifted", classes=classes, min_regulators=5, key_added="after")
    found = after["tests"].query("test == 'class/master' and subset == 'several_targets'").iloc[0]
    assert found["statistic"] == pytest.approx(seen.loc[("class/master", 2.0), "statistic"], abs=1e-6)
    assert found["p_value"] < 0.05
