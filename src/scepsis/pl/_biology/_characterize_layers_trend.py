"""AUROC along the layers, one curve for each reference, with what layers are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._numbers import signed
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame, read_result
from scepsis.pl._biology._curves import COLOURS, MAKER, MARKERS, chosen_curve, without_intervals
from scepsis.pl._style import INK, SMALL, axes_or_new, bare, spread

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

#: Layers between the points of neighbouring curves.
DODGE = 0.05


def characterize_layers_trend(
    adata: Data,
    *,
    key: str = "characterize_layers",
    edges: str | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw the AUROC on each reference along the layers of a model :cite:p:`kendiukhov2026`.

    A curve with 95 % intervals for every reference; correlation, which has no layer, is a dashed line of the same
    colour. Beside the last layer stand the name, the slope per layer and whether its interval is without 0 (*), by
    the stored numbers. No layer is singled out: a layer picked from this picture is picked after seeing the answer.
    The curve of a reference with too few listed pairs for intervals is pale, and says so.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.characterize_layers` stores it.
    key
        Where the result is stored in ``adata.uns``.
    edges
        Edges whose layers are drawn (``curve`` of the result); None takes the first.
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
        If there is no such result, or it has no such edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=200)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.attention_edges(adata, model, show_progress_bar=False)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.characterize_layers(adata, {"network": adata.uns["simulate_screen"]["network"]}, n_null=50)
    >>> ax = sps.pl.characterize_layers_trend(adata)
    """
    data = resolve(adata, mod)
    profile = read_frame(data, key, "profile", maker=MAKER)
    trends = read_frame(data, key, "trends", maker=MAKER)
    versus = str(read_result(data, key, maker=MAKER)["params"]["versus"])
    curve = chosen_curve(profile, edges, key)
    own = profile[profile["curve"] == curve].sort_values("layer", kind="stable")
    names = list(dict.fromkeys(own["reference"]))
    axes = axes_or_new(ax, width=7.2, height=4.4)
    ends: list[tuple[str, float, str]] = []
    weak = without_intervals(own)
    for number, name in enumerate(names):
        rows = own[(own["reference"] == name) & own["auroc"].notna()]
        if rows.empty:
            continue
        colour = COLOURS[number % len(COLOURS)]
        place = DODGE * (number - (len(names) - 1) / 2)
        _curve(axes, rows, colour, MARKERS[number % len(MARKERS)], place, pale=name in weak)
        flat = profile.loc[(profile["reference"] == name) & (profile["edges"] == versus), "auroc"]
        if flat.notna().any():
            alpha = 0.3 if name in weak else 0.7
            axes.axhline(float(flat.iloc[0]), color=colour, linestyle=(0, (5, 3)), linewidth=1, alpha=alpha, zorder=1)
        trend = trends[(trends["reference"] == name) & (trends["curve"] == curve)]
        said = f"{name}, {weak[name]}" if name in weak else _said(name, trend)
        ends.append((said, float(rows["auroc"].iloc[-1]), colour))
    axes.axhline(0.5, color=INK, linestyle=(0, (1, 2)), linewidth=1, zorder=1)
    layers = sorted({int(layer) for layer in own["layer"]})
    axes.set_xticks(layers if len(layers) <= 24 else layers[:: -(-len(layers) // 24)])
    axes.set_xlim(layers[0] - 0.4, layers[-1] + 0.4)
    axes.set_xlabel(f"layer of {curve}")
    axes.set_ylabel("AUROC of listed pairs")
    bare(axes)
    _names(axes, ends)
    _legend(axes, versus)
    return axes


def _curve(ax: Axes, rows: pd.DataFrame, colour: str, marker: str, place: float, *, pale: bool) -> None:
    middle = rows["auroc"].to_numpy(dtype=float)
    low, high = (rows[side].to_numpy(dtype=float) for side in ("ci_low", "ci_high"))
    reach = np.clip(np.nan_to_num(np.vstack([middle - low, high - middle]), nan=0.0), 0, None)
    ax.errorbar(
        rows["layer"].to_numpy() + place, middle, yerr=reach, color=colour, marker=marker, markersize=5, capsize=2,
        linewidth=1.5, elinewidth=0.9, zorder=3, alpha=0.35 if pale else None,
    )  # fmt: skip


def _said(name: str, trend: pd.DataFrame) -> str:
    if trend.empty or not np.isfinite(trend["slope"].iloc[0]):
        return name
    row = trend.iloc[0]
    mark = " *" if row["slope_low"] > 0 or row["slope_high"] < 0 else ""
    return f"{name}  {signed(row['slope'])}{mark}"


def _names(ax: Axes, ends: list[tuple[str, float, str]]) -> None:
    """Names at the right, moved apart where they would overlap."""
    ax.margins(y=0.08)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top)
    figure = ax.get_figure(root=True)
    inches = ax.get_position().height * (figure.get_size_inches()[1] if figure is not None else 4.0)
    gap = 1.5 * SMALL / 72 / inches * (top - bottom)
    heights = spread([value for _, value, _ in ends], gap)
    beside = ax.get_yaxis_transform()
    for (text, value, colour), height in zip(ends, heights, strict=True):
        ax.annotate(
            text, xy=(1.0, value), xytext=(1.04, height), xycoords=beside, textcoords=beside, color=colour,
            fontsize=SMALL, va="center", ha="left", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _legend(ax: Axes, versus: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, marker="o", markersize=5, linewidth=1.5, label="layers, 95 % interval"),
        Line2D([], [], color=INK, linestyle=(0, (5, 3)), linewidth=1, label=versus),
        Line2D([], [], color=INK, linestyle=(0, (1, 2)), linewidth=1, label="chance"),
    ]
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=SMALL)
    ax.text(1.04, 1.03, "slope per layer", transform=ax.transAxes, color=INK, fontsize=SMALL, ha="left", va="bottom")
