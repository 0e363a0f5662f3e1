"""A small network as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._resolve import resolve
from scepsis._core._validate import require_positive
from scepsis.get._edges import edges
from scepsis.pl._style import INK, SMALL, axes_or_new, line_handle, look

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data


def network(
    adata: Data,
    *,
    key: str = "cssi",
    group: str | None = None,
    genes: Sequence[str] | None = None,
    top: int = 30,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw the strongest edges of one network as a graph, arrows from source to target.

    Genes stand on a circle in the order of ``var``, so that networks of two states of the same `genes` can be laid side
    by side. Width is the size of the weight; dashed edges are negative. A pair that is the same in both directions is
    one line without an arrow.

    Parameters
    ----------
    adata
        Data with edges in ``varp[key]``.
    key
        Their name.
    group
        State, or group of cells, whose network is drawn; the whole (or the aggregate) when not given.
    genes
        Genes among which edges are drawn, all of which get a place; all genes, and places for those with an edge drawn,
        when not given.
    top
        Number of edges.
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
        There are no such edges.
    ValueError
        There is no such group, none of `genes` has an edge, or `top` is not positive.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_cssi(n_states=4)
    >>> sps.tl.cssi(adata, groupby="cell_state")
    >>> ax = sps.pl.network(adata, group="state2", top=10)
    """
    require_positive(top, argument="top")
    data = resolve(adata, mod)
    table = edges(data, key, group=group)
    if genes is not None:
        table = table[table["source"].isin(list(genes)) & table["target"].isin(list(genes))]
    if table.empty:
        msg = f"There is no edge to draw in `adata.varp[{key!r}]` among the genes that were asked for."
        raise ValueError(msg)
    mutual = _is_mutual(table)
    if mutual:
        table = table[table["source"] < table["target"]]
    table = table.head(top)
    used = set(table["source"]) | set(table["target"]) if genes is None else set(genes)
    names = [name for name in data.var_names if name in used]
    axes = axes_or_new(ax, width=5.2, height=5.2)
    _draw(axes, table, names, mutual=mutual)
    axes.set_title(key if group is None else group, fontsize=10)
    if (table["weight"] < 0).any():
        handles = [line_handle("positive", linewidth=1.5), line_handle("negative", linewidth=1.5)]
        handles[1].set_linestyle((0, (3, 2)))
        axes.legend(
            handles=handles, loc="lower center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False, fontsize=SMALL
        )
    return axes


def _is_mutual(table: pd.DataFrame) -> bool:
    forward = table.set_index(["source", "target"])["weight"]
    backward = forward.swaplevel()
    backward.index.names = forward.index.names
    return bool(forward.index.isin(backward.index).all() and np.array_equal(forward, backward.reindex(forward.index)))


def _draw(ax: Axes, table: pd.DataFrame, names: list[str], *, mutual: bool) -> None:
    angle = {name: 2 * np.pi * number / len(names) for number, name in enumerate(names)}
    place = {name: (np.cos(one), np.sin(one)) for name, one in angle.items()}
    strongest = float(table["weight"].abs().max()) or 1.0
    colour = look("edges").colour
    for source, target, weight in zip(table["source"], table["target"], table["weight"], strict=True):
        share = abs(float(weight)) / strongest
        ax.annotate(
            "",
            xy=place[target],
            xytext=place[source],
            arrowprops={
                "arrowstyle": "-" if mutual else "-|>",
                "connectionstyle": "arc3,rad=0.12",
                "linestyle": "-" if weight >= 0 else (0, (3, 2)),
                "linewidth": 0.6 + 2.4 * share,
                "color": colour,
                "alpha": 0.35 + 0.6 * share,
                "shrinkA": 6,
                "shrinkB": 6,
            },
        )
    ax.plot(*zip(*place.values(), strict=True), linestyle="none", marker="o", markersize=6, color=INK, zorder=3)
    for name, one in angle.items():
        x, y = 1.07 * np.cos(one), 1.07 * np.sin(one)
        flipped = np.cos(one) < 0
        ax.text(
            x, y, name, fontsize=SMALL, ha="right" if flipped else "left", va="center", rotation_mode="anchor",
            rotation=np.degrees(one) + (180 if flipped else 0),
        )  # fmt: skip
    ax.set_xlim(-1.5, 1.5)
    ax.set_ylim(-1.75, 1.5)
    ax.set_aspect("equal")
    ax.axis("off")
