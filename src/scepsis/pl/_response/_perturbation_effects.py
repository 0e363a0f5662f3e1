"""How many genes respond to every perturbation, and how many the same test calls where nothing was perturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._keys import EffectKeys
from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_result
from scepsis.pl._style import FAINT, INK, KINDS, SMALL, axes_or_new, bare, rows_height

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data, FloatArray

MAKER = "scepsis.tl.perturbation_effects(adata)"
#: Rows beyond which names are thinned out.
MAX_LABELS = 60


def perturbation_effects(
    adata: Data, *, key: str = "perturbation", ax: Axes | None = None, mod: str | None = None
) -> Axes:
    """
    Draw the responders of every perturbation beside the false calls of the test that found them.

    One row per perturbation, most responders first: the line ends at the number of responders, the cross stands
    at the number that the test would call among as many testable genes if nothing had been perturbed, from the
    control-against-control splits whose size is nearest. Perturbations that could not be tested keep their row,
    with their status. The number of cells is at the right.

    Parameters
    ----------
    adata
        Data with ``adata.uns["<key>_effects"]``, as `scepsis.tl.perturbation_effects` stores it.
    key
        The ``key_added`` of the effects.
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
        If there are no such effects.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.perturbation_effects(adata)
    >>> ax = sps.pl.perturbation_effects(adata)
    """
    entry = read_result(resolve(adata, mod), EffectKeys(key).uns, maker=MAKER)
    table: pd.DataFrame = entry["perturbations"]
    tested = table["n_testable"] > 0
    table = table.assign(tested=tested, order=table["n_targets"].where(tested, -1))
    table = table.sort_values("order", ascending=False, kind="stable").reset_index(drop=True)
    axes = axes_or_new(ax, width=6.5, height=rows_height(len(table), row=0.2))
    found = table[table["tested"]]
    edge = KINDS["edges"]
    counts = found["n_targets"].to_numpy(dtype=float)
    axes.hlines(found.index, 0, counts, color=edge.colour, linewidth=1.5, zorder=2)
    axes.plot(counts, found.index, linestyle="none", marker=edge.marker, color=edge.colour, markersize=5, zorder=3,
              clip_on=False, label="genes called")  # fmt: skip
    _false_calls(axes, found, entry["false_calls"], entry["params"])
    _finish(axes, table)
    return axes


def _expected_false(table: pd.DataFrame, false_calls: pd.DataFrame) -> FloatArray:
    """Genes that the test would call without any effect: share of false calls at the nearest size x genes tested."""
    known = false_calls[false_calls["share_of_genes"].notna()]
    if known.empty or table.empty:
        return np.full(len(table), np.nan)
    sizes = known["n_cells"].to_numpy(dtype=float)
    wanted = table["n_cells"].to_numpy(dtype=float)
    nearest = np.abs(np.log(wanted[:, None] / sizes[None, :])).argmin(axis=1)
    share = known["share_of_genes"].to_numpy(dtype=float)[nearest]
    return np.asarray(share * table["n_testable"].to_numpy(dtype=float))


def _false_calls(ax: Axes, found: pd.DataFrame, false_calls: pd.DataFrame, params: dict[str, Any]) -> None:
    expected = _expected_false(found, false_calls)
    if not np.isfinite(expected).any():
        return
    shares = 100 * false_calls["share_of_splits"].dropna()
    low, high = f"{shares.min():.0f}", f"{shares.max():.0f}"
    often = low if low == high else f"{low} to {high}"
    label = f"expected by chance: {params['test']} test, q < {params['fdr']:g} (any in {often} % of control splits)"
    baseline = KINDS["baseline"]
    ax.plot(expected, found.index, linestyle="none", marker="X", color=baseline.colour, markersize=5,
            markeredgewidth=0, zorder=4, clip_on=False, label=label)  # fmt: skip


def _finish(ax: Axes, table: pd.DataFrame) -> None:
    beside = ax.get_yaxis_transform()
    labelled = table.iloc[:: -(-len(table) // MAX_LABELS)]
    ax.set_yticks(labelled.index, [str(name) for name in labelled["perturbation"]], fontsize=SMALL)
    for height, (_, row) in zip(labelled.index.to_numpy(), labelled.iterrows(), strict=True):
        ax.text(1.01, height, f"{row['n_cells']:,.0f}", transform=beside, color=INK, fontsize=SMALL, va="center")
        if row["status"] != "ok":
            where, side = (0.99, "right") if row["tested"] else (0.01, "left")
            told = words(row["status"])
            ax.text(where, height, told, transform=beside, color=FAINT, fontsize=SMALL, va="center", ha=side,
                    style="italic")  # fmt: skip
    ax.text(1.01, -1.0, "cells", transform=beside, color=INK, fontsize=SMALL, va="center")
    ax.set_ylim(len(table) - 0.3, -0.7)
    ax.set_xlim(left=0)
    ax.set_xlabel("responding genes")
    ax.tick_params(axis="y", length=0)
    bare(ax)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False, fontsize=SMALL)
