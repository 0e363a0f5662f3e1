"""AUROC of every predictor against pairs whose genes are expressed alike, by each statistic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame, read_result
from scepsis.pl._style import (
    FAINT,
    INK,
    MISSING,
    SMALL,
    axes_or_new,
    by_kind,
    line_handle,
    look,
    predictor_axes,
    rows_height,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from scepsis._core._types import Data

MAKER = "scepsis.tl.matched_negatives(adata, reference)"
#: Statistic -> where in a row, marker, whether filled, what it is.
STATISTICS: dict[str, tuple[float, str, bool, str]] = {
    "balanced": (-0.2, "o", True, "balanced: as many above as below"),
    "matched": (0.0, "o", False, "matched: within the tolerance"),
    "pooled": (0.2, "|", True, "pooled: all against all"),
}
#: What matched negatives leave of expression is told by this predictor.
YARDSTICK = "mean_product"


def matched_negatives(
    adata: Data,
    *,
    key: str = "matched_negatives",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw how well edges tell listed pairs from pairs whose genes are expressed alike :cite:p:`kendiukhov2026`.

    One row per predictor, edges first and gene-level baselines last, and in each the three statistics with their 95 %
    intervals, as stored. The dotted line is what the product of both genes' means reaches by ``matched``: so much of
    expression is left within the tolerance, and edges that stop there say no more. In ``balanced`` that product is at
    chance. The grey band is the margin of equivalence around chance. Beside the axes stands the ``balanced`` AUROC,
    or the status of a predictor without one.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.matched_negatives` stores it.
    key
        Where the result is stored in ``adata.uns``.
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
        If there is no such result.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.matched_negatives(adata, adata.uns["simulate_screen"]["network"], edges="spearman")
    >>> ax = sps.pl.matched_negatives(adata)
    """
    data = resolve(adata, mod)
    overall = read_frame(data, key, "summary", maker=MAKER)
    margin = float(read_result(data, key, maker=MAKER)["params"]["margin"])
    rows = by_kind(overall[overall["statistic"] == "balanced"])
    axes = axes_or_new(ax, width=7.0, height=rows_height(len(rows), row=0.42, margin=1.6))
    axes.axvspan(0.5 - margin, 0.5 + margin, color=MISSING, alpha=0.45, linewidth=0, zorder=0)
    beside = axes.get_yaxis_transform()
    for _, row in rows.iterrows():
        own = overall[overall["predictor"] == row["predictor"]].set_index("statistic")
        for statistic in STATISTICS:
            _point(axes, own.loc[statistic], float(row["y"]), statistic)
        known = np.isfinite(row["auroc"])
        text = f"{row['auroc']:.2f}  (n = {row['n_pos']:,.0f})" if known else words(row["status"])
        axes.text(1.02, row["y"], text, transform=beside, color=INK if known else FAINT, fontsize=SMALL, va="center")
    expected = overall.loc[(overall["predictor"] == YARDSTICK) & (overall["statistic"] == "matched"), "auroc"]
    reached = float(expected.iloc[0]) if len(expected) else np.nan
    _finish(axes, rows, reached)
    return axes


def _point(ax: Axes, row: pd.Series[Any], y: float, statistic: str) -> None:
    if not np.isfinite(row["auroc"]):
        return
    offset, marker, filled, _ = STATISTICS[statistic]
    colour = look(str(row["kind"])).colour
    ends = [row["ci_low"], row["ci_high"]]
    if np.isfinite(ends).all():
        width = 2.0 if statistic == "balanced" else 1.0
        ax.plot(ends, [y + offset] * 2, color=colour, linewidth=width, solid_capstyle="butt", zorder=2)
    ax.plot(
        [row["auroc"]], [y + offset], linestyle="none", marker=marker, color=colour, zorder=3,
        markersize=9 if marker == "|" else 6, markerfacecolor=colour if filled else "white", markeredgewidth=1.4,
    )  # fmt: skip


def _finish(ax: Axes, rows: pd.DataFrame, reached: float) -> None:
    chance = predictor_axes(ax, rows, of="AUROC of listed pairs against pairs expressed alike", numbers="balanced")
    handles: list[Line2D] = [_handle(statistic) for statistic in STATISTICS]
    handles += [line_handle("95 % interval", linewidth=2), chance]
    if np.isfinite(reached):
        line = ax.axvline(reached, color=INK, linestyle=":", linewidth=1, zorder=1)
        line.set_label("product of means, matched")
        handles.append(line)
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=SMALL,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip


def _handle(statistic: str) -> Line2D:
    from matplotlib.lines import Line2D

    _, marker, filled, label = STATISTICS[statistic]
    face = INK if filled else "white"
    return Line2D([], [], linestyle="none", marker=marker, color=INK, markerfacecolor=face, label=label)
