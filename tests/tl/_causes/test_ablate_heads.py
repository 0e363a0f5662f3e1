from __future__ import annotations

from contextlib import nullcontext
from math import comb
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scepsis as sps
from scepsis.models import Intervention
from scepsis.tl._shared._ablation_run import Cells, order_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PLANTED = (4, 7)
QUIET: dict[str, Any] = {"show_progress_bar": False, "n_cells": 6, "n_fidelity": 4}


@pytest.fixture(scope="module")
def ranked(planted_screen: ad.AnnData, planted_model: Any, planted_network: pd.DataFrame) -> ad.AnnData:
    adata = planted_screen.copy()
    sps.tl.rank_heads(adata, planted_model, reference=planted_network, show_progress_bar=False)
    return adata


@pytest.fixture
def ready(ranked: ad.AnnData) -> ad.AnnData:
    return ranked.copy()


@pytest.fixture(scope="module")
def ranked_below(planted_screen: ad.AnnData, planted_model: Any, planted_network: pd.DataFrame) -> ad.AnnData:
    """Without the last layer, whose heads all show the edges, and which nothing is read above of."""
    adata = planted_screen.copy()
    sps.tl.rank_heads(adata, planted_model, reference=planted_network, layers=range(11), show_progress_bar=False)
    return adata


def results(adata: ad.AnnData, key: str = "head_ablation") -> pd.DataFrame:
    return adata.uns[key]["results"].set_index(["condition", "readout"])


def test_planted_head_drops(ready: ad.AnnData, planted_model: Any) -> None:
    """Against all other single heads below the last layer: what is read there is made before its own do anything."""
    sps.tl.ablate_heads(
        ready, planted_model, conditions={"one": Intervention.zero_heads([PLANTED])}, match=(), n_random=143,
        **QUIET | {"n_cells": 2, "n_fidelity": 2},
    )  # fmt: skip
    row = results(ready).loc[("one", "attention_L11")]
    assert row["auroc_before"] > 0.99
    assert row["n_null"] == row["n_possible"] == 11 * 12 - 1, "no reason to stop before"
    assert row["p_random_floor"] == 1 / 132
    assert row["auroc"] < 0.65
    assert row["p_random"] <= 0.01
    assert row["p_value"] < 0.01
    assert row["is_evidence"]


def test_another_head_does_not_and_its_test_stops_early(ready: ad.AnnData, planted_model: Any) -> None:
    ask: dict[str, Any] = {"match": (), "n_random": 143} | QUIET
    sps.tl.ablate_heads(ready, planted_model, conditions={"one": Intervention.zero_heads([(2, 3)])}, **ask)
    row = results(ready).loc[("one", "attention_L11")]
    assert row["difference"] > -0.01
    assert row["p_random"] > 0.05
    assert row["equivalence"] == "equivalent"
    assert row["n_null"] < 60
    assert ready.uns["head_ablation"]["params"]["n_random_run"] < 70


def test_auroc_is_that_of_edges_of_the_changed_model(ready: ad.AnnData, planted_model: Any) -> None:
    """Against extraction, scored by another tool, from the heads that are left alone."""
    taken = Intervention.zero_heads([PLANTED, (11, 0)])
    sps.tl.ablate_heads(ready, planted_model, conditions={"both": taken}, n_random=1, **QUIET | {"n_cells": 10})
    mask = np.isin(np.arange(ready.n_obs), order_of(np.arange(ready.n_obs), 0)[:10])
    ask: dict[str, Any] = {"heads": [(11, head) for head in range(1, 12)], "mask_obs": mask, "show_progress_bar": False}
    sps.tl.attention_edges(ready, planted_model, key_added="before", **ask)
    with planted_model.intervene(taken):
        sps.tl.attention_edges(ready, planted_model, key_added="after", **ask)
    sps.tl.perturbation_auroc(ready, edges=["before", "after"], baselines=(), n_boot=5)
    told = ready.uns["perturbation_auroc"]["summary"].set_index("predictor")["auroc"]
    row = results(ready).loc[("both", "attention_L11")]
    assert row["auroc_before"] == pytest.approx(told["before"], abs=1e-6)
    assert row["auroc"] == pytest.approx(told["after"], abs=1e-6)
    assert row["difference"] == pytest.approx(told["after"] - told["before"], abs=1e-6)
    contrast = ready.uns["perturbation_auroc"]["contrasts"].query("edges == 'after' and versus == 'before'").iloc[0]
    assert row["p_value"] == pytest.approx(contrast["p_value"], rel=1e-6)
    assert row["ci_low"] == pytest.approx(contrast["twoway_low"], abs=1e-6)


