"""Null distributions, the observed value, and its parts: chance, degree and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_choice
from scepsis.pl._style import FAINT, INK, KINDS, MISSING, SMALL, axes_or_new, bare, look, rows_height

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data, FloatArray

Null = Literal["degree", "label_shuffle", "row_only"]
Statistic = Literal["pooled", "per_regulator"]
MAKER = "scepsis.tl.degree_null(adata, reference)"
DEGREE, RESIDUAL = "#E69F00", KINDS["edges"].colour
N_BINS = 30
LABELS = {"degree": "degrees", "label_shuffle": "labels", "row_only": "rows"}


def degree_null(
    adata: Data,
    *,
    key: str = "degree_null",
    null: Null = "degree",
    statistic: Statistic = "pooled",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw what edges reach on a reference beside what they reach on networks drawn at random.

    One row per score, model-free scores last :cite:p:`kendiukhov2026`. Grey: the draws as stored. The bars below lead
    from chance to the mean of the null (what degrees explain), and on to the observed AUROC (what is left), which is
    the large marker. Beside the axes stand z and p; where the chains have not mixed, or there is another reason for
    having no p, its status.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.degree_null` stores it.
    key
        Where the result is stored in ``adata.uns``.
    null
        Which null is shown: ``degree``, ``label_shuffle`` or ``row_only``.
    statistic
        ``pooled``, or the mean over regulators, ``per_regulator``.
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
        If there is no such result.
    ValueError
        If there is no such null or statistic.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> truth = sps.get.edges(adata, "regulation")
    >>> sps.tl.degree_null(adata, truth[truth["weight"] != 0], edges="spearman", n_null=50, n_label=50)
    >>> ax = sps.pl.degree_null(adata)
    """
    require_choice(null, get_args(Null), argument="null")
    require_choice(statistic, get_args(Statistic), argument="statistic")
    data = resolve(adata, mod)
    overall = read_frame(data, key, "summary", maker=MAKER)
    drawn = read_frame(data, key, "draws", maker=MAKER)
    rows = overall[(overall["null"] == null) & (overall["statistic"] == statistic)].reset_index(drop=True)
    draws = drawn[drawn["null"] == null]
    axes = axes_or_new(ax, width=7.0, height=rows_height(len(rows), row=0.75))
    for y, (_, row) in enumerate(rows.iterrows()):
        _row(axes, float(y), row, draws.loc[draws["edges"] == row["edges"], statistic].to_numpy(dtype=float))
    _finish(axes, rows, null)
    return axes


def _row(ax: Axes, y: float, row: pd.Series[Any], values: FloatArray) -> None:
    beside = ax.get_yaxis_transform()
    values = values[np.isfinite(values)]
    if not np.isfinite(row["observed"]):
        status = words(row["status"])
        ax.text(0.01, y, status, transform=beside, color=FAINT, fontsize=SMALL, va="center", style="italic")
        ax.text(1.02, y, "–", transform=beside, color=FAINT, fontsize=SMALL, va="center")
        return
    if len(values) and np.ptp(values) > 0:
        counts, edges = np.histogram(values, bins=min(N_BINS, max(5, len(values) // 10)))
        ax.stairs(y - 0.55 * counts / counts.max(), edges, baseline=y, fill=True, color=MISSING, zorder=2)
        ax.stairs(y - 0.55 * counts / counts.max(), edges, baseline=y, color=FAINT, linewidth=0.8, zorder=2)
    upper, lower = y + 0.08, y + 0.2  # two lanes: the second part may lead back over the first
    if np.isfinite(row["null_mean"]):
        for lane, start, stop, colour in (
            (upper, row["chance"], row["null_mean"], DEGREE),
            (lower, row["null_mean"], row["observed"], RESIDUAL),
        ):
            ax.plot([start, stop], [lane, lane], color=colour, linewidth=5, solid_capstyle="butt", zorder=3)
    kind = "edges" if row["kind"] == "edges" else "baseline"
    ax.plot(
        [row["observed"]],
        [lower],
        linestyle="none",
        marker=look(kind).marker,
        markersize=9,
        color=INK if kind == "edges" else "white",
        markeredgecolor=INK,
        zorder=4,
    )
    ax.text(1.02, y, _beside(row), transform=beside, color=INK, fontsize=SMALL, va="center")


def _beside(row: pd.Series[Any]) -> str:
    """z, and p or the reason for which there is none."""
    z = f"z = {row['z']:.1f}" if np.isfinite(row["z"]) else "no z"
    if np.isfinite(row["p_value"]):
        p = f"p = {row['p_value']:.2g}"
        return f"{z}, {p}" if row["status"] == "ok" else f"{z}, {p}\n({str(row['status']).replace('_', ' ')})"
    return f"{z}\n({str(row['status']).replace('_', ' ')})"


def _finish(ax: Axes, rows: pd.DataFrame, null: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    chance = ax.axvline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1, label="chance")
    ax.set_yticks(np.arange(len(rows)), [str(name) for name in rows["edges"]])
    ax.set_ylim(max(len(rows), 1) - 0.55, -0.75)
    ax.set_xlabel("AUROC of listed pairs against others")
    ax.tick_params(axis="y", length=0)
    bare(ax)
    handles = [
        Patch(facecolor=MISSING, edgecolor=FAINT, label="networks drawn at random"),
        Line2D([], [], color=DEGREE, linewidth=5, solid_capstyle="butt", label=f"chance to null ({LABELS[null]})"),
        Line2D([], [], color=RESIDUAL, linewidth=5, solid_capstyle="butt", label="null to observed"),
    ]
    for kind, label, face in (("edges", "observed, edges", INK), ("model_free", "observed, model-free", "white")):
        if (rows["kind"] == kind).any():
            marker = look("edges" if kind == "edges" else "baseline").marker
            handles.append(
                Line2D([], [], linestyle="none", marker=marker, color=face, markeredgecolor=INK, label=label)
            )
    ax.legend(
        handles=[*handles, chance],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3,
        frameon=False,
        fontsize=SMALL,
        handletextpad=0.5,
        columnspacing=1.2,
    )
