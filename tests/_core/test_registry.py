from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._core._analyses import ANALYSES
from scepsis._core._registry import (
    COLUMNS,
    CORRECTED,
    DTYPES,
    Evidence,
    Row,
    params_hash,
    read_tests,
    updated_tests,
    updated_tests_of,
)
from scepsis._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECORD = {"layer_rule": "single", "cells_hash": "c", "genes_hash": "g"}


def row(name: str = "vs_mean", **more: Any) -> Row:
    given: dict[str, Any] = {
        "analysis": "A04",
        "hypothesis": "edges rank responders better than the mean",
        "test_type": "Wilcoxon signed-rank",
        "role": "confirmatory",
        "edges": "attention",
        "p_raw": 0.01,
        "effect_size": 0.1,
        "n": 10,
    }
    return Row(name=name, **given | more)


def evidence(params: dict[str, Any] | None = None, **more: Any) -> Evidence:
    given: dict[str, Any] = {
        "key": "perturbation_auroc",
        "params": params or {"margin": 0.02},
        "edges": {"attention": RECORD, "mine": {}},
        "effects": "perturbation",
        "labels_hash": "l",
        "seed": 3,
        "wall_s": 1.5,
    }
    return Evidence(**given | more)


def enter(adata: ad.AnnData, rows: list[Row], rest: Evidence | None = None) -> pd.DataFrame:
    adata.uns.update(updated_tests(adata, rows, rest or evidence()))
    return read_tests(adata).set_index("test_id")


def test_a_row_says_what_it_rests_on(screen: ad.AnnData) -> None:
    frame = enter(screen, [row(), row(edges="mine", status="not_run", p_raw=np.nan)])
    assert list(read_tests(screen).columns) == COLUMNS
    assert frame.dtypes.astype(str).to_dict() == {name: kind for name, kind in DTYPES.items() if name != "test_id"}
    first = frame.loc["A04/perturbation_auroc/attention/perturbation/vs_mean"]
    told = first[["cells_hash", "genes_hash", "labels_hash", "layer_rule", "family", "s10_section", "seed", "wall_s"]]
    assert told.tolist() == ["c", "g", "l", "single", "F1", "§21", 3, 1.5]
    assert (first["n_runs"], first["n_distinct_params"], first["package_version"]) == (1, 1, __version__)
    second = frame.loc["A04/perturbation_auroc/mine/perturbation/vs_mean"]
    assert (second["cells_hash"], second["layer_rule"], second["status"]) == ("", "single", "not_run")
    assert frame[list(CORRECTED)].isna().all(axis=None)
    assert frame.select_dtypes(object).notna().all(axis=None)


