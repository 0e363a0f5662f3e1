"""Sections on effects in a model and on the parts that they go through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis import pl
from scepsis._core._names import words
from scepsis._core._numbers import (
    ABSENT,
    MINUS,
    count,
    decimal,
    enumerate_words,
    equals,
    interval,
    p_value,
    percent,
    plural,
    signed,
)
from scepsis._report._html import bullets, table
from scepsis._report._picture import figure
from scepsis.pl._style import rows_height

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData

    from scepsis._report._html import Markup

#: Frames by which results are known.
EFFECTS = ("correlations", "baselines", "per_source")
MEDIATED = ("components", "additivity", "certificates")
ADJUSTMENTS = {"raw": "as they are", "adjusted": "adjusted for the target", "within": "within perturbed genes"}
ESTIMATES = {"denoise": "alone in the ablated model", "ablate": "taken from the whole model"}
#: Components drawn.
DRAWN = 24


def model_effects(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    """Correlations of effects in a model with measured ones, and what targets alone say of these."""
    found, trivial = entry["correlations"], entry["baselines"]
    said = [
        _effects_sentence(own.set_index("adjustment"))
        for _, own in found.groupby(["edges", "compared"], sort=False)
        if {"raw", "adjusted"} <= set(own["adjustment"])
    ]
    if trivial["rho"].notna().any():
        best = trivial.loc[trivial["rho"].abs().idxmax()]
        alone = f"The {words(best['feature'])} alone has a correlation of {signed(best['rho'])} with measured effects"
        said.append(f"{alone} ({_compared(best)}).")
    n_rows = 4 * len(found.groupby(["edges", "compared"])) + len(trivial) + trivial["compared"].nunique()
    told = "; ".join(
        f"{row['edges']} ({_compared(row)}, {ADJUSTMENTS[str(row['adjustment'])]}) {signed(row['rho'])}"
        for _, row in found.iterrows()
    )
    drawn = figure(
        lambda ax: pl.model_effects(adata, key=key, ax=ax),
        size=(7.2, rows_height(n_rows, row=0.27, margin=1.7)),
        alt=f"Rank correlation of effects in the model with measured ones: {told}.",
        caption="How effects in the model rank measured effects, as they are and with what is known of the target "
        "taken away, beside what the target alone tells.",
    )
    return [bullets(said), drawn, _effects_table(found)]


def _effects_sentence(own: pd.DataFrame) -> str:
    raw: Any = own.loc["raw"]
    adjusted: Any = own.loc["adjusted"]
    start = f"Effects in the model ({raw['edges']}) have a rank correlation of {signed(raw['rho'])} with measured ones"
    start += f" ({_compared(raw)}; {plural(int(raw['n_sources']), 'perturbed gene')})"
    if str(adjusted["status"]) != "ok" or not np.isfinite([adjusted["ci_low"], adjusted["ci_high"]]).all():
        return f"{start}; whether that is about pairs cannot be told ({words(adjusted['status'])})."
    numbers = f"{signed(adjusted['rho'])} ({interval(adjusted['ci_low'], adjusted['ci_high'], sign=True)}, "
    numbers += f"{equals('p', adjusted['p_value'])})"
    if adjusted["ci_low"] > 0 or adjusted["ci_high"] < 0:
        return f"{start}; with what is known of the target taken away, {numbers} is left."
    power = decimal(adjusted["minimum_detectable"])
    return (
        f"{start}; with what is known of the target taken away, nothing is shown to be left: {numbers}. A correlation "
        f"of {power} would have been found with 80 % probability."
    )


def _effects_table(found: pd.DataFrame) -> Markup:
    rows = []
    for _, row in found.iterrows():
        low, high, p = (row[name] for name in ("ci_low", "ci_high", "p_value"))
        rows.append(
            [
                str(row["edges"]), _compared(row), ADJUSTMENTS[str(row["adjustment"])], words(row["status"]),
                count(row["n_sources"]), signed(row["rho"]), interval(low, high, sign=True), p_value(p),
                decimal(row["minimum_detectable"]),
            ]
        )  # fmt: skip
    head = ["effects in", "compared by", "correlation", "status", "genes", "rho", "95 % interval", "p", "detectable"]
    caption = "How effects in the model rank measured effects (intervals by perturbed gene and target)"
    return table(caption, head, rows, text_columns=4)


def mediation(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    """What components are worth, and what single estimates leave over."""
    params, left, parts = entry["params"], entry["additivity"], entry["components"]
    what = {"heads": "heads of each layer", "mlps": "MLPs"}.get(str(params["components"]), "single heads")
    effect = f"the effect of deleting {params['deletion']}" if "deletion" in params else "the cell's embedding"
    direction = params["direction"]
    own = left[left["direction"] == direction]
    bounded = own.loc[own["lower_bound"] > 0, "run"]
    added = f"In {count(len(bounded))} of {plural(len(own), 'run')} effects of single components do not add up"
    said = [
        *(_owed(run, part, what, effect) for run, part in parts.groupby("run", sort=False)),
        f"{added} (components {ESTIMATES[str(direction)]}).",
        _certain(entry["certificates"], own, direction),
    ]
    runs = list(dict.fromkeys(parts["run"].astype(str)))
    drawn = [_mediation_figure(adata, key, run, parts[parts["run"] == run], effect) for run in runs[:1]]
    if len(runs) > 1:
        said.append(f"Drawn is {runs[0]}; the others are drawn by `scepsis.pl.mediation` with `run=`.")
    return [bullets(said), *drawn, _left_table(left, f"{what} on {effect}")]


def _owed(run: object, parts: pd.DataFrame, what: str, effect: str) -> str:
    """The components that the largest parts of the effect are owed to."""
    if parts["share"].isna().all():
        return ""
    first = parts.sort_values("share", ascending=False).head(3)
    names = [f"{percent(share)} to {name}" for name, share in zip(first["component"], first["share"], strict=True)]
    more = f" (the first of {count(len(parts))})" if len(parts) > len(first) else ""
    before = f"{run}: of" if str(run) else "Of"
    return f"{before} what {what} do to {effect}, Shapley values give {enumerate_words(names)}{more}."


def _certain(certificates: pd.DataFrame, own: pd.DataFrame, direction: object) -> str:
    """Whether single estimates put the right component first."""
    known = certificates[(certificates["direction"] == direction) & (certificates["factor"] == 1)]
    sure = known.loc[known["first_by_bias"] == 1, "run"]
    names = enumerate_words([str(run) for run in sure if str(run)])
    return (
        f"Which component is first is certain, biases of single estimates allowed for, in {count(len(sure))} of "
        f"{plural(len(own), 'run')}" + (f" ({names})." if names else ".")
    )


def _mediation_figure(adata: AnnData, key: str, run: str, parts: pd.DataFrame, effect: str) -> Markup:
    told = "; ".join(
        f"{name} {_short(value)}" for name, value in zip(parts["component"], parts["shapley"], strict=True)
    )
    return figure(
        lambda ax: pl.mediation(adata, key=key, run=run, n_top=DRAWN, ax=ax),
        size=(7.2, rows_height(min(len(parts), DRAWN), margin=2.1)),
        alt=f"Shapley value of each component for {effect}: {told}.",
        caption="What each component is worth (bars), and what single estimates make of it: they mislead where their "
        "markers stand off the end of the bar.",
    )


def _left_table(left: pd.DataFrame, what: str) -> Markup:
    rows = [
        [
            str(row["run"]) or "all", ESTIMATES[str(row["direction"])], words(row["status"]), count(row["n_cells"]),
            _short(row["total"]), _short(row["residual"]), _short(row["lower_bound"]), percent(row["ratio"]),
            str(row["first"]),
        ]
        for _, row in left.iterrows()
    ]  # fmt: skip
    head = ["run", "component", "status", "cells", "total effect", "left over", "at least", "of the total", "first"]
    return table(f"What single components leave of the total effect ({what})", head, rows, text_columns=3)


def _compared(row: pd.Series[Any]) -> str:
    return "sign and size" if row["compared"] == "signed" else "size"


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", MINUS) if np.isfinite(value) else ABSENT