def test_what_cannot_reach_is_exactly_nothing_and_tested_nowhere(ready: ad.AnnData, planted_model: Any) -> None:
    above = {
        "head at it": Intervention.zero_heads([(6, 2)]),
        "its mlp": Intervention.zero_mlps([6]),
        "above": Intervention.zero_heads([(9, 1)]) | Intervention.zero_mlps([8]),
        "uniform at it": Intervention.uniform_heads([(6, 3)]),
        "below": Intervention.zero_heads([(5, 1)]),
        "all uniform at it": Intervention.uniform_heads([(6, head) for head in range(12)])
        | Intervention.zero_heads([(5, 1)]),
    }
    sps.tl.ablate_heads(ready, planted_model, conditions=above, readouts=[6, "last"], n_random=2, **QUIET)
    found = results(ready)
    at_6 = found.xs("attention_L6", level="readout")
    assert at_6["reachable"].to_dict() == {
        "head at it": "no", "its mlp": "no", "above": "no", "uniform at it": "direct_only", "below": "yes",
        "all uniform at it": "direct_only",
    }  # fmt: skip
    unreached = at_6.drop(index="below")
    assert (unreached.drop(index="all uniform at it")["difference"] == 0).all(), "bit for bit"
    assert (unreached["status"] == "structurally_null").all()
    assert unreached["p_value"].isna().all()
    assert not unreached["is_evidence"].any()
    per = ready.uns["head_ablation"]["per_perturbation"]
    same = per[(per["readout"] == "attention_L6") & ~per["condition"].isin(["below", "all uniform at it"])]
    assert (same["auroc"] == same["auroc_before"]).all()
    changed = per[(per["readout"] == "attention_L6") & (per["condition"] == "below")]
    assert (changed["auroc"] != changed["auroc_before"]).any()
    assert (found.xs("attention_L11", level="readout")["reachable"] == "yes").all()
    tests = ready.uns["tests"]
    barred = tests[tests["status"] == "structurally_null"]
    assert len(barred) == 5
    assert barred["p_raw"].isna().all()
    sps.tl.correct_tests(ready)
    assert ready.uns["tests"].loc[barred.index, "p_bh"].isna().all()


def test_a_readout_below_everything_runs_and_is_said(ready: ad.AnnData, planted_model: Any) -> None:
    with pytest.warns(UserWarning, match="Nothing that is done reaches the readout 'attention_L2'"):
        sps.tl.ablate_heads(
            ready, planted_model, conditions={"high": Intervention.zero_heads([(9, 1)])}, readouts=2, **QUIET
        )
    assert results(ready)["status"].tolist() == ["structurally_null"]
    assert ready.uns["head_ablation"]["null"].empty


def test_heads_chosen_by_responders_are_not_tested_on_them(ranked_below: ad.AnnData, planted_model: Any) -> None:
    adata = ranked_below.copy()
    for name, role in (("top_1", "confirmatory"), ("perturbation_1", "descriptive"), ("composite_1", "descriptive")):
        sps.tl.ablate_heads(adata, planted_model, conditions=[name], n_random=2, **QUIET)
        rows = adata.uns["tests"].set_index("name")
        for test in ("", "/vs_random"):
            assert rows.loc[f"{name}/attention_L11{test}", "role"] == role


