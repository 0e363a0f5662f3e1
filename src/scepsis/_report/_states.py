"""Sections on networks per cell state, and on what more cells do: each only where there is a result to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis import pl
from scepsis._core._keys import TESTS
from scepsis._core._numbers import (
    ABSENT,
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
from scepsis._report._entries import entries
from scepsis._report._findings import ALPHA
from scepsis._report._html import bullets, table
from scepsis._report._picture import figure
from scepsis._report._sentences import words
from scepsis.pl._style import rows_height

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData

    from scepsis._report._html import Markup

METRICS = {"top_k": "F1 of the top {}", "auroc": "AUROC", "average_precision": "average precision"}
#: Edges drawn of an aggregate.
EDGES = 20


def states(adata: AnnData) -> list[tuple[str, list[Markup]]]:
    """Title and content of both sections."""
    kept = [(key, entry) for key, entry in entries(adata, "strata") if entry["params"].get("method") == "cssi"]
    networks = [part for key, entry in kept for part in _networks(adata, key, entry)]
    asked = [
        *(part for _, entry in entries(adata, "nulls", "draws") for part in _nulls(entry)),
        *(part for key, entry in entries(adata, "splits", "variants") for part in _halves(adata, key, entry)),
        *(part for key, entry in entries(adata, "scan") for part in _scan(adata, key, entry)),
    ]
    found = [*networks, *asked]
    curves = [part for key, entry in entries(adata, "curve", "changes") for part in _curve(adata, key, entry)]
    sections = [("Networks per cell state", found), ("More cells", curves)]
    return [(title, parts) for title, parts in sections if parts]


def _networks(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    params, strata = entry["params"], entry["strata"]
    kept = strata[strata["status"] == "ok"]
    small = strata.loc[strata["status"] != "ok", "group"].astype(str).tolist()
    by = f"obs[{params['groupby']!r}]" if "groupby" in params else f"clusters of obsm[{params['use_rep']!r}]"
    made = f"{key}: one network ({params['score']}) for each of {plural(len(kept), 'state')} of {by}"
    said = [
        f"{made}, put together by {words(params['aggregation'])}.",
        f"Left out, with fewer than {count(params['min_cells'])} cells: {enumerate_words(small)}." if small else "",
        "With a single state there is nothing to put together." if params["status"] == "single_stratum" else "",
    ]
    head = ["state", "status", "cells"]
    rows = [[str(row["group"]), words(row["status"]), count(row["n_obs"])] for _, row in strata.iterrows()]
    drawn = figure(
        lambda ax: pl.cssi(adata, key=key, top=EDGES, ax=ax),
        size=(max(5.0, 3.2 + 0.55 * len(kept)), rows_height(EDGES, row=0.24, margin=1.9)),
        alt=f"The {EDGES} strongest pairs of {key} in each of {plural(len(kept), 'state')}.",
        caption=f"The strongest pairs of {key} in every state; a dot marks the state in which a pair is strongest, "
        "grey was not evaluated.",
    )
    return [bullets(said), table(f"States of {key}", head, rows, text_columns=2), drawn]


def _nulls(entry: Mapping[str, Any]) -> list[Markup]:
    params, nulls = entry["params"], entry["nulls"]
    rows = [
        [
            words(row["null"]), words(row["status"]), decimal(row["observed"]), decimal(row["pooled"]),
            signed(row["gain"]), decimal(row["null_mean"]), interval(row["null_low"], row["null_high"]),
            decimal(row["z"], 2), p_value(row["p_value"]), count(row["n_null"]),
        ]
        for _, row in nulls.iterrows()
    ]  # fmt: skip
    head = [
        "null", "status", "AUROC of states", "of all cells", "gain", "mean of the null", "95 % of draws", "z",
        "p (one-sided)", "draws",
    ]  # fmt: skip
    caption = f"{params['key']} on {params['reference']}, beside strata that mean nothing"
    matched = nulls[(nulls["null"] == "size_matched") & (nulls["status"] == "ok")]
    said = [_matched(params["key"], params["reference"], row) for _, row in matched.iterrows()]
    return [bullets(said), table(caption, head, rows, text_columns=2)]


def _matched(key: str, reference: str, row: pd.Series[Any]) -> str:
    """Whether a gain came from states, or from groups being small."""
    numbers = (
        f"AUROC {decimal(row['observed'])}; {decimal(row['null_mean'])} for groups of the same sizes drawn at random, "
        f"{equals('p', row['p_value'])}; {decimal(row['pooled'])} for all cells together"
    )
    better = row["p_value"] < ALPHA
    gained = row["gain"] > 0
    if (1 + row["n_null"]) * ALPHA <= 1:
        found = "cannot be told from random groups of the same sizes on {}, of which too few were drawn"
    elif better and gained:
        found = "ranks the pairs of {} better than random groups of the same sizes do, and than all cells together"
    elif better:
        found = "ranks the pairs of {} better than random groups of the same sizes do, but not than all cells together"
    elif gained:
        found = (
            "is above all cells together on {}, but not shown to be above random groups of the same sizes, so that the "
            "gain is not shown to come from states"
        )
    else:
        found = "ranks the pairs of {} no better than all cells together, nor is it shown to beat random groups"
    return f"{key} {found.format(reference)} ({numbers})."


def _halves(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    params, splits = entry["params"], entry["splits"]
    rows = [
        [
            count(row["split"] + 1), words(row["variant"]), str(row["layer"]) or ABSENT, words(row["status"]),
            decimal(row["auroc_first"]), decimal(row["held_out"]), decimal(row["pooled"]), signed(row["gain"]),
        ]
        for _, row in splits.iterrows()
    ]  # fmt: skip
    head = ["split", "chosen", "layer", "status", "first half", "held out", "all cells, held out", "difference"]
    caption = f"{params['key']}: the aggregation that was best on one half of the cells, scored on the other"
    said = []
    known = splits["gain"].dropna()
    if len(known):
        promised = decimal(splits["auroc_first"].mean())
        said.append(
            f"On cells that had no part in the choice, {params['key']} differs from all cells together by "
            f"{signed(known.mean())} in AUROC, on average over {plural(len(known), 'split')}{_tested(adata, key)}: "
            f"{decimal(splits['held_out'].mean())}, and {promised} on the cells that it was chosen on."
        )
    if "edges" in entry and len(entry["edges"]) and entry["edges"]["n_called"].sum():
        calls = entry["edges"]
        share = calls["n_found_again"].sum() / calls["n_called"].sum()
        said.append(
            f"Of the pairs called in one half at a false discovery rate of {percent(params['alpha'])}, "
            f"{percent(share)} are found again in the other, in the same state and with the same sign. That does not "
            "say why they are there: whatever sets cells of a state apart from each other is found again, too."
        )
    return [bullets(said), table(caption, head, rows, text_columns=4)]


def _tested(adata: AnnData, key: str) -> str:
    """The test over regulators, in brackets."""
    if TESTS not in adata.uns:
        return ""
    tests = adata.uns[TESTS]
    own = tests[(tests["key"] == key) & (tests["name"] == "split_half/vs_pooled")]
    if own.empty:
        return ""
    row = own.iloc[-1]
    if row["status"] != "ok":
        return f" (no test: {words(row['status'])})"
    return f" ({equals('p', row['p_raw'])}, signed ranks over {plural(int(row['n_units']), 'regulator')})"


def _scan(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    scan = entry["scan"]
    known = scan[scan["status"] == "ok"]
    unreached = int((scan["reason"] == "K_unreachable").sum())
    above = int((known["gain"] > 0).sum())
    beyond = int((known["auroc"] > known["null_high"]).sum())
    drawn = int(entry["params"]["n_null"])
    said = [
        f"Of {plural(len(known), 'number')} of states, {count(above)} do better than all cells together"
        + (f", and {count(beyond)} are above the 95 % quantile of shuffled labels." if drawn else "."),
        f"{plural(unreached, 'number')} of states could not be reached by any resolution." if unreached else "",
        "The best number of states is picked by the reference; it is no estimate of what that number would do.",
    ]
    picture = figure(
        lambda ax: pl.cssi_scan(adata, key=key, ax=ax),
        size=(8.0, 4.2),
        alt=f"AUROC for {plural(len(known), 'number')} of states, from {count(scan['n_states'].min())} to "
        f"{count(scan['n_states'].max())}, beside all cells together and shuffled labels.",
        caption="AUROC of the aggregate by the number of states, beside all cells together and labels shuffled among "
        "the cells (mean, one standard deviation).",
    )
    return [bullets(said), picture] if len(known) else [bullets(said)]


def _curve(adata: AnnData, key: str, entry: Mapping[str, Any]) -> list[Markup]:
    params, changes = entry["params"], entry["changes"]
    shown = changes[(changes["metric"] != "top_k") | (changes["k"] == int(params["reference_counts"]["n_listed"]))]
    rows = [
        [
            METRICS[str(row["metric"])].format(count(row["k"])),
            count(row["from_cells"]), count(row["to_cells"]), signed(row["mean_change"]), count(row["n_up"]),
            count(row["n_down"]), count(row["n_same"]),
        ]
        for _, row in shown.iterrows()
    ]  # fmt: skip
    said = [
        "Only one family of metrics was asked; the other may say the opposite." if params["single_metric"] else "",
        "Runs share the cells they are drawn from, so their number is not a number of independent samples.",
        f"Left out for want of cells: {enumerate_words([str(one) for one in params['left_out']])}."
        if len(params.get("left_out", []))
        else "",
    ]
    picture = figure(
        lambda ax: pl.scaling_curve(adata, key=key, ax=ax),
        size=(8.0, 4.2),
        alt=f"Recovery of {params['reference']} by {'types of cells' if params['composition'] == 'varied' else 'cells'}"
        f", {plural(int(params['n_seeds']), 'run')}.",
        caption=f"Recovery of {params['reference']} ({params['score']}, {params['composition']} composition): AUROC, "
        "average precision and F1 of as many pairs as are listed.",
    )
    head = ["metric", "from", "to", "mean change", "runs up", "runs down", "runs level"]
    return [bullets(said), picture, table("What more cells change", head, rows)]
