from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis._core._rng import child
from scepsis.stats._planted import planted
from scepsis.stats._pooled import PooledScore, pooled_contrast

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

pytestmark = pytest.mark.filterwarnings("ignore:There is no record of the cells", "ignore:.*looks truncated")


def run(adata: ad.AnnData, frame: pd.DataFrame, **more: Any) -> dict[str, Any]:
    options = {"edges": "edges", "n_boot": 300, "min_targets": 1}
    assert sps.tl.circularity(adata, frame, **(options | more)) is None
    return adata.uns[more.get("key_added", "circularity")]


def row(result: dict[str, Any], statistic: str = "pooled") -> pd.Series:
    return result["summary"].set_index("statistic").loc[statistic]


def with_modes(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """About half of the pairs of known mode; the regulator with fewest targets has none."""
    modes = np.random.default_rng(seed).choice(["Activation", "repression", "Unknown", "Unknown"], size=len(frame))
    few = frame["source"].value_counts().index[-1]
    return frame.assign(mode=np.where(frame["source"] == few, "Unknown", modes))


def matrices(adata: ad.AnnData, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, listed pairs, pairs of known mode, and candidates, of the regulators in the order of ``var``."""
    names = list(adata.var_names)
    sources = sorted({names.index(name) for name in frame["source"]})
    listed, known = np.zeros((2, len(sources), len(names)), dtype=bool)
    for source, target, mode in frame[["source", "target", "mode"]].itertuples(index=False):
        listed[sources.index(names.index(source)), names.index(target)] = True
        known[sources.index(names.index(source)), names.index(target)] |= mode != "Unknown"
    candidate = np.array(sources)[:, None] != np.arange(len(names))
    return adata.varp["edges"][sources], listed, known, candidate


def test_unknown_pairs_are_removed_and_not_made_negatives(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=0.8)
    frame = with_modes(frame)
    result = run(adata, frame)
    scores, listed, known, candidate = matrices(adata, frame)
    rows = known.any(axis=1)
    assert not rows.all()
    valid = candidate & ~(listed & ~known) & rows[:, None]
    found = row(result)
    full = roc_auc_score(listed[candidate], scores[candidate])
    assert found["full"] == pytest.approx(full, abs=1e-12)
    expected = roc_auc_score(known[valid], scores[valid])
    assert found["known"] == pytest.approx(expected, abs=1e-12)
    assert found["difference"] == pytest.approx(expected - full)
    shared = candidate & rows[:, None]
    assert found["difference_shared"] == pytest.approx(expected - roc_auc_score(listed[shared], scores[shared]))
    assert (found["n_full"], found["n_known"]) == (listed.sum(), known.sum())
    assert (found["n_regulators_full"], found["n_regulators_known"]) == (len(rows), rows.sum())
    means = [
        [roc_auc_score(label[some], score[some]) for label, some, score in zip(*parts, scores, strict=True)
         if 2 <= label[some].sum() < some.sum()]
        for parts in ((listed, candidate), (known, valid))
    ]  # fmt: skip
    own = row(result, "per_regulator")
    assert own["full"] == pytest.approx(np.mean(means[0]))
    assert own["known"] == pytest.approx(np.mean(means[1]))
    assert own["median_known"] == pytest.approx(np.median(means[1]))
    assert own["n_regulators_known"] == len(means[1])


def test_circular_pairs_are_found_out_and_honest_ones_are_not(make_network: Callable[..., Any]) -> None:
    """Planted both ways: edges that know only the pairs of unknown mode, and edges that know both kinds."""
    adata, frame = make_network(n_regulators=20, n_edges=300)
    frame = with_modes(frame)
    names = list(adata.var_names)
    places = [(names.index(s), names.index(t)) for s, t in frame[["source", "target"]].itertuples(index=False)]
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(len(names), len(names)))
    circular, honest = noise.copy(), noise.copy()
    for (source, target), mode in zip(places, frame["mode"], strict=True):
        circular[source, target] += 2.0 * (mode == "Unknown")
        honest[source, target] += 1.0
    adata.varp["circular"], adata.varp["honest"] = np.exp(circular), np.exp(honest)
    result = run(adata, frame, edges=["circular", "honest"])
    pooled = result["summary"].query("statistic == 'pooled'").set_index("edges")
    assert pooled.loc["circular", "ci_high"] < -0.1
    assert pooled.loc["circular", "boot_high"] < -0.1
    assert pooled.loc["circular", "known"] == pytest.approx(0.5, abs=0.08)
    assert pooled.loc["honest", "ci_low"] < 0 < pooled.loc["honest", "ci_high"]


def test_a_weight_of_both_signs_tells_the_mode(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network()
    signed = frame.assign(weight=np.where(np.arange(len(frame)) % 3, 1.0, -1.0))
    found = row(run(adata, signed))
    assert found["n_known"] == found["n_full"]
    assert found["difference"] == 0
    assert found["equivalence"] == "equivalent"


def test_bootstrap_is_paired_over_regulators(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=0.5)
    frame = with_modes(frame)
    found = row(run(adata, frame, n_boot=2000), "per_regulator")
    scores, listed, known, candidate = matrices(adata, frame)
    valid = candidate & ~(listed & ~known)
    deltas = [
        roc_auc_score(known[i][valid[i]], scores[i][valid[i]])
        - roc_auc_score(listed[i][candidate[i]], scores[i][candidate[i]])
        for i in range(len(scores))
        if known[i].sum() >= 2
    ]
    assert found["difference_shared"] == pytest.approx(np.mean(deltas))
    assert found["boot_low"] < np.mean(deltas) < found["boot_high"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda f: f.drop(columns="mode"), "no_positives"),
        (lambda f: f.assign(mode="Unknown"), "no_positives"),
        (lambda f: f[f["source"].isin(["G0", "G1"])], "too_few_units"),
    ],
    ids=["no modes", "all unknown", "two regulators"],
)
def test_degenerate_references_have_a_status(make_network: Callable[..., Any], change: Any, status: str) -> None:
    adata, frame = make_network()
    result = run(adata, change(frame.assign(mode="Activation")))
    for statistic in ("pooled", "per_regulator"):
        found = row(result, statistic)
        assert found["status"] == status
        assert np.isnan(found["ci_low"])
        assert np.isnan(found["known"]) == (status == "no_positives")
        assert np.isfinite(found["full"])
    assert adata.uns["tests"]["status"].tolist() == [status, status]


def test_constant_edges_have_a_status(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network()
    adata.varp["edges"].fill(1.0)
    assert row(run(adata, with_modes(frame)))["status"] == "constant_score"


def test_a_planted_circularity_is_that_of_edges_that_have_it(make_network: Callable[..., Any]) -> None:
    """scikit-learn on edges that are changed by hand, and the contrast that edges themselves are given."""
    adata, frame = make_network(n_regulators=12, n_edges=200)
    frame = with_modes(frame)
    detection = run(adata, frame, rng=3)["detection"]
    scores, listed, known, candidate = matrices(adata, frame)
    rows = known.any(axis=1, keepdims=True)
    unknown, shared = listed & ~known & rows, candidate & rows
    valid = shared & ~unknown
    scores = np.where(candidate, scores, np.nan)
    assert detection["delta"].tolist() == [0.25, 0.5, 1.0, 2.0]
    for row in detection.itertuples():
        changed = planted(scores, unknown, row.delta, child(3, "circularity", "planted", "edges"))
        expected = roc_auc_score(known[valid], changed[valid])
        expected -= roc_auc_score(listed[shared], changed[shared])
        assert row.statistic == pytest.approx(expected, abs=1e-12)
        both = PooledScore.of(changed, known, valid), PooledScore.of(changed, listed & rows, shared)
        interval = pooled_contrast(*both, "crossed", margin=0.0, min_units=6).two_way
        assert (row.ci_low, row.ci_high) == pytest.approx(interval)
        assert row.detected == (interval.high < 0)
    assert detection["statistic"].is_monotonic_decreasing
    assert detection["detected"].iloc[-1]


@pytest.mark.parametrize("mode", ["Activation", "Unknown"])
def test_without_pairs_of_both_kinds_nothing_is_planted(make_network: Callable[..., Any], mode: str) -> None:
    adata, frame = make_network()
    assert run(adata, frame.assign(mode=mode))["detection"].empty
    few = frame[frame["source"].isin(["G0", "G1"])].copy()
    few["mode"] = np.where(np.arange(len(few)) % 2, "Activation", "Unknown")
    detection = run(adata, few)["detection"]
    assert detection["statistic"].notna().all()
    assert detection["ci_low"].isna().all()
    assert not detection["detected"].any()


def test_registry_and_files(make_network: Callable[..., Any], roundtrips: Callable[..., Any]) -> None:
    adata, frame = make_network()
    result = run(adata, with_modes(frame))
    tests = adata.uns["tests"].set_index("name")
    assert tests.index.tolist() == ["known_mode/pooled", "known_mode/per_regulator"]
    assert set(tests["analysis"]) == {"A10"}
    assert set(tests["role"]) == {"descriptive"}
    assert tests.loc["known_mode/pooled", "effect_size"] == row(result)["difference_shared"]
    for back in roundtrips(adata):
        for name in ("summary", "per_regulator", "network", "detection"):
            pd.testing.assert_frame_equal(back.uns["circularity"][name], result[name], check_dtype=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"universe": "unordered"}, "universe"), ({"n_boot": 0}, "n_boot"), ({"min_targets": 0}, "min_targets")],
)
def test_wrong_arguments_are_refused(
    make_network: Callable[..., Any], untouched: Callable[..., Any], options: Any, message: str
) -> None:
    adata, frame = make_network()
    with untouched(adata), pytest.raises(ValueError, match=message):
        run(adata, with_modes(frame), **options)
