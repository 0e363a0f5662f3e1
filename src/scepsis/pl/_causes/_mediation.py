"""Components of a model: what each is worth, and what single estimates make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._numbers import MINUS, percent
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing, require_positive
from scepsis.pl._style import INK, KINDS, SMALL, Look, axes_or_new, bare, rows_height

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data, FloatArray

MAKER = "scepsis.tl.mediation(adata, model)"
#: Single estimates, drawn above and below the bar of the Shapley value.
SINGLES = {
    "denoise": (Look(KINDS["baseline"].colour, ">", "alone in the ablated model"), -0.18),
    "ablate": (Look(KINDS["signed"].colour, "<", "taken from the whole model"), 0.18),
}
WORDS = {"denoise": "components alone leave", "ablate": "taking them away leaves"}
HEIGHT = 0.62
#: Half the width of a 95 % interval, in standard errors.
NORMAL = 1.96


def mediation(
    adata: Data,
    *,
    key: str = "mediation",
    run: str | None = None,
    n_top: int = 24,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw what each component is worth (Shapley value), and both single estimates of it :cite:p:`kendiukhov2026`.

    Bars and markers are means over cells, lines 1.96 standard errors. Where markers stand off the end of a bar,
    single components mislead; by how much all of them together is written above.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.mediation` stores it.
    key
        Where the result is stored in ``adata.uns``.
    run
        Run to show; the first when not given.
    n_top
        Components to show, those with the largest Shapley values by size; in the order of the model.
    ax
        Axes to draw into; None makes a figure that is high enough for all rows.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes drawn into. Nothing is stored.

    Raises
    ------
    KeyError
        If there is no such result, or no such run in it.
    ValueError
        If `n_top` is below 1.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.mediation(adata, sps.models.load("demo"), n_cells=8, show_progress_bar=False)
    >>> ax = sps.pl.mediation(adata)
    """
    target = resolve(adata, mod)
    require_positive(n_top, argument="n_top")
    frame = read_frame(target, key, "components", maker=MAKER)
    left = read_frame(target, key, "additivity", maker=MAKER)
    runs = list(dict.fromkeys(frame["run"].astype(str)))
    chosen = runs[0] if run is None else run
    if chosen not in runs:
        msg = f"`run={run!r}` is not in the result; it has: {listing(runs)}."
        raise KeyError(msg)
    rows, n_all = _shown(frame[frame["run"] == chosen], n_top)
    axes = axes_or_new(ax, width=6.5, height=rows_height(len(rows), margin=2.1))
    places: FloatArray = np.arange(len(rows), dtype=np.float64)
    axes.barh(places, rows["shapley"], height=HEIGHT, color=KINDS["edges"].colour, alpha=0.35)
    _whiskers(axes, rows, "shapley", "shapley_error", places, KINDS["edges"].colour)
    for column, (look, offset) in SINGLES.items():
        y = places + offset
        _whiskers(axes, rows, column, f"{column}_error", y, look.colour)
        axes.plot(rows[column], y, linestyle="none", marker=look.marker, color=look.colour, markersize=6)
    _finish(axes, rows, left[left["run"] == chosen], chosen, n_all)
    return axes


def _shown(frame: pd.DataFrame, n_top: int) -> tuple[pd.DataFrame, int]:
    largest = frame["shapley"].abs().sort_values(ascending=False).index[:n_top]
    return frame[frame.index.isin(largest)], len(frame)


def _whiskers(ax: Axes, rows: pd.DataFrame, column: str, error: str, y: FloatArray, colour: str) -> None:
    half = NORMAL * rows[error].fillna(0).to_numpy()
    ax.hlines(y, rows[column] - half, rows[column] + half, color=colour, linewidth=1.4)


def _finish(ax: Axes, rows: pd.DataFrame, left: pd.DataFrame, run: str, n_all: int) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ax.set_yticks(np.arange(len(rows)), [str(name) for name in rows["component"]])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.axvline(0, color=INK, linewidth=0.8)
    some = f" ({len(rows)} of {n_all} components)" if len(rows) < n_all else ""
    ax.set_xlabel(f"effect that is owed to the component{some}")
    bare(ax)
    handles: list[object] = [Patch(color=KINDS["edges"].colour, alpha=0.35, label="Shapley value")]
    handles += [
        Line2D([], [], linestyle="none", marker=look.marker, color=look.colour, label=look.label)
        for look, _ in SINGLES.values()
    ]
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=SMALL,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4), useMathText=True)
    ax.set_title("\n".join(_headline(left, run)), fontsize=SMALL + 1, color=INK, pad=24, loc="left")


def _headline(left: pd.DataFrame, run: str) -> list[str]:
    """Total effect, and what single estimates leave of it."""
    before = f"{run}: " if run else ""
    if str(left["status"].iloc[0]) == "constant_score":
        return [f"{before}the total effect is the same in every cell"]
    lines = [f"{before}total effect {_short(float(left['total'].iloc[0]))}"]
    for way, residual, ratio in zip(left["direction"], left["residual"], left["ratio"], strict=True):
        words = WORDS[str(way)]
        if np.isfinite(residual):
            least = f", at least {percent(ratio)} of it" if ratio > 0 else ", perhaps none" if ratio == 0 else ""
            lines.append(f"{words} {_short(residual)}{least}")
    return lines


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", MINUS)
