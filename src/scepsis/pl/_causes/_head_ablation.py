"""What interventions cost, beside whether they could have cost anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._keys import HEAD_ABLATION
from scepsis._core._numbers import decimal, p_value, plural
from scepsis._core._resolve import resolve
from scepsis._core._results import read_result
from scepsis._core._validate import listing
from scepsis.pl._style import FAINT, INK, KINDS, MISSING, SMALL, Look, axes_or_new, bare, jitter, rows_height

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data, FloatArray

MAKER = "scepsis.tl.ablate_heads(adata, model)"
LOOKS = {
    "heads": Look(KINDS["edges"].colour, "o", "heads taken out"),
    "uniform": Look(KINDS["scale"].colour, "s", "heads made uniform"),
    "mean": Look("#CC79A7", "P", "heads set to their mean"),
    "layer": Look(KINDS["signed"].colour, "^", "all heads of a layer"),
    "mlp": Look(KINDS["baseline"].colour, "D", "MLPs taken out"),
    "given": Look(KINDS["control"].colour, "v", "other"),
}


def head_ablation(
    adata: Data,
    *,
    readout: str | None = None,
    key: str = HEAD_ABLATION,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw what each intervention does to the AUROC of one readout :cite:p:`kendiukhov2026`.

    Markers are mean differences with their two-way 95 % intervals; below 0 the readout ranks responders worse than
    without the intervention. Filled ones are evidence, hollow ones are not: hidden states did not move enough. Grey
    rows cannot reach the readout, and their 0 says nothing. Dots above a marker are random sets of heads. The band is
    the margin within which a difference counts as none. Numbers are p-values and how far hidden states moved at most.
    What does not exist in the model is left out, and counted.

    Parameters
    ----------
    adata
        Data with a result of `scepsis.tl.ablate_heads`.
    readout
        Readout to draw; the first that was asked for when not given.
    key
        Name of the result.
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
        There is no such result, or no such readout in it.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.select_cells(adata, n_cells=60)
    >>> sps.tl.perturbation_effects(adata, n_null_splits=1, show_progress_bar=False)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.rank_heads(adata, model, reference=network, show_progress_bar=False)
    >>> ask = {"n_random": 4, "n_cells": 20, "n_fidelity": 4, "show_progress_bar": False}
    >>> sps.tl.ablate_heads(adata, model, conditions=["top_1", "mlp_1"], readouts="last", **ask)
    >>> ax = sps.pl.head_ablation(adata)
    """
    entry = read_result(resolve(adata, mod), key, maker=MAKER)
    table: pd.DataFrame = entry["results"]
    known = list(dict.fromkeys(table["readout"]))
    chosen = known[0] if readout is None and known else readout
    if chosen not in known:
        msg = f"`adata.uns[{key!r}]` has no readout {readout!r}; there are: {listing(known)}."
        raise KeyError(msg)
    own = table[table["readout"] == chosen]
    drawn = own[own["status"] != "not_applicable"].reset_index(drop=True)
    axes = axes_or_new(ax, width=7.6, height=rows_height(len(drawn), row=0.34, margin=1.9))
    margin = float(own["margin"].iloc[0]) if len(own) else 0.0
    axes.axvspan(-margin, margin, color=MISSING, alpha=0.45, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    _draws(axes, drawn, entry["null"], str(chosen))
    for y, row in drawn.iterrows():
        _row(axes, float(str(y)), row)
    _dress(axes, drawn, str(chosen), n_left_out=len(own) - len(drawn))
    return axes


def _row(ax: Axes, y: float, row: pd.Series[Any]) -> None:
    look = LOOKS.get(str(row["kind"]), LOOKS["given"])
    if row["status"] in {"structurally_null", "not_applied"}:
        ax.axhspan(y - 0.5, y + 0.5, color=FAINT, alpha=0.16, linewidth=0, zorder=0)
        ax.plot(0, y, marker="x", color=FAINT, markersize=6, zorder=3)
        why = "cannot reach this readout" if row["status"] == "structurally_null" else "had no effect"
        ax.text(1.02, y, why, transform=ax.get_yaxis_transform(), va="center", fontsize=SMALL, color="#5A5A5A")
        return
    if np.isfinite([row["ci_low"], row["ci_high"]]).all():
        ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=look.colour, linewidth=1.6, zorder=2)
    is_evidence = row["is_evidence"] is True or row["is_evidence"] == True  # noqa: E712 - boolean dtype
    ax.plot(
        row["difference"], y, marker=look.marker, color=look.colour, markersize=7, zorder=3,
        markerfacecolor=look.colour if is_evidence else "white", markeredgewidth=1.4,
    )  # fmt: skip
    told = p_value(float(row["p_value"]))
    moved = "" if np.isnan(row["hidden_max"]) else decimal(float(row["hidden_max"]), 3)
    where = ax.get_yaxis_transform()
    ax.text(1.02, y, told, transform=where, va="center", fontsize=SMALL, color=INK)
    ax.text(1.16, y, moved, transform=where, va="center", fontsize=SMALL, color=INK)


def _draws(ax: Axes, drawn: pd.DataFrame, null: pd.DataFrame, readout: str) -> None:
    """Random sets, in the row of the condition that they are held against."""
    for y, name in enumerate(drawn["condition"]):
        values: FloatArray = null.loc[
            (null["condition"] == name) & (null["readout"] == readout), "difference"
        ].to_numpy(dtype=float)
        if len(values):
            ax.scatter(values, y - 0.3 + 0.1 * jitter(len(values)), s=7, color=INK, alpha=0.45, linewidths=0, zorder=2)


def _dress(ax: Axes, drawn: pd.DataFrame, readout: str, *, n_left_out: int) -> None:
    from matplotlib.lines import Line2D

    ax.set_yticks(range(len(drawn)), [str(name) for name in drawn["condition"]], fontsize=SMALL + 1)
    ax.set_ylim(len(drawn) - 0.4, -1.2)
    ax.set_xlabel(f"difference of AUROC at {readout}", fontsize=SMALL + 1)
    ax.tick_params(axis="y", length=0)
    where = ax.get_yaxis_transform()
    for place, text in ((1.02, "p"), (1.16, "moved")):
        ax.text(place, -0.85, text, transform=where, va="center", fontsize=SMALL, color=INK, fontweight="bold")
    if n_left_out:
        text = f"{plural(n_left_out, 'condition')} {'does' if n_left_out == 1 else 'do'} not exist in this model"
        ax.text(0.015, -0.85, text, transform=where, va="center", fontsize=SMALL, color="#5A5A5A")
    bare(ax)
    kinds = [kind for kind in LOOKS if kind in set(drawn["kind"])]
    handles = [
        Line2D([], [], linestyle="none", marker=LOOKS[kind].marker, color=LOOKS[kind].colour, label=LOOKS[kind].label)
        for kind in kinds
    ]
    handles.append(Line2D([], [], linestyle="none", marker="o", markerfacecolor="none", color=INK, label="no evidence"))
    if drawn["n_null"].sum():
        handles.append(Line2D([], [], linestyle="none", marker=".", color=INK, alpha=0.5, label="random sets of heads"))
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=SMALL)
