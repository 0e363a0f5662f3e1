from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

QUICK: dict[str, Any] = {
    "n_null": 60, "n_boot": 100, "n_seeds": 1, "joint_mode": "diagonal", "show_progress_bar": False,
}  # fmt: skip
SLOW = ["explain_edges", "residualize_edges"]


def steps_of(adata: ad.AnnData) -> pd.DataFrame:
    return adata.uns["audit"]["steps"].set_index("step")


def network_of(adata: ad.AnnData, n: int = 12) -> pd.DataFrame:
    """True responders of the first perturbations."""
    target = adata.varm["perturbation_target"] == 1
    rows = [
        (adata.var_names[g], adata.var_names[t], "Activation" if (g + t) % 2 else "Unknown")
        for g in range(min(n, target.shape[1]))
        for t in np.flatnonzero(target[:, g])
        if t != g
    ]
    return pd.DataFrame(rows, columns=["source", "target", "mode"])


def run(adata: ad.AnnData, *arguments: Any, **more: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        sps.tl.audit(adata, *arguments, **QUICK | more)
    return steps_of(adata)


def test_everything_that_the_data_allow_is_run_in_order(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(signal=1.0, n_genes=120, n_units=20)
    steps = run(adata, reference=network_of(adata), skip="explain_edges")
    assert list(steps.index) == [
        "lognormalize", "select_cells", "select_panel", "gene_features", "attention_edges", "correlation_edges",
        "perturbation_effects", "perturbation_auroc_layers", "perturbation_auroc", "select_layer",
        "incremental_value", "matched_evaluation", "explain_edges", "residualize_edges", "reference_auroc",
        "degree_null", "circularity", "rank_heads", "ablate_heads", "correct_tests", "verdict",
    ]  # fmt: skip
    assert steps.loc["ablate_heads", "reason"] == "no model was given"
    status = steps["status"].to_dict()
    present = ["select_cells", "select_panel", "gene_features", "attention_edges", "correlation_edges"]
    assert {status[name] for name in [*present, "perturbation_effects"]} == {"present"}
    assert steps.loc["explain_edges", "reason"] == "left out by `skip`"
    assert steps.loc["select_layer", "reason"] == "there are no edges of several layers"
    ran = steps.index[steps["status"] == "run"]
    assert set(ran) == set(steps.index[7:]) - {
        "explain_edges", "select_layer", "perturbation_auroc_layers", "rank_heads", "ablate_heads",
    }  # fmt: skip
    assert (steps.loc[ran, "seconds"] > 0).all()
    tests = sps.get.tests(adata)
    assert set(tests["edges"]) == {"attention", "spearman"}
    assert {"A01", "A04", "A05", "A06", "A08", "A09", "A10", "A11", "R"} == set(tests["analysis"])
    assert tests["p_bh"].notna().any()
    found = adata.uns["verdict"]["criteria"].set_index(["edges", "criterion"])["passed"]
    assert found["attention"][["a", "b", "c"]].all()
    assert not found["spearman"]["a"]
    assert pd.isna(found["attention"]["overall"])


def test_a_property_of_the_target_alone_passes_nothing(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(confound=2.0, shared=1.0, n_genes=120, n_units=20)
    run(adata, reference=network_of(adata), skip="explain_edges")
    found = adata.uns["verdict"]["criteria"].set_index(["edges", "criterion"])["passed"]["attention"]
    assert found[["a", "b", "c", "overall"]].eq(False).all()
    chance = sps.get.tests(adata, analysis="A01", edges="attention").set_index("name").loc["above_chance"]
    assert chance["ci_low"] > 0.55


def test_without_labels_or_without_a_reference_the_rest_is_run(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=80, n_units=12)
    network = network_of(adata)
    steps = run(adata, skip=SLOW)
    assert steps.loc["degree_null", "reason"] == "no reference was given"
    assert steps.loc["incremental_value", "status"] == "run"
    other = make_audit(n_genes=80, n_units=12)
    del other.uns["perturbation_effects"], other.varm["perturbation_target"], other.obs["perturbation"]
    steps = run(other, reference={"mine": network}, skip=SLOW)
    assert steps.loc["perturbation_effects", "reason"] == "there is no column obs['perturbation']"
    assert steps.loc["perturbation_auroc", "reason"] == "there are no effects"
    assert steps.loc["degree_null", "status"] == "run"
    assert set(sps.get.tests(other)["reference"]) == {"mine"}
    assert steps.loc["verdict", "status"] == "run"


def test_tables_are_audited_and_references_stand_side_by_side(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=80, n_units=12, signal=0.5)
    table = sps.get.edges(adata, "attention")
    for key in ("attention", "attention_uniform_fold", "attention_centered", "attention_randomized"):
        del adata.varp[key], adata.uns[key]
    network = network_of(adata)
    plain = network.drop(columns="mode")
    steps = run(adata, edges={"mine": table}, reference={"one": network, "two": plain}, skip=SLOW)
    assert steps.loc["attention_edges", "reason"] == "no model was given"
    assert steps.loc["circularity", "status"] == "run"
    assert steps.loc["circularity_two", "reason"] == "two does not say which pairs activate and which repress"
    assert {"degree_null", "degree_null_two", "reference_auroc_two"} <= set(adata.uns)
    tests = sps.get.tests(adata, analysis="A09")
    assert set(zip(tests["edges"], tests["reference"], strict=True)) == {
        (edges, name) for edges in ("mine", "spearman") for name in ("one", "two")
    }
    assert adata.uns["verdict"]["params"]["reference_name"] == "one"
    assert list(adata.uns["audit"]["params"]["edges"]) == ["mine", "spearman"]


def test_a_model_is_read_beside_its_twin_and_by_layers(screen: ad.AnnData, small_model: Any) -> None:
    screen.obs["perturbation"] = screen.obs["perturbation"].astype(str)
    steps = run(screen, small_model, skip=[*SLOW, "incremental_value", "matched_evaluation"], layers=[0, 1, 2])
    for name in ("lognormalize", "select_cells", "select_panel", "gene_features", "attention_edges",
                 "attention_edges (random weights)", "perturbation_auroc_layers", "select_layer"):  # fmt: skip
        assert steps.loc[name, "status"] == "run", name
    assert {"attention_uniform_fold", "attention_centered", "attention_randomized"} <= set(screen.varp)
    last = sps.get.tests(screen, edges="spearman", analysis="A04")["key"].iloc[-1]
    assert last == "perturbation_auroc"  # and not the table of layers
    layers = sps.get.tests(screen, edges="attention_L1")
    assert set(layers["role"]) == {"exploratory"}
    again = run(screen, small_model, skip=[*SLOW, "incremental_value", "matched_evaluation"], layers=[0, 1, 2])
    made = again.index[:8]
    assert set(again.loc[made, "status"]) == {"present"}
    assert set(sps.get.tests(screen, key="perturbation_auroc")["n_runs"]) == {2}


def test_same_seed_same_rows(make_audit: Callable[..., ad.AnnData]) -> None:
    one, two = (make_audit(n_genes=80, n_units=10) for _ in range(2))
    for adata, n_jobs in ((one, 1), (two, 2)):
        run(adata, reference=network_of(adata), skip=SLOW, n_jobs=n_jobs, rng=3)
    first, second = (sps.get.tests(adata).drop(columns="wall_s") for adata in (one, two))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_what_tools_warn_of_is_said_once(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=60, n_units=8, companions=())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sps.tl.audit(adata, skip=[*SLOW, "incremental_value"], **QUICK)
    said = [str(one.message) for one in caught]
    assert sum("Attention is scored without" in text for text in said) == 1
    assert len(said) == len(set(said))


def test_bad_input_raises_before_any_work(make_audit: Callable[..., ad.AnnData], untouched: Callable[..., Any]) -> None:
    adata = make_audit(n_genes=60, n_units=8)
    network = network_of(adata)
    with untouched(adata):
        for more, error, message in (
            ({"edges": "mine"}, KeyError, "no edges 'mine'"),
            ({"edges": {"mine": "attention"}}, ValueError, "renames keys"),
            ({"skip": "dance"}, KeyError, "names no step 'dance'"),
            ({"reference": 3}, TypeError, "must be a frame"),
            ({"reference": network.assign(source="ENSG1")}, ValueError, "namespace|none|no pair"),
            ({"reference": network.drop(columns="target")}, KeyError, "target"),
            ({"n_null": 0}, ValueError, "`n_null` must be at least 1"),
            ({"key_added": "a/b"}, ValueError, "key_added"),
        ):
            with pytest.raises(error, match=message):
                sps.tl.audit(adata, **{"show_progress_bar": False} | more)
    del adata.obs["perturbation"], adata.uns["perturbation_effects"]
    with untouched(adata), pytest.raises(ValueError, match="Name the column by `groupby=`, or pass a network"):
        sps.tl.audit(adata)
    for key in [*adata.varp]:
        del adata.varp[key]
    with untouched(adata), pytest.raises(ValueError, match="There is nothing to audit: pass a model"):
        sps.tl.audit(adata)
