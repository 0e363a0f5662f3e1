"""AUROC of edges and of what is left of them, with the share of it that has to be left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing
from scepsis.pl._confounds._learners import learner_look
from scepsis.pl._style import FAINT, INK, SMALL, Look, axes_or_new, bare, line_handle, marker_handle, rows_height

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.residualize_edges(adata, edges=..., reference=network)"
RAW = Look(INK, "s", "edges")
#: Share of what is above chance that has to be left.
KEPT = 0.8
#: Rows between two sets of edges.
GAP = 0.7


def residualize_edges(
    adata: Data,
    *,
    key: str = "residualize_edges",
    edges: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw the AUROC of edges and of their residuals against a network :cite:p:`kendiukhov2026`.

    For each set of edges one row for the edges themselves and one for each residualizer. Markers are AUROCs of all
    pairs in one ranking, bars 95 % intervals clustered by regulator and gene. The dashed line in the rows of residuals
    is where 80 % of what the edges are above chance is left. Hollow markers are residuals from folds of pairs, in which
    models know the genes. Beside the axes stands the share that is left, with its interval over regulators; ``–``
    where edges are hardly above chance.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.residualize_edges` stores it with a reference.
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
        If there is no such result, it was made without a reference, or has no such edges.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.residualize_edges(adata, edges="spearman", reference=network, residualizers=["ols", "node"], n_seeds=1)
    >>> ax = sps.pl.residualize_edges(adata)
    """
    frame = read_frame(resolve(adata, mod), key, "summary", maker=MAKER)
    blocks = _blocks(frame, edges, key)
    heights = [1 + len(_residuals(block)) for block in blocks.values()]
    n_rows = sum(heights) + int(np.ceil(GAP * len(heights)))
    axes = axes_or_new(ax, width=7.5, height=rows_height(n_rows))
    ticks: list[tuple[float, str]] = []
    top = 0.0
    for name, block in blocks.items():
        top = _block(axes, name, block, top, ticks) + GAP
    _finish(axes, ticks, frame, bottom=top)
    return axes


def _blocks(frame: pd.DataFrame, edges: str | Sequence[str] | None, key: str) -> dict[str, pd.DataFrame]:
    """Rows of magnitudes, by set of edges."""
    shown = frame[frame["variant"] == "magnitude"]
    known = list(dict.fromkeys(shown["edges"].astype(str)))
    wanted = known if edges is None else [edges] if isinstance(edges, str) else list(edges)
    if unknown := [name for name in wanted if name not in known]:
        msg = f"`edges` names {listing(unknown)}; the result has: {listing(known, limit=20)}."
        raise KeyError(msg)
    if (shown["status"] == "not_run").all():
        msg = f"`adata.uns[{key!r}]` was made without a reference, so there is nothing to draw. Call `{MAKER}`."
        raise KeyError(msg)
    return {name: shown[shown["edges"] == name] for name in wanted}


def _residuals(block: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(block["residualizer"].astype(str)))


def _block(ax: Axes, name: str, block: pd.DataFrame, top: float, ticks: list[tuple[float, str]]) -> float:
    """Rows of one set of edges from height `top` down; return the height of the next."""
    beside = ax.get_yaxis_transform()
    first = block.iloc[0]
    raw = float(first["auroc_raw"])
    ticks.append((top, name))
    if np.isfinite(raw):
        _point(ax, raw, (first["raw_low"], first["raw_high"]), top, RAW)
        ax.text(1.02, top, f"{raw:.2f}", transform=beside, color=INK, fontsize=SMALL, va="center")
    else:
        _told(ax, top, str(first["status"]))
    y = top
    names = _residuals(block)
    for residualizer in names:
        y += 1
        rows = block[block["residualizer"] == residualizer]
        ticks.append((y, learner_look(residualizer).label))
        for _, row in rows[rows["split"] == "pair"].iterrows():
            ax.plot(
                [row["auroc"]], [y + 0.22], linestyle="none", marker=learner_look(residualizer).marker, markersize=4.5,
                markerfacecolor="none", color=learner_look(residualizer).colour, zorder=3,
            )  # fmt: skip
        stored = rows[rows["split"] != "pair"].iloc[0]
        if not np.isfinite(stored["auroc"]):
            _told(ax, y, str(stored["status"]))
            continue
        _point(ax, stored["auroc"], (stored["ci_low"], stored["ci_high"]), y, learner_look(residualizer))
        ax.text(1.02, y, _share(stored), transform=beside, color=INK, fontsize=SMALL, va="center")
    if np.isfinite(first["retention"]):
        ax.plot([0.5 + KEPT * (raw - 0.5)] * 2, [top + 0.55, y + 0.45], color=INK, linestyle=(0, (4, 2)), linewidth=1.2)
    return y + 1


def _point(ax: Axes, value: float, ends: tuple[float, float], y: float, appearance: Look) -> None:
    if np.isfinite(ends).all():
        ax.plot(ends, [y, y], color=appearance.colour, linewidth=2, solid_capstyle="butt", alpha=0.6, zorder=2)
    ax.plot(
        [value], [y], linestyle="none", marker=appearance.marker, color=appearance.colour, markersize=8,
        markeredgecolor="white", markeredgewidth=1, zorder=4,
    )  # fmt: skip


def _told(ax: Axes, y: float, status: str) -> None:
    text = words(status)
    ax.text(0.01, y, text, transform=ax.get_yaxis_transform(), color=FAINT, fontsize=SMALL, va="center", style="italic")


def _share(row: pd.Series[Any]) -> str:
    if not np.isfinite(row["retention"]):
        return f"{row['auroc']:.2f}   –"
    ends = (row["retention_low"], row["retention_high"])
    within = f" ({100 * ends[0]:.0f} to {100 * ends[1]:.0f})" if np.isfinite(ends).all() else ""
    return f"{row['auroc']:.2f}   {100 * row['retention']:.0f} %{within}"


def _finish(ax: Axes, ticks: list[tuple[float, str]], frame: pd.DataFrame, *, bottom: float) -> None:
    chance = ax.axvline(0.5, color=FAINT, linestyle=":", linewidth=1.2, zorder=1, label="chance")
    ax.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
    learned = {learner_look(name).label for name in frame["residualizer"].astype(str)}
    for label, (_, name) in zip(ax.get_yticklabels(), ticks, strict=True):
        label.set_fontweight("normal" if name in learned else "bold")
    ax.set_ylim(bottom - GAP, -0.8)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("AUROC of listed pairs against others")
    ax.text(1.02, -0.8, "AUROC, share kept", transform=ax.get_yaxis_transform(), color=INK, fontsize=SMALL, va="center")
    bare(ax)
    kept = line_handle("80 % kept", linewidth=1.2)
    kept.set_linestyle((0, (4, 2)))
    handles = [marker_handle(RAW), *(marker_handle(learner_look(name)) for name in _residuals(frame)), kept, chance]
    if (frame["split"] == "pair").any():
        hollow = marker_handle(Look(INK, "o", "from folds of pairs"))
        hollow.set_markerfacecolor("none")
        hollow.set_markersize(4.5)
        handles.append(hollow)
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=4, frameon=False, fontsize=SMALL,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
