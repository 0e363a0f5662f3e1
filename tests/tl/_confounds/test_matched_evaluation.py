from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

COVARIATES = ["variance", "mean", "detection_rate", "de_frequency"]
quiet = pytest.mark.filterwarnings("ignore:The matched sample keeps:UserWarning")


def run(adata: ad.AnnData, *, edges: Any = "attention", **more: Any) -> dict[str, Any]:
    assert sps.tl.matched_evaluation(adata, edges=edges, **more) is None
    return adata.uns[more.get("key_added", "matched_evaluation")]


def of(frame: pd.DataFrame, **chosen: str) -> pd.Series:
    for column, value in chosen.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


@quiet
@pytest.mark.parametrize("seed", range(3))
def test_a_gene_level_confound_is_gone_after_matching_and_adds_nothing(make_audit: Callable, seed: int) -> None:
    adata = make_audit(n_genes=300, n_units=40, shared=1.0, confound=1.0, seed=seed)
    result = run(adata)
    within = of(result["summary"], design="within", edges="attention")
    assert within["auroc_before"] > 0.65
    assert within["ci_low"] < 0.5 < within["ci_high"]
    assert within["auroc"] == pytest.approx(0.5, abs=0.03)
    assert of(result["summary"], design="balanced")["auroc"] == pytest.approx(0.5, abs=0.03)
    gain = of(result["gains"], design="within", features="gene")
    assert gain["ci_low"] < 0
    assert gain["gain"] < 0.01


@quiet
@pytest.mark.parametrize("seed", range(3))
def test_a_pair_signal_stays_and_adds_to_genes(make_audit: Callable, seed: int) -> None:
    adata = make_audit(n_genes=300, n_units=40, shared=1.0, confound=1.0, signal=1.0, seed=seed)
    result = run(adata)
    within = of(result["summary"], design="within", edges="attention")
    assert within["ci_low"] > 0.6
    gain = of(result["gains"], design="within", features="gene")
    assert gain["ci_low"] > 0.1
    assert gain["p_value"] < 1e-6
    assert gain["equivalence"] == "different"
    row = of(adata.uns["tests"], name="gain/matched")
    assert (row["analysis"], row["role"], row["is_primary"], row["status"]) == ("A11", "confirmatory", True, "ok")
    assert row["effect_size"] == gain["gain"]
    assert row["p_raw"] == gain["p_value"]
    assert (row["edges"], row["effects"], row["labels_hash"]) == ("attention", "perturbation", "labels")


@quiet
def test_balance_is_the_formula_on_the_matches_that_are_stored(make_audit: Callable) -> None:
    adata = make_audit(n_genes=200, n_units=30, shared=1.0)
    result = run(adata)
    matches, balance = result["matches"], result["balance"]
    target = adata.varm["perturbation_target"].copy()
    target[np.arange(30), np.arange(30)] = np.nan
    for covariate in COVARIATES[:3]:
        values = adata.var[covariate].to_numpy()
        one, zero = (values[np.nonzero(target == label)[0]] for label in (1, 0))
        before = (one.mean() - zero.mean()) / np.sqrt((one.var(ddof=1) + zero.var(ddof=1)) / 2)
        row = of(balance, design="within", covariate=covariate)
        assert row["smd_before"] == pytest.approx(before, rel=1e-6)
        pairs = matches[["perturbation", "target"]].drop_duplicates()
        x1 = values[adata.var_names.get_indexer(pairs["target"].astype(str))]
        share = 1 / matches.groupby(["perturbation", "target"], observed=True)["partner"].transform("size")
        weight = share.groupby([matches["perturbation"], matches["partner"]], observed=True).sum()
        x0, w = values[adata.var_names.get_indexer(weight.index.get_level_values(1).astype(str))], weight.to_numpy()
        m0 = np.average(x0, weights=w)
        v0 = (w * (x0 - m0) ** 2).sum() / (w.sum() - (w**2).sum() / w.sum())
        after = (x1.mean() - m0) / np.sqrt((x1.var(ddof=1) + v0) / 2)
        assert row["smd_after"] == pytest.approx(after, rel=1e-6)
        assert row["balanced"] == (abs(after) < 0.1)
    assert (np.abs(balance.loc[balance["design"] == "balanced", "smd_after"]) < 1e-6).all()
    assert (matches["distance"] <= result["params"]["caliper_logit"] + 1e-8).all()
    label = pd.DataFrame(target, index=adata.var_names, columns=adata.var_names[:30])
    for unit, gene, partner in matches[["perturbation", "target", "partner"]].astype(str).itertuples(index=False):
        assert (label.loc[gene, unit], label.loc[partner, unit]) == (1, 0)


