"""Edges and gene-level baselines under every setting of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing
from scepsis.pl._response._curve import draw_marks, figure_height, forks_of
from scepsis.pl._style import INK, KINDS, SMALL, Look, axes_or_new, bare, line_handle, marker_handle

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.sensitivity_scan(adata)"
FORKS = {"test": "test", "lfc_threshold": "fold change", "n_cells": "control cells", "n_genes": "genes"}
#: Looks of sets of edges, in the order in which they come.
EDGES = (
    KINDS["edges"],
    Look("#CC79A7", "s", ""),
    Look("#009E73", "^", ""),
    Look("#56B4E9", "v", ""),
    Look("#6E6E6E", "X", ""),
)


def sensitivity_scan(
    adata: Data,
    *,
    key: str = "sensitivity_scan",
    predictors: Sequence[str] | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw the mean AUROC of edges under every setting, beside gene-level baselines :cite:p:`kendiukhov2026`.

    Settings are ordered by the AUROC of the first set of edges. Sets of edges have their 95 % intervals as stored;
    baselines are small diamonds. Below, one mark for each value that a setting has; the setting of reference is the
    grey band. Settings without numbers (too few perturbations) stand at the right, without dots.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.sensitivity_scan` stores it.
    key
        Where the result is stored in ``adata.uns``.
    predictors
        Names of predictors to show; None shows edges and baselines.
    ax
        Axes to draw into, with the marks below; None makes a figure that is high enough.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes of the AUROCs. Nothing is stored.

    Raises
    ------
    KeyError
        If there is no such result, or no such predictor in it.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.sensitivity_scan(adata, edges="spearman", lfc_thresholds=[0.5], n_cells=[500, 1500], n_genes=[300])
    >>> ax = sps.pl.sensitivity_scan(adata)
    """
    frame = read_frame(resolve(adata, mod), key, "settings", maker=MAKER)
    known = list(dict.fromkeys(frame["predictor"].astype(str)))
    if unknown := [name for name in predictors or [] if name not in known]:
        msg = f"`predictors` names {listing(unknown)}; the result has: {listing(known, limit=20)}."
        raise KeyError(msg)
    shown = frame["kind"].isin(["edges", "baseline"]) if predictors is None else frame["predictor"].isin(predictors)
    frame = frame[shown]
    settings = _settings(frame)
    forks = forks_of(settings, FORKS)
    height = figure_height(sum(len(values) for values in forks.values()), len(forks))
    axes = axes_or_new(ax, width=7.4, height=height)
    handles = _dots(axes, frame, settings)
    _finish(axes, settings, handles)
    draw_marks(axes, settings, forks, FORKS, "settings")
    return axes


def _settings(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each setting, by the AUROC of the first predictor that is shown."""
    first: pd.DataFrame = frame[frame["predictor"] == frame["predictor"].iloc[0]]
    return first.sort_values("auroc", kind="stable", na_position="last").reset_index(drop=True)


def _dots(ax: Axes, frame: pd.DataFrame, settings: pd.DataFrame) -> list[object]:
    """AUROC of every predictor in every setting, and the entries of the legend."""
    columns = list(FORKS)
    place = {tuple(row): index + 1 for index, row in enumerate(settings[columns].itertuples(index=False))}
    sets = [str(name) for name in dict.fromkeys(frame.loc[frame["kind"] == "edges", "predictor"])]
    handles: list[object] = []
    for name, part in frame.groupby("predictor", sort=False):
        positions = np.array([place[tuple(row)] for row in part[columns].itertuples(index=False)], dtype=float)
        is_edges = str(name) in sets
        appearance = EDGES[sets.index(str(name)) % len(EDGES)] if is_edges else KINDS["baseline"]
        if is_edges:
            positions += 0.24 * (sets.index(str(name)) - (len(sets) - 1) / 2) / max(len(sets) - 1, 1)
            ax.vlines(positions, part["ci_low"], part["ci_high"], color=appearance.colour, alpha=0.5, linewidth=1.3)
            handles.append(marker_handle(appearance, str(name)))
        ax.scatter(
            positions, part["auroc"],
            s=26 if is_edges else 10, marker=appearance.marker, color=appearance.colour,
            alpha=1.0 if is_edges else 0.65, linewidths=0, zorder=3 if is_edges else 2,
        )  # fmt: skip
    if (frame["kind"] == "baseline").any():
        handles.append(marker_handle(KINDS["baseline"]))
    return handles


def _finish(ax: Axes, settings: pd.DataFrame, handles: list[object]) -> None:
    reference = np.flatnonzero(settings["is_reference"].to_numpy(dtype=bool))
    for index in reference:
        ax.axvspan(index + 0.5, index + 1.5, color="#E8E8E8", zorder=0)
    ax.axhline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    ax.set_xlim(0.4, len(settings) + 0.6)
    ax.set_ylabel("mean AUROC over perturbations")
    bare(ax)
    ax.spines["bottom"].set_visible(False)
    if len(reference):
        handles.append(line_handle("setting of reference", linewidth=6))
        handles[-1].set_color("#E0E0E0")  # type: ignore[attr-defined]
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=SMALL,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
