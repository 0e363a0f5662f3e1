"""Which state each of the strongest edges comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scepsis._core._keys import EdgeKeys
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame, read_result
from scepsis._core._validate import require_positive
from scepsis.get._edge_matrix import edge_matrix
from scepsis.get._edges import STRATA, edges
from scepsis.pl._style import DIVERGING, INK, MISSING, SEQUENTIAL, SMALL, axes_or_new, rows_height

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.cssi(adata, groupby=...)"
TOGETHER = "all cells"


def cssi(
    adata: Data, *, key: str = "cssi", top: int = 25, source: str | None = None, ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:  # fmt: skip
    """
    Draw the strongest edges of an aggregate in every state :cite:p:`kendiukhov2026`.

    One row per edge, strongest first, one column per state with its number of cells, and one for all cells together
    where that network is stored. A dot marks the state in which the edge is strongest in size; grey means that the
    edge was not evaluated there. A pair that is the same in both directions is drawn once.

    Parameters
    ----------
    adata
        Data with a result of `scepsis.tl.cssi`.
    key
        Its name.
    top
        Number of edges.
    source
        Gene whose edges alone are drawn.
    ax
        Axes to draw into; None makes a figure that is high enough for all rows.
    mod
        Modality, for MuData.

    Returns
    -------
    The axes drawn into. Nothing is stored.

    Raises
    ------
    KeyError
        There is no such result, or `source` has no edges in it.
    ValueError
        `top` is not positive.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_cssi(n_states=4)
    >>> sps.tl.cssi(adata, groupby="cell_state")
    >>> ax = sps.pl.cssi(adata)
    """
    require_positive(top, argument="top")
    data = resolve(adata, mod)
    params = read_result(data, key, maker=MAKER)["params"]
    strata = read_frame(data, key, STRATA, maker=MAKER)
    rows = _strongest(data, key, source).head(top)
    columns = _columns(data, key, rows, strata[strata["status"] == "ok"])
    values = np.array(list(columns.values()), dtype=float).T
    axes = axes_or_new(ax, width=3.2 + 0.55 * len(columns), height=rows_height(len(rows), row=0.24, margin=1.9))
    limit = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    signed = bool(params["signed"])
    axes.set_facecolor(MISSING)
    picture = axes.imshow(
        np.ma.masked_invalid(values),
        aspect="auto",
        cmap=DIVERGING if signed else SEQUENTIAL,
        vmin=-limit if signed else float(np.nanmin(values)),
        vmax=limit,
    )
    n_states = len(columns) - (TOGETHER in columns)
    for row, one in enumerate(values[:, :n_states]):
        if np.isfinite(one).any():
            size = np.where(np.isnan(one), -np.inf, np.abs(one) if signed else one)
            axes.plot(int(np.argmax(size)), row, marker="o", markersize=5, markerfacecolor="white", markeredgecolor=INK)
    if TOGETHER in columns:
        axes.axvline(n_states - 0.5, color="white", linewidth=3)
    arrow = "–" if _symmetric(data, key) else "→"
    axes.set_yticks(range(len(rows)), [f"{a} {arrow} {b}" for a, b in zip(rows["source"], rows["target"], strict=True)])
    axes.set_xticks(range(len(columns)), list(columns), rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(labelsize=SMALL, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure = axes.figure
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label(f"{params['score']} within the state", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return axes


def _symmetric(adata: AnnData, key: str) -> bool:
    matrix = edge_matrix(adata, key).to_numpy()
    return bool(np.array_equal(matrix, matrix.T, equal_nan=True))


def _strongest(adata: AnnData, key: str, source: str | None) -> pd.DataFrame:
    """Edges in order, those of both directions once."""
    table = edges(adata, key)
    if source is not None:
        table = table[table["source"] == source]
        if table.empty:
            msg = f"{source!r} is the source of no edge in `adata.varp[{key!r}]`."
            raise KeyError(msg)
        return table
    if not _symmetric(adata, key):
        return table
    place = {name: number for number, name in enumerate(adata.var_names)}
    return table[table["source"].map(place) < table["target"].map(place)]


def _columns(adata: AnnData, key: str, rows: pd.DataFrame, strata: pd.DataFrame) -> dict[str, list[float]]:
    """Weights of the rows in every state, by the label of the column."""
    keys = EdgeKeys(key)
    named = {f"{group} ({n})": keys.group(slug).key for group, slug, n in zip(*_parts(strata), strict=True)}
    named[TOGETHER] = keys.pooled
    found = {}
    for label, slot in named.items():
        if slot in adata.varp:
            sources, targets = list(rows["source"]), list(rows["target"])
            matrix = edge_matrix(adata, slot).reindex(index=list(set(sources)), columns=list(set(targets)))
            place = matrix.index.get_indexer(pd.Index(sources)), matrix.columns.get_indexer(pd.Index(targets))
            found[label] = matrix.to_numpy()[place].astype(float).tolist()
    return found


def _parts(strata: pd.DataFrame) -> tuple[list[str], list[str], list[int]]:
    return list(strata["group"].astype(str)), list(strata["slug"].astype(str)), list(strata["n_obs"])
