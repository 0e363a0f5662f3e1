"""What edges reach among forced and among naturally variable genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._numbers import signed
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis.pl._style import FAINT, INK, KINDS, SMALL, axes_or_new, bare, spread

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.gene_universe_effect(adata)"
LABELS = {
    "forced": "all\nperturbations",
    "forced_natural": "natural\nperturbations",
    "restricted": "natural\ncandidates",
    "reextracted": "edges\nmade anew",
}
LINES = ("#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#E69F00")


def gene_universe_effect(
    adata: Data,
    *,
    key: str = "gene_universe_effect",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw mean AUROCs from one protocol to the next, as perturbations, candidates and edges become natural.

    One line for each set of edges (solid) and each feature of the target (dashed grey). Below each protocol stands how
    many perturbations count; above it, for the first set of edges, its difference to the set that it is compared with,
    in bold where the 95 % interval excludes 0 :cite:p:`kendiukhov2026`.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.gene_universe_effect` stores it.
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
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.baseline_edges(adata, method="mutual_information")
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.gene_universe_effect(adata, edges=["mutual_information", "spearman"], n_top_genes=200, n_boot=100)
    >>> ax = sps.pl.gene_universe_effect(adata)
    """
    data = resolve(adata, mod)
    found = read_frame(data, key, "summary", maker=MAKER)
    protocols = [name for name in LABELS if name in set(found["protocol"])]
    axes = axes_or_new(ax, width=1.6 + 1.35 * len(protocols) + 1.4, height=4.2)
    place = {name: index for index, name in enumerate(protocols)}
    edges = list(dict.fromkeys(found.loc[found["kind"] == "edges", "predictor"]))
    ends: list[tuple[float, str, str]] = []
    for name, rows in found.groupby("predictor", sort=False):
        known = rows[np.isfinite(rows["auroc"])]
        if known.empty:
            continue
        is_edges = name in edges
        colour = LINES[edges.index(str(name)) % len(LINES)] if is_edges else KINDS["control"].colour
        axes.plot(
            [place[one] for one in known["protocol"]], known["auroc"], color=colour, marker="o" if is_edges else "",
            linewidth=2 if is_edges else 1.2, linestyle="-" if is_edges else "--", zorder=3 if is_edges else 2,
        )  # fmt: skip
        ends.append((float(known["auroc"].iloc[-1]), words(name), colour))
    _names(axes, ends, len(protocols) - 1)
    _finish(axes, found, protocols)
    compared = found[np.isfinite(found["difference"])]
    if not compared.empty:
        _differences(axes, compared[compared["predictor"] == compared["predictor"].iloc[0]], place)
    return axes


def _names(ax: Axes, ends: list[tuple[float, str, str]], last: int) -> None:
    """Write every name at the end of its line, none over another."""
    ends = sorted(ends)
    low, high = ax.get_ylim()
    for (_, name, colour), y in zip(ends, spread([end for end, _, _ in ends], 0.05 * (high - low)), strict=True):
        ax.annotate(name, (last, y), xytext=(8, 0), textcoords="offset points", color=colour, fontsize=SMALL,
                    va="center", annotation_clip=False)  # fmt: skip


def _finish(ax: Axes, found: pd.DataFrame, protocols: list[str]) -> None:
    bare(ax)
    counts = found.groupby("protocol")["n_units"].max()
    labels = [f"{LABELS[name]}\n(n = {counts[name]:,})" for name in protocols]
    ax.set_xticks(range(len(protocols)), labels, fontsize=SMALL)
    ax.set_xlim(-0.3, len(protocols) - 0.6)
    ax.axhline(0.5, color=FAINT, linewidth=1, linestyle=":", zorder=0)
    ax.set_ylabel("mean AUROC over perturbations")


def _differences(ax: Axes, rows: pd.DataFrame, place: dict[str, Any]) -> None:
    above = ax.get_xaxis_transform()
    for _, row in rows.iterrows():
        sure = row["ci_low"] > 0 or row["ci_high"] < 0
        ax.text(
            place[row["protocol"]], 1.03, signed(row['difference']), transform=above, ha="center", color=INK,
            fontsize=SMALL, fontweight="bold" if sure else "normal",
        )  # fmt: skip
    ax.set_title(f"{rows['predictor'].iloc[0]}: difference of AUROC", fontsize=SMALL + 1, pad=20)
