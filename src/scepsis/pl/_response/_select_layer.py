"""The whole profile over layers behind a choice, and how sure the choice is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._keys import SELECT_LAYER
from scepsis._core._names import words
from scepsis._core._numbers import equals, interval, signed
from scepsis._core._resolve import resolve
from scepsis._core._results import read_result
from scepsis.pl._style import FAINT, INK, KINDS, SMALL, axes_or_new, bare

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.select_layer(adata)"
#: Share of the height that bars of shares take at most.
BARS = 0.25


def select_layer(adata: Data, *, key: str = SELECT_LAYER, ax: Axes | None = None, mod: str | None = None) -> Axes:
    """
    Draw what a layer was chosen by, for all layers :cite:p:`kendiukhov2026`.

    The curve is the metric of each layer: recovery of the reference (frozen), or the mean difference of AUROC to the
    other edges with intervals clustered by perturbation and gene (nested). A ring is a layer that was chosen; with the
    number of folds that did, where they were several. Grey bars below are shares of resamples in which a layer
    is the best: one tall bar is a choice to be sure of, a row of low ones is not. Of a nested choice the held-out
    difference and its p-value, corrected for the number of layers, are told above.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.select_layer` stores it.
    key
        Where the result is stored in ``adata.uns``.
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
        If there is no such result.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=200)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.attention_edges(adata, model)
    >>> sps.tl.select_layer(adata, adata.uns["simulate_screen"]["network"], how="frozen", n_boot=100)
    >>> ax = sps.pl.select_layer(adata)
    """
    result = read_result(resolve(adata, mod), key, maker=MAKER)
    params, frame = result["params"], result["profile"]
    axes = axes_or_new(ax, width=max(5.0, 2.5 + 0.3 * len(frame)), height=3.8)
    if params["how"] == "frozen":
        _frozen(axes, frame, params)
    else:
        _nested(axes, frame, params, result["summary"])
    _shares(axes, frame)
    axes.set_xticks(frame["layer"].to_numpy())
    axes.set_xlim(float(frame["layer"].min()) - 0.6, float(frame["layer"].max()) + 0.6)
    axes.set_xlabel(f"layer of {params['edges']}\n(grey: best in % of resamples)")
    bare(axes)
    return axes


def _curve(ax: Axes, frame: pd.DataFrame, values: pd.Series[Any], chosen: pd.Series[Any]) -> None:
    colour = KINDS["edges"].colour
    ax.plot(frame["layer"], values, color=colour, linewidth=1.2, marker="o", markersize=5, zorder=3)
    if chosen.any():
        ax.plot(
            frame["layer"][chosen], values[chosen], linestyle="none", marker="o", markersize=13, markerfacecolor="none",
            markeredgewidth=1.8, color=KINDS["baseline"].colour, zorder=4, label="chosen",
        )  # fmt: skip


def _frozen(ax: Axes, frame: pd.DataFrame, params: dict[str, Any]) -> None:
    _curve(ax, frame, frame["value"], frame["is_chosen"].astype(bool))
    if params["metric"] == "auroc":
        ax.axhline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        ax.set_ylabel("AUROC of listed pairs")
    else:
        ax.set_ylabel(f"F1 of the first {params['metric'].partition('@')[2]} pairs")
    named = f"layer {params['layer']} frozen" if "layer" in params else words(params["status"])
    ax.set_title(f"{named} ({params['n_units']} regulators, {params['n_listed']} listed pairs)", fontsize=SMALL + 1)


def _nested(ax: Axes, frame: pd.DataFrame, params: dict[str, Any], summary: pd.DataFrame) -> None:
    chosen = frame["n_folds"] > 0
    _curve(ax, frame, frame["difference"], chosen)
    ends = frame[["twoway_low", "twoway_high"]].to_numpy(dtype=float)
    ax.vlines(frame["layer"], ends[:, 0], ends[:, 1], color=KINDS["edges"].colour, linewidth=1.5, alpha=0.6, zorder=2)
    for _, row in frame[chosen].iterrows():
        ax.annotate(
            f"{row['n_folds']:.0f} of {int(frame['n_folds'].sum())}", (row["layer"], row["difference"]), xytext=(9, 6),
            textcoords="offset points", fontsize=SMALL, color=KINDS["baseline"].colour,
        )  # fmt: skip
    ax.axhline(0, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    ax.set_ylabel(f"AUROC less that of {params['versus']}")
    row = summary.iloc[0]
    if row["status"] == "ok":
        told = f"held out {signed(row['difference'])} ({interval(row['twoway_low'], row['twoway_high'], sign=True)}), "
        told += f"\n{equals('p', row['p_bonferroni'])} for {row['n_layers']} layers"
    else:
        told = words(row["status"])
    ax.set_title(f"{told} (n = {row['n_units']})", fontsize=SMALL + 1)


def _shares(ax: Axes, frame: pd.DataFrame) -> None:
    """Bars in the lowest part of the axes, which is kept free for them."""
    low, high = ax.get_ylim()
    floor = low - BARS / (1 - BARS) * (high - low)
    ax.set_ylim(floor, high)
    height = low - floor
    shares = frame["share_of_resamples"].fillna(0).to_numpy()
    ax.bar(frame["layer"], 0.8 * height * shares, bottom=floor, width=0.6, color="#C8C8C8", zorder=0)
    for layer, share in zip(frame["layer"], shares, strict=True):
        if np.round(share, 2) > 0:
            ax.annotate(
                f"{100 * share:.0f}", (layer, floor + 0.8 * height * share), xytext=(0, 1), textcoords="offset points",
                ha="center", va="bottom", fontsize=SMALL - 1, color=FAINT,
            )  # fmt: skip
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
