from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

import scepsis as sps
from scepsis.tl._decision._criteria import overall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad


def judge(adata: ad.AnnData, **more: Any) -> pd.DataFrame:
    sps.tl.verdict(adata, **more)
    return adata.uns["verdict"]["criteria"].set_index(["edges", "criterion"]).loc["attention"]


def passed(found: pd.DataFrame) -> dict[str, bool | None]:
    return {name: None if pd.isna(value) else bool(value) for name, value in found["passed"].items()}


def test_edges_that_meet_everything_wait_for_interventions(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty)
    found = judge(empty)
    assert passed(found) == {"a": True, "b": True, "c": True, "d": None, "overall": None}
    assert found.loc["a", "strict"]
    assert found.loc["b", "material"]
    assert found.loc["overall", "reason"] == "not assessable: (d); holds: (a), (b) and (c)"
    assert "no intervention" in found.loc["d", "reason"]
    evidence = empty.uns["verdict"]["evidence"]
    assert evidence["holds"].all()
    assert set(evidence["test_id"]) <= set(empty.uns["tests"]["test_id"])
    for name in "abc":
        ids = evidence.loc[evidence["criterion"] == name, "test_id"]
        assert found.loc[name, "evidence"].split(";") == list(dict.fromkeys(ids))


def test_the_verdict_can_be_true(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty)
    found = passed(judge(empty))
    del found["overall"]
    assert overall(found.values()) is None
    assert overall((found | {"d": True}).values()) is True  # (d) by hand, as long as nothing intervenes
    assert overall((found | {"d": False}).values()) is False
    assert overall([True, None, False]) is False
    assert overall([]) is None


BARRED = {"status": "label_leak"}
FAILING: list[tuple[str, dict[str, Any], str]] = [
    ("a", {"vs_mean": {"effect_size": -0.1}}, "mean"),
    ("a", {"vs_variance": {"p_raw": 0.06}}, "variance"),
    ("a", {"vs_detection_rate": {"p_raw": 0.9}}, "detection rate"),
    ("b", {"gain/gene/logistic/auroc": {"ci_low": -0.001}}, "AUROC (logistic, gene split)"),
    ("b", {"gain/joint/logistic/auprc": {"ci_low": 0.0}}, "AUPRC (logistic, joint split)"),
    ("b", {"gain_placebo/perturbation/gbdt/auroc": {"ci_low": -0.01}}, "AUROC (gbdt, perturbation split)"),
    ("b", {"gain_placebo/joint/gbdt/recall@50": {"ci_low": -0.02, "ci_high": -0.01}}, "recall@50"),
    ("b", {"gain/gene/logistic/recall@*": {"ci_low": -0.01}}, "recall@"),
    ("c", {"retention/gbdt": {"effect_size": 0.79}}, "retention (gbdt) 0.79"),
    ("c", {"residual/node": {"ci_low": 0.49}}, "residual AUROC (node)"),
    ("c", {"retention/ols": {"effect_size": np.nan, "reason": "nothing to be retained"}}, "nothing to be retained"),
    ("c", {"degree/pooled": {"statistic": 2.9}}, "z 2.90"),
    ("c", {"degree/pooled": {"statistic": 4.0, "baseline_value": 4.5}}, "4.50 of coexpression"),
]


@pytest.mark.parametrize(("criterion", "changes", "told"), FAILING)
def test_one_condition_that_fails_fails_the_criterion(
    empty: ad.AnnData, enter_all: Callable[..., None], criterion: str, changes: dict[str, Any], told: str
) -> None:
    enter_all(empty, changes)
    found = judge(empty)
    expected = {"a": True, "b": True, "c": True, "d": None, "overall": False} | {criterion: False}
    assert passed(found) == expected
    reason = found.loc[criterion, "reason"]
    assert reason.startswith("fails: ")
    assert told in reason
    assert found.loc["overall", "reason"].startswith(f"fails: ({criterion})")


UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("a", {"vs_mean": None}, "perturbation_auroc(adata, edges='attention')"),
    ("a", {"vs_variance": BARRED | {"reason": "saw perturbed cells"}}, "label leak (saw perturbed cells)"),
    ("b", {"gain/*": None}, "incremental_value(adata, edges='attention')"),
    ("b", {"gain_placebo/joint/gbdt/auprc": {"status": "too_few_units"}}, "too few units"),
    ("b", {"gain/gene/logistic/recall@*": {"reason": "saturated"}}, "at its ceiling"),
    ("b", {"gain/gene/logistic/auroc": {"ci_low": np.nan}}, "no number"),
    ("c", {"degree/pooled": {"status": "null_not_mixed"}}, "null not mixed"),
    ("c", {"degree/pooled": {"status": "structurally_null"}}, "structurally null"),
    ("c", {"degree/pooled": {"baseline_value": np.nan}}, "no number"),
    ("c", {"retention/node": None}, "residualize_edges(adata, edges='attention')"),
    ("c", {"residual/gbdt": {"reason": "residual imbalance: mean +0.2"}}, "residual imbalance"),
]


