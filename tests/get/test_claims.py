from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

CHANCE = "ranks responders above chance"
CORRELATION = "differs from correlation"
TRIVIAL = "better than each feature of single genes"
GAIN = "adds to what gene features predict"
RESIDUAL = "survives the removal of what gene features explain"
DEGREE = "above what degrees give"
CIRCULAR = "does not rest on listed pairs of unknown mode"
MATCHED = "adds to gene features among matched targets"


def told(adata: ad.AnnData, **more: Any) -> dict[str, str]:
    found = sps.get.claims(adata, edges="attention", **more)
    assert found.select_dtypes(object).notna().all(axis=None)
    return found.set_index("claim")["verdict"].to_dict()


def test_every_claim_can_be_supported(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty, {"known_mode/pooled": {"ci_low": 0.0, "ci_high": 0.02}})
    found = sps.get.claims(empty)
    assert set(found["verdict"]) == {"supported"}
    assert set(found["edges"]) == {"attention"}
    ids = {one for joined in found["evidence"] for one in joined.split(";")}
    assert ids <= set(empty.uns["tests"]["test_id"])
    evidence = found.set_index("claim")["evidence"].str.split(";").str.len()
    assert evidence[[TRIVIAL, GAIN, RESIDUAL, DEGREE]].tolist() == [3, 6, 6, 1]


EQUAL = {"equivalence": "equivalent", "margin": 0.02}
CASES: list[tuple[str, dict[str, Any], str]] = [
    (CHANCE, {"above_chance": {"effect_size": 0.4}}, "contradicted"),
    (CHANCE, {"above_chance": {"p_raw": 0.2}}, "inconclusive"),
    (CHANCE, {"above_chance": EQUAL}, "null-equivalent"),
    (CORRELATION, {"vs_spearman": {"effect_size": -0.05}}, "supported"),
    (CORRELATION, {"vs_spearman": {"p_raw": 0.2, "equivalence": "inconclusive"}}, "inconclusive"),
    (CORRELATION, {"vs_spearman": EQUAL}, "null-equivalent"),
    (CORRELATION, {"vs_spearman": None}, "inconclusive"),
    (TRIVIAL, {"vs_mean": {"effect_size": -0.1}}, "contradicted"),
    (TRIVIAL, {"vs_mean": {"effect_size": -0.1, "p_raw": 0.5}}, "inconclusive"),
    (TRIVIAL, {"vs_mean": EQUAL, "vs_variance": {"p_raw": 0.5}}, "null-equivalent"),
    (TRIVIAL, {"vs_mean": {"status": "label_leak"}}, "inconclusive"),
    (GAIN, {"gain/gene/logistic/auroc": {"ci_low": -0.01}}, "inconclusive"),
    (GAIN, {"gain_placebo/joint/gbdt/auroc": {"ci_low": -0.03, "ci_high": -0.01}}, "contradicted"),
    (GAIN, {"gain/gene/logistic/auroc": EQUAL}, "null-equivalent"),
    (GAIN, {"gain/gene/gbdt/auroc": {"ci_low": -0.03, "ci_high": -0.01}}, "supported"),  # trees: by the placebo
    (RESIDUAL, {"retention/ols": {"ci_high": 0.7}}, "contradicted"),
    (RESIDUAL, {"residual/gbdt": {"equivalence": "equivalent"}}, "null-equivalent"),
    (RESIDUAL, {"retention/node": {"effect_size": 0.6}}, "inconclusive"),
    (RESIDUAL, {"retention/node": {"effect_size": np.nan}}, "inconclusive"),
    (DEGREE, {"degree/pooled": {"p_raw": 0.3, "statistic": 0.6}}, "inconclusive"),
    (DEGREE, {"degree/pooled": {"p_raw": 0.999, "statistic": -3.0}}, "contradicted"),
    (DEGREE, {"degree/pooled": {"status": "null_not_mixed"}}, "inconclusive"),
    (DEGREE, {"degree/pooled": {"baseline_value": 4.5}}, "inconclusive"),  # co-detection has as much
    (CIRCULAR, {"known_mode/pooled": {"ci_low": -0.06, "ci_high": -0.02}}, "contradicted"),
    (CIRCULAR, {"known_mode/pooled": EQUAL | {"ci_low": -0.01}}, "supported"),
    (CIRCULAR, {"known_mode/pooled": {"ci_low": -0.06, "ci_high": 0.02}}, "inconclusive"),
    (MATCHED, {"gain/matched": {"p_raw": 0.4}}, "inconclusive"),
    (MATCHED, {"gain/matched": {"reason": "residual imbalance: mean +0.3"}}, "inconclusive"),
    (MATCHED, {"gain/matched": EQUAL}, "null-equivalent"),
    (MATCHED, {"gain/matched": {"effect_size": -0.02}}, "contradicted"),
]


@pytest.mark.parametrize(("claim", "changes", "verdict"), CASES)
def test_one_change_moves_one_claim(
    empty: ad.AnnData, enter_all: Callable[..., None], claim: str, changes: dict[str, Any], verdict: str
) -> None:
    enter_all(empty, {"known_mode/pooled": {"ci_low": 0.0, "ci_high": 0.02}} | changes)
    found = told(empty)
    assert found.pop(claim) == verdict
    assert set(found.values()) == {"supported"}


