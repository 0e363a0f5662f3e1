"""The causal pages: what was done to the model, could it be felt, did it take effect, and did it matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis import pl
from scepsis._core._evidence import MIN_MOVED
from scepsis._core._numbers import (
    ABSENT,
    count,
    decimal,
    enumerate_words,
    equals,
    interval,
    p_value,
    plural,
    signed,
)
from scepsis._report._findings import ALPHA
from scepsis._report._html import bullets, table
from scepsis._report._picture import figure
from scepsis._report._sentences import words
from scepsis.pl._style import rows_height

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from scepsis._report._html import Markup

#: Frames by which results are known.
RANKING = ("heads", "cross_fit", "sources")
ABLATION = ("results", "fidelity", "doses", "held_out")
#: Whether a readout can be felt, in words; by `reachable`.
REACH = {"yes": "yes", "no": "no, it is made before", "direct_only": "only the head's own map"}
KINDS = {
    "heads": "heads taken out",
    "uniform": "heads made to look everywhere alike",
    "mean": "heads set to their mean",
    "layer": "all heads of a layer taken out",
    "mlp": "MLPs taken out",
    "given": "others",
}
RANKED_BY = {
    "reference": "AUROC against the reference",
    "perturbation": "AUROC of responders",
    "composite": "product of both AUROCs",
    "entropy": "entropy",
}


def ranking(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    """What the best heads are worth where they were chosen and elsewhere, and all heads as a map."""
    heads, params = entry["heads"], entry["params"]
    value = next(name for name in ("reference", "perturbation", "entropy") if f"rank_{name}" in heads)
    read = f"{plural(len(heads), 'head')} of {params['model']} were read on {plural(int(params['n_cells']), 'cell')}"
    said = [f"{read}, from {plural(len(entry['sources']), 'source gene')} with labels."]
    best = entry["cross_fit"]
    for name, own in best[best["held_out"].notna()].groupby("ranking", sort=False):
        said.append(_held_up(str(name), own[own["k"] <= max(5, own["k"].min())].iloc[-1]))
    drawn = figure(
        lambda ax: pl.head_ranking(adata, value=value, key=key, ax=ax),
        size=(2.6 + 0.36 * (1 + heads["head"].max()), 1.3 + 0.36 * max(heads["layer"].nunique(), 3)),
        alt=f"Heads of the model by layer, coloured by {RANKED_BY[value]}; the first are numbered.",
        caption="What every head alone is worth. Numbers are ranks; a dot beside one says that it is as high by either "
        "half of the genes.",
    )
    return [bullets(said), drawn]


def _held_up(name: str, row: pd.Series[Any]) -> str:
    k = int(row["k"])
    best = "The best head" if k == 1 else f"The {k} best heads"
    return (
        f"{best} by {words(name)} (mean {RANKED_BY.get(name, words(name))}): {decimal(row['in_sample'])} where chosen, "
        f"{decimal(row['held_out'])} on source genes that had no part in the choice, {decimal(row['of_all'])} over all "
        "heads."
    )


def causal(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    """What was done, could it be felt, did it take effect, did it matter; then a figure of each readout and a table."""
    results = entry["results"]
    own = results[results["status"] != "not_applicable"]
    drawn = [_figure(adata, key, str(name), part) for name, part in own.groupby("readout", sort=False)]
    return [bullets(sentences(entry)), *drawn, _table(own)]


def sentences(entry: Mapping[str, Any]) -> list[str]:
    """The four questions, answered from the numbers."""
    results, params = entry["results"], entry["params"]
    own = results[results["status"] != "not_applicable"]
    made = own.drop_duplicates("condition")
    kinds = [f"{KINDS.get(str(kind), str(kind))} ({count(n)})" for kind, n in made["kind"].value_counts().items()]
    n_absent = results.loc[results["status"] == "not_applicable", "condition"].nunique()
    absent = f" {plural(n_absent, 'condition')} asked for cannot be made in this model." if n_absent else ""
    cells = plural(int(params["n_cells_run"]), "cell")
    done = f"{plural(len(made), 'intervention')} on {params['model']}, read anew on {cells}"
    return [
        f"What was done: {done}" + (f": {enumerate_words(kinds)}." if kinds else ".") + absent,
        _reached(own),
        _bit(own),
        _mattered(own),
        *(_against_random(row) for _, row in own[own["n_null"] > 0].iterrows()),
        *(_trend(row) for _, row in entry["doses"].iterrows() if row["family"] == "top"),
        *(_held_out(row) for _, row in entry["held_out"].iterrows()),
    ]


def _reached(own: pd.DataFrame) -> str:
    nothing = own[own["status"] == "structurally_null"]
    if nothing.empty:
        return f"Could it be felt: all of {plural(len(own), 'result')} can be, where they are read." if len(own) else ""
    verb = "cannot be, since what is read is made before; such a null is one by construction and says nothing"
    return f"Could it be felt: {count(len(nothing))} of {plural(len(own), 'result')} {verb} ({_listed(nothing)})."


def _bit(own: pd.DataFrame) -> str:
    asked = own[own["status"] == "ok"]
    counts = asked["is_evidence"].astype("boolean").fillna(value=False).astype(bool)
    if asked.empty:
        return ""
    felt = f"{count(counts.sum())} of {plural(len(asked), 'result')} that can be felt"
    rule = f"hidden states moved by more than {MIN_MOVED:g}, and by more than rounding moves them where they are read"
    weak = f"; not those of {_listed(asked[~counts])}, which are no evidence either way" if not counts.all() else ""
    return f"Did it take effect: in {felt} ({rule}){weak}."


def _mattered(own: pd.DataFrame) -> str:
    counts = own[(own["status"] == "ok") & own["is_evidence"].astype("boolean").fillna(value=False)]
    if counts.empty:
        return "Did it matter: no result counts as evidence."
    found, changed = counts["equivalence"], counts["difference"]
    groups = (
        ("responders are ranked worse under", (found == "different") & (changed < 0)),
        ("they are ranked better under", (found == "different") & (changed > 0)),
        ("nothing changes beyond the margin under", found == "equivalent"),
        ("it stays open under", ~found.isin(["different", "equivalent"])),
    )
    told = [f"{what} {_listed(counts[which])}" for what, which in groups if which.any()]
    return f"Did it matter: {'; '.join(told)}."


def _listed(rows: pd.DataFrame) -> str:
    """Conditions, with where they were read if that is not one place."""
    several = len(set(rows["readout"])) > 1
    names = rows["condition"] + " at " + rows["readout"] if several else rows["condition"]
    return enumerate_words([str(name) for name in names])


def _against_random(row: pd.Series[Any]) -> str:
    verb = "costs more than" if row["p_random"] < ALPHA and row["difference"] < 0 else "is not shown to cost more than"
    return (
        f"{row['condition']} changes the AUROC at {row['readout']} by {signed(row['difference'], 4)}; "
        f"{plural(int(row['n_null']), 'random set')} of heads by {signed(row['null_mean'], 4)} on average "
        f"({equals('p', row['p_random'])}, {p_value(row['p_random_floor'])} being the smallest possible): "
        f"it {verb} others."
    )


def _trend(row: pd.Series[Any]) -> str:
    if not np.isfinite(row["p_value"]):
        return ""
    doses = str(row["doses"]).replace(";", ", ")
    falls = "falls" if row["p_value"] < ALPHA and row["slope"] < 0 else "is not shown to fall"
    told = f"({doses}; {equals('p', row['p_value'])})"
    return f"AUROC at {row['readout']} {falls} with the number of top heads taken out {told}."


def _held_out(row: pd.Series[Any]) -> str:
    if row["status"] != "ok":
        return ""
    return (
        f"With heads chosen on one half of the source genes and judged on the other, {row['condition']} changes AUROC "
        f"at {row['readout']} by {signed(row['difference'], 4)} "
        f"({interval(row['ci_low'], row['ci_high'], sign=True)}); with those that all genes chose, by "
        f"{signed(row['in_sample'], 4)}."
    )


def _figure(adata: AnnData, key: str, readout: str, own: pd.DataFrame) -> Markup:
    told = "; ".join(
        f"{name} {'cannot reach it' if status == 'structurally_null' else signed(value, 4)}"
        for name, status, value in zip(own["condition"], own["status"], own["difference"], strict=True)
    )
    return figure(
        lambda ax: pl.head_ablation(adata, readout=readout, key=key, ax=ax),
        size=(7.6, rows_height(len(own), row=0.34, margin=1.9)),
        alt=f"Difference of AUROC at {readout} under each intervention: {told}.",
        caption=f"What interventions do to the AUROC at {readout}. Grey rows cannot reach it; hollow markers did not "
        "move hidden states enough to be evidence.",
    )


def _table(own: pd.DataFrame) -> Markup:
    rows = [
        [
            str(row["condition"]), str(row["label"]), str(row["readout"]), REACH.get(str(row["reachable"]), ABSENT),
            _evidence(row), decimal(row["hidden_max"]), signed(row["difference"], 4) if _tested(row) else ABSENT,
            interval(row["ci_low"], row["ci_high"], sign=True) if _tested(row) else ABSENT, p_value(row["p_value"]),
            decimal(row["minimum_detectable"]),
        ]
        for _, row in own.iterrows()
    ]  # fmt: skip
    head = [
        "condition", "what was done", "read at", "could it be felt", "did it matter", "hidden states moved",
        "difference of AUROC", "95 % interval", "p", "detectable",
    ]  # fmt: skip
    caption = (
        "What was done to the model, whether the readout could feel it, what it did to how responders are ranked, and "
        "how far it moved hidden states (largest cosine distance)"
    )
    return table(caption, head, rows, text_columns=5)


def _tested(row: pd.Series[Any]) -> bool:
    return row["status"] not in {"structurally_null", "not_applied"}


def _evidence(row: pd.Series[Any]) -> str:
    if not _tested(row) or row["status"] != "ok":
        return f"none: {words(row['status'])}"
    found = str(row["equivalence"]) or ABSENT
    if pd.isna(row["is_evidence"]) or not row["is_evidence"]:
        return f"{found}, no evidence: {row['reason']}"
    return found