def test_too_few_perturbations_have_an_estimate_and_no_test(ready: ad.AnnData, planted_model: Any) -> None:
    given = {"one": Intervention.zero_heads([PLANTED])}
    sps.tl.ablate_heads(ready, planted_model, conditions=given, n_random=1, min_units=17, **QUIET)
    row = results(ready).loc[("one", "attention_L11")]
    assert row["status"] == "too_few_units"
    assert row["difference"] < -0.3
    assert np.isnan(row[["p_value", "ci_low", "p_random"]].astype(float)).all()
    entered = ready.uns["tests"].set_index("name").loc["one/attention_L11"]
    assert entered["status"] == "too_few_units"
    assert entered["effect_size"] == row["difference"]
    assert entered["n_units"] == 16
    assert np.isnan(entered[["p_raw", "ci_low"]].astype(float)).all()


def test_what_does_nothing_is_not_applied_and_tested_nowhere(ready: ad.AnnData, planted_model: Any) -> None:
    """MLPs of this model write nothing, so that taking one out takes nothing out."""
    sps.tl.ablate_heads(ready, planted_model, conditions=["mlp_3"], n_random=1, **QUIET)
    row = results(ready).loc[("mlp_3", "attention_L11")]
    assert (row["reachable"], row["status"], row["hidden_max"], row["difference"]) == ("yes", "not_applied", 0, 0)
    assert np.isnan(row[["p_value", "minimum_detectable"]].astype(float)).all()
    assert row["equivalence"] == ""
    assert not row["is_evidence"]
    entered = ready.uns["tests"].set_index("name")
    assert (entered.loc[["mlp_3/attention_L11", "fidelity/mlp_3"], "status"] == "not_applied").all()
    assert np.isnan(entered.loc["mlp_3/attention_L11", "p_raw"])


def test_fidelity_tells_what_was_moved(ready: ad.AnnData, planted_model: Any) -> None:
    given = {"planted": Intervention.zero_heads([PLANTED]), "noise": Intervention.zero_heads([(2, 3)])}
    sps.tl.ablate_heads(ready, planted_model, conditions=given, n_random=1, **QUIET)
    found = results(ready).droplevel("readout")
    assert found.loc["planted", "material"]
    assert not found.loc["noise", "material"]
    assert not found.loc["noise", "is_evidence"]
    assert "no more than 0.02" in found.loc["noise", "reason"]
    frame = (
        ready.uns["head_ablation"]["fidelity"].query("condition == 'planted' and what == 'hidden'").set_index("layer")
    )
    assert (frame.loc[:4, "distance"] == 0).all(), "what enters the layers up to that of the head is as it was"
    assert (frame.loc[5:, "distance"] > 0.02).all()
    rows = ready.uns["tests"].set_index("name")
    assert rows.loc["fidelity/planted", "effect_size"] == pytest.approx(frame["distance"].max())
    assert rows.loc["fidelity/planted", "role"] == "descriptive"


def test_what_is_judged_is_the_readout_that_random_sets_were_run_at(ready: ad.AnnData, planted_model: Any) -> None:
    """Asked for after one that the heads cannot reach."""
    given = {"top_1": Intervention.zero_heads([PLANTED]), "mlp_10": "mlp_10"}
    sps.tl.ablate_heads(ready, planted_model, conditions=given, readouts=[3, "last"], n_random=2, **QUIET)
    rows = ready.uns["tests"].set_index("name")
    assert "top_1/attention_L3/vs_random" not in rows.index
    assert (
        rows.loc["fidelity/top_1", "statistic"] == results(ready).loc[("top_1", "attention_L11"), "hidden_at_readout"]
    )
    assert rows.loc["fidelity/top_1", "statistic"] > 0.02
    marked = rows.index[rows["is_primary"] & rows["analysis"].isin(["A12", "A14"])]
    assert marked.tolist() == ["top_1/attention_L11"]


