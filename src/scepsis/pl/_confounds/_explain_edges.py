"""Share of the variance of edges that features of single genes explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._names import words
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing
from scepsis.pl._confounds._learners import learner_look
from scepsis.pl._style import FAINT, INK, SMALL, axes_or_new, bare, rows_height

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data

MAKER = "scepsis.tl.explain_edges(adata)"
WIDTH = 0.38
#: Rows between two sets of edges.
GAP = 0.6


def explain_edges(
    adata: Data,
    *,
    key: str = "explain_edges",
    edges: str | Sequence[str] | None = None,
    target: str = "value",
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw how much of edges gene features and node effects explain :cite:p:`kendiukhov2026`.

    Bars are shares of the variance out of fold: filled where models have seen neither gene of a pair (of node effects,
    not the pair), pale from folds of pairs. The tick beyond a bar is the share among the pairs that models learned
    from. A share below 0, worse than the mean, is drawn as it is.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]``, as `scepsis.tl.explain_edges` stores it.
    key
        Where the result is stored in ``adata.uns``.
    edges
        Sets of edges to show; None shows all.
    target
        What is explained: ``value``, ``rank``, ``signed`` or ``signed_rank``.
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
        If there is no such result, or no such edges or target in it.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.tl.explain_edges(adata, edges="spearman", learners=["ols", "node"])
    >>> ax = sps.pl.explain_edges(adata)
    """
    frame = read_frame(resolve(adata, mod), key, "r2", maker=MAKER)
    shown = _shown(frame, edges, target)
    names = list(dict.fromkeys(shown["edges"].astype(str)))
    learners = list(dict.fromkeys(shown["learner"].astype(str)))
    axes = axes_or_new(ax, width=6.5, height=rows_height(len(names) * (len(learners) + 1)))
    ticks: list[tuple[float, str]] = []
    top = 0.0
    for name in names:
        ticks.append((top, name))
        for step, learner in enumerate(learners, start=1):
            rows = shown[(shown["edges"] == name) & (shown["learner"] == learner)]
            ticks.append((top + step, learner_look(learner).label))
            _bars(axes, rows, learner, top + step)
        top += len(learners) + 1 + GAP
    _finish(axes, ticks, shown, target, bottom=top - GAP)
    return axes


def _shown(frame: pd.DataFrame, edges: str | Sequence[str] | None, target: str) -> pd.DataFrame:
    shown = frame[frame["target"] == target]
    if shown.empty:
        msg = (
            f"`target={target!r}` is not in the result; it has: {listing(dict.fromkeys(frame['target'].astype(str)))}."
        )
        raise KeyError(msg)
    known = list(dict.fromkeys(shown["edges"].astype(str)))
    wanted = known if edges is None else [edges] if isinstance(edges, str) else list(edges)
    if unknown := [name for name in wanted if name not in known]:
        msg = f"`edges` names {listing(unknown)}; the result has, for {target!r}: {listing(known, limit=20)}."
        raise KeyError(msg)
    return shown[shown["edges"].isin(wanted)]


def _bars(ax: Axes, rows: pd.DataFrame, learner: str, y: float) -> None:
    colour = learner_look(learner).colour
    offsets = [0.0] if len(rows) == 1 else [-WIDTH / 2, WIDTH / 2]
    for offset, (_, row) in zip(offsets, rows.iterrows(), strict=False):
        if not np.isfinite(row["r2"]):
            text = words(row["status"])
            beside = ax.get_yaxis_transform()
            ax.text(0.01, y, text, transform=beside, color=FAINT, fontsize=SMALL, va="center", style="italic")
            return
        pale = row["split"] == "pair"
        ax.barh(y + offset, row["r2"], height=WIDTH, color=colour, alpha=0.4 if pale else 1.0)
        ax.plot([row["r2_train"]] * 2, [y + offset - WIDTH / 2, y + offset + WIDTH / 2], color=INK, linewidth=1.2)
        place = max(row["r2"], row["r2_train"], 0) if np.isfinite(row["r2_train"]) else max(row["r2"], 0)
        ax.annotate(
            f"{row['r2']:.2f}", (place, y + offset), xytext=(4, 0), textcoords="offset points", fontsize=SMALL - 1,
            va="center", color=INK,
        )  # fmt: skip


def _finish(ax: Axes, ticks: list[tuple[float, str]], shown: pd.DataFrame, target: str, *, bottom: float) -> None:
    from matplotlib.patches import Patch

    learned = {learner_look(name).label for name in shown["learner"].astype(str)}
    ax.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
    for label, (_, name) in zip(ax.get_yticklabels(), ticks, strict=True):
        label.set_fontweight("normal" if name in learned else "bold")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(bottom - 0.3, -0.6)
    ax.axvline(0, color=INK, linewidth=0.8)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, 0), max(high * 1.08, 0.1))
    what = {
        "value": "edges",
        "rank": "ranks of edges",
        "signed": "signed edges",
        "signed_rank": "ranks of signed edges",
    }
    ax.set_xlabel(f"share of the variance of {what.get(target, target)} explained (R²)")
    bare(ax)
    handles: list[object] = [Patch(color=FAINT, label="neither gene seen (node effects: not the pair)")]
    if (shown["split"] == "pair").any():
        handles.append(Patch(color=FAINT, alpha=0.4, label="folds of pairs"))
    tick = ax.plot([], [], color=INK, linewidth=0, marker="|", markersize=9, label="pairs learned from")[0]
    ax.legend(
        handles=[*handles, tick], loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, frameon=False, fontsize=SMALL,
        handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
