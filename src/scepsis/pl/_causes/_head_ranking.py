"""Heads as a map: layers down, heads across."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._keys import HEAD_RANKING
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_choice
from scepsis.pl._style import DIVERGING, INK, MISSING, SEQUENTIAL, SMALL, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from scepsis._core._types import BoolArray, Data, FloatArray, IntArray

MAKER = "scepsis.tl.rank_heads(adata, model, reference=network)"
#: Column of each value that can be drawn, what it is called, and whether one half is its middle.
VALUES = {
    "reference": ("reference_auroc", "AUROC against the reference", True),
    "perturbation": ("perturbation_auroc", "mean AUROC of responders", True),
    "composite": ("composite", "product of both AUROCs", False),
    "entropy": ("entropy", "entropy of attention (nats)", False),
    "concentration": ("concentration", "concentration (1 = even)", False),
}


def head_ranking(
    adata: Data,
    *,
    value: str = "reference",
    n_marked: int = 5,
    key: str = HEAD_RANKING,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw what every head of a model is worth, layers from the first at the top, heads across :cite:p:`kendiukhov2026`.

    AUROCs are coloured around one half. Numbers mark the first heads of the ranking; a dot beside one marks heads that
    are among as many first by the labels of *either* half of the genes alone. Grey has no value.

    Parameters
    ----------
    adata
        Data with a result of `scepsis.tl.rank_heads`.
    value
        ``reference``, ``perturbation``, ``composite``, ``entropy`` or ``concentration``.
    n_marked
        How many of the first heads are numbered; at most half of them are.
    key
        Name of the result.
    ax
        Axes to draw into; None makes a figure.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes drawn into; the colour bar has axes of its own. Nothing is stored.

    Raises
    ------
    KeyError
        There is no such result, or it lacks this value.
    ValueError
        `value` is none of those.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=100)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.rank_heads(adata, model, reference=network, by="reference", show_progress_bar=False)
    >>> ax = sps.pl.head_ranking(adata, n_marked=2)
    """
    require_choice(value, tuple(VALUES), argument="value")
    column, label, is_auroc = VALUES[value]
    table = read_frame(resolve(adata, mod), key, "heads", maker=MAKER)
    if column not in table:
        msg = f"`adata.uns[{key!r}]['heads']` has no {column!r}. Call `{MAKER}` with {value!r} in `by=`."
        raise KeyError(msg)
    layers = np.unique(table["layer"].to_numpy())
    rows = np.searchsorted(layers, table["layer"].to_numpy())
    heads = table["head"].to_numpy()
    grid = np.full((len(layers), int(heads.max()) + 1), np.nan)
    grid[rows, heads] = table[column].to_numpy(dtype=float)
    axes = axes_or_new(ax, width=2.6 + 0.36 * grid.shape[1], height=1.3 + 0.36 * max(grid.shape[0], 3))
    norm = _grid(axes, grid, label, is_auroc=is_auroc)
    if (rank := f"rank_{value}") in table:
        order = table[rank].to_numpy()
        n = min(n_marked, len(table) // 2)
        first = (order > 0) & (order <= n)
        both = [f"{rank}_half_{half}" for half in (0, 1)]
        held = (
            first & (table[both] > 0).all(axis=1) & (table[both] <= n).all(axis=1) if set(both) <= set(table) else None
        )
        _mark(axes, rows, heads, order, first, held, grid, norm)
    axes.set_yticks(range(len(layers)), [f"L{layer}" for layer in layers], fontsize=SMALL)
    axes.set_xticks(range(grid.shape[1]), [f"H{head}" for head in range(grid.shape[1])], fontsize=SMALL)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def _grid(ax: Axes, grid: FloatArray, label: str, *, is_auroc: bool) -> Normalize:
    import matplotlib as mpl
    from matplotlib.colors import Normalize

    known = grid[np.isfinite(grid)]
    if is_auroc:
        reach = max(float(np.abs(known - 0.5).max()) if known.size else 0.0, 0.01)
        norm = Normalize(0.5 - reach, 0.5 + reach)
    else:
        norm = Normalize(*(float(one) for one in (known.min(), known.max())) if known.size else (0.0, 1.0))
    colours = mpl.colormaps[DIVERGING if is_auroc else SEQUENTIAL].with_extremes(bad=MISSING)
    image = ax.imshow(np.ma.masked_invalid(grid), cmap=colours, norm=norm, interpolation="nearest")
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(image, ax=ax, shrink=0.8)
        bar.set_label(label, fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL)
    return norm


def _mark(
    ax: Axes,
    rows: IntArray,
    heads: IntArray,
    order: IntArray,
    first: BoolArray,
    held: BoolArray | None,
    grid: FloatArray,
    norm: Normalize,
) -> None:
    """Numbers of the first heads, in ink that can be read on their colour."""
    dark_ends = ax.images[0].get_cmap().name == DIVERGING
    for index in np.flatnonzero(first):
        row, head = int(rows[index]), int(heads[index])
        shade = float(norm(grid[row, head]))
        dark = abs(shade - 0.5) > 0.3 if dark_ends else shade < 0.55
        mark = "·" if held is not None and held[index] else ""
        ax.text(
            head, row, f"{int(order[index])}{mark}", ha="center", va="center", fontsize=SMALL,
            color="white" if dark else INK, fontweight="bold",
        )  # fmt: skip