def test_conditions_of_the_paper(ranked_below: ad.AnnData, planted_model: Any, roundtrips: Any) -> None:
    ready = ranked_below.copy()
    sps.tl.ablate_heads(ready, planted_model, layer=6, n_random=4, n_exceed=2, **QUIET | {"n_cells": 3})
    result = ready.uns["head_ablation"]
    found = result["results"]
    names = set(found["condition"])
    assert {"top_5", "random_5a", "random_5b", "random_5c", "entropy_5"} <= names
    assert {"top_10", "top_20", "top_50", "composite_5", "composite_10", "bottom_5", "bottom_10"} <= names
    assert {"random_10", "random_20", "random_50", "layer_5", "mlp_8", "mlp_6-8", "mlp_1", "mlp_5"} <= names
    assert {"uniform_top_5", "uniform_top_10", "uniform_random_10"} <= names
    assert "top_4" not in names, "three doses fit"
    assert set(found["readout"]) == {"attention_L11", "attention_L6"}
    heads = ready.uns["head_ranking"]["heads"]
    top = heads[heads["rank_reference"] <= 5]
    wanted = {f"L{layer}H{head}" for layer, head in top[["layer", "head"]].to_numpy()}
    listed = found.set_index(["condition", "readout"])["heads"]
    assert set(listed.loc[("top_5", "attention_L11")].split(";")) == wanted
    for name in ("random_5a", "random_5b", "entropy_5"):
        assert not set(listed.loc[(name, "attention_L11")].split(";")) & wanted
    at_6 = found[found["readout"] == "attention_L6"].set_index("condition")
    assert at_6.loc[["mlp_8", "mlp_6-8"], "status"].tolist() == ["structurally_null"] * 2, "as in the paper"
    tests = ready.uns["tests"].set_index("name")
    assert tests.loc["top_5/attention_L11", ["analysis", "is_primary"]].tolist() == ["A12", True]
    assert tests.loc["composite_5/attention_L11", "role"] == "descriptive"
    assert tests.loc["top_5/attention_L11/vs_random", "analysis"] == "A12"
    assert tests.loc["dose/top/attention_L11", "analysis"] == "A13"
    assert tests[tests["is_primary"]]["analysis"].is_unique
    assert result["doses"].set_index(["family", "readout"]).loc[("top", "attention_L11"), "doses"] == "0;5;10;20;50"
    assert set(result["detection"]["delta"]) == {0.25, 0.5, 1.0, 2.0}
    for back in roundtrips(ad.AnnData(uns={"head_ablation": result})):
        pd.testing.assert_frame_equal(back.uns["head_ablation"]["results"], found, check_dtype=False)


def test_heads_chosen_on_one_half_are_judged_on_the_other(ranked_below: ad.AnnData, planted_model: Any) -> None:
    """Against both sets taken out one by one, and perturbations sorted by hand."""
    adata = ranked_below.copy()
    heads, sources = adata.uns["head_ranking"]["heads"], adata.uns["head_ranking"]["sources"].set_index("gene")
    sets = {
        f"half_{half}": Intervention.zero_heads(
            [tuple(pair) for pair in heads.nsmallest(5, f"rank_reference_half_{half}")[["layer", "head"]].to_numpy()]
        )
        for half in (0, 1)
    }
    sps.tl.ablate_heads(adata, planted_model, conditions={"top": "top_5"} | sets, primary="top", n_random=1, **QUIET)
    result = adata.uns["head_ablation"]
    row = result["held_out"].set_index("readout").loc["attention_L11"]
    each = result["per_perturbation"].set_index(["condition", "perturbation"])["difference"]
    by_hand = [each.loc[f"half_{1 - sources.loc[gene, 'half']}", gene] for gene in each.loc["top"].index]
    assert row["n_units"] == len(by_hand) == 16
    assert row["difference"] == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert row["in_sample"] == pytest.approx(each.loc["top"].mean(), abs=1e-12)
    for half in (0, 1):
        wanted = {f"L{layer}H{head}" for layer, head in sets[f"half_{half}"].heads}
        assert set(row[f"heads_half_{half}"].split(";")) == wanted
    assert row["n_shared"] == len(set(sets["half_0"].heads) & set(sets["half_1"].heads))
    test = adata.uns["tests"].set_index("name").loc["top/attention_L11/held_out"]
    assert (test["role"], test["effect_size"]) == ("descriptive", row["difference"])
    sps.tl.ablate_heads(adata, planted_model, conditions=["random_5"], n_random=1, **QUIET)
    assert adata.uns["head_ablation"]["held_out"].empty, "chosen by no labels"


