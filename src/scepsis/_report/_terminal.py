"""A scored table as plain text, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._core._names import words
from scepsis._core._numbers import count, decimal, interval, signed
from scepsis._report._findings import finding
from scepsis._report._sentences import conclusion

if TYPE_CHECKING:
    import pandas as pd

    from scepsis._report._audited import Audited


def summary_text(audited: Audited) -> str:
    """One row per predictor, with the difference that the audited edges make to it, and the conclusion."""
    edges = audited.edges[0]
    own = audited.contrasts[audited.contrasts["edges"] == edges]
    against = {str(row["versus"]): row for _, row in own.iterrows()}
    head = ["predictor", "kind", "n", "AUROC", "95 % interval", f"{edges} minus it"]
    rows = [head]
    for _, row in audited.summary.iterrows():
        status = "" if row["status"] == "ok" else words(row["status"])
        between = interval(row["ci_low"], row["ci_high"])
        rows.append(
            [
                str(row["predictor"]),
                str(row["kind"]),
                count(row["n_units"]),
                decimal(row["auroc"]),
                status or between,
                _difference(against.get(str(row["predictor"]))),
            ]
        )
    return f"{_aligned(rows)}\n\n{conclusion(audited.contrasts, edges)}"


def _difference(row: pd.Series[float] | None) -> str:
    return "" if row is None else f"{signed(row['difference'])}  {finding(row)}"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
