"""The causal page: what was done to the model, whether it could be felt, took effect, and mattered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._numbers import ABSENT, count, decimal, equals, interval, p_value, plural, signed
from scepsis._report._html import bullets, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepsis._report._html import Markup

#: Whether a readout can be felt, in words; by `reachable`.
REACH = {"yes": "yes", "no": "no, it is made before", "direct_only": "only the head's own map"}


def causal(entry: Mapping[str, Any]) -> list[Markup]:
    """Sentences on what follows, then every condition that exists in the model, readout by readout."""
    results, params = entry["results"], entry["params"]
    own = results[results["status"] != "not_applicable"]
    cells = plural(int(params["n_cells_run"]), "cell")
    n_absent = results.loc[results["status"] == "not_applicable", "condition"].nunique()
    said = [
        f"Heads and MLPs were taken out of {params['model']}, and attention was read anew on {cells}.",
        *(_against_random(row) for _, row in own[own["n_null"] > 0].iterrows()),
        *(_trend(row) for _, row in entry["doses"].iterrows() if row["family"] == "top"),
        *(_held_out(row) for _, row in entry["held_out"].iterrows()),
        _what_counts(own),
        f"{plural(n_absent, 'condition')} of the paper do not exist in this model." if n_absent else "",
    ]
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
        "condition", "what was done", "read at", "can reach it", "finding", "hidden states moved",
        "difference of AUROC", "95 % interval", "p", "detectable",
    ]  # fmt: skip
    caption = (
        "What was done to the model, whether the readout could feel it, whether it took effect (largest cosine "
        "distance of hidden states), and what it did to how responders are ranked"
    )
    return [bullets(said), table(caption, head, rows, text_columns=5)]


def _tested(row: pd.Series[Any]) -> bool:
    return row["status"] not in {"structurally_null", "not_applied"}


def _evidence(row: pd.Series[Any]) -> str:
    if not _tested(row) or row["status"] != "ok":
        return f"none: {str(row['status']).replace('_', ' ')}"
    found = str(row["equivalence"]) or ABSENT
    if pd.isna(row["is_evidence"]) or not row["is_evidence"]:
        return f"{found}, no evidence: {row['reason']}"
    return found


def _against_random(row: pd.Series[Any]) -> str:
    verb = "costs more than" if row["p_random"] < 0.05 else "costs no more than"
    return (
        f"{row['condition']} changes the AUROC at {row['readout']} by {signed(row['difference'], 4)}; "
        f"{count(row['n_null'])} random sets of heads by {signed(row['null_mean'], 4)} on average "
        f"({equals('p', row['p_random'])}, {p_value(row['p_random_floor'])} being the smallest possible): "
        f"it {verb} others."
    )


def _trend(row: pd.Series[Any]) -> str:
    if not np.isfinite(row["p_value"]):
        return ""
    doses = str(row["doses"]).replace(";", ", ")
    falls = "falls" if row["p_value"] < 0.05 and row["slope"] < 0 else "is not shown to fall"
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


def _what_counts(own: pd.DataFrame) -> str:
    unreached = int((own["status"] == "structurally_null").sum())
    known = own[own["status"] == "ok"]
    counted = int(known["is_evidence"].astype("boolean").sum())
    return (
        f"Of {plural(len(own), 'result')}, {count(unreached)} cannot reach what is read and say nothing, and "
        f"{count(counted)} count as evidence: reachable, felt where it is read, and of a size that could matter."
    )