def test_mean_heads_are_averaged_over_the_cells_ranked(
    planted_screen: ad.AnnData, planted_model: Any, planted_network: pd.DataFrame
) -> None:
    """The same as an intervention of the caller's own over these twelve cells."""
    adata = planted_screen.copy()
    rows = np.arange(adata.n_obs) < 12
    ask: dict[str, Any] = {"layers": range(11), "by": "reference", "show_progress_bar": False}
    sps.tl.rank_heads(adata, planted_model, reference=planted_network, mask_obs=rows, **ask)
    tokens = adata.var["ensembl_id"].map(planted_model.vocabulary.tokens).to_numpy()
    cells = planted_model.tokenize(sparse.csr_matrix(adata.X[rows]), tokens, np.zeros(12, dtype=np.uint64))
    batch = planted_model.batch(cells, [np.arange(len(cell.ids)) for cell in cells])
    top = adata.uns["head_ranking"]["heads"].nsmallest(5, "rank_reference")[["layer", "head"]].to_numpy()
    own = Intervention.mean_heads([tuple(pair) for pair in top], reference=batch)
    given = {"mean": "mean_top_5", "own": own, "zero": "top_5"}
    sps.tl.ablate_heads(adata, planted_model, conditions=given, n_random=1, **QUIET)
    found = results(adata).xs("attention_L11", level="readout")
    assert found.loc["mean", ["kind", "analysis", "label"]].tolist() == ["mean", "A14", own.label]
    numbers = ["auroc_before", "auroc", "hidden_max", "hidden_at_readout"]
    np.testing.assert_allclose(
        found.loc["mean", numbers].to_numpy(float), found.loc["own", numbers].to_numpy(float), rtol=1e-6
    )
    assert found.loc["mean", "hidden_max"] != pytest.approx(found.loc["zero", "hidden_max"], rel=0.01)


def test_same_seed_same_result_for_any_batch_size(ready: ad.AnnData, planted_model: Any) -> None:
    ask: dict[str, Any] = {"conditions": ["top_5", "uniform_random_5", "mlp_3"], "n_random": 6} | QUIET
    # the last has room for the sums of one intervention at a time
    for key, size, room in (("one", None, None), ("two", 1, None), ("three", None, 100_000)):
        sps.tl.ablate_heads(ready, planted_model, batch_size=size, memory_limit=room, key_added=key, **ask)
    one, two, three = (ready.uns[key]["results"].drop(columns="hidden_max") for key in ("one", "two", "three"))
    pd.testing.assert_frame_equal(one, three)
    pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)


def test_a_pilot_says_how_many_cells(ready: ad.AnnData, planted_model: Any) -> None:
    quiet = {name: value for name, value in QUIET.items() if name != "n_cells"}
    sps.tl.ablate_heads(ready, planted_model, conditions=["top_5"], n_random=1, **quiet)
    params = ready.uns["head_ablation"]["params"]
    assert params["pilot_cells"] == params["n_cells_run"] == 40, "all of them"
    assert params["pilot_error"] >= 0


