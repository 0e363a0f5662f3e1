"""AUROC of every perturbation under every predictor, baselines beside edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing
from scepsis.pl._style import (
    FAINT,
    INK,
    SMALL,
    axes_or_new,
    by_kind,
    hollow_handle,
    jitter,
    kind_order,
    line_handle,
    look,
    marker_handle,
    predictor_axes,
    rows_height,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.perturbation_auroc(adata)"
#: Perturbations up to which dots are drawn larger, and from which on paler.
FEW, MANY = 12, 300
#: Dots beyond which they are drawn as one picture inside a vector file.
RASTERIZED = 5000


def perturbation_auroc(
    adata: Data,
    *,
    key: str = "perturbation_auroc",
    predictors: Sequence[str] | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw the AUROC of every perturbation under every predictor :cite:p:`kendiukhov2026`.

    One row per predictor, edges first and gene-level baselines last; one dot per perturbation, at the same height
    within every row. The large marker is the mean over perturbations, the bar its 95 % interval, both as stored;
    where no interval is stored (fewer than six perturbations) none is drawn. Hollow dots are perturbations with a
    status of their own, such as ``too_few_units`` (hardly any responders), which do not count in the mean, or
    ``label_leak``. A predictor without numbers keeps its row, with its status.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.perturbation_auroc` stores it.
    key
        Where the result is stored in ``adata.uns``.
    predictors
        Names of predictors to show; None shows all.
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
        If there is no such result, or no such predictor in it.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges="spearman")
    >>> ax = sps.pl.perturbation_auroc(adata)
    """
    data = resolve(adata, mod)
    units = read_frame(data, key, "per_perturbation", maker=MAKER)
    rows = _arranged(read_frame(data, key, "summary", maker=MAKER), predictors)
    axes = axes_or_new(ax, width=7.0, height=rows_height(len(rows)))
    _dots(axes, units, rows)
    for _, row in rows.iterrows():
        _mean(axes, row)
    shown = units[units["predictor"].isin(list(rows["predictor"])) & units["auroc"].notna()]
    _finish(axes, rows, flagged=bool((shown["status"] != "ok").any()))
    return axes


def _arranged(summary: pd.DataFrame, predictors: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows of a summary in the order in which they are drawn, with their height as column ``y``."""
    rows = summary
    if predictors is not None:
        known = [str(name) for name in summary["predictor"]]
        if unknown := [name for name in predictors if name not in known]:
            msg = f"`predictors` names {listing(unknown)}; the result has: {listing(known, limit=20)}."
            raise KeyError(msg)
        rows = summary[summary["predictor"].isin(list(predictors))]
    return by_kind(rows)


def _dots(ax: Axes, units: pd.DataFrame, rows: pd.DataFrame) -> None:
    """One dot per perturbation in every row, each perturbation at a height of its own."""
    names = list(dict.fromkeys(units["perturbation"].astype(str)))
    offset = dict(zip(names, (0.3 * jitter(len(names))).tolist(), strict=True))
    middle = dict(zip(rows["predictor"], rows["y"], strict=True))
    drawn = units[units["auroc"].notna() & units["predictor"].isin(list(middle))]
    for (predictor, plain), part in drawn.groupby(["predictor", drawn["status"] == "ok"], observed=True, sort=False):
        appearance = look(str(part["kind"].iloc[0]))
        ax.scatter(
            part["auroc"].to_numpy(dtype=float),
            [middle[predictor] + offset[str(name)] for name in part["perturbation"]],
            s=11 if len(names) > FEW else 22,
            marker=appearance.marker,
            facecolors=appearance.colour if plain else "none",
            edgecolors="none" if plain else appearance.colour,
            linewidths=0 if plain else 0.8,
            alpha=(0.45 if len(names) < MANY else 0.2) if plain else 0.9,
            rasterized=len(drawn) > RASTERIZED,
            zorder=2,
        )


def _mean(ax: Axes, row: pd.Series[Any]) -> None:
    """Mean and interval as stored, and beside the axes in figures; or the status of a row without numbers."""
    beside = ax.get_yaxis_transform()
    if not np.isfinite(row["auroc"]):
        status = words(row["status"])
        ax.text(0.01, row["y"], status, transform=beside, color=FAINT, fontsize=SMALL, va="center", style="italic")
        ax.text(1.02, row["y"], "–", transform=beside, color=FAINT, fontsize=SMALL, va="center")
        return
    appearance = look(str(row["kind"]))
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
    if np.isfinite([row["ci_low"], row["ci_high"]]).all():
        ends = [row["ci_low"], row["ci_high"]]
        ax.plot(ends, [row["y"]] * 2, color=INK, linewidth=2, solid_capstyle="butt", zorder=4)
    text = f"{row['auroc']:.2f}  (n = {row['n_units']:,.0f})"
    ax.text(1.02, row["y"], text, transform=beside, color=INK, fontsize=SMALL, va="center")


def _finish(ax: Axes, rows: pd.DataFrame, *, flagged: bool) -> None:
    chance = predictor_axes(ax, rows, of="AUROC of responders against other genes", numbers="mean")
    handles = [marker_handle(look(kind)) for kind in kind_order(rows["kind"].astype(str))]
    if np.isfinite(rows["ci_low"].to_numpy(dtype=float)).any():
        handles.append(line_handle("95 % interval of the mean", linewidth=2))
    if flagged:
        handles.append(hollow_handle("flagged, see status"))
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
