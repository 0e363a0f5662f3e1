"""AUROC of every regulator, from the lowest to the highest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame, read_result
from scepsis._core._validate import listing
from scepsis.pl._biology._curves import COLOURS, MARKERS
from scepsis.pl._style import FAINT, INK, SMALL, axes_or_new, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.tf_profile(adata, reference)"
#: Regulators above which names cannot be read.
MAX_NAMES = 60


def tf_profile(
    adata: Data,
    *,
    key: str = "tf_profile",
    edges: str | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw how well edges rank the targets of each regulator :cite:p:`kendiukhov2026`.

    Regulators from the lowest AUROC to the highest, with 95 % intervals over their own pairs. A regulator with a
    single evaluated target is hollow and has none: its AUROC is the rank of one gene. Colours and markers are classes.
    The note says how many regulators have enough targets, and whether tests over them are inference.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.tf_profile` stores it.
    key
        Where the result is stored in ``adata.uns``.
    edges
        Set of edges that is drawn; None takes the first.
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
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.tf_profile(adata, adata.uns["simulate_screen"]["network"], edges="spearman", n_null=50)
    >>> ax = sps.pl.tf_profile(adata)
    """
    data = resolve(adata, mod)
    units = read_frame(data, key, "per_regulator", maker=MAKER)
    params = read_result(data, key, maker=MAKER)["params"]
    known = [str(name) for name in params["edges"]]
    if edges is not None and edges not in known:
        msg = f"`adata.uns[{key!r}]` has no {edges!r}; it has {listing(known)}."
        raise KeyError(msg)
    chosen = known[0] if edges is None else edges
    rows = units[(units["edges"] == chosen) & units["auroc"].notna()].sort_values("auroc", kind="stable")
    axes = axes_or_new(ax, width=min(3.0 + 0.16 * max(len(rows), 12), 12.0), height=4.2)
    axes.axhline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1, label="chance")
    classes = list(dict.fromkeys(rows["tf_class"]))
    place = np.arange(len(rows))
    for number, name in enumerate(classes):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        some = (rows["tf_class"] == name).to_numpy()
        single = rows["n_targets"].to_numpy() < 2
        label = str(name) or ("other" if len(classes) > 1 else "several targets")
        middle = rows["auroc"].to_numpy(dtype=float)
        low, high = (rows[side].to_numpy(dtype=float) for side in ("ci_low", "ci_high"))
        axes.vlines(place[some], low[some], high[some], color=colour, linewidth=1.1, alpha=0.75, zorder=2)
        for hollow in (False, True):
            shown = some & (single == hollow)
            axes.plot(
                place[shown], middle[shown], linestyle="none", marker=marker, markersize=5, color=colour,
                markerfacecolor="white" if hollow else colour, zorder=3, label="" if hollow else label,
            )  # fmt: skip
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.8, max(len(rows), 1) - 0.2)
    if len(rows) <= MAX_NAMES:
        axes.set_xticks(place, rows["regulator"].astype(str), rotation=90, fontsize=SMALL - 1)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(rows)} regulators")
    axes.set_ylabel(f"AUROC of targets, {chosen}")
    bare(axes)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.05), ncols=4, frameon=False, fontsize=SMALL)
    several, needed = int(params["n_several"]), int(params["min_regulators"])
    note = f"{several} of {len(rows)} regulators have {params['min_targets']} or more targets"
    note += f"; {needed} are needed for inference" if several < needed else ""
    axes.text(0.5, 1.01, note, transform=axes.transAxes, color=FAINT, fontsize=SMALL, ha="center", va="bottom")
    return axes
