"""Sections on effects in a model and on the parts that they go through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._numbers import (
    ABSENT,
    MINUS,
    count,
    decimal,
    enumerate_words,
    interval,
    p_value,
    percent,
    plural,
    signed,
)
from scepsis._report._html import bullets, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from scepsis._report._html import Markup

ADJUSTMENTS = {"raw": "as they are", "adjusted": "adjusted for the target", "within": "within perturbed genes"}
ESTIMATES = {"denoise": "alone in the ablated model", "ablate": "taken from the whole model"}


def model_effects(entry: Mapping[str, Any]) -> list[Markup]:
    """Correlations of effects in a model with measured ones, and what targets alone say of these."""
    rows = []
    for _, row in entry["correlations"].iterrows():
        within = row["adjustment"] == "within"
        low, high, p = (row[f"{name}{'_source' if within else ''}"] for name in ("ci_low", "ci_high", "p_value"))
        rows.append(
            [
                str(row["edges"]), _compared(row), ADJUSTMENTS[str(row["adjustment"])], _words(row["status"]),
                count(row["n_sources"]), signed(row["rho"]), interval(low, high, sign=True), p_value(p),
                decimal(row["minimum_detectable"]),
            ]
        )  # fmt: skip
    head = ["effects in", "compared by", "correlation", "status", "genes", "rho", "95 % interval", "p", "detectable"]
    caption = "How effects in the model rank measured effects (intervals by perturbed gene and target)"
    trivial = entry["baselines"]
    best = trivial.loc[trivial["rho"].abs().idxmax()] if trivial["rho"].notna().any() else None
    told = ""
    if best is not None:
        alone = f"The {_words(best['feature'])} alone has a correlation of {signed(best['rho'])} with measured effects"
        told = f"{alone} ({_compared(best)})."
    return [bullets([told]), table(caption, head, rows, text_columns=4)]


def mediation(entry: Mapping[str, Any]) -> list[Markup]:
    """What components are worth, and what single estimates leave over."""
    params, left = entry["params"], entry["additivity"]
    what = "Heads" if params["components"] != "mlps" else "MLPs"
    effect = f"a deletion of {params['deletion']}" if "deletion" in params else "the cell's embedding"
    rows = [
        [
            str(row["run"]) or "all", ESTIMATES[str(row["direction"])], _words(row["status"]), count(row["n_cells"]),
            _short(row["total"]), _short(row["residual"]), _short(row["lower_bound"]), percent(row["ratio"]),
            str(row["first"]),
        ]
        for _, row in left.iterrows()
    ]  # fmt: skip
    head = ["run", "component", "status", "cells", "total effect", "left over", "at least", "of the total", "first"]
    caption = f"What single components leave of the total effect ({what} on {effect})"
    own = left[left["direction"] == params["direction"]]
    bounded = own.loc[own["lower_bound"] > 0, "run"]
    said = [f"In {count(len(bounded))} of {plural(len(own), 'run')} effects of single components do not add up."]
    first = entry["certificates"]
    first = first[(first["direction"] == params["direction"]) & (first["factor"] == 1)]
    sure = first.loc[first["first_by_bias"] == 1, "run"]
    names = enumerate_words([str(run) or "all" for run in sure])
    said.append(
        f"Which component is first is certain in {count(len(sure))} of {plural(len(own), 'run')}"
        + (f" ({names})." if any(sure) else ".")
    )
    return [bullets(said), table(caption, head, rows, text_columns=3)]


def _compared(row: pd.Series[Any]) -> str:
    return "sign and size" if row["compared"] == "signed" else "size"


def _words(text: object) -> str:
    return str(text).replace("_", " ")


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", MINUS) if np.isfinite(value) else ABSENT
