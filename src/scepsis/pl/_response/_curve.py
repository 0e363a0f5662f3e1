"""What a specification curve and a sensitivity scan share: marks under the curve that say which choices were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._names import words
from scepsis.pl._style import FAINT, INK, SMALL, bare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import FloatArray

#: Height of a row of marks in inches, and of the curve.
ROW, CURVE = 0.17, 3.0
#: Rows of marks between two forks.
GAP = 0.6
#: Points between the marks and the name of a fork.
BESIDE = 92


def figure_height(n_rows: int, n_forks: int) -> float:
    """Height in inches of a curve with its marks."""
    return CURVE + 1.2 + ROW * (n_rows + GAP * n_forks)


def forks_of(frame: pd.DataFrame, names: Mapping[str, str]) -> dict[str, list[object]]:
    """Values of every column of `names` that has several, in ascending order."""
    found: dict[str, list[object]] = {}
    for column in names:
        values = [value for value in frame[column].dropna().unique() if value != ""]
        if len(values) > 1:
            found[column] = sorted(values)
    return found


def draw_marks(
    ax: Axes, frame: pd.DataFrame, forks: Mapping[str, Sequence[object]], names: Mapping[str, str], what: str
) -> None:
    """
    Draw under `ax` one row for each value of each fork, with a mark for every row of `frame` that has it.

    Rows of `frame` stand at 1, 2, ... as in the curve; `what` they are is told below.
    """
    n_rows, n_forks = sum(len(values) for values in forks.values()), len(forks)
    lower = _below(ax, ROW * (n_rows + GAP * n_forks) / CURVE)
    heights: list[float] = []
    labels: list[str] = []
    height = 0.0
    positions: FloatArray = np.arange(1.0, len(frame) + 1)
    for column, values in forks.items():
        middle = height + (len(values) - 1) / 2
        lower.annotate(
            names[column], (0, middle), (-BESIDE, 0), xycoords=lower.get_yaxis_transform(),
            textcoords="offset points", fontsize=SMALL, color=INK, ha="right", va="center", fontweight="bold",
        )  # fmt: skip
        for value in values:
            chosen = positions[(frame[column] == value).to_numpy()]
            lower.axhline(height, color="#EDEDED", linewidth=0.6, zorder=0)
            lower.vlines(chosen, height - 0.38, height + 0.38, color=INK, linewidth=_width(len(frame)), zorder=2)
            heights.append(height)
            labels.append(f"{value:g}" if isinstance(value, int | float | np.number) else words(value))
            height += 1
        height += GAP
    lower.set_yticks(heights, labels, fontsize=SMALL)
    lower.set_ylim(height - GAP - 0.4, -0.6)
    lower.tick_params(axis="y", length=0)
    lower.spines["bottom"].set_visible(False)
    lower.tick_params(axis="x", bottom=False, labelbottom=False)
    bare(lower)
    ax.tick_params(axis="x", bottom=False, labelbottom=False)
    lower.set_xlabel(f"{len(frame)} {what}", fontsize=SMALL, color=FAINT)


def _below(ax: Axes, share: float) -> Axes:
    """Axes under `ax`, of a `share` of its height, in the place that `ax` had alone."""
    spec, figure = ax.get_subplotspec(), ax.figure
    if spec is None:
        from mpl_toolkits.axes_grid1 import make_axes_locatable  # type: ignore[import-untyped]

        lower: Axes = make_axes_locatable(ax).append_axes("bottom", size=f"{100 * share:g}%", pad=0.1, sharex=ax)
        return lower
    grid = spec.subgridspec(2, 1, height_ratios=(1, max(share, 0.05)), hspace=0.02)
    ax.set_subplotspec(grid[0])
    return figure.add_subplot(grid[1], sharex=ax)


def _width(n: int) -> float:
    """Width of a mark or an interval in points at which neighbours do not touch."""
    return float(np.clip(220 / max(n, 1), 0.7, 5.0))