def test_the_same_heads_by_two_names_are_run_once(
    ready: ad.AnnData, planted_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    plain = Cells.run

    def run(self: Any, rows: Any, interventions: Any, **options: Any) -> Any:
        seen.append(len(interventions))
        return plain(self, rows, interventions, **options)

    monkeypatch.setattr(Cells, "run", run)
    one = Intervention.zero_heads([PLANTED])
    given = {"one": one, "two": Intervention.zero_heads([PLANTED]), "other": Intervention.zero_heads([(2, 3)])}
    sps.tl.ablate_heads(ready, planted_model, conditions=given, n_random=1, **QUIET)
    assert seen[0] == 2
    told = results(ready).droplevel("readout").drop(columns=["label"])
    shared = ["auroc", "difference", "p_value", "hidden_max", "hidden_at_readout", "logit_distance"]
    pd.testing.assert_series_equal(told.loc["one", shared], told.loc["two", shared], check_names=False)
    assert told.loc["other", "auroc"] != told.loc["one", "auroc"]
    assert set(ready.uns["head_ablation"]["fidelity"]["condition"]) == set(given)


def test_random_sets_are_run_on_the_cells_that_tell_them_apart(
    ready: ad.AnnData, planted_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the margin would take more cells than there are, a tenth of the planted drop takes few."""
    monkeypatch.setattr("scepsis.tl._shared._ablation_run.PILOT", 8)
    quiet = {name: value for name, value in QUIET.items() if name != "n_cells"}
    ask: dict[str, Any] = {"conditions": {"one": Intervention.zero_heads([PLANTED])}, "readouts": "last", "match": ()}
    sps.tl.ablate_heads(ready, planted_model, margin=1e-6, n_random=5, **ask, **quiet)
    params = ready.uns["head_ablation"]["params"]
    assert (params["n_cells_run"], params["n_cells_paired"]) == (40, 8)
    test = ready.uns["head_ablation"]["null"]["difference"].to_numpy()
    sps.tl.ablate_heads(ready, planted_model, n_cells=8, n_random=5, **ask, **quiet)
    assert ready.uns["head_ablation"]["params"]["n_cells_paired"] == 8
    np.testing.assert_allclose(test, ready.uns["head_ablation"]["null"]["difference"], atol=1e-12)
    told = results(ready).loc[("one", "attention_L11")]
    assert told["p_random"] == 1 / 6


def test_random_heads_can_reach_what_is_read(ready: ad.AnnData, planted_model: Any) -> None:
    """Unless the condition itself has one that cannot."""
    ask: dict[str, Any] = {"match": (), "n_random": 200} | QUIET | {"n_cells": 2, "n_fidelity": 1}
    one, high = Intervention.zero_heads([(2, 3)]), Intervention.zero_heads([(2, 3), (11, 0)])
    for readouts, chosen, possible in (
        ([11], one, 11 * 12 - 1), ([4, 11], one, 4 * 12 - 1), ([11], high, comb(144, 2) - 1),
        ([4, 11], Intervention.zero_heads([(2, 3), (7, 1)]), comb(11 * 12, 2) - 1),
    ):  # fmt: skip
        sps.tl.ablate_heads(ready, planted_model, conditions={"one": chosen}, readouts=readouts, n_exceed=1, **ask)
        assert results(ready).loc[("one", "attention_L11"), "n_possible"] == possible


def test_small_model_gets_doses_that_fit(screen: ad.AnnData, small_model: Any, planted_network: pd.DataFrame) -> None:
    sps.pp.select_cells(screen)
    sps.tl.perturbation_effects(screen, min_cells=30, n_null_splits=1, show_progress_bar=False)
    sps.tl.rank_heads(screen, small_model, reference=planted_network, show_progress_bar=False)
    sps.tl.ablate_heads(screen, small_model, min_units=2, n_random=5, **QUIET)
    found = results(screen).droplevel("readout")
    assert (found.loc[["top_10", "random_50", "mlp_4", "mlp_readout-5"], "status"] == "not_applicable").all()
    assert "more than half of the 12" in found.loc["top_10", "reason"]
    assert (found.loc[["top_1", "top_2", "top_4", "top_5"], "status"] != "not_applicable").all()
    assert screen.uns["head_ablation"]["params"]["primary"] == "top_5"
    # three perturbations can be scored, and are too few for tests by default
    sps.tl.ablate_heads(screen, small_model, conditions=["top_2"], n_random=2, **QUIET)
    row = results(screen).iloc[0]
    assert row["status"] == "too_few_units"
    assert np.isfinite(row["difference"])
    assert np.isnan(row["p_value"])


def test_what_rounding_hides_is_no_evidence(
    screen: ad.AnnData, make_lasting_checkpoint: Any, planted_network: pd.DataFrame
) -> None:
    """A head of a layer below the readout whose output is a ten-thousandth of what it was, in half precision."""
    model = sps.models.load(make_lasting_checkpoint("half"), dtype="bfloat16")
    model.seams(0).output.weight[:, :8] *= 1e-4
    sps.pp.select_cells(screen)
    sps.tl.perturbation_effects(screen, min_cells=30, n_null_splits=1, show_progress_bar=False)
    sps.tl.rank_heads(screen, model, reference=planted_network, show_progress_bar=False)
    given = {"little": Intervention.zero_heads([(0, 0)]), "much": Intervention.zero_heads([(0, 1)])}
    sps.tl.ablate_heads(screen, model, conditions=given, min_units=2, n_random=1, **QUIET | {"n_fidelity": 6})
    found = results(screen).droplevel("readout")
    assert found.loc["little", "reachable"] == "yes"
    assert found.loc["little", "hidden_at_readout"] <= found.loc["little", "floor_at_readout"]
    assert not found.loc["little", "is_evidence"]
    assert "than rounding moves it" in found.loc["little", "reason"]
    assert found.loc["much", "is_evidence"]


def test_counterfactuals_are_those_of_the_tool_and_feel_everything(ready: ad.AnnData, planted_model: Any) -> None:
    given = {"planted": Intervention.zero_heads([PLANTED]), "last": Intervention.zero_mlps([11])}
    ask: dict[str, Any] = {"n_cells": 4, "n_insilico": 2, "n_random": 1, "n_fidelity": 2, "show_progress_bar": False}
    sps.tl.ablate_heads(
        ready, planted_model, conditions=given, readouts=["last", "insilico", "logits"], primary="planted", **ask
    )
    found = results(ready)
    assert set(found.xs("last", level="condition")["status"]) == {"structurally_null", "not_applied"}, (
        "its MLPs add nothing"
    )
    assert (found.xs("insilico", level="readout")["reachable"] == "yes").all()
    assert found.loc[("planted", "insilico"), "n_null"] == 0
    assert np.isfinite(found.loc[("planted", "logits"), "auroc_before"])
    counted = ready.uns["head_ablation"]["params"]["n_insilico"]
    assert counted == 2
    # the same cells, by the tool
    order = order_of(np.arange(ready.n_obs), 0)[:2]
    mask = np.isin(np.arange(ready.n_obs), order)
    sources = [f"G{index}" for index in range(16)]
    for key, intervention in (("before", None), ("after", given["planted"])):
        with nullcontext() if intervention is None else planted_model.intervene(intervention):
            sps.tl.insilico_perturbation(
                ready, planted_model, sources=sources, mask_obs=mask, key_added=key, show_progress_bar=False
            )
    sps.tl.perturbation_auroc(ready, edges=["before", "after"], baselines=(), n_boot=5)
    told = ready.uns["perturbation_auroc"]["summary"].set_index("predictor")["auroc"]
    row = found.loc[("planted", "insilico")]
    assert row["auroc_before"] == pytest.approx(told["before"], abs=1e-6)
    assert row["auroc"] == pytest.approx(told["after"], abs=1e-6)


def test_bad_input(ready: ad.AnnData, planted_model: Any, untouched: Any) -> None:
    def fails(error: type[Exception], told: str, **given: Any) -> None:
        with untouched(ready), pytest.raises(error, match=told):
            sps.tl.ablate_heads(ready, planted_model, **QUIET | given)

    fails(ValueError, r"no head \(0, 12\)", conditions={"x": Intervention.zero_heads([(0, 12)])})
    fails(ValueError, "no layer 12", conditions={"x": Intervention.zero_mlps([12])})
    fails(ValueError, "layers 0 to 11", conditions=["mlp_12"])
    fails(ValueError, "more than half of the 144", conditions=["top_73"])
    every = Intervention.zero_heads([(layer, head) for layer in range(12) for head in range(12)])
    fails(ValueError, "every head", conditions={"all": every})
    fails(ValueError, "more than once", conditions=["top_5", "top_5"])
    fails(ValueError, "A name is 'top_5'", conditions=["best_5"])
    fails(TypeError, "not to int", conditions={"x": 3})
    fails(ValueError, "`conditions` is empty", conditions=[])
    fails(ValueError, "non-empty string without '/'", conditions={"a/b": Intervention.zero_heads([(0, 0)])})
    fails(ValueError, "non-empty string without '/'", conditions={"": "top_5"})
    fails(ValueError, "non-empty string without '/'", conditions={3: "top_5"})
    fails(TypeError, "`conditions` takes names", conditions=Intervention.zero_heads([(0, 0)]))
    fails(TypeError, "`conditions` takes names", conditions=[Intervention.zero_heads([(0, 0)])])
    fails(TypeError, "`conditions` takes names", conditions=None)
    fails(ValueError, "A name is 'top_5'", conditions=["top_0"])
    fails(ValueError, "A name is 'top_5'", conditions=["top_05"])
    fails(ValueError, "last layer is below its first", conditions=["mlp_3-1"])
    fails(ValueError, "`batch_size` must be at least 1", conditions=["top_5"], batch_size=0)
    fails(TypeError, "`n_cells` takes whole numbers", conditions=["top_5"], n_cells=2.5)
    fails(ValueError, "`readouts` takes", conditions=["top_5"], readouts=[12])
    fails(ValueError, "`readouts` takes", conditions=["top_5"], readouts=np.int64(12))
    fails(ValueError, "needs a layer", conditions=["top_5"], readouts="frozen")
    fails(ValueError, "`layer` asks for 12", conditions=["top_5"], layer=12)
    fails(ValueError, "more than the 40 cells", conditions=["top_5"], n_cells=41)
    fails(ValueError, "`primary` names", conditions=["top_5", "mlp_3"], primary="mlp_3")
    fails(KeyError, r"tl\.rank_heads", ranking="other")
    fails(ValueError, "`match` takes", match=["depth"])
    fails(MemoryError, "fewer `readouts`", conditions=["top_5"], memory_limit=10)
    planted_model.network.train()
    try:
        fails(ValueError, "training mode", conditions=["top_5"])
    finally:
        planted_model.network.eval()
    with planted_model.intervene(Intervention.zero_heads([(0, 0)])):
        fails(ValueError, "outside of `with model.intervene", conditions=["top_5"])
    ready.uns["head_ranking"]["params"]["model_fingerprint"] = "other"
    fails(ValueError, "not those of", conditions=["top_5"])


def test_cells_that_were_ranked_on_must_be_there(ready: ad.AnnData, planted_model: Any) -> None:
    fewer = ready[:30].copy()
    with pytest.raises(ValueError, match="made from other cells"):
        sps.tl.ablate_heads(fewer, planted_model, **QUIET)
