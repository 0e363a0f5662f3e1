"""Recovery by the number of cells, every family of metrics in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame, read_result
from scepsis.pl._style import INK, SMALL, axes_or_new, bare, look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.scaling_curve(adata, reference=...)"
#: Metric, the kind whose look it borrows, and its name.
CURVES = (
    ("auroc", "edges", "AUROC"),
    ("average_precision", "signed", "average precision"),
    ("top_k", "baseline", "F1 of the top {k}"),
)


def scaling_curve(adata: Data, *, key: str = "scaling_curve", ax: Axes | None = None, mod: str | None = None) -> Axes:
    """
    Draw AUROC, average precision and F1 of the strongest pairs by the number of cells :cite:p:`kendiukhov2026`.

    Thick lines are means over runs, thin ones the runs. F1 is that of as many pairs as the reference lists, the
    horizontal line what it would be by chance. With a varied composition the number of types is on the axis below.

    Parameters
    ----------
    adata
        Data with a result of `scepsis.tl.scaling_curve`.
    key
        Its name.
    ax
        Axes to draw into; None makes a figure.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes drawn into. Nothing is stored.

    Raises
    ------
    KeyError
        There is no such result.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_cssi(n_states=6, rng=1)
    >>> network = adata.uns["simulate_cssi"]["network"]
    >>> sps.tl.scaling_curve(adata, reference=network, n_cells=[100, 200, 400], n_seeds=2, min_targets=1)
    >>> ax = sps.pl.scaling_curve(adata)
    """
    data = resolve(adata, mod)
    params = read_result(data, key, maker=MAKER)["params"]
    table = read_frame(data, key, "curve", maker=MAKER)
    k = int(params["reference_counts"]["n_listed"])
    column = "n_types" if params["composition"] == "varied" else "n_cells"
    axes = axes_or_new(ax, width=6.0, height=3.8)
    for metric, kind, label in CURVES:
        part = table[table["metric"] == metric]
        part = part[part["k"] == k] if metric == "top_k" else part
        if part["value"].notna().any():
            _curve(axes, part, column, kind, label.format(k=k))
            if metric == "top_k":
                chance = float((part["expected"] / k).mean())
                axes.axhline(chance, color=look(kind).colour, linestyle=":", linewidth=1, label="F1 by chance")
    axes.axhline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1, label="AUROC by chance")
    ticks = np.sort(table[column].unique()).astype(float)
    if column == "n_cells" and len(ticks) > 1:
        axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{int(tick):,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("types of cells" if column == "n_types" else "cells")
    axes.set_ylabel("recovery of the reference")
    axes.set_ylim(0, 1.02)
    bare(axes)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=SMALL)
    return axes


def _curve(ax: Axes, part: pd.DataFrame, column: str, kind: str, label: str) -> None:
    appearance = look(kind)
    for _, run in part.groupby("seed"):
        run = run.sort_values(column)  # noqa: PLW2901
        ax.plot(run[column], run["value"], color=appearance.colour, linewidth=0.6, alpha=0.5)
    mean = part.groupby(column)["value"].mean()
    ax.plot(
        mean.index.to_numpy(),
        mean.to_numpy(),
        color=appearance.colour,
        marker=appearance.marker,
        linewidth=2,
        label=label,
    )