def _differing(adata: ad.AnnData, sign: int = 1) -> None:
    """Perturbations that respond by opposite properties: no propensity that all share can balance them."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, adata.n_vars))
    adata.var["mean"], adata.var["variance"] = first, second
    adata.var["detection_rate"] = first + second
    target = adata.varm["perturbation_target"]
    for unit in range(target.shape[1]):
        slope = 2 * first if unit % 3 else -1.5 * first + 2 * second
        target[:, unit] = rng.random(adata.n_vars) < 1 / (1 + np.exp(1.5 - sign * slope))
    adata.varm["perturbation_target"] = target


@pytest.mark.parametrize("sign", [1, -1])
def test_unmet_balance_goes_wherever_the_result_goes(make_audit: Callable, sign: int) -> None:
    adata = make_audit(n_genes=200, n_units=30)
    _differing(adata, sign)
    with pytest.warns(UserWarning, match="The matched sample keeps a residual imbalance"):
        result = run(adata)
    frame = result["balance"]
    unmet = frame.loc[(frame["design"] == "within") & ~frame["balanced"], "covariate"].tolist()
    assert unmet
    sample = of(result["samples"], design="within")
    assert sample["residual_imbalance"]
    assert sample["unbalanced"] == ";".join(unmet)
    for name in ("summary", "gains"):
        rows = result[name]
        assert rows.loc[rows["design"] == "within", "residual_imbalance"].all()
        assert not rows.loc[rows["design"] == "balanced", "residual_imbalance"].any()
    row = of(adata.uns["tests"], name="gain/matched")
    assert row["reason"].startswith("residual imbalance")
    told = dict(re.findall(r"(\w+) ([+−]\d\.\d\d)", row["reason"]))
    differences = frame[(frame["design"] == "within") & ~frame["balanced"]].set_index("covariate")["smd_after"]
    assert {name: float(value.replace("−", "-")) for name, value in told.items()} == differences.round(2).to_dict()
    assert (sign * differences > 0).any()
    assert (row["status"], row["role"]) == ("ok", "confirmatory")


@quiet
def test_a_balanced_sample_says_nothing_and_planted_signals_are_found(make_audit: Callable) -> None:
    adata = make_audit(n_genes=300, n_units=40, seed=1)
    result = run(adata, edges=["attention", "spearman"], smd_threshold=0.5)
    assert of(adata.uns["tests"], edges="attention")["reason"] == ""
    assert not result["samples"]["residual_imbalance"].any()
    detection = result["detection"]
    assert detection.groupby("edges").size().to_dict() == {"attention": 4, "spearman": 4}
    for _, part in detection.groupby("edges"):
        assert part["statistic"].is_monotonic_increasing
        assert part["detected"].iloc[-1]
        assert (part["detected"] == (part["ci_low"] > 0)).all()


@quiet
def test_the_second_set_of_edges_changes_nothing_of_the_first(make_audit: Callable) -> None:
    adata = make_audit()
    alone = run(adata, key_added="alone")
    both = run(adata, edges=["spearman", "attention"], key_added="both")
    for name in ("summary", "gains", "per_perturbation"):
        own = both[name][both[name]["edges"] == "attention"].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone[name])
    pd.testing.assert_frame_equal(both["matches"], alone["matches"])


@quiet
def test_same_seed_same_numbers_and_another_seed_other_ones(make_audit: Callable) -> None:
    adata = make_audit()
    one, again, other = run(adata), run(adata), run(adata, rng=1)
    pd.testing.assert_frame_equal(one["gains"], again["gains"])
    assert not one["gains"]["gain"].equals(other["gains"]["gain"])
    assert of(adata.uns["tests"], name="gain/matched")["n_runs"] == 3


@quiet
def test_result_and_rows_survive_the_disk(
    make_audit: Callable, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    adata = make_audit(n_genes=80, n_units=12)
    run(adata)
    for back in roundtrips(adata):
        for name, frame in adata.uns["matched_evaluation"].items():
            if isinstance(frame, pd.DataFrame):
                read = back.uns["matched_evaluation"][name]
                pd.testing.assert_frame_equal(read.reset_index(drop=True), frame, check_dtype=False)


def test_too_few_perturbations_have_numbers_without_intervals(make_audit: Callable) -> None:
    adata = make_audit(n_genes=150, n_units=5)
    sps.tl.matched_evaluation(adata, edges="attention", smd_threshold=10)
    gains = of(adata.uns["matched_evaluation"]["gains"], design="within", features="gene")
    assert gains["status"] == "too_few_units"
    assert np.isfinite(gains["gain"])
    assert np.isnan(gains[["ci_low", "ci_high", "p_value", "minimum_detectable"]].astype(float)).all()
    assert of(adata.uns["tests"], name="gain/matched")["status"] == "too_few_units"


def test_groups_that_do_not_overlap_are_no_positives(make_audit: Callable) -> None:
    adata = make_audit(n_genes=100, n_units=20)
    high = adata.var["mean"] > adata.var["mean"].quantile(0.8)
    adata.varm["perturbation_target"][:] = high.to_numpy()[:, None]
    adata.var["detection_rate"] = high.astype(float)
    result = run(adata)
    assert of(result["samples"], design="within")["status"] == "no_positives"
    assert of(result["samples"], design="within")["n_matched"] == 0
    row = of(adata.uns["tests"], name="gain/matched")
    assert row["status"] == "no_positives"
    assert "do not overlap" in row["reason"]
    assert np.isnan(row[["p_raw", "effect_size", "ci_low"]].astype(float)).all()
    frame = result["per_perturbation"]
    assert set(frame.loc[frame["design"] == "within", "status"]) == {"no_positives"}


@pytest.mark.parametrize("kind", ["no responders", "all respond", "no edges", "one perturbation"])
@pytest.mark.filterwarnings("ignore:.*other (cells|genes):UserWarning")
def test_what_the_data_cannot_answer_gives_rows_without_numbers(make_audit: Callable, kind: str) -> None:
    adata = make_audit(n_genes=60, n_units=1 if kind == "one perturbation" else 8)
    if kind == "no edges":
        values = np.full((60, 60), np.nan, dtype=np.float32)
        values[50, 51] = 1.0
        adata.varp["attention"] = values
    elif kind != "one perturbation":
        adata.varm["perturbation_target"][:] = kind == "all respond"
    result = run(adata)
    assert (result["samples"]["n_matched"] == 0).all()
    assert of(adata.uns["tests"], name="gain/matched")["status"] == "no_positives"
    assert result["summary"]["auroc"].isna().all()
    assert len(result["detection"]) == 4
    assert not result["detection"]["detected"].any()
    expected = {"no responders": "no_positives", "all respond": "no_negatives", "no edges": "no_positives"}
    if kind in expected:
        assert set(result["per_perturbation"]["status"]) == {expected[kind]}


@quiet
def test_constant_edges_are_chance_and_leaks_are_barred(make_audit: Callable, store_edges: Callable) -> None:
    adata = make_audit(n_genes=100, n_units=12)
    store_edges(adata, "flat", np.ones((100, 100)), method="spearman")
    flat = of(run(adata, edges="flat")["summary"], design="within")
    assert (flat["status"], flat["auroc"]) == ("constant_score", 0.5)
    store_edges(adata, "leaky", np.random.default_rng(0).random((100, 100)), cells="all_cells", method="spearman")
    leaky = run(adata, edges="leaky", allow_different_cells=True)
    assert set(leaky["summary"]["status"]) == {"label_leak"}
    assert np.isfinite(leaky["summary"]["auroc"]).all()
    row = of(adata.uns["tests"], edges="leaky")
    assert row["status"] == "label_leak"
    assert np.isfinite(row["effect_size"])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"edges": "nothing"}, KeyError, "nothing"),
        ({"effects": "other"}, KeyError, "perturbation_effects"),
        ({"k": 0}, ValueError, "`k`"),
        ({"n_folds": 1}, ValueError, "`n_folds`"),
        ({"caliper": -1.0}, ValueError, "`caliper`"),
        ({"direction": "both"}, ValueError, "`direction`"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
        ({"min_units": 1}, ValueError, "`min_units`"),
    ],
)
def test_bad_input_raises_before_any_work(
    make_audit: Callable, untouched: Callable, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    adata = make_audit(n_genes=60, n_units=8)
    with untouched(adata), pytest.raises(error, match=text):
        sps.tl.matched_evaluation(adata, **({"edges": "attention"} | arguments))


def test_features_are_needed(make_audit: Callable, untouched: Callable) -> None:
    adata = make_audit(n_genes=60, n_units=8)
    del adata.var["variance"]
    with untouched(adata), pytest.raises(KeyError, match=r"scepsis\.pp\.gene_features"):
        sps.tl.matched_evaluation(adata, edges="attention")


@quiet
def test_a_copy_leaves_the_data_alone(make_audit: Callable, untouched: Callable) -> None:
    adata = make_audit(n_genes=60, n_units=8)
    with untouched(adata):
        changed = sps.tl.matched_evaluation(adata, edges="attention", copy=True)
    assert "matched_evaluation" in changed.uns
