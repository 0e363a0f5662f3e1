"""Forest plot of what contexts found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._results import read_frame
from scepsis._core._validate import listing
from scepsis.pl._style import FAINT, INK, KINDS, SMALL, axes_or_new, bare, hollow_handle, rows_height

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from mudata import MuData

MAKER = "scepsis.tl.cross_context(mdata, edges=...)"
COLOUR, MEAN = KINDS["edges"].colour, KINDS["baseline"].colour
RING: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": MEAN, "markeredgewidth": 1.5}
#: What is shown where nothing is named: edges against what single genes say, and against correlation.
NAMES = ("vs_spearman", "vs_variance", "vs_mean", "vs_detection_rate")


def cross_context(
    mdata: MuData,
    *,
    edges: str | None = None,
    names: Sequence[str] = NAMES,
    reference: str = "",
    key: str = "cross_context",
    ax: Axes | None = None,
) -> Axes:
    """
    Draw what every context found, and the mean over contexts, as a forest plot :cite:p:`kendiukhov2026`.

    One block for each test, one row for each context: estimate and 95 % interval, hollow where a context is
    underpowered or was not pooled for another reason. The diamond is the mean of the random-effects model with its
    interval (of three contexts often wider than the axes); the thin line is where a further one would be expected.
    Beside the axes stand the units of every context, and the share of heterogeneity with its p-value. A ring marks a
    context that deviates from the others.

    Parameters
    ----------
    mdata
        Data with ``mdata.uns[key]``, as `scepsis.tl.cross_context` stores it.
    edges
        Set of edges; None takes the first.
    names
        Tests to show, of one kind of effect; those that were not made are passed over.
    reference
        Reference that the tests are against; ``""`` for tests against labels.
    key
        Where the result is stored in ``mdata.uns``.
    ax
        Axes to draw into; None makes a figure that is high enough for all rows.

    Returns
    -------
    The axes drawn into. Nothing is stored.

    Raises
    ------
    KeyError
        If there is no such result.
    ValueError
        If no such test was made of these edges, or the tests have effects of different kinds.

    Examples
    --------
    >>> import mudata
    >>> import scepsis as sps
    >>> small = {"n_genes": 200, "n_regulators": 20, "n_other": 0, "n_controls": 300, "cells_per_perturbation": 80}
    >>> lines = {f"line {seed}": sps.datasets.simulate_screen(**small, rng=seed) for seed in (1, 2, 3)}
    >>> with mudata.set_options(pull_on_update=False):
    ...     mdata = mudata.MuData(lines, axis=1)
    >>> steps = ["incremental_value", "matched_evaluation", "explain_edges", "residualize_edges"]
    >>> sps.tl.cross_context(mdata, edges="spearman", n_boot=100, skip=steps, show_progress_bar=False)
    >>> ax = sps.pl.cross_context(mdata)
    """
    found = read_frame(mdata, key, "estimates", maker=MAKER)
    means = read_frame(mdata, key, "summary", maker=MAKER)
    wanted = [names] if isinstance(names, str) else list(names)
    chosen = str(found["edges"].iloc[0]) if edges is None else edges
    found = found.assign(deviates=found["deviates"].fillna(value=False).astype(bool))
    found, means = (
        frame[(frame["edges"] == chosen) & (frame["reference"] == reference) & frame["name"].isin(wanted)]
        for frame in (found, means)
    )
    if found.empty:
        msg = f"`mdata.uns[{key!r}]` has no test {listing(wanted)} of the edges {chosen!r} (reference {reference!r})."
        raise ValueError(msg)
    kinds = list(dict.fromkeys(found["effect_type"]))
    if len(kinds) > 1:
        msg = f"`names` mixes effects that have no common axis: {listing(kinds)}. Draw one kind at a time."
        raise ValueError(msg)
    blocks = [name for name in wanted if name in set(found["name"])]
    n_rows = len(found) + 2 * len(blocks)
    axes = axes_or_new(ax, width=7.6, height=rows_height(n_rows, row=0.26))
    labels: list[tuple[float, str, bool]] = []
    y = 0.0
    for name in blocks:
        rows = found[found["name"] == name]
        labels.append((y, _words(name), True))
        for offset, (_, row) in enumerate(rows.iterrows(), start=1):
            _context(axes, row, y + offset)
            labels.append((y + offset, str(row["context"]), False))
        y += len(rows) + 1
        _mean(axes, means[means["name"] == name].iloc[0], y)
        labels.append((y, "mean", False))
        y += 1.6
    _finish(axes, labels, kinds[0], chosen, found)
    return axes


def _words(name: str) -> str:
    return name.replace("vs_", "against ").replace("_", " ")


def _context(ax: Axes, row: pd.Series[Any], y: float) -> None:
    beside = ax.get_yaxis_transform()
    pooled = bool(row["pooled"])
    ends = [row["ci_low"], row["ci_high"]]
    if np.isfinite(ends).all():
        ax.plot(ends, [y, y], color=INK if pooled else FAINT, linewidth=1.4, solid_capstyle="butt", zorder=2)
    if np.isfinite(row["effect_size"]):
        face = COLOUR if pooled else "white"
        ax.plot([row["effect_size"]], [y], "o", markersize=6, color=COLOUR, markerfacecolor=face, zorder=3)
        if row["deviates"]:
            ax.plot([row["effect_size"]], [y], "o", markersize=12, zorder=2, **RING)
    status = "" if row["status"] == "ok" else f"  {str(row['status']).replace('_', ' ')}"
    ax.text(1.02, y, f"n = {row['n_units']:,}{status}", transform=beside, color=INK if pooled else FAINT,
            fontsize=SMALL, va="center")  # fmt: skip


def _mean(ax: Axes, row: pd.Series[Any], y: float) -> None:
    beside = ax.get_yaxis_transform()
    if not np.isfinite(row["mean"]):
        ax.text(1.02, y, "fewer than 2 pooled", transform=beside, color=FAINT, fontsize=SMALL, va="center")
        return
    low, high = float(row["ci_low"]), float(row["ci_high"])
    further = [row["prediction_low"], row["prediction_high"]]
    if np.isfinite(further).all():
        ax.plot(further, [y, y], color=MEAN, linewidth=0.9, zorder=1)
    ax.plot([low, high], [y, y], color=MEAN, linewidth=2.4, solid_capstyle="butt", zorder=2)
    ax.plot([row["mean"]], [y], "D", markersize=7, color=MEAN, markeredgecolor="white", zorder=3)
    p = float(row["p_heterogeneity"])
    text = f"I² = {row['i2']:.0%}, p = {p:.2g}" if p >= 1e-4 else f"I² = {row['i2']:.0%}, p < 0.0001"
    ax.text(1.02, y, text, transform=beside, color=INK, fontsize=SMALL, va="center")


def _finish(ax: Axes, labels: list[tuple[float, str, bool]], kind: str, edges: str, found: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    bare(ax)
    ax.set_yticks([y for y, _, _ in labels], [text for _, text, _ in labels], fontsize=SMALL)
    for tick, (_, _, heading) in zip(ax.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if heading else "normal")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(max(y for y, _, _ in labels) + 0.8, -0.8)
    ax.axvline(0.5 if kind == "AUROC" else 0.0, color=FAINT, linewidth=1, linestyle=":", zorder=0)
    ends = found[["effect_size", "ci_low", "ci_high"]].to_numpy(dtype=float)
    ends = ends[np.isfinite(ends)]
    if len(ends):  # the interval of a mean of three can be many times wider than all that was seen
        span = max(float(ends.max() - ends.min()), 0.05)
        ax.set_xlim(float(ends.min()) - 0.15 * span, float(ends.max()) + 0.15 * span)
    ax.set_xlabel(f"{edges}: {kind}")
    handles = [
        Line2D([], [], marker="o", color=INK, markerfacecolor=COLOUR, markeredgecolor=COLOUR, label="context, 95 %"),
        Line2D([], [], marker="D", color=MEAN, linewidth=2.4, label="mean, 95 %; thin: a further context"),
    ]
    if not found["pooled"].all():
        handles.insert(1, hollow_handle("not in the mean"))
    if found["deviates"].any():
        handles.append(
            Line2D([], [], marker="o", linestyle="none", markersize=10, label="deviates from the others", **RING)
        )
    ax.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=SMALL,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip
