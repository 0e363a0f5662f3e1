"""What edges add to gene features, by split and learner, beside what a placebo adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._numbers import signed
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing, require_choice
from scepsis.pl._style import FAINT, INK, SMALL, Look, axes_or_new, bare, hollow_handle, line_handle, marker_handle

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.incremental_value(adata, edges=...)"
#: Colours and markers of sets of edges (Okabe and Ito), taken in turn.
EDGES = tuple(
    Look(colour, marker, "")
    for colour, marker in (
        ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"),
        ("#6E6E6E", "X"),
    )
)  # fmt: skip
SPLITS = {"perturbation": "new perturbations", "gene": "new targets", "joint": "both new"}
#: Height of a row, of its second line (against the placebo), and of the space between groups.
ROW, LOWER, GAP = 1.0, 0.34, 0.7


def incremental_value(
    adata: Data,
    *,
    metric: str = "auroc",
    key: str = "incremental_value",
    edges: Sequence[str] | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw what edges add to gene features in predicting responders :cite:p:`kendiukhov2026`.

    One group of rows per split and learner, one row per set of edges, with two lines: above, the gain over gene
    features alone with its registered 95 % interval; below, thinner and marked by a bar, the gain over the placebo,
    the same edges permuted within perturbations. The one that decides (gene features for the logistic learner, the
    placebo for trees) is drawn strong, the other pale. The band is the margin within which a gain counts as none.
    Hollow markers are saturated (gene features alone reach the ceiling), and a row without numbers shows its status.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.incremental_value` stores it.
    metric
        One of the metrics of the result.
    key
        Where the result is stored in ``adata.uns``.
    edges
        Names of sets of edges to show; None shows all.
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
        If there is no such result, or no such set of edges in it.
    ValueError
        If the result has no such metric.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.incremental_value(adata, edges="spearman", splits="perturbation", learners="logistic", metrics=["auroc"])
    >>> ax = sps.pl.incremental_value(adata)
    """
    gains = read_frame(resolve(adata, mod), key, "gains", maker=MAKER)
    known = list(dict.fromkeys(gains["metric"].astype(str)))
    require_choice(metric, known, argument="metric")
    names = list(dict.fromkeys(gains["edges"].astype(str)))
    if edges is not None:
        if unknown := [name for name in edges if name not in names]:
            msg = f"`edges` names {listing(unknown)}; the result has: {listing(names, limit=20)}."
            raise KeyError(msg)
        names = [name for name in names if name in edges]
    rows = gains[(gains["metric"] == metric) & gains["edges"].isin(names)]
    heights, labels = _heights(rows, names)
    axes = axes_or_new(ax, width=7.2, height=1.5 + 0.3 * len(rows) + 0.25 * len(labels))
    margin = float(rows["margin"].iloc[0])
    axes.axvspan(-margin, margin, color=FAINT, alpha=0.18, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for (_, row), y in zip(rows.iterrows(), heights, strict=True):
        _draw(axes, row, y, EDGES[names.index(str(row["edges"])) % len(EDGES)])
    _finish(axes, rows, names, labels, top=min(heights) - 0.8, bottom=max(heights) + LOWER + 0.7)
    return axes


def _heights(rows: pd.DataFrame, names: list[str]) -> tuple[list[float], dict[str, float]]:
    """Height of every row, and that of the label of every group."""
    groups = list(dict.fromkeys(zip(rows["split"], rows["learner"], strict=True)))
    size = ROW * len(names) + GAP
    heights = [
        groups.index((row["split"], row["learner"])) * size + names.index(str(row["edges"])) * ROW
        for _, row in rows.iterrows()
    ]
    middle = (len(names) - 1) * ROW / 2 + LOWER / 2
    return heights, {
        f"{SPLITS.get(split, split)}\n{learner}": index * size + middle for index, (split, learner) in enumerate(groups)
    }


def _draw(ax: Axes, row: pd.Series[Any], y: float, appearance: Look) -> None:
    """Both gains of one row as stored, or its status."""
    beside = ax.get_yaxis_transform()
    if not np.isfinite(row["gain"]):
        status = words(row["status"])
        ax.text(0.01, y, status, transform=beside, color=FAINT, fontsize=SMALL, va="center", style="italic")
        ax.text(1.02, y, "–", transform=beside, color=FAINT, fontsize=SMALL, va="center")
        return
    for what, gain, prefix, height, marker in (
        ("gene_only", "gain", "ci", y, appearance.marker),
        ("placebo", "gain_placebo", "placebo", y + LOWER, "|"),
    ):
        decides = row["decided_by"] == what
        ends = [row[f"{prefix}_low"], row[f"{prefix}_high"]]
        colour, alpha = appearance.colour, 1.0 if decides else 0.45
        if np.isfinite(ends).all():
            ax.plot(ends, [height] * 2, color=colour, alpha=alpha, linewidth=2.2 if decides else 1.4, zorder=2)
        ax.plot(
            [row[gain]],
            [height],
            linestyle="none",
            marker=marker,
            markersize=8 if what == "gene_only" else 9,
            markerfacecolor="white" if row["saturated"] else colour,
            markeredgecolor=colour,
            markeredgewidth=1.2 if what == "gene_only" else 2,
            alpha=None if row["saturated"] else alpha,
            zorder=3,
        )
    deciding = row["gain"] if row["decided_by"] == "gene_only" else row["gain_placebo"]
    ax.text(1.02, y + LOWER / 2, signed(deciding), transform=beside, color=INK, fontsize=SMALL, va="center")


def _finish(
    ax: Axes, rows: pd.DataFrame, names: list[str], labels: dict[str, float], *, top: float, bottom: float
) -> None:
    ax.set_yticks(list(labels.values()), list(labels))
    ax.set_ylim(bottom, top)
    metric = str(rows["metric"].iloc[0])
    shown = {"auroc": "AUROC", "auprc": "average precision"}.get(metric, metric.replace("@", " at "))
    ax.set_xlabel(f"gain in {shown} when the edge is known")
    ax.text(1.02, top, "gain", transform=ax.get_yaxis_transform(), color=INK, fontsize=SMALL, va="center")
    ax.tick_params(axis="y", length=0, labelsize=SMALL)
    bare(ax)
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [marker_handle(EDGES[index % len(EDGES)], name) for index, name in enumerate(names)]
    bar = Line2D([], [], color=INK, linestyle="none", marker="|", markersize=9, markeredgewidth=2)
    bar.set_label("against the placebo")
    handles += [bar, line_handle("95 % interval", linewidth=2)]
    if rows["saturated"].any():
        handles.append(hollow_handle("saturated"))
    band = Patch(color=FAINT, alpha=0.18, label="margin")
    ax.legend(
        handles=[*handles, band],
        loc="lower center",
        bbox_to_anchor=(0.45, 1.0),
        ncols=4,
        frameon=False,
        fontsize=SMALL,
        handletextpad=0.4,
        columnspacing=1.2,
    )
