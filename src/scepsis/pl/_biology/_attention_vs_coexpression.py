"""The rank of edges along the co-expression of their genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame, read_result
from scepsis.pl._biology._curves import COLOURS, MARKERS
from scepsis.pl._style import INK, SMALL, axes_or_new, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.attention_vs_coexpression(adata)"


def attention_vs_coexpression(
    adata: Data,
    *,
    key: str = "attention_vs_coexpression",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw how far edges follow co-expression :cite:p:`kendiukhov2026`.

    Pairs in twentieths by co-expression, and in each the median (line) and quartiles (band) of the rank of their
    edges among all pairs: a flat line at one half is what edges give that know nothing of it. Where pairs have no
    direction, an edge is the mean of that from source to target and back. The legend has the
    Spearman correlation over pairs, with co-expression and with the product of both genes' means.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.attention_vs_coexpression` stores it.
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
    >>> sps.tl.attention_edges(adata, model, show_progress_bar=False)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.attention_vs_coexpression(adata, n_null=20, show_progress_bar=False)
    >>> ax = sps.pl.attention_vs_coexpression(adata)
    """
    data = resolve(adata, mod)
    bins = read_frame(data, key, "bins", maker=MAKER)
    summary = read_frame(data, key, "summary", maker=MAKER).set_index(["edges", "against"])["rho"]
    versus = str(read_result(data, key, maker=MAKER)["params"]["versus"])
    axes = axes_or_new(ax, width=6.4, height=4.2)
    axes.axhline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    for number, (name, rows) in enumerate(bins.groupby("edges", sort=False)):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        along = rows["coexpression"].to_numpy(dtype=float)
        axes.fill_between(along, rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0, zorder=2)
        label = f"{name}  (ρ {summary[name, versus]:.2f}; with means {summary[name, 'mean_product']:.2f})"
        axes.plot(
            along, rows["median"], color=colour, marker=marker, markersize=4, linewidth=1.5, zorder=3, label=label
        )
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"co-expression of the pair ({versus}, absolute)")
    axes.set_ylabel("rank of the edge among all pairs")
    bare(axes)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False, fontsize=SMALL)
    return axes