HEADS = "ranks worse without the chosen heads than without others"
DOSE = "ranks worse with every dose of top heads taken out"
WAYS = "ranks worse under other interventions"
AT = "attention_L3"
CAUSAL_CASES: list[tuple[str, dict[str, Any], str]] = [
    (HEADS, {f"top_5/{AT}": {"effect_size": 0.02}}, "contradicted"),
    (HEADS, {f"top_5/{AT}": EQUAL}, "null-equivalent"),
    (HEADS, {f"top_5/{AT}": {"p_raw": 0.2}}, "inconclusive"),
    (HEADS, {f"top_5/{AT}/vs_random": {"p_raw": 0.9}}, "inconclusive"),
    # a null of heads whose loss moves nothing is none
    (HEADS, {f"top_5/{AT}": EQUAL, "fidelity/top_5": {"effect_size": 0.01}}, "inconclusive"),
    (HEADS, {"fidelity/top_5": {"statistic": 1e-10}}, "inconclusive"),
    (HEADS, {"fidelity/top_5": None}, "inconclusive"),
    (DOSE, {f"dose/top/{AT}": {"p_raw": 0.3}}, "inconclusive"),
    (DOSE, {f"dose/top/{AT}": None}, "inconclusive"),
    (WAYS, {f"mlp_2/{AT}": {"effect_size": 0.03}}, "contradicted"),
    (WAYS, {f"uniform_top_5/{AT}": EQUAL}, "null-equivalent"),
    (WAYS, {"fidelity/mlp_2": {"effect_size": 0.001}}, "inconclusive"),
    (WAYS, {f"uniform_top_5/{AT}": None, f"mlp_2/{AT}": {"status": "structurally_null"}}, "inconclusive"),
]


@pytest.mark.parametrize(("claim", "changes", "verdict"), CAUSAL_CASES)
def test_one_change_moves_one_claim_of_interventions(
    empty: ad.AnnData, enter_causal: Callable[..., None], claim: str, changes: dict[str, Any], verdict: str
) -> None:
    enter_causal(empty, changes)
    found = told(empty)
    assert found.pop(claim) == verdict
    assert {found.pop(other) for other in {HEADS, DOSE, WAYS} - {claim}} == {"supported"}
    assert set(found.values()) == {"inconclusive"}, "nothing else was tested"


def test_interventions_are_claimed_of_edges_that_were_tried(
    empty: ad.AnnData, enter_all: Callable[..., None], enter_causal: Callable[..., None]
) -> None:
    enter_all(empty)
    assert not {HEADS, DOSE, WAYS} & set(told(empty))
    enter_causal(empty)
    assert set(told(empty).values()) >= {"supported"}
    found = sps.get.claims(empty, edges="attention").set_index("claim")
    ids = found.loc[WAYS, "evidence"].split(";")
    names = empty.uns["tests"].set_index("test_id").loc[ids, "name"]
    assert set(names) == {f"uniform_top_5/{AT}", f"mlp_2/{AT}", "fidelity/uniform_top_5", "fidelity/mlp_2"}
    assert found.loc[HEADS, "analysis"] == "A12;A15"


def test_corrected_values_count_once_there_are_some(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty, {"above_chance": {"p_raw": 0.045}})
    assert told(empty)[CHANCE] == "supported"
    reason = sps.get.claims(empty).set_index("claim").loc[CHANCE, "reason"]
    assert "p = 0.045" in reason
    empty.uns["tests"].loc[empty.uns["tests"]["name"] == "above_chance", "p_bh"] = 0.06
    found = sps.get.claims(empty).set_index("claim").loc[CHANCE]
    assert found["verdict"] == "inconclusive"
    assert "q = 0.06" in found["reason"]


def test_exploratory_and_mixed_rows_support_nothing(
    empty: ad.AnnData, enter: Callable[..., None], enter_all: Callable[..., None]
) -> None:
    enter_all(empty, record={"layer_rule": "unrecorded"})
    assert set(told(empty).values()) == {"inconclusive"}
    enter_all(empty)
    worse = {"analysis": "A01", "name": "above_chance", "p_raw": 0.01, "effect_size": 0.4}
    enter(empty, worse, key="again", record={"cells_hash": "new"})
    found = told(empty)
    assert found.pop(CHANCE) == "contradicted"
    assert set(found.values()) == {"inconclusive"}


def test_bad_input(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    with pytest.raises(KeyError, match="nothing has been tested"):
        sps.get.claims(empty)
    enter_all(empty, edges="mine")
    with pytest.raises(KeyError, match="no row of the edges 'yours'; there are: 'mine'"):
        sps.get.claims(empty, edges="yours")


def test_reasons_are_words(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    changes = {"gain/gene/logistic/auroc": {"ci_low": -0.01}, "vs_mean": {"effect_size": -0.1}}
    enter_all(empty, changes | {"gain/matched": {"status": "too_few_units"}, "degree/pooled": None})
    reasons = sps.get.claims(empty).set_index("claim")["reason"]
    assert reasons[GAIN] == "gain, gene, logistic model, AUROC: +0.020 (−0.010 to +0.030)"
    assert reasons[TRIVIAL] == "against mean: −0.100 (p = 0.01)"
    assert reasons[RESIDUAL].startswith(
        "retention, linear model: 0.90 (0.700 to 1.100), and residual, linear model: 0.700"
    )
    assert reasons[MATCHED] == "A11 gain, matched: too few units"
    assert reasons[DEGREE].startswith("A09 degrees of both, pooled was not run (`scepsis.tl.degree_null(")
    assert not reasons.str.contains("/").any()
    assert "gain/gene/logistic/auroc" in set(empty.uns["tests"]["name"])  # names of rows stay
