"""Correlation of effects in a model with measured ones, raw and adjusted, beside what targets alone tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._numbers import equals
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing
from scepsis.pl._style import FAINT, INK, KINDS, SMALL, Look, axes_or_new, bare, marker_handle, rows_height

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.model_effects(adata)"
LOOKS = {
    "raw": Look(KINDS["scale"].colour, "s", "as they are"),
    "adjusted": Look(KINDS["edges"].colour, "o", "adjusted for the target"),
    "within": Look(KINDS["signed"].colour, "^", "within perturbed genes"),
}
TRIVIAL = KINDS["baseline"]
FEATURE_NAMES = {
    "variance": "variance",
    "mean": "mean",
    "detection_rate": "detection rate",
    "perturbed_cells": "perturbed cells",
}


def model_effects(
    adata: Data,
    *,
    key: str = "model_effects",
    edges: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw how effects in a model rank measured effects, and how features of the target do :cite:p:`kendiukhov2026`.

    Lines are 95 % intervals, clustered by perturbed gene and target. Below them stand correlations of measured effects
    with what is known of the target alone.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.model_effects` stores it.
    key
        Where the result is stored in ``adata.uns``.
    edges
        Sets of edges to show; None shows all.
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
        If there is no such result, or no such edges in it.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, groupby="perturbation", control="non-targeting")
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.model_effects(adata, edges="spearman", n_boot=20)
    >>> ax = sps.pl.model_effects(adata)
    """
    target = resolve(adata, mod)
    frame = read_frame(target, key, "correlations", maker=MAKER)
    trivial = read_frame(target, key, "baselines", maker=MAKER)
    names = list(dict.fromkeys(frame["edges"].astype(str)))
    wanted = names if edges is None else [edges] if isinstance(edges, str) else list(edges)
    if unknown := [name for name in wanted if name not in names]:
        msg = f"`edges` names {listing(unknown)}; the result has: {listing(names, limit=20)}."
        raise KeyError(msg)
    shown = frame[frame["edges"].isin(wanted)]
    groups = list(dict.fromkeys(zip(shown["edges"].astype(str), shown["compared"].astype(str), strict=True)))
    kinds = [how for how in dict.fromkeys(trivial["compared"].astype(str)) if how in {how for _, how in groups}]
    n_rows = 4 * len(groups) + sum(1 + len(trivial[trivial["compared"] == how]) for how in kinds)
    axes = axes_or_new(ax, width=6.5, height=rows_height(n_rows, row=0.27, margin=1.7))
    ticks: list[tuple[float, str, bool]] = []
    top = 0.0
    for name, how in groups:
        ticks.append((top, f"{name} ({_words(how)})", True))
        rows = shown[(shown["edges"] == name) & (shown["compared"] == how)]
        for step, (_, row) in enumerate(rows.iterrows(), start=1):
            ticks.append((top + step, LOOKS[str(row["adjustment"])].label, False))
            _row(axes, row, top + step)
        top += len(rows) + 1.4
    for how in kinds:
        ticks.append((top, f"the target alone ({_words(how)})", True))
        rows = trivial[trivial["compared"] == how]
        for step, (_, row) in enumerate(rows.iterrows(), start=1):
            feature = str(row["feature"])
            ticks.append((top + step, FEATURE_NAMES.get(feature, feature), False))
            axes.plot(row["rho"], top + step, marker=TRIVIAL.marker, color=TRIVIAL.colour, linestyle="none")
        top += len(rows) + 1.4
    _finish(axes, ticks, bottom=top - 1.4)
    return axes


def _words(how: str) -> str:
    return "signed" if how == "signed" else "size"


def _row(ax: Axes, row: pd.Series[Any], y: float) -> None:
    look = LOOKS[str(row["adjustment"])]
    rho = float(row["rho"])
    beside = ax.get_yaxis_transform()
    status = str(row["status"])
    if not np.isfinite(rho):
        ax.text(0.01, y, words(status), transform=beside, color=FAINT, fontsize=SMALL, va="center")
        return
    low, high = float(row["ci_low"]), float(row["ci_high"])
    if np.isfinite([low, high]).all():
        ax.plot([low, high], [y, y], color=look.colour, linewidth=1.6)
    hollow = status != "ok"
    ax.plot(rho, y, marker=look.marker, color=look.colour, linestyle="none", markerfacecolor="none" if hollow else None)
    p = float(row["p_value"])
    told = equals("p", p) if np.isfinite(p) else ""
    beyond = ", ".join(part for part in (told, words(status) if hollow else "") if part)
    ax.text(1.02, y, beyond, transform=beside, color=INK, fontsize=SMALL, va="center")


def _finish(ax: Axes, ticks: list[tuple[float, str, bool]], *, bottom: float) -> None:
    ax.set_yticks([y for y, _, _ in ticks], [name for _, name, _ in ticks])
    for label, (_, _, bold) in zip(ax.get_yticklabels(), ticks, strict=True):
        label.set_fontweight("bold" if bold else "normal")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(bottom + 0.6, -0.7)
    ax.axvline(0, color=INK, linewidth=0.8)
    low, high = ax.get_xlim()
    ax.set_xlim(max(min(low, -0.1), -1), min(max(high, 0.1), 1))
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel("rank correlation with measured effects")
    bare(ax)
    handles = [marker_handle(look) for look in LOOKS.values()] + [marker_handle(TRIVIAL)]
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, frameon=False, fontsize=SMALL,
        handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip
