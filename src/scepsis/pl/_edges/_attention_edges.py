"""Edges as a matrix: sources in rows, targets in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_slots import edge_params
from scepsis._core._resolve import resolve
from scepsis._core._validate import listing, require_positive
from scepsis.get._edge_matrix import edge_matrix
from scepsis.pl._style import DIVERGING, MISSING, SEQUENTIAL, SMALL, axes_or_new

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from scepsis._core._types import Data, FloatArray, IntArray

#: Percentiles between which colours run.
ROBUST = (1.0, 99.0)


def attention_edges(
    adata: Data,
    *,
    key: str = "attention",
    genes: Sequence[str] | None = None,
    max_genes: int = 40,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw edges as a matrix, sources in rows and targets in columns.

    Colours run between the 1st and the 99th percentile of what is drawn: on a logarithmic scale where all edges
    are positive, on a scale symmetric about zero where both signs occur. Grey was never evaluated, the diagonal
    included. Of more than `max_genes` genes a part is drawn that is spread evenly over the range of mean incoming
    edges, strongest target first, so that a key effect (a target that everything attends to) shows as columns.

    Parameters
    ----------
    adata
        Data with ``adata.varp[key]``.
    key
        Edges to draw; any edges key, not only attention.
    genes
        Names of genes, drawn in this order, as sources and as targets; None chooses as said above.
    max_genes
        How many genes are drawn when `genes` is None.
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
        If there are no such edges, or `genes` names genes without edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> ax = sps.pl.attention_edges(adata, key="spearman", max_genes=20)
    """
    require_positive(max_genes, argument="max_genes", minimum=2)
    data = resolve(adata, mod)
    matrix = edge_matrix(data, key)
    names = [str(name) for name in matrix.index]
    shown = _chosen(matrix.to_numpy(), names, genes, max_genes, key)
    values = matrix.to_numpy()[np.ix_(shown, shown)]
    side = float(np.clip(0.16 * len(shown), 3.2, 10.0))
    axes = axes_or_new(ax, width=side + 2.2, height=side + 1.4)
    _matrix(axes, values, label=_meaning(key, edge_params(data, key)))
    _labels(axes, [names[index] for index in shown])
    whole = "" if genes is not None or len(shown) == len(names) else f", {len(shown)} of {len(names)} genes"
    axes.set_title(f"{key}{whole}", fontsize=SMALL + 2)
    return axes


def _chosen(values: FloatArray, names: list[str], genes: Sequence[str] | None, max_genes: int, key: str) -> IntArray:
    if genes is not None:
        position = {name: index for index, name in enumerate(names)}
        if unknown := [name for name in genes if name not in position]:
            msg = f"`genes` names {listing(unknown)}, without edges in `adata.varp[{key!r}]`."
            raise KeyError(msg)
        return np.array([position[name] for name in genes], dtype=int)
    known = np.isfinite(values)
    incoming = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    order = np.argsort(-incoming, kind="stable")
    if len(order) <= max_genes:
        return order
    return np.asarray(order[np.linspace(0, len(order) - 1, max_genes).round().astype(int)])


def _meaning(key: str, params: dict[str, Any]) -> str:
    """What the colour bar measures, from the record of the edges."""
    scale = str(params.get("scale", ""))
    words = {
        "probability": "mean attention",
        "uniform_fold": "attention x tokens in the cell (1 = even)",
        "centered": "log attention, centred within cells",
    }
    return words.get(scale, key)


def _matrix(ax: Axes, values: FloatArray, *, label: str) -> None:
    import matplotlib as mpl

    known = values[np.isfinite(values)]
    diverging = bool(known.size and known.min() < 0)
    colours = mpl.colormaps[DIVERGING if diverging else SEQUENTIAL].with_extremes(bad=MISSING)
    image = ax.imshow(
        np.ma.masked_invalid(values), cmap=colours, norm=_norm(known, diverging=diverging), interpolation="nearest"
    )
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(image, ax=ax, shrink=0.7, extend="both" if known.size else "neither")
        bar.set_label(label, fontsize=SMALL)
        bar.ax.tick_params(labelsize=SMALL)


def _norm(known: FloatArray, *, diverging: bool) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    if not known.size:
        return Normalize(0, 1)
    if diverging:
        limit = float(np.percentile(np.abs(known), ROBUST[1])) or 1.0
        return Normalize(-limit, limit)
    positive = known[known > 0]
    low, high = (float(value) for value in np.percentile(positive if positive.size else known, ROBUST))
    if low <= 0 or high <= low:
        return Normalize(0, high or 1.0)
    return LogNorm(low, high, clip=False)


def _labels(ax: Axes, names: list[str]) -> None:
    """Names of genes, in type that fits their row, thinned out where none would."""
    figure = ax.get_figure(root=True)
    inches: Any = figure.get_size_inches() if figure is not None else (5.0, 5.0)
    place = ax.get_position()
    room = 72 * min(place.height * inches[1], place.width * inches[0]) / max(len(names), 1)
    size = float(np.clip(0.85 * room, 5.0, 9.0))
    step = max(1, int(np.ceil(size / 0.9 / room)))
    ticks = range(0, len(names), step)
    ax.set_xticks(ticks, names[::step], rotation=90, fontsize=size)
    ax.set_yticks(ticks, names[::step], fontsize=size)
    ax.tick_params(length=0)
    ax.set_xlabel("target gene", fontsize=SMALL + 1)
    ax.set_ylabel("source gene", fontsize=SMALL + 1)
