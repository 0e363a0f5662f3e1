from __future__ import annotations

import pandas as pd
import pytest

from scepsis._report._reservations import (
    absences,
    false_calls,
    labels,
    perturbations,
    reservations,
    responders,
)

ATTENTION = {"method": "attention", "scale": "probability", "layer_rule": "single"}


@pytest.fixture
def units() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "perturbation": ["A", "B", "C", "D"],
            "predictor": "attention",
            "n_pos": [10, 20, 0, 3],
            "n_neg": [100, 110, 50, 40],
            "status": ["ok", "ok", "no_positives", "missing_vocab"],
        }
    )


def test_what_counts_and_why_not_the_rest(units: pd.DataFrame) -> None:
    summary = pd.DataFrame({"predictor": ["variance", "attention"], "n_units": [4, 2]})
    text = perturbations(units, summary, "attention")
    assert text.startswith("2 of 4 perturbations count for attention (ok 2, ")
    assert "no positives 1" in text
    assert "missing vocab 1" in text
    assert "15 responders among 120 candidate genes" in responders(units, "attention")
    assert responders(units.assign(status="no_positives"), "attention") == ""


def test_labels_say_how_they_were_called() -> None:
    table = pd.DataFrame({"n_testable": [10, 0], "n_targets": [4, 0]})
    text = labels(table, {"test": "welch", "fdr": 0.05, "lfc_threshold": 0.5})
    assert "1 of 2 perturbations" in text
    assert "welch" in text
    assert "5 %" in text
    assert "above 0.5; 4 responders" in text


@pytest.mark.parametrize(("share", "more"), [(0.0, False), (0.05, False), (0.1, False), (0.2, True), (1.0, True)])
def test_false_calls_above_nominal_are_said_to_be(share: float, more: bool) -> None:
    table = pd.DataFrame(
        {"n_cells": [70], "test": ["student"], "n_splits": [20], "share_of_genes": [0.01], "share_of_splits": [share]}
    )
    (text,) = false_calls(table, {"fdr": 0.05})
    assert ("more than the nominal" in text) == more  # 5 % and twice its error over 20 splits: 14.7 %
    assert ("is false" in text) == more
    assert f"{100 * share:.3g} % of 20 splits" in text


def test_false_calls_that_could_not_be_measured() -> None:
    table = pd.DataFrame({"n_cells": [0], "share_of_splits": [float("nan")]})
    assert "could not be measured" in false_calls(table, {"fdr": 0.05})[0]


def test_missing_companions_and_empty_rows_are_named() -> None:
    summary = pd.DataFrame({"predictor": ["attention", "position"], "auroc": [0.6, float("nan")]})
    summary["status"] = ["ok", "not_run"]
    told = absences(summary, ["attention_randomized", "attention_uniform_fold"])
    assert told[0] == "Without numbers (not run): position."
    assert "attention_randomized and attention_uniform_fold" in told[1]
    assert absences(summary[:1], []) == []


def test_leaks_unrecorded_layers_and_cut_tables_are_told(units: pd.DataFrame) -> None:
    assert reservations(units, {"attention": ATTENTION}) == []
    leaked = units.assign(status="label_leak")
    (text,) = reservations(leaked, {})
    assert "4 perturbations of 4" in text
    assert "support nothing" in text
    told = reservations(units, {"attention": {"layer_rule": "unrecorded"}, "mine": {"truncated": True}})
    assert "exploratory" in told[0]
    assert "mine came in cut" in told[1]
