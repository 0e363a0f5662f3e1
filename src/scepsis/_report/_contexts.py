"""Sections on what was compared beyond one audit: other contexts, other models, another gene universe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scepsis._core._names import words
from scepsis._core._numbers import ABSENT, count, decimal, interval, p_value, percent, plural, signed
from scepsis._report._html import bullets, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData

    from scepsis._core._types import Data
    from scepsis._report._html import Markup

ACROSS = "cross_context"


def compared(data: Data, adata: AnnData) -> list[tuple[str, list[Markup]]]:
    """Title and content of every section that there is a result for; contexts are those of `data`, all modalities."""
    made: list[tuple[str, Any, Callable[[Mapping[str, Any]], list[Markup]]]] = [
        ("Across contexts", data.uns.get(ACROSS), _across),
        ("Beside other models", adata.uns.get("compare_models"), _models),
        ("Forced and natural genes", adata.uns.get("gene_universe_effect"), _universe),
    ]
    return [(title, read(entry)) for title, entry, read in made if entry is not None]


def _across(entry: Mapping[str, Any]) -> list[Markup]:
    contexts, summary, found = entry["contexts"], entry["summary"], entry["estimates"]
    said = [
        f"{row['edges']}, {row['claim']}: "
        f"{'not to be said' if pd.isna(row['holds']) else 'holds' if row['holds'] else 'fails'} ({row['reason']})."
        for _, row in entry["claims"].iterrows()
    ]
    rows = [
        [str(row["context"]), str(row["modality"]), str(row["modality_source"]) or ABSENT, words(row["status"]),
         count(row["n_cells"]), count(row["n_units"]), p_value(row["smallest_p"])]
        for _, row in contexts.iterrows()
    ]  # fmt: skip
    head = ["context", "modality", "by", "status", "cells", "perturbations", "smallest p"]
    deviating = found[found["deviates"].fillna(value=False).astype(bool)]
    keys = ["edges", "analysis", "name", "reference"]
    who = deviating.groupby(keys)["context"].agg(", ".join).to_dict()
    told = [
        [str(row["edges"]), f"{row['analysis']} {row['name']}", str(row["reference"]) or ABSENT,
         who.get(tuple(row[keys]), ABSENT), f"{row['n_pooled']} of {row['n_contexts']}", decimal(row["mean"]),
         interval(row["ci_low"], row["ci_high"]), percent(row["i2"]), p_value(row["p_heterogeneity"])]
        for _, row in summary.iterrows()
    ]  # fmt: skip
    names = ["edges", "test", "reference", "deviates", "contexts", "mean", "95 % interval", "I²", "p, differ"]
    return [
        bullets(said),
        table("Contexts", head, rows, text_columns=4),
        table("Tests over contexts: mean of a random-effects model, and heterogeneity", names, told, text_columns=4),
    ]


def _models(entry: Mapping[str, Any]) -> list[Markup]:
    summary, models = entry["summary"], entry["models"]
    pooled = summary[summary["statistic"] == "pooled"]
    rows = [
        [str(row["predictor"]), words(row["kind"]), words(row["status"]), decimal(row["auroc"]),
         interval(row["ci_low"], row["ci_high"]), decimal(row["average_precision"]), count(row["n_pos"])]
        for _, row in pooled.iterrows()
    ]  # fmt: skip
    common = plural(int(models["n_common"].iloc[0]), "gene")
    said = (
        f"All are scored on the {common} that all have, and on the same pairs of {entry['params']['reference_name']}."
    )
    head = ["score", "kind", "status", "AUROC", "95 % interval", "AUPRC", "listed pairs"]
    return [bullets([said]), table("Models and other edges on one reference", head, rows, text_columns=3)]


def _universe(entry: Mapping[str, Any]) -> list[Markup]:
    rows = [
        [str(row["edges"]), str(row["versus"]), words(row["shift_of"]), words(row["status"]), count(row["n_units"]),
         signed(row["shift"]), interval(row["ci_low"], row["ci_high"], sign=True), p_value(row["p_value"]),
         str(row["equivalence"]) or ABSENT, decimal(row["minimum_detectable"])]
        for _, row in entry["shifts"].iterrows()
    ]  # fmt: skip
    said = [f"{words(row['what'])}: {count(row['n'])}." for _, row in entry["universe"].iterrows()]
    head = [
        "edges", "against", "shift of", "status", "n", "shift", "95 % interval", "p (signed rank)", "conclusion",
        "detectable",
    ]  # fmt: skip
    caption = "How the difference of AUROCs shifts when candidates, and edges, are of naturally variable genes"
    return [bullets(said), table(caption, head, rows, text_columns=4)]
