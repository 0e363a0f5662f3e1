"""Pooled AUROC of every predictor on a reference, and that of every regulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis.pl._style import (
    FAINT,
    INK,
    SMALL,
    axes_or_new,
    by_kind,
    jitter,
    kind_order,
    line_handle,
    look,
    marker_handle,
    predictor_axes,
    rows_height,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.reference_auroc(adata, reference)"
#: Mark of the mean over regulators.
TICK: dict[str, Any] = {"linestyle": "none", "marker": "|", "markeredgewidth": 1.6, "color": INK}


def reference_auroc(
    adata: Data,
    *,
    key: str = "reference_auroc",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw how well edges and gene features rank the pairs that a reference lists :cite:p:`kendiukhov2026`.

    One row per predictor, edges first and gene-level baselines last. The large marker is the pooled AUROC, the bar
    its 95 % interval clustered by regulator and target, as stored. Dots are regulators with at least two targets,
    at the same height within every row; the tick is their mean. A predictor without numbers keeps its row, with its
    status.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.reference_auroc` stores it.
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
    >>> truth = sps.get.edges(adata, "regulation")
    >>> sps.tl.reference_auroc(adata, truth[truth["weight"] != 0], edges="spearman", n_boot=200)
    >>> ax = sps.pl.reference_auroc(adata)
    """
    data = resolve(adata, mod)
    overall = read_frame(data, key, "summary", maker=MAKER)
    units = read_frame(data, key, "per_regulator", maker=MAKER)
    rows = by_kind(overall[overall["statistic"] == "pooled"])
    axes = axes_or_new(ax, width=7.0, height=rows_height(len(rows)))
    means = overall[overall["statistic"] == "per_regulator"].set_index("predictor")["auroc"]
    beside = axes.get_yaxis_transform()
    for _, row in rows.iterrows():
        if not np.isfinite(row["auroc"]):
            status = words(row["status"])
            axes.text(
                0.01, row["y"], status, transform=beside, color=FAINT, fontsize=SMALL, va="center", style="italic"
            )
            axes.text(1.02, row["y"], "–", transform=beside, color=FAINT, fontsize=SMALL, va="center")
            continue
        _row(axes, row, units[units["predictor"] == row["predictor"]], float(means.get(row["predictor"], np.nan)))
        text = f"{row['auroc']:.2f}  (n = {row['n_pos']:,.0f})"
        axes.text(1.02, row["y"], text, transform=beside, color=INK, fontsize=SMALL, va="center")
    _finish(axes, rows, has_units=len(units) > 0)
    return axes


def _row(ax: Axes, row: pd.Series[Any], units: pd.DataFrame, mean: float) -> None:
    appearance = look(str(row["kind"]))
    shown = units["status"].to_numpy() == "ok"
    offset = 0.3 * jitter(len(units))
    ax.scatter(
        units["auroc"].to_numpy(dtype=float)[shown],
        row["y"] + offset[shown],
        s=11,
        marker=appearance.marker,
        color=appearance.colour,
        linewidths=0,
        alpha=0.4,
        zorder=2,
    )
    ends = [row["ci_low"], row["ci_high"]]
    if np.isfinite(ends).all():
        ax.plot(ends, [row["y"]] * 2, color=INK, linewidth=2, solid_capstyle="butt", zorder=4)
    ax.plot(
        [row["auroc"]],
        [row["y"]],
        linestyle="none",
        marker=appearance.marker,
        markersize=10,
        color=appearance.colour,
        markeredgecolor="white",
        markeredgewidth=1.3,
        zorder=3,
    )
    if np.isfinite(mean):
        ax.plot(
            [mean], [row["y"]], linestyle="none", marker="|", markersize=17, markeredgewidth=1.6, color=INK, zorder=5
        )


def _finish(ax: Axes, rows: pd.DataFrame, *, has_units: bool) -> None:
    from matplotlib.lines import Line2D

    chance = predictor_axes(ax, rows, of="AUROC of listed pairs against others", numbers="all pairs")
    handles = [marker_handle(look(kind)) for kind in kind_order(rows["kind"].astype(str))]
    if np.isfinite(rows["ci_low"].to_numpy(dtype=float)).any():
        handles.append(line_handle("95 % interval, all pairs", linewidth=2))
    if has_units:
        handles.append(Line2D([], [], **TICK, markersize=12, label="mean of regulators (dots)"))
    ax.legend(
        handles=[*handles, chance],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3,
        frameon=False,
        fontsize=SMALL,
        handletextpad=0.4,
        columnspacing=1.2,
    )
