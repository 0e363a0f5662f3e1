"""AUROC of every layer on every reference, as a map, with what layers are compared with beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame, read_result
from scepsis.pl._biology._curves import MAKER, chosen_curve, without_intervals
from scepsis.pl._style import DIVERGING, FAINT, INK, MISSING, SMALL, axes_or_new

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import BoolArray, Data, FloatArray

#: Columns between the layers and what they are compared with.
GAP = 0.6
#: Layers above which cells are too small for numbers.
MAX_NUMBERS = 24


def characterize_layers(
    adata: Data,
    *,
    key: str = "characterize_layers",
    edges: str | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw what each layer ranks high: references by layers :cite:p:`kendiukhov2026`.

    Colour is the AUROC, chance in the middle. A dot marks a layer whose difference from correlation has a 95 % interval
    without 0, filled above it and hollow below. To the right stand correlation itself and the best single feature of
    genes, which any layer should be held against. Grey cells have no number. A reference with too few listed pairs for
    intervals is pale, says so, and does not stretch the colours.

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
    >>> ax = sps.pl.characterize_layers(adata)
    """
    data = resolve(adata, mod)
    profile = read_frame(data, key, "profile", maker=MAKER)
    versus = str(read_result(data, key, maker=MAKER)["params"]["versus"])
    curve = chosen_curve(profile, edges, key)
    layers = profile[profile["curve"] == curve].sort_values("layer", kind="stable")
    names = list(dict.fromkeys(layers["reference"]))
    numbers = list(dict.fromkeys(layers["layer"]))
    columns = [*(("edges", number) for number in numbers), ("versus", -1), ("feature", -1)]
    places = np.array([*range(len(numbers)), len(numbers) - 1 + GAP + 1, len(numbers) - 1 + GAP + 2])
    values = np.full((len(names), len(columns)), np.nan)
    for row, name in enumerate(names):
        own = profile[profile["reference"] == name]
        of_layers = layers[layers["reference"] == name].set_index("layer")["auroc"]
        values[row, : len(numbers)] = of_layers.reindex(numbers).to_numpy(dtype=float)
        values[row, -2] = _best(own[own["edges"] == versus])
        values[row, -1] = _best(own[(own["kind"] == "baseline") & (own["edges"] != versus)])
    width = 3.2 + 0.48 * len(columns)
    axes = axes_or_new(ax, width=width, height=1.9 + 0.42 * max(len(names), 2))
    weak = without_intervals(layers)
    _cells(axes, values, places, numbers=len(numbers), pale=np.array([name in weak for name in names]))
    _marks(axes, layers, names, numbers)
    labels = [str(number) if number >= 0 else curve for number in numbers]
    axes.set_xticks(places, [*labels, versus, "best gene\nfeature"])
    for label in axes.get_xticklabels()[-2:]:
        label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), [f"{name}\n{weak[name]}" if name in weak else name for name in names])
    for name, label in zip(names, axes.get_yticklabels(), strict=True):
        label.set(color=FAINT if name in weak else INK, linespacing=0.95)
    axes.set_xlabel(f"layer of {curve}", x=(len(numbers) / 2) / (places[-1] + 1))
    return axes


def _best(own: pd.DataFrame) -> float:
    return float(own["auroc"].max()) if own["auroc"].notna().any() else np.nan


def _cells(ax: Axes, values: FloatArray, places: FloatArray, *, numbers: int, pale: BoolArray) -> None:
    """Coloured squares, with their numbers where there is room."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    firm = values[~pale] if np.isfinite(values[~pale]).any() else values
    reach = max(float(np.nanmax(np.abs(firm - 0.5))) if np.isfinite(firm).any() else 0.0, 0.05)
    norm, colours = Normalize(0.5 - reach, 0.5 + reach), colormaps[DIVERGING]
    for (row, column), value in np.ndenumerate(values):
        colour = colours(norm(value)) if np.isfinite(value) else MISSING
        place = float(places[column])
        alpha = 0.35 if pale[row] and np.isfinite(value) else None
        ax.add_patch(Rectangle((place - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white", alpha=alpha))
        if np.isfinite(value) and numbers <= MAX_NUMBERS:
            dark = abs(value - 0.5) > 0.72 * reach and not pale[row]
            text = f"{value:.2f}".removeprefix("0")
            ax.text(
                place, row + 0.08, text, ha="center", va="center", fontsize=SMALL - 0.5,
                color="white" if dark else INK,
            )  # fmt: skip
    ax.set_xlim(-0.5, places[-1] + 0.5)
    ax.set_ylim(len(values) - 0.5, -0.5)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=ax, fraction=0.03, pad=0.02, label="AUROC")
        bar.outline.set_visible(False)


def _marks(ax: Axes, layers: pd.DataFrame, names: list[str], numbers: list[int]) -> None:
    """A dot where a layer differs from what it is compared with."""
    low, high = (layers[f"difference_{side}"].to_numpy(dtype=float) for side in ("low", "high"))
    for differs, filled, label in (
        (low > 0, INK, "above correlation"),
        (high < 0, "none", "below correlation"),
    ):
        own = layers[differs]
        ax.plot(
            [numbers.index(layer) + 0.34 for layer in own["layer"]],
            [names.index(name) - 0.32 for name in own["reference"]],
            linestyle="none", marker="o", markersize=3.6, markerfacecolor=filled, markeredgecolor=INK,
            markeredgewidth=0.8, label=label,
        )  # fmt: skip
    handles, labels = ax.get_legend_handles_labels()
    legend = ax.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, fontsize=SMALL,
        handletextpad=0.2, title="95 % interval of the difference",
    )  # fmt: skip
    legend.get_title().set(fontsize=SMALL, color=FAINT)
