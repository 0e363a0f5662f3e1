"""AUROC of every model on a reference, beside that of its twin with random weights and of gene features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from scepsis._core._keys import EdgeKeys
from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_choice
from scepsis.pl._style import FAINT, INK, KINDS, SMALL, axes_or_new, bare, line_handle, marker_handle, rows_height

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

Statistic = Literal["pooled", "per_regulator"]
#: What is drawn, on the axis.
SCALES: dict[Statistic, str] = {
    "pooled": "AUROC of listed pairs (all pairs)",
    "per_regulator": "AUROC of listed pairs (mean over regulators)",
}
MAKER = "scepsis.tl.compare_models(adata, models, reference)"
#: How far below a model its twin is drawn.
BELOW = 0.28


def compare_models(
    adata: Data,
    *,
    key: str = "compare_models",
    statistic: Statistic = "pooled",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw what each model reaches on the reference, with what its architecture reaches untrained.

    One row for each model or other set of edges: AUROC of listed pairs with the 95 % interval clustered by regulator
    and target; just below it the same model with random weights; last the features of the target alone. Beside the
    axes stands the AUROC, and why it has no interval, or why there is none :cite:p:`kendiukhov2026`.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.compare_models` stores it.
    key
        Where the result is stored in ``adata.uns``.
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
        If there is no such statistic.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.baseline_edges(adata, method="ridge")
    >>> truth = sps.get.edges(adata, "regulation")
    >>> models = {"correlation": "spearman", "ridge": "ridge"}
    >>> sps.tl.compare_models(adata, models, truth[truth["weight"] != 0], n_boot=100)
    >>> ax = sps.pl.compare_models(adata)
    """
    require_choice(statistic, get_args(Statistic), argument="statistic")
    data = resolve(adata, mod)
    found = read_frame(data, key, "summary", maker=MAKER)
    found = found[found["statistic"] == statistic].set_index("predictor")
    main = found[found["kind"] != "control"]
    twins = found[found["kind"] == "control"]
    axes = axes_or_new(ax, width=6.6, height=rows_height(len(main), row=0.42))
    for y, (name, row) in enumerate(main.iterrows()):
        _point(axes, row, y, size=8)
        for _, twin in twins[twins.index == EdgeKeys(str(name)).randomized].iterrows():
            _point(axes, twin, y + BELOW, size=6)
    bare(axes)
    axes.set_yticks(range(len(main)), [words(name) for name in main.index], fontsize=SMALL + 1)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(main) - 0.4, -0.6)
    axes.axvline(0.5, color=FAINT, linewidth=1, linestyle=":", zorder=0)
    axes.set_xlabel(SCALES[statistic])
    kinds = [kind for kind in ("edges", "control", "baseline") if kind in set(found["kind"])]
    handles = [marker_handle(KINDS[kind]) for kind in kinds]
    if found["ci_low"].notna().any():
        handles.append(line_handle("95 % interval", linewidth=1.6))
    axes.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles), frameon=False,
        fontsize=SMALL, handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
    return axes


def _point(ax: Axes, row: pd.Series[Any], y: float, *, size: float) -> None:
    appearance = KINDS[str(row["kind"])]
    beside = ax.get_yaxis_transform()
    if not np.isfinite(row["auroc"]):
        ax.text(1.02, y, words(row["status"]), transform=beside, color=FAINT, fontsize=SMALL, va="center")
        return
    ends = [row["ci_low"], row["ci_high"]]
    if np.isfinite(ends).all():
        ax.plot(ends, [y, y], color=INK if row["kind"] != "control" else FAINT, linewidth=1.6, zorder=2)
    ax.plot(
        [row["auroc"]], [y], linestyle="none", marker=appearance.marker, markersize=size, color=appearance.colour,
        markeredgecolor="white", zorder=3,
    )  # fmt: skip
    if row["kind"] != "control":
        short = "" if row["status"] == "ok" else f"  {str(row['status']).replace('_', ' ')}"
        ax.text(1.02, y, f"{row['auroc']:.3f}{short}", transform=beside, color=INK, fontsize=SMALL, va="center")
