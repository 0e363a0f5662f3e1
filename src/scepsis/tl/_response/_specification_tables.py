"""Frames of a specification curve: every specification in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._gene_table import FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scepsis._core._types import Direction
    from scepsis.stats._learners import Learner

CHANCE, DE_FREQUENCY = "chance", "de_frequency"
NONE = "none"
#: What edges are compared with: chance, single features, and models fitted to gene features.
LEARNERS: tuple[Learner, ...] = ("logistic", "gbdt")
GENE_MODELS = (CHANCE, *FEATURES, DE_FREQUENCY, *LEARNERS)
COLUMNS = [
    "edges", "endpoint", "direction", "residualizer", "statistic", "lfc_threshold", "min_targets", "gene_model",
    "estimate", "ci_low", "ci_high", "auroc", "n_units", "status", "order",
]  # fmt: skip


@dataclass(frozen=True)
class Turned:
    """Edges read in one direction, and what was taken away from them."""

    direction: Direction
    residualizer: str


def scored_rows(
    sets: Mapping[str, Turned],
    summary: pd.DataFrame,
    contrasts: pd.DataFrame,
    gene_models: Iterable[str],
    told: Mapping[str, Any],
    interval: tuple[str, str] = ("ci_low", "ci_high"),
) -> list[dict[str, Any]]:
    """
    Differences of every set from chance and from single features, out of a summary and its contrasts.

    `interval` names the columns of the registered interval of a contrast.
    """
    rows = []
    aurocs = {str(row["predictor"]): row for row in summary.to_dict("records")}
    versus = {(str(row["edges"]), str(row["versus"])): row for row in contrasts.to_dict("records")}
    for key, turned in sets.items():
        own = aurocs[key]
        for model in gene_models:
            found = own if model == CHANCE else versus.get((key, model))
            if found is None:
                continue
            shift = 0.5 if model == CHANCE else 0.0
            names = ("auroc", "ci_low", "ci_high") if model == CHANCE else ("difference", *interval)
            numbers = (float(found[name]) - shift for name in names)
            rows.append(
                dict(told)
                | {"direction": turned.direction, "residualizer": turned.residualizer, "gene_model": model}
                | dict(zip(("estimate", "ci_low", "ci_high"), numbers, strict=True))
                | {"auroc": float(own["auroc"]), "n_units": int(found["n_units"]), "status": str(found["status"])}
            )
    return rows


def gain_rows(sets: Mapping[str, Turned], gains: pd.DataFrame, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What edges add to fitted models of gene features; to boosted trees, beyond what a placebo adds."""
    rows = []
    for row in gains.to_dict("records"):
        turned = sets[str(row["edges"])]
        placebo = row["decided_by"] == "placebo"
        names = ("gain_placebo", "placebo_low", "placebo_high") if placebo else ("gain", "ci_low", "ci_high")
        numbers = {to: float(row[name]) for to, name in zip(("estimate", "ci_low", "ci_high"), names, strict=True)}
        rows.append(
            dict(told)
            | {"direction": turned.direction, "residualizer": turned.residualizer, "gene_model": str(row["learner"])}
            | numbers
            | {"auroc": float(row["augmented"]), "n_units": int(row["n_units"]), "status": str(row["status"])}
        )
    return rows


def ordered(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of each set of edges and endpoint by ascending estimate (``order`` from 1); those without one last."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["order"] = 0
    frame = frame.sort_values(["edges", "endpoint", "estimate"], kind="stable", na_position="last")
    frame["order"] = frame.groupby(["edges", "endpoint"], sort=False).cumcount() + 1
    kinds = dict.fromkeys(["lfc_threshold", "min_targets", "estimate", "ci_low", "ci_high", "auroc"], "float64")
    return frame.reset_index(drop=True).astype(kinds | {"n_units": "int64", "order": "int64"})


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each set of edges, endpoint and gene model: how many of its specifications say what."""
    rows = []
    for (edges, endpoint, model), part in frame.groupby(["edges", "endpoint", "gene_model"], sort=False):
        known = part[np.isfinite(part["estimate"])]
        told = part[np.isfinite(part["ci_low"])]
        rows.append(
            {
                "edges": edges,
                "endpoint": endpoint,
                "gene_model": model,
                "n_specifications": len(part),
                "n_with_interval": len(told),
                "lowest": known["estimate"].min(),
                "median": known["estimate"].median(),
                "highest": known["estimate"].max(),
                "n_above": int((told["ci_low"] > 0).sum()),
                "n_below": int((told["ci_high"] < 0).sum()),
            }
        )
    columns = ["edges", "endpoint", "gene_model", "n_specifications", "n_with_interval", "lowest", "median", "highest"]
    return pd.DataFrame(rows, columns=[*columns, "n_above", "n_below"])