def test_updating_leaves_the_data_alone(screen: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    enter(screen, [row()])
    with untouched(screen):
        updated_tests(screen, [row(p_raw=0.5)], evidence())


def test_a_second_run_replaces_and_is_counted(screen: ad.AnnData) -> None:
    enter(screen, [row()])
    enter(screen, [row(p_raw=0.2)], evidence({"margin": 0.05}))
    enter(screen, [row(p_raw=0.3)], evidence({"margin": 0.02}))
    frame = enter(screen, [row(p_raw=0.4)], evidence({"margin": 0.1}))
    assert len(frame) == 1
    assert frame["p_raw"].tolist() == [0.4]
    assert (frame["n_runs"].item(), frame["n_distinct_params"].item()) == (4, 3)


def test_data_and_versions_are_no_settings() -> None:
    base = {"margin": 0.02, "edges": ["a", "b"]}
    assert params_hash(base) == params_hash({"edges": ["a", "b"], "margin": 0.02})
    assert params_hash(base) == params_hash(base | {"labels_hash": "other", "scepsis_version": "9"})
    assert params_hash(base) != params_hash(base | {"margin": 0.03})
    assert params_hash(base) != params_hash(base | {"edges": ["b", "a"]})


def test_what_was_left_out_stays_without_numbers(screen: ad.AnnData) -> None:
    enter(screen, [row("vs_mean", equivalence="different"), row("vs_variance", p_raw=0)])
    enter(screen, [row("vs_mean"), row("vs_variance")])
    frame = enter(screen, [row("vs_mean")]).set_index("name")
    left = frame.loc["vs_variance"]
    assert (left["status"], left["n_runs"]) == ("not_run", 2)
    assert "left out" in left["reason"]
    assert np.isnan(left[["p_raw", "effect_size"]].astype(float)).all()
    assert (left["equivalence"], left["p_text"]) == ("", "")
    assert (frame.loc["vs_mean", "status"], frame.loc["vs_mean", "n_runs"]) == ("ok", 3)
    back = enter(screen, [row("vs_mean"), row("vs_variance")]).set_index("name").loc["vs_variance"]
    assert (back["status"], back["reason"], back["n_runs"], back["p_raw"]) == ("ok", "", 3, 0.01)


@pytest.mark.parametrize(
    "other",
    [
        {"edges": {"mine": {}}},
        {"effects": "guide"},
        {"effects": "", "reference": "trrust"},
        {"key": "again"},
    ],
)
def test_other_edges_labels_references_and_keys_stand_beside(screen: ad.AnnData, other: dict[str, Any]) -> None:
    first = enter(screen, [row("vs_mean"), row("vs_variance")])
    edges = "mine" if "edges" in other else "attention"
    frame = enter(screen, [row("vs_mean", edges=edges)], evidence(**other))
    assert len(frame) == 3
    pd.testing.assert_frame_equal(frame.loc[first.index], first)


def test_rows_of_the_last_call_stand_last(screen: ad.AnnData) -> None:
    enter(screen, [row("a")])
    enter(screen, [row("b", analysis="A01")])
    assert enter(screen, [row("a")])["name"].tolist() == ["b", "a"]


@pytest.mark.parametrize("role", ["confirmatory", "descriptive"])
def test_an_unrecorded_choice_of_layer_makes_every_row_exploratory(screen: ad.AnnData, role: Any) -> None:
    unrecorded = evidence(edges={"attention": RECORD | {"layer_rule": "unrecorded"}})
    frame = enter(screen, [row(role=role), row(role=role, edges="mine")], unrecorded)
    assert frame["role"].tolist() == ["exploratory", role]
    assert frame["layer_rule"].tolist() == ["unrecorded", "single"]


def test_no_p_is_zero(screen: ad.AnnData) -> None:
    frame = enter(screen, [row("zero", p_raw=0.0), row("some", p_raw=1e-300)]).set_index("name")
    assert 0 < frame.loc["zero", "p_raw"] < 1e-320
    assert frame.loc["zero", "p_text"].startswith("<")
    assert frame.loc["some", "p_text"] == ""


def test_corrections_do_not_outlive_a_change(screen: ad.AnnData) -> None:
    enter(screen, [row("a"), row("b", analysis="A01")])
    screen.uns["tests"]["p_bh"] = 0.02
    screen.uns["tests"]["significant"] = pd.array([True, None], dtype="boolean")
    frame = enter(screen, [row("c", analysis="A09", edges="mine")])
    assert frame[list(CORRECTED)].isna().all(axis=None)
    assert frame["p_raw"].notna().all()


def test_two_tests_of_one_name_are_a_defect_of_the_tool(screen: ad.AnnData) -> None:
    with pytest.raises(RuntimeError, match="vs_mean"):
        updated_tests(screen, [row(), row()], evidence())


@pytest.mark.parametrize("found", [{"a": 1}, pd.DataFrame({"test_id": ["x"]})])
def test_something_else_under_the_name_is_not_overwritten(screen: ad.AnnData, found: Any) -> None:
    screen.uns["tests"] = found
    with pytest.raises(KeyError, match="Move it to another key"):
        updated_tests(screen, [row()], evidence())
    with pytest.raises(KeyError, match="Move it to another key"):
        read_tests(screen)


def test_an_absent_registry_says_what_fills_it(screen: ad.AnnData) -> None:
    with pytest.raises(KeyError, match=r"scepsis.tl.audit\(adata\)"):
        read_tests(screen)


def test_everything_survives_writing_and_reading(
    screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    enter(screen, [row("a/b"), row("zero", p_raw=0), row("none", p_raw=np.nan, status="not_run", reason="a + b")])
    screen.uns["tests"]["significant"] = pd.array([True, None, False], dtype="boolean")
    before = read_tests(screen)
    for back in roundtrips(screen):
        pd.testing.assert_frame_equal(read_tests(back), before)
        again = enter(back, [row("a/b")])
        assert again["n_runs"].tolist() == [1, 1, 2]
        assert again["status"].tolist() == ["not_run", "not_run", "ok"]


def test_every_analysis_can_be_entered(screen: ad.AnnData) -> None:
    frame = enter(screen, [row("one", analysis=analysis) for analysis in ANALYSES])
    assert frame["analysis"].tolist() == list(ANALYSES)
    with pytest.raises(KeyError, match="A99"):
        updated_tests(screen, [row(analysis="A99")], evidence())


def test_parts_on_several_references_enter_as_if_one_after_the_other() -> None:
    """One call with two parts leaves what two calls leave."""
    row = Row(analysis="A25", name="trend", hypothesis="h", test_type="t", role="confirmatory", edges="attention")
    parts = [([row], Evidence(key="k", params={"n": 1}, reference=name)) for name in ("one", "two")]
    together, apart = ad.AnnData(np.zeros((1, 1))), ad.AnnData(np.zeros((1, 1)))
    for _ in range(2):
        together.uns |= updated_tests_of(together, parts)
        for rows, evidence in parts:
            apart.uns |= updated_tests(apart, rows, evidence)
    pd.testing.assert_frame_equal(together.uns["tests"], apart.uns["tests"])
    assert together.uns["tests"]["n_runs"].tolist() == [2, 2]
