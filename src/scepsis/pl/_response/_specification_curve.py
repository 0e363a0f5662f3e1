"""Every specification of a curve, ascending, with the choices behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_choice
from scepsis.pl._response._curve import draw_marks, figure_height, forks_of
from scepsis.pl._style import FAINT, INK, SMALL, Look, axes_or_new, bare, look, marker_handle

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.specification_curve(adata, reference, edges=...)"
FORKS = {
    "gene_model": "against",
    "direction": "direction",
    "residualizer": "taken away",
    "statistic": "statistic",
    "min_targets": "targets, least",
    "lfc_threshold": "fold change",
}
MODELS = {
    "chance": Look("#6E6E6E", "o", "chance"),
    "variance": Look("#D55E00", "D", "variance"),
    "mean": Look("#E69F00", "s", "mean"),
    "detection_rate": Look("#CC79A7", "^", "detection rate"),
    "de_frequency": Look("#009E73", "v", "DE frequency"),
    "logistic": Look("#0072B2", "P", "logistic model"),
    "gbdt": Look("#56B4E9", "X", "boosted trees"),
}


def specification_curve(
    adata: Data,
    *,
    key: str = "specification_curve",
    edges: str | None = None,
    endpoint: str | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw every specification of a set of edges, ascending, over the choices that it stands for.

    Above, the AUROC less that of what edges are compared with (colour and marker), with its interval as stored, paler
    where it holds 0. Below, one mark for each choice that the specification makes. Forks that were not varied have
    no rows. Specifications without a number are left out and counted in the corner.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.specification_curve` stores it.
    key
        Where the result is stored in ``adata.uns``.
    edges
        Name of the set of edges; None takes the first.
    endpoint
        ``"reference"`` or ``"screen"``; None takes the reference if there is one.
    ax
        Axes to draw the curve into, with the marks below it; None makes a figure that is high enough.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes of the curve. Nothing is stored.

    Raises
    ------
    KeyError
        If there is no such result.
    ValueError
        If it has no such edges or endpoint.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.specification_curve(
    ...     adata, edges="spearman", residualizers=["none", "node"], gene_models=["chance", "mean"]
    ... )
    >>> ax = sps.pl.specification_curve(adata)
    """
    frame = read_frame(resolve(adata, mod), key, "specifications", maker=MAKER)
    frame = _of(frame, "edges", edges)
    known = list(dict.fromkeys(frame["endpoint"]))
    frame = _of(frame, "endpoint", endpoint or ("reference" if "reference" in known else None))
    rows = frame[np.isfinite(frame["estimate"])].sort_values("order")
    forks = forks_of(rows, FORKS)
    height = figure_height(sum(len(values) for values in forks.values()), len(forks))
    axes = axes_or_new(ax, width=7.4, height=height)
    _curve(axes, rows)
    _finish(axes, rows, n_left_out=len(frame) - len(rows))
    draw_marks(axes, rows, forks, FORKS, "specifications")
    return axes


def _of(frame: pd.DataFrame, column: str, value: str | None) -> pd.DataFrame:
    known = list(dict.fromkeys(frame[column].astype(str)))
    chosen = known[0] if value is None else value
    require_choice(chosen, known, argument=column)
    return frame[frame[column] == chosen]


def _curve(ax: Axes, rows: pd.DataFrame) -> None:
    positions = np.arange(1, len(rows) + 1)
    size = float(np.clip(2000 / max(len(rows), 1), 9, 40))
    low, high = (rows[name].to_numpy(dtype=float) for name in ("ci_low", "ci_high"))
    estimates, models = rows["estimate"].to_numpy(dtype=float), rows["gene_model"].to_numpy()
    width = float(np.clip(150 / max(len(rows), 1), 0.5, 1.5))
    decided = (low > 0) | (high < 0)
    for model in dict.fromkeys(models):
        appearance = MODELS.get(str(model), look(""))
        for chosen, alpha in ((decided, 1.0), (~decided, 0.4)):
            own = (models == model) & chosen
            ax.vlines(positions[own], low[own], high[own], color=appearance.colour, alpha=0.5 * alpha, linewidth=width)
            ax.scatter(
                positions[own], estimates[own],
                s=size, marker=appearance.marker, color=appearance.colour, alpha=alpha, linewidths=0, zorder=3,
            )  # fmt: skip


def _finish(ax: Axes, rows: pd.DataFrame, *, n_left_out: int) -> None:
    ax.axhline(0, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    ax.set_xlim(0, max(len(rows), 1) + 1)
    ax.set_ylabel("AUROC less that compared with")
    bare(ax)
    ax.spines["bottom"].set_visible(False)
    if len(rows):
        ax.set_title(f"{rows['edges'].iloc[0]}, {rows['endpoint'].iloc[0]}", fontsize=SMALL + 1, loc="left", color=INK)
    if n_left_out:
        ax.text(
            1.0, 0.01, f"{n_left_out} without a number", transform=ax.transAxes, ha="right", fontsize=SMALL,
            color=FAINT, style="italic",
        )  # fmt: skip
    present = list(dict.fromkeys(rows["gene_model"].astype(str)))
    handles = [
        marker_handle(MODELS.get(name, look("")), MODELS[name].label if name in MODELS else name)
        for name in MODELS
        if name in present
    ]
    ax.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=min(len(handles), 4) or 1, frameon=False,
        fontsize=SMALL, handletextpad=0.3, columnspacing=1.0,
    )  # fmt: skip
