"""The criteria of a verdict as a table: what holds, on which numbers, and how reliable these are."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

import pandas as pd

from scepsis._core._evidence import reliability
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_choice
from scepsis.pl._style import FAINT, INK, KINDS, MISSING, SMALL, Look, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.verdict(adata)"
LOOKS = {
    "holds": Look(KINDS["edges"].colour, "o", "holds"),
    "fails": Look(KINDS["baseline"].colour, "X", "fails"),
    "not assessable": Look(FAINT, "$?$", "not assessable"),
}
#: Left ends of the columns, as shares of the width, and characters that fit into them at the width drawn.
COLUMNS = {"criterion": (0.045, 31), "because": (0.27, 78), "reliability": (0.77, 34)}
WIDTH = 11.0
#: Height of a line of text, and lines between two criteria.
LINE = 0.165
GAP = 0.9


def verdict(
    adata: Data,
    *,
    edges: str | None = None,
    key: str = "verdict",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw the criteria of a verdict as a table.

    One row for each criterion: whether it holds (circle), fails (cross) or is not assessable (question mark), why, in
    the numbers of the tests that it rests on, and how reliable these are: how often they were run with how many
    settings, and the smallest differences of AUROC that they would have found with a probability of 80 %.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.verdict` stores it.
    edges
        Set of edges; None takes the first that was judged.
    key
        The ``key_added`` of the verdict.
    ax
        Axes to draw into; None makes a figure that is high enough for all rows. The table is laid out for a width of
        about 11 inches.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes drawn into. Nothing is stored.

    Raises
    ------
    KeyError
        If there is no verdict.
    ValueError
        If it is not about these edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman")
    >>> sps.tl.verdict(adata, edges="spearman")
    >>> ax = sps.pl.verdict(adata)
    """
    data = resolve(adata, mod)
    table = read_frame(data, key, "criteria", maker=MAKER)
    evidence = read_frame(data, key, "evidence", maker=MAKER)
    names = list(dict.fromkeys(table["edges"]))
    chosen = names[0] if edges is None else edges
    require_choice(chosen, names, argument="edges")
    own = table[table["edges"] == chosen]
    rows = [_row(row, evidence[evidence["edges"] == chosen]) for _, row in own.iterrows()]
    # the state stands under the criterion
    heights = [max(len(cells["criterion"]) + 1, *(len(lines) for lines in cells.values())) for _, cells in rows]
    total = sum(heights) + GAP * len(rows)
    axes = axes_or_new(ax, width=WIDTH, height=LINE * (total + 3.5))
    _draw(axes, rows, heights, total)
    axes.set_title(f"Verdict on {chosen}", loc="left", fontsize=SMALL + 2, color=INK)
    return axes


def _row(row: pd.Series[bool], evidence: pd.DataFrame) -> tuple[str, dict[str, list[str]]]:
    """State of a criterion, and the lines of its cells."""
    state = "not assessable" if pd.isna(row["passed"]) else "holds" if row["passed"] else "fails"
    name = str(row["criterion"])
    title = f"overall: {row['question']}" if name == "overall" else f"({name}) {row['question']}"
    reason = str(row["reason"]) if name == "overall" else str(row["reason"]).removeprefix(f"{state}: ")
    cells = {
        "criterion": title,
        "because": f"{reason}{_beside(row)}",
        "reliability": reliability(evidence[evidence["criterion"] == name]),
    }
    return state, {column: wrap(text, COLUMNS[column][1]) or [""] for column, text in cells.items()}


def _beside(row: pd.Series[bool]) -> str:
    """What stands beside a criterion without deciding it."""
    said = ""
    if not pd.isna(row["strict"]):
        said += f" [stronger comparators: {'beaten' if row['strict'] else 'not beaten'}]"
    if not pd.isna(row["material"]):
        said += f" [gain {'of' if row['material'] else 'not of'} a size that matters]"
    return said


def _draw(ax: Axes, rows: list[tuple[str, dict[str, list[str]]]], heights: list[int], total: float) -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(total, -1.6)
    ax.axis("off")
    for column, (left, _) in COLUMNS.items():
        ax.text(left, -0.6, column, color=FAINT, fontsize=SMALL, va="center")
    top = GAP / 2
    for (state, cells), height in zip(rows, heights, strict=True):
        ax.axhline(top - GAP / 2, color=MISSING, linewidth=0.8)
        appearance = LOOKS[state]
        ax.plot(0.018, top + 0.5, marker=appearance.marker, color=appearance.colour, markersize=8, linestyle="none")
        for column, lines in cells.items():
            for number, line in enumerate(lines):
                ax.text(COLUMNS[column][0], top + number + 0.5, line, color=INK, fontsize=SMALL, va="center")
        below = top + len(cells["criterion"]) + 0.5
        ax.text(COLUMNS["criterion"][0], below, state, color=appearance.colour, fontsize=SMALL, va="center",
                fontweight="bold")  # fmt: skip
        top += height + GAP
