"""Frames as tables of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._keys import LOGNORMALIZE, MATCH_GENES, SELECT_CELLS, SELECT_PANEL
from scepsis._core._names import words
from scepsis._core._numbers import ABSENT, count, decimal, enumerate_words, interval, p_value, percent, signed
from scepsis._report._findings import finding
from scepsis._report._html import definitions, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from scepsis._report._audited import Audited
    from scepsis._report._html import Markup


def summary_table(summary: pd.DataFrame) -> Markup:
    """One row per predictor."""
    head = [
        "predictor", "kind", "status", "n", "mean AUROC", "95 % interval", "sd", "p (t test)",
        "pooled AUROC", "AUPRC", "prevalence", "lift",
    ]  # fmt: skip
    rows = [
        [
            str(row["predictor"]),
            str(row["kind"]),
            words(row["status"]),
            count(row["n_units"]),
            decimal(row["auroc"]),
            interval(row["ci_low"], row["ci_high"]),
            decimal(row["auroc_sd"]),
            p_value(row["p_value"]),
            decimal(row["auroc_pooled"]),
            decimal(row["auprc"]),
            decimal(row["prevalence"]),
            decimal(row["lift"], 2),
        ]
        for _, row in summary.iterrows()
    ]
    return table("How well each predictor ranks the genes that respond to a perturbation", head, rows, text_columns=3)


def contrasts_table(contrasts: pd.DataFrame) -> Markup:
    """One row per comparison."""
    head = [
        "edges", "against", "kind", "finding", "n", "difference", "95 % interval, t",
        "95 % interval, two-way", "q (signed rank)", "d", "detectable",
    ]  # fmt: skip
    rows = [
        [
            str(row["edges"]),
            str(row["versus"]),
            str(row["versus_kind"]),
            _found(row),
            count(row["n_units"]),
            signed(row["difference"]),
            interval(row["ci_low"], row["ci_high"], sign=True),
            interval(row["twoway_low"], row["twoway_high"], sign=True),
            p_value(row["q_value"]),
            decimal(row["cohen_d"], 2),
            decimal(row["minimum_detectable"]),
        ]
        for _, row in contrasts.iterrows()
    ]
    margins = enumerate_words([decimal(margin, 2) for margin in dict.fromkeys(contrasts["margin"])])
    caption = (
        f"Differences of AUROC, edges minus the other (equal: within {margins}; detectable: with 80 % probability)"
    )
    return table(caption, head, rows, text_columns=4)


def _found(row: pd.Series[Any]) -> str:
    """What a comparison shows, and its status where that does not follow."""
    expected = row["status"] == "ok" or (row["status"], finding(row)) == ("too_few_units", "no inference")
    return finding(row) if expected else f"{finding(row)} ({words(row['status'])})"


def records_table(audited: Audited) -> Markup:
    """One row per set of edges, with what it was made from."""
    head = ["edges", "made by", "model", "checkpoint", "layers", "scale", "layer rule", "cells", "genes"]
    rows = []
    for name in audited.summary.loc[audited.summary["kind"] != "baseline", "predictor"].astype(str):
        record = audited.records.get(name, {})
        if not record:
            continue
        rows.append(
            [
                name,
                str(record.get("method", ABSENT)),
                str(record.get("model", ABSENT)),
                str(record.get("model_fingerprint", ABSENT))[:16],
                _listed(record.get("layers")),
                str(record.get("scale", ABSENT)),
                str(record.get("layer_rule", ABSENT)),
                _made_from(record, "cells"),
                _made_from(record, "genes"),
            ]
        )
    return table("Edges on record (hashes shortened)", head, rows, text_columns=9)


def _listed(values: Any) -> str:
    return ABSENT if values is None or not len(values) else ", ".join(str(value) for value in values)


def _made_from(record: Mapping[str, Any], what: str) -> str:
    digest = str(record.get(f"{what}_hash", ""))
    number = record.get(f"n_{what}")
    shown = ABSENT if number is None else count(number)
    return f"{shown} ({digest[:8]})" if digest else f"{shown} (not on record)"


def setting(audited: Audited) -> Markup:
    """What edges were scored on: cells, panel, vocabulary, values, perturbations, test."""
    pairs = [("data", f"{count(audited.n_obs)} cells x {count(audited.n_vars)} genes")]
    for name, term, describe in (
        (SELECT_CELLS, "cells behind edges", _cells),
        (SELECT_PANEL, "panel", _panel),
        (MATCH_GENES, "vocabulary", _vocabulary),
        (LOGNORMALIZE, "log-normalised", _values),
    ):
        if name in audited.prepared:
            pairs.append((term, describe(audited.prepared[name])))
    params = audited.effects.get("params", {})
    if not params:
        return definitions([*pairs, ("effects", f"{audited.effects_key!r}, no longer stored")])
    labels = f"{count(len(audited.effects['perturbations']))} labels of obs[{params['groupby']!r}]"
    return definitions([*pairs, ("perturbations", labels), ("test of effects", _effects(params))])


def _cells(params: Mapping[str, Any]) -> str:
    return (
        f"{count(params['n_selected'])} of {count(params['n_control'])} control cells "
        f"({params['groupby']} = {params['control']}, seed {params['seed']})"
    )


def _panel(params: Mapping[str, Any]) -> str:
    return (
        f"{count(params['n_genes'])} genes (up to {count(params['n_top_genes'])} by rank, "
        f"{count(params['n_forced'])} by force); {count(params['n_perturbed_outside'])} of "
        f"{count(params['n_perturbed'])} perturbed genes are outside and cannot be scored"
    )


def _vocabulary(params: Mapping[str, Any]) -> str:
    return (
        f"{count(params['vocabulary_size'])} names ({params['vocabulary_kind']}) of {params['model']}, matched with "
        f"{params['gene_ids']}"
    )


def _values(params: Mapping[str, Any]) -> str:
    totals = f"totals in obs[{params['totals']!r}]" if "totals" in params else "totals over the genes of the data"
    return f"{params['counts']}, {totals}"


def _effects(params: Mapping[str, Any]) -> str:
    return (
        f"{params['test']} on {params['values']}, false discovery rate {percent(params['fdr'])}, absolute log2 fold "
        f"change above {params['lfc_threshold']:g}, at least {params['min_expected']:g} expected expressing cells and "
        f"{count(params['min_cells'])} cells; {count(params['n_cells'])} control cells"
    )