@pytest.mark.parametrize(("criterion", "changes", "told"), UNKNOWN)
def test_what_is_missing_or_degenerate_is_not_assessable(
    empty: ad.AnnData, enter_all: Callable[..., None], criterion: str, changes: dict[str, Any], told: str
) -> None:
    enter_all(empty, changes)
    found = judge(empty)
    expected = {"a": True, "b": True, "c": True, "d": None, "overall": None} | {criterion: None}
    assert passed(found) == expected
    reason = found.loc[criterion, "reason"]
    assert reason.startswith("not assessable: ")
    assert told in reason


def test_signed_ranks_are_corrected_over_the_three(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    p = [0.049, 0.03, 0.02]
    names = ("variance", "mean", "detection_rate")
    enter_all(empty, {f"vs_{name}": {"p_raw": one} for name, one in zip(names, p, strict=True)})
    assert passed(judge(empty))["a"] is True
    evidence = empty.uns["verdict"]["evidence"].query("criterion == 'a'")
    np.testing.assert_allclose(evidence["q_value"].iloc[:3], false_discovery_control(p))
    enter_all(empty, {f"vs_{name}": {"p_raw": one} for name, one in zip(names, (0.051, 0.03, 0.02), strict=True)})
    assert passed(judge(empty))["a"] is False


def test_stronger_comparators_stand_beside(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    for changes, strict in (
        ({"vs_de_frequency": {"p_raw": 0.5}}, False),
        ({"gain/perturbation/logistic/auroc": {"baseline_value": 0.95}}, False),
        ({"vs_de_frequency": {"status": "not_run"}}, None),
    ):
        enter_all(empty, changes)
        found = judge(empty)
        assert passed(found)["a"] is True
        value = found.loc["a", "strict"]
        assert (None if pd.isna(value) else bool(value)) is strict
    enter_all(empty, {"gain/gene/logistic/auroc": {"effect_size": 0.004}})
    assert passed(judge(empty))["b"] is True
    assert not judge(empty).loc["b", "material"]


def test_a_list_at_its_ceiling_is_left_out(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    flat = {"ci_low": 0.0, "ci_high": 0.0, "effect_size": 0.0, "reason": "saturated"}
    enter_all(empty, {"gain/*": {}, "gain/gene/logistic/recall@50": flat, "gain/gene/logistic/recall@100": flat})
    assert passed(judge(empty))["b"] is True
    # and the one that is open must gain
    closed = {f"gain/gene/logistic/recall@{k}": flat for k in (50, 100)}
    enter_all(empty, closed | {"gain/gene/logistic/recall@10": {"ci_low": 0.0}})
    assert passed(judge(empty))["b"] is False


def test_an_unrecorded_choice_of_layer_is_not_assessable(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty, record={"layer_rule": "unrecorded"})
    found = judge(empty)
    assert set(passed(found).values()) == {None}
    assert "how the layers of attention were chosen is not on record" in found.loc["a", "reason"]


@pytest.mark.parametrize("what", ["cells", "genes", "labels"])
def test_rows_of_other_data_are_not_mixed(
    empty: ad.AnnData, enter: Callable[..., None], enter_all: Callable[..., None], what: str
) -> None:
    enter_all(empty)
    other = {"labels_hash": "new"} if what == "labels" else {"record": {f"{what}_hash": "new"}}
    row = {"analysis": "A01", "name": "above_chance", "p_raw": 0.1, "effect_size": 0.6}
    enter(empty, row, key="again", **other)
    found = judge(empty)
    expected = {"a": None, "b": None, "c": True if what == "labels" else None, "d": None, "overall": None}
    assert passed(found) == expected
    assert f"other {what} than the last test" in found.loc["a", "reason"]


def test_analyses_that_decide_nothing_do_not_say_what_data_is_meant(
    empty: ad.AnnData, enter: Callable[..., None], enter_all: Callable[..., None]
) -> None:
    enter_all(empty)
    enter(empty, {"analysis": "A02", "name": "reference_setting"}, labels_hash="of another threshold")
    enter(empty, {"analysis": "R", "name": "pooled"}, reference="reference", labels_hash="of another universe")
    assert passed(judge(empty)) == {"a": True, "b": True, "c": True, "d": None, "overall": None}


def test_a_test_that_was_run_again_counts_by_its_last_run(
    empty: ad.AnnData, enter: Callable[..., None], enter_all: Callable[..., None]
) -> None:
    enter_all(empty)
    enter(empty, {"analysis": "A04", "name": "vs_mean", "p_raw": 0.5, "effect_size": 0.1}, key="again")
    assert passed(judge(empty))["a"] is False


def test_sets_of_edges_label_sets_and_references_are_kept_apart(
    empty: ad.AnnData, enter: Callable[..., None], enter_all: Callable[..., None]
) -> None:
    enter_all(empty)
    enter_all(empty, {"vs_mean": {"effect_size": -1.0}}, edges="spearman")
    enter(empty, {"analysis": "A04", "name": "vs_mean", "p_raw": 0.001, "effect_size": -0.1}, effects="guide")
    sps.tl.verdict(empty, edges=["attention", "spearman"])
    table = empty.uns["verdict"]["criteria"].set_index(["edges", "criterion"])["passed"]
    assert table["attention"].fillna(False).tolist() == [True, True, True, False, False]
    assert table["spearman"].fillna(False).tolist() == [False, True, True, False, False]
    enter(
        empty,
        {"analysis": "A09", "name": "degree/pooled", "statistic": 1.0, "baseline_value": 0.0},
        reference="trrust",
        labels_hash="t",
    )
    found = judge(empty)
    assert passed(found)["c"] is None
    assert "name one by `reference_name`" in found.loc["c", "reason"]
    assert passed(judge(empty, reference_name="reference"))["c"] is True
    found = judge(empty, reference_name="collectri")
    assert "no test against the reference 'collectri'" in found.loc["c", "reason"]


def test_without_a_reference_the_third_criterion_says_so(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty, {"retention/*": None, "residual/*": None, "degree/pooled": None, "known_mode/pooled": None})
    found = judge(empty)
    assert passed(found) == {"a": True, "b": True, "c": None, "d": None, "overall": None}
    assert found.loc["c", "reason"] == "not assessable: nothing was tested against a reference"


def test_reruns_are_carried(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    for margin in (0.02, 0.05, 0.02):
        enter_all(empty, params={"margin": margin})
    sps.tl.verdict(empty)
    evidence = empty.uns["verdict"]["evidence"]
    assert set(evidence["n_runs"]) == {3}
    assert set(evidence["n_distinct_params"]) == {2}
    assert evidence.query("condition == 'against mean'")["minimum_detectable"].tolist() == [0.03]


def test_nothing_but_rows_is_read(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty)
    empty.uns["perturbation_auroc"] = "not read"
    assert passed(judge(empty))["a"] is True
    assert set(empty.uns) == {"tests", "perturbation_auroc", "verdict"}


def test_everything_survives_writing_and_reading(
    empty: ad.AnnData, enter_all: Callable[..., None], roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    enter_all(empty, {"vs_mean": None})
    judge(empty)
    result = empty.uns["verdict"]
    for back in roundtrips(empty):
        for name in ("criteria", "evidence"):
            frame = back.uns["verdict"][name]
            pd.testing.assert_frame_equal(frame.astype(result[name].dtypes.to_dict()), result[name])
            assert frame.select_dtypes("boolean").columns.tolist() == (
                ["passed", "strict", "material"] if name == "criteria" else ["holds"]
            )
        again = back.copy()
        judge(again)
        pd.testing.assert_frame_equal(again.uns["verdict"]["criteria"], result["criteria"])


def test_bad_input(empty: ad.AnnData, enter_all: Callable[..., None], untouched: Callable[..., Any]) -> None:
    with pytest.raises(KeyError, match="nothing has been tested"):
        sps.tl.verdict(empty)
    enter_all(empty, edges="mine")
    with untouched(empty):
        with pytest.raises(KeyError, match="no row of the edges 'attention'; there are: 'mine'"):
            sps.tl.verdict(empty)
        with pytest.raises(KeyError, match="no row of the edges none"):
            sps.tl.verdict(empty, edges=[])
        copied = sps.tl.verdict(empty, edges="mine", copy=True)
    assert "verdict" in copied.uns


READOUT = "attention_L3"


def test_interventions_that_meet_everything_make_the_verdict_true(
    empty: ad.AnnData, enter_all: Callable[..., None], enter_causal: Callable[..., None]
) -> None:
    enter_all(empty)
    enter_causal(empty)
    found = judge(empty)
    assert passed(found) == {"a": True, "b": True, "c": True, "d": True, "overall": True}
    evidence = empty.uns["verdict"]["evidence"].query("criterion == 'd'")
    assert not evidence["test_id"].str.contains("mlp_3|uniform_random|uniform_top_10").any()


FAILING_CAUSAL: list[tuple[dict[str, Any], str]] = [
    ({f"dose/top/{READOUT}": {"p_raw": 0.06}}, "with every dose"),
    ({f"dose/top/{READOUT}": {"effect_size": 0.01}}, "with every dose"),
    ({f"top_5/{READOUT}/vs_random": {"p_raw": 0.4}}, "random sets"),
    ({f"top_5/{READOUT}/vs_random": {"effect_size": 0.03}}, "random sets"),
    ({f"mlp_2/{READOUT}": {"p_raw": 0.06}}, "mlp_2"),
    ({f"uniform_top_5/{READOUT}": {"effect_size": 0.02}}, "uniform_top_5"),
    # What took no effect is no evidence, and does not hide what did take effect and cost nothing.
    ({"fidelity/mlp_2": {"effect_size": 0.019}, f"uniform_top_5/{READOUT}": {"effect_size": 0.02}}, "uniform_top_5"),
    ({"fidelity/mlp_2": {"effect_size": 0.019}, f"top_5/{READOUT}/vs_random": {"p_raw": 0.4}}, "random sets"),
]


@pytest.mark.parametrize(("changes", "told"), FAILING_CAUSAL)
def test_one_causal_condition_that_fails_fails_it(
    empty: ad.AnnData, enter_causal: Callable[..., None], changes: dict[str, Any], told: str
) -> None:
    enter_causal(empty, changes)
    found = judge(empty)
    assert passed(found)["d"] is False
    assert told in found.loc["d", "reason"]


OPEN_CAUSAL: list[tuple[dict[str, Any], str]] = [
    (dict.fromkeys([f"top_5/{READOUT}/vs_random", f"top_5/{READOUT}"]), "can reach the readout"),
    ({f"top_5/{READOUT}/vs_random": {"role": "descriptive"}}, "chosen by the responders"),
    ({f"dose/top/{READOUT}": None}, "A13 dose, top, attention_L3 was not run"),
    ({f"mlp_2/{READOUT}": {"status": "structurally_null"}, f"uniform_top_5/{READOUT}": {"status": "not_applied"}},
     "not applied"),
    (dict.fromkeys([f"mlp_2/{READOUT}", f"uniform_top_5/{READOUT}"]), "no uniform or MLP intervention reaches"),
    ({"fidelity/top_5": None}, "fidelity, top_5 was not run"),
    ({"fidelity/top_5": {"effect_size": np.nan}}, "no number"),
    ({"fidelity/top_5": {"effect_size": 0.019}}, "moves hidden states by 0.019, too little"),
    ({"fidelity/mlp_2": {"statistic": 1e-10}}, "mlp_2"),
    ({"fidelity/top_5": {"effect_size": 0.019}, f"top_5/{READOUT}/vs_random": {"p_raw": 0.4}}, "too little"),
    ({"fidelity/mlp_2": {"effect_size": 0.019}, f"mlp_2/{READOUT}": {"p_raw": 0.4}}, "too little"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), OPEN_CAUSAL)
def test_what_cannot_be_judged_is_open(
    empty: ad.AnnData, enter_causal: Callable[..., None], changes: dict[str, Any], told: str
) -> None:
    enter_causal(empty, changes)
    found = judge(empty)
    assert passed(found)["d"] is None
    assert told in found.loc["d", "reason"]


def test_the_last_run_of_interventions_is_judged(
    empty: ad.AnnData, enter: Callable[..., None], enter_causal: Callable[..., None]
) -> None:
    """What an earlier run held against random sets, under the same key or another, is neither judged nor in the way."""
    other = {"analysis": "A12", "name": f"top_10/{READOUT}/vs_random", "effect_size": -0.03, "p_raw": 0.4}
    for key in ("head_ablation", "other"):
        adata = empty.copy()
        enter(adata, other, key=key)
        enter_causal(adata)
        found = judge(adata)
        assert passed(found)["d"] is True
        assert "top_10" not in found.loc["d", "reason"]
