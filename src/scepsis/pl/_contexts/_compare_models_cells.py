"""AUROC of models by the number of cells that they have read."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from scepsis._core._keys import EdgeKeys
from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_choice
from scepsis.pl._contexts._compare_models import SCALES, Statistic
from scepsis.pl._style import FAINT, INK, SMALL, axes_or_new, bare, spread

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.compare_models(adata, models, reference, n_cells=[200, 500, 1000])"
#: Colours of Okabe and Ito, and a marker for each.
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "P", "v")


def compare_models_cells(
    adata: Data,
    *,
    key: str = "compare_models",
    statistic: Statistic = "pooled",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw the AUROC of every model by the number of cells that it has read, all on the same pairs.

    A line with 95 % intervals for each model, and in its colour, dashed, the same architecture with random weights.
    What does not read cells along the way, edges that were there already and gene features, are horizontal lines at
    what they reach from all cells :cite:p:`kendiukhov2026`.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.compare_models` stores it with ``n_cells=``.
    key
        Where the result is stored in ``adata.uns``.
    statistic
        ``pooled``, or the mean over regulators, ``per_regulator``.
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
        If there is no such result, or it was made without ``n_cells=``.
    ValueError
        If there is no such statistic.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=200)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> truth = sps.get.edges(adata, "regulation")
    >>> models = {"demo": model, "correlation": "spearman"}
    >>> sps.tl.compare_models(
    ...     adata, models, truth[truth["weight"] != 0], n_cells=[50, 100], n_boot=100, show_progress_bar=False
    ... )
    >>> ax = sps.pl.compare_models_cells(adata)
    """
    require_choice(statistic, get_args(Statistic), argument="statistic")
    curve = read_frame(resolve(adata, mod), key, "curve", maker=MAKER)
    curve = curve[curve["statistic"] == statistic]
    moving = list(dict.fromkeys(curve.loc[curve["n_cells"] < curve["n_cells"].max(), "predictor"]))
    models = list(dict.fromkeys(curve.loc[curve["predictor"].isin(moving) & (curve["kind"] == "edges"), "predictor"]))
    sizes = np.sort(curve["n_cells"].unique())
    curve = curve[curve["auroc"].notna()]
    axes = axes_or_new(ax, width=7.0, height=4.2)
    ends: list[tuple[str, float, str]] = []
    for number, name in enumerate(models):
        colour = COLOURS[number % len(COLOURS)]
        rows = curve[curve["predictor"] == name].sort_values("n_cells")
        if len(rows):
            _line(axes, rows, colour, MARKERS[number % len(MARKERS)])
            ends.append((name, float(rows["auroc"].iloc[-1]), colour))
        twin = curve[curve["predictor"] == EdgeKeys(name).randomized].sort_values("n_cells")
        axes.plot(twin["n_cells"], twin["auroc"], color=colour, linestyle=(0, (4, 2)), linewidth=1.2, zorder=2)
    for _, row in curve[~curve["predictor"].isin(moving) & (curve["kind"] != "control")].iterrows():
        colour = INK if row["kind"] == "edges" else FAINT
        axes.axhline(row["auroc"], color=colour, linewidth=1, zorder=1)
        ends.append((str(row["predictor"]), float(row["auroc"]), colour))
    axes.axhline(0.5, color=FAINT, linewidth=1, linestyle=":", zorder=0)
    _dress(axes, sizes, ends, statistic)
    return axes


def _line(ax: Axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    middle = rows["auroc"].to_numpy(dtype=float)
    low, high = (rows[side].to_numpy(dtype=float) for side in ("ci_low", "ci_high"))
    reach = np.clip(np.nan_to_num(np.vstack([middle - low, high - middle]), nan=0.0), 0, None)
    ax.errorbar(
        rows["n_cells"], middle, yerr=reach, color=colour, marker=marker, markersize=6, capsize=2, linewidth=1.8,
        elinewidth=0.9, zorder=3,
    )  # fmt: skip


def _dress(ax: Axes, sizes: np.ndarray, ends: list[tuple[str, float, str]], statistic: Statistic) -> None:
    from matplotlib.lines import Line2D

    if len(sizes) > 1:
        ax.set_xscale("log")
    ax.set_xticks(sizes.astype(float), [f"{int(size):,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("cells read by each model")
    ax.set_ylabel(SCALES[statistic])
    bare(ax)
    low, high = ax.get_ylim()
    places = spread([value for _, value, _ in ends], (high - low) / 18)
    for (name, _, colour), place in zip(ends, places, strict=True):
        ax.text(
            1.02, place, words(name), transform=ax.get_yaxis_transform(), color=colour, fontsize=SMALL + 1,
            va="center",
        )  # fmt: skip
    handles = [
        Line2D([], [], color=INK, linewidth=1.8, marker="o", label="model, 95 % interval"),
        Line2D([], [], color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="random weights"),
        Line2D([], [], color=FAINT, linewidth=1, label="from all cells, no model"),
    ]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=SMALL)
