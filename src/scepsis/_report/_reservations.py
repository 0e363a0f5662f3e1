"""Sentences about what was scored and against which labels, and about what is missing or weak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._numbers import count, enumerate_words, percent, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd


def perturbations(units: pd.DataFrame, summary: pd.DataFrame, predictor: str) -> str:
    """How many perturbations edges could be scored on, and why not the others."""
    status = units.loc[units["predictor"] == predictor, "status"].astype(str)
    n_units = int(summary.loc[summary["predictor"] == predictor, "n_units"].iloc[0])
    counted = enumerate_words([f"{words(name)} {number}" for name, number in status.value_counts().items()])
    return f"{count(n_units)} of {plural(len(status), 'perturbation')} count for {predictor} ({counted})."


def responders(units: pd.DataFrame, predictor: str) -> str:
    """How many positives a perturbation has."""
    own = units[(units["predictor"] == predictor) & (units["status"] == "ok")]
    if own.empty:
        return ""
    positive = own["n_pos"].to_numpy(dtype=float)
    candidates = positive + own["n_neg"].to_numpy(dtype=float)
    return (
        f"A perturbation that counts has {count(np.median(positive))} responders among "
        f"{count(np.median(candidates))} candidate genes (medians)."
    )


def labels(table: pd.DataFrame, params: Mapping[str, Any]) -> str:
    """Which genes were called responders."""
    tested = int((table["n_testable"] > 0).sum())
    return (
        f"Responders of {count(tested)} of {plural(len(table), 'perturbation')} were called by the {params['test']} "
        f"test against control cells at a false discovery rate of {percent(params['fdr'])} and an absolute log2 fold "
        f"change above {params['lfc_threshold']:g}; {count(table['n_targets'].sum())} responders in all."
    )


def false_calls(table: pd.DataFrame, params: Mapping[str, Any]) -> list[str]:
    """How often the test calls genes where nothing was perturbed, size by size."""
    known = table[table["share_of_splits"].notna()]
    if known.empty:
        return ["The false-call rate of the test could not be measured: there are too few control cells to split."]
    nominal = float(params["fdr"])
    told = []
    for _, row in known.iterrows():
        often = row["share_of_splits"] > nominal + 2 * np.sqrt(nominal * (1 - nominal) / row["n_splits"])
        verdict = "more than" if often else "no more than can be expected at"
        told.append(
            f"With {plural(row['n_cells'], 'cell')} against the other controls, the {row['test']} test makes at least "
            f"one call in {percent(row['share_of_splits'])} of {plural(row['n_splits'], 'split')}, {verdict} the "
            f"nominal {percent(nominal)}; it calls {percent(row['share_of_genes'])} of the testable genes."
            + (" Part of the responders of small perturbations is false." if often else "")
        )
    return told


def absences(summary: pd.DataFrame, missing: Iterable[str]) -> list[str]:
    """Predictors that belong in the table and have no numbers, and companions of attention that are `missing`."""
    told = []
    empty = summary[summary["auroc"].isna()]
    for status, rows in empty.groupby(empty["status"].astype(str), sort=False):
        told.append(f"Without numbers ({words(status)}): {enumerate_words([str(name) for name in rows['predictor']])}.")
    names = [str(name) for name in missing]
    if names:
        told.append(
            f"Missing beside attention: {enumerate_words(names)}. Unscaled attention mostly measures depth and "
            "co-detection, and a model with random weights has it too; without these the score of attention cannot be "
            "read."
        )
    return told


def reservations(units: pd.DataFrame, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Reasons to trust numbers less: leaked labels, layers chosen without a record, tables cut short."""
    told = []
    for predictor, own in units.groupby("predictor", sort=False, observed=True):
        leaked = int((own["status"] == "label_leak").sum())
        if leaked:
            share = f"{plural(leaked, 'perturbation')} of {count(len(own))}"
            told.append(
                f"Label leak: {predictor} was made from cells of {share} too, which have seen the answer. Their "
                "numbers are shown and support nothing."
            )
    for name, params in records.items():
        if params.get("layer_rule") == "unrecorded":
            told.append(
                f"How the layers of {name} were chosen is not on record, so its numbers are exploratory: a layer that "
                "was picked for its score scores well."
            )
        if params.get("truncated"):
            told.append(f"{name} came in cut to its strongest edges, which moves its AUROC towards one half.")
    return told
