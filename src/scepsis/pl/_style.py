"""One look for every picture: colours that colour-blind eyes tell apart, and a marker beside every colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from scepsis._core._types import FloatArray


@dataclass(frozen=True)
class Look:
    """How one kind of predictor is drawn."""

    colour: str
    marker: str
    label: str


#: Colours of Okabe and Ito, in the order in which kinds are listed.
KINDS = {
    "edges": Look("#0072B2", "o", "edges"),
    "scale": Look("#56B4E9", "s", "edges, further scale"),
    "signed": Look("#009E73", "^", "edges, signed value"),
    "control": Look("#6E6E6E", "X", "random weights"),
    "baseline": Look("#D55E00", "D", "gene-level baseline"),
}
OTHER = Look("#CC79A7", "P", "other")
INK = "#222222"
FAINT = "#8A8A8A"
MISSING = "#D9D9D9"
SEQUENTIAL = "viridis"
DIVERGING = "PuOr_r"
SMALL = 8.0
#: Rows between two kinds of predictor.
KIND_GAP = 0.5


def look(kind: str) -> Look:
    """Look of a kind; a kind unknown here has one too."""
    return KINDS.get(kind, OTHER)


def kind_order(kinds: Iterable[str]) -> list[str]:
    """Kinds that occur, the known ones first and in their order."""
    present = list(dict.fromkeys(kinds))
    return [kind for kind in KINDS if kind in present] + [kind for kind in present if kind not in KINDS]


def by_kind(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a summary, kinds together and in their order, with the height of each as column ``y``."""
    kinds = kind_order(rows["kind"].astype(str))
    rank = np.array([kinds.index(str(kind)) for kind in rows["kind"]])
    order = np.argsort(rank, kind="stable")
    return rows.iloc[order].assign(y=np.arange(len(rows)) + KIND_GAP * rank[order])


def axes_or_new(ax: Axes | None, *, width: float, height: float) -> Axes:
    """`ax`, or axes on a new figure of a size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, new = plt.subplots(figsize=(width, height), layout="constrained")
    return new


def rows_height(n_rows: int, *, row: float = 0.3, margin: float = 1.4, limit: float = 14.0) -> float:
    """Height in inches at which `n_rows` labelled rows can be read."""
    return min(margin + row * max(n_rows, 3), limit)


def jitter(n: int) -> FloatArray:
    """`n` offsets in [-1, 1) that fill the range evenly, the same on every call (golden-ratio sequence)."""
    golden = (np.sqrt(5) - 1) / 2
    return np.asarray(2 * np.mod((np.arange(n) + 0.5) * golden, 1) - 1)


def bare(ax: Axes) -> None:
    """Take away the spines that carry nothing."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def marker_handle(appearance: Look, label: str | None = None) -> Line2D:
    """Legend entry of a kind."""
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], linestyle="none", marker=appearance.marker, color=appearance.colour, label=label or appearance.label
    )


def hollow_handle(label: str) -> Line2D:
    """Legend entry of dots that are hollow, whatever their kind."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker="o", markerfacecolor="none", color=INK, label=label)


def line_handle(label: str, *, linewidth: float) -> Line2D:
    """Legend entry of a plain line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, linewidth=linewidth, label=label)


def spread(values: Sequence[float], gap: float) -> list[float]:
    """
    Positions for labels of `values` that are at least `gap` apart, each group as near to its own as can be.

    Neighbours that would overlap are pooled into a block around their mean, as in isotonic regression.
    """
    order = np.argsort(np.asarray(values, dtype=float), kind="stable")
    blocks: list[tuple[float, int]] = []  # centre, number of labels
    for index in order:
        centre, size = float(values[index]), 1
        while blocks and centre - (size - 1) / 2 * gap < blocks[-1][0] + (blocks[-1][1] - 1) / 2 * gap + gap:
            other, count = blocks.pop()
            centre, size = (centre * size + other * count) / (size + count), size + count
        blocks.append((centre, size))
    placed = [centre + (item - (size - 1) / 2) * gap for centre, size in blocks for item in range(size)]
    result = [0.0] * len(placed)
    for index, position in zip(order, placed, strict=True):
        result[int(index)] = position
    return result


def predictor_axes(ax: Axes, rows: pd.DataFrame, *, of: str, numbers: str) -> Line2D:
    """Dress axes with one row for each predictor, AUROCs along x, and give the line at chance."""
    chance = ax.axvline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1, label="chance")
    ax.set_yticks(rows["y"].to_numpy(), [str(name) for name in rows["predictor"]])
    top = float(rows["y"].min()) - 0.7
    ax.set_ylim(float(rows["y"].max()) + 0.7, top)
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, -0.02), min(high, 1.02))
    ax.set_xlabel(of)
    ax.text(1.02, top, numbers, transform=ax.get_yaxis_transform(), color=INK, fontsize=SMALL, va="center")
    ax.tick_params(axis="y", length=0)
    bare(ax)
    return chance
