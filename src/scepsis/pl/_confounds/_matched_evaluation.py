"""Balance of covariates before and after matching."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis.pl._style import FAINT, INK, SMALL, Look, axes_or_new, bare, marker_handle

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.matched_evaluation(adata, edges=...)"
BEFORE = Look("#6E6E6E", "o", "before matching")
DESIGNS = {
    "within": Look("#0072B2", "D", "within perturbations"),
    "balanced": Look("#009E73", "s", "the same, reweighted"),
    "global": Look("#D55E00", "^", "across perturbations"),
}
LABELS = {"detection_rate": "detection rate", "de_frequency": "DE frequency elsewhere"}
#: Height between the designs of one covariate.
STEP = 0.17


def matched_evaluation(
    adata: Data,
    *,
    key: str = "matched_evaluation",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw how alike responders and others are before and after matching (a love plot) :cite:p:`kendiukhov2026`.

    One row per covariate; a hollow circle is the absolute standardised mean difference among all pairs, the markers
    below it those of the matched samples. Left of the dashed line a covariate counts as balanced. A difference that
    cannot be said (hardly any matches) has no marker, but the word in its place.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.matched_evaluation` stores it.
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
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.matched_evaluation(adata, edges="spearman")
    >>> ax = sps.pl.matched_evaluation(adata)
    """
    balance = read_frame(resolve(adata, mod), key, "balance", maker=MAKER)
    covariates = list(dict.fromkeys(balance["covariate"].astype(str)))
    axes = axes_or_new(ax, width=6.4, height=1.5 + 0.62 * len(covariates))
    for row, covariate in enumerate(covariates):
        _covariate(axes, row, balance[balance["covariate"] == covariate])
    _finish(axes, balance, covariates)
    return axes


def _covariate(ax: Axes, row: int, part: pd.DataFrame) -> None:
    """Differences of one covariate: before, and under it those of every design."""
    values = part.set_index("design")
    top = row - 1.5 * STEP
    before = float(np.abs(part["smd_before"].to_numpy(dtype=float)[0]))
    ax.axhspan(row - 0.46, row + 0.46, color="#F5F5F5" if row % 2 == 0 else "white", zorder=0)
    if np.isfinite(before):
        ax.plot(
            [before], [top],
            linestyle="none", marker=BEFORE.marker, markersize=8, markerfacecolor="white",
            markeredgecolor=BEFORE.colour, markeredgewidth=1.5, zorder=3,
        )  # fmt: skip
    for index, (design, look) in enumerate(DESIGNS.items(), start=1):
        if design not in values.index:
            continue
        height = top + index * STEP
        after = abs(float(values["smd_after"].loc[design]))
        if not np.isfinite(after):
            ax.text(0.0, height, " not defined", color=FAINT, fontsize=SMALL, va="center", style="italic")
            continue
        if np.isfinite(before):
            ax.plot([before, after], [height, height], color=look.colour, alpha=0.25, linewidth=1.2, zorder=1)
        ax.plot([after], [height], linestyle="none", marker=look.marker, markersize=7, color=look.colour, zorder=3)


def _finish(ax: Axes, balance: pd.DataFrame, covariates: list[str]) -> None:
    threshold = float(balance["threshold"].iloc[0])
    limit = ax.axvline(
        threshold, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=2, label=f"balanced below {threshold:g}"
    )
    ax.set_yticks(range(len(covariates)), [LABELS.get(name, name) for name in covariates])
    ax.set_ylim(len(covariates) - 0.54, -0.46)
    ax.set_xlim(left=-0.03 * max(ax.get_xlim()[1], 2 * threshold), right=max(ax.get_xlim()[1], 2 * threshold))
    ax.set_xlabel("absolute standardised mean difference, responders less others")
    ax.tick_params(axis="y", length=0)
    bare(ax)
    shown = [look for design, look in DESIGNS.items() if (balance["design"] == design).any()]
    hollow = marker_handle(BEFORE)
    hollow.set_markerfacecolor("white")
    ax.legend(
        handles=[hollow, *(marker_handle(look) for look in shown), limit],
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=SMALL,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
