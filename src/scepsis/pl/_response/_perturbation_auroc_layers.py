"""The profile of mean AUROC over a model's layers, with what is not a layer as horizontal lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._keys import RANDOMIZED
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import listing
from scepsis.pl._style import INK, SMALL, axes_or_new, bare, look, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from scepsis._core._types import Data
    from scepsis.pl._style import Look

MAKER = "scepsis.tl.perturbation_auroc(adata, edges=[*scepsis.get.layer_keys(adata).values(), 'spearman'])"
LAYER = re.compile(r"(?P<base>.+)_L(?P<layer>\d+)")
#: Layers between neighbouring curves, so that intervals do not hide each other, and lines of curves of one look.
DODGE = 0.06
CURVES = ("-", "--", ":")
#: Dashes of horizontal lines, so that two of one colour can be told apart.
DASHES: tuple[tuple[float, ...], ...] = ((5, 2), (1, 1.5), (6, 2, 1, 2), (3, 1), (8, 2, 1, 2, 1, 2), (2, 3))


def perturbation_auroc_layers(
    adata: Data,
    *,
    key: str = "perturbation_auroc",
    edges: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    mod: str | None = None,
) -> Axes:
    """
    Draw mean AUROC over perturbations for every layer of a model :cite:p:`kendiukhov2026`.

    Reads a result in which the edges of several layers were scored. Layers of one edges key are a curve with 95 %
    intervals; every other predictor (correlation, the mean over layers, gene-level baselines) has no layer and is
    a horizontal line with its name and value. The whole profile is shown and no layer is singled out: a layer
    picked from this picture is a layer picked after seeing the answer.

    Parameters
    ----------
    adata
        Data with ``adata.uns[key]`` from `scepsis.tl.perturbation_auroc`, called with the keys of single layers
        (``attention_L0``, ``attention_L1``, ...) among its edges.
    key
        Where the result is stored in ``adata.uns``.
    edges
        Edges key, or keys, whose layers are drawn as curves (``"attention"`` for ``attention_L0``, ...); None
        takes every key that has scored layers.
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
        If there is no such result, or no layer was scored in it.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata, model = sps.datasets.demo(), sps.models.load("demo")
    >>> sps.pp.match_genes(adata, model)
    >>> sps.pp.select_cells(adata, n_cells=200)
    >>> sps.pp.gene_features(adata)
    >>> sps.tl.attention_edges(adata, model)
    >>> sps.tl.perturbation_effects(adata)
    >>> sps.tl.perturbation_auroc(adata, edges=["attention_L0", "attention_L1"])
    >>> ax = sps.pl.perturbation_auroc_layers(adata)
    """
    summary = read_frame(resolve(adata, mod), key, "summary", maker=MAKER)
    curves = _curves(summary, edges, key)
    axes = axes_or_new(ax, width=6.5, height=4.2)
    in_curve = {name for curve in curves.values() for name in curve["predictor"]}
    flat = summary[~summary["predictor"].isin(in_curve) & summary["auroc"].notna()]
    drawn: dict[str, int] = {}
    for number, (base, curve) in enumerate(curves.items()):
        appearance = _look(base, str(curve["kind"].iloc[0]))
        place = DODGE * (number - (len(curves) - 1) / 2)
        _curve(axes, base, curve, appearance, place=place, turn=drawn.setdefault(appearance.label, 0))
        drawn[appearance.label] += 1
    axes.axhline(0.5, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1, label="chance")
    layers = sorted({int(layer) for curve in curves.values() for layer in curve["layer"]})
    axes.set_xticks(layers if len(layers) <= 24 else layers[:: -(-len(layers) // 24)])
    axes.set_xlim(layers[0] - 0.4, layers[-1] + 0.4)
    _lines(axes, flat)
    axes.set_xlabel("layer")
    axes.set_ylabel("mean AUROC over perturbations")
    bare(axes)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(curves) + 1, 3), frameon=False, fontsize=SMALL
    )
    return axes


def _curves(summary: pd.DataFrame, edges: str | Sequence[str] | None, key: str) -> dict[str, pd.DataFrame]:
    """Rows of each edges key whose layers were scored, with a column ``layer``, ascending."""
    matches = [LAYER.fullmatch(str(name)) for name in summary["predictor"]]
    bases = list(dict.fromkeys(match["base"] for match in matches if match))
    wanted = bases if edges is None else [edges] if isinstance(edges, str) else list(edges)
    missing = [base for base in wanted if base not in bases]
    if missing or not wanted:
        which = f" of {listing(missing)}" if missing else ""
        msg = f"no layer{which} is scored in `adata.uns[{key!r}]['summary']`. Call `{MAKER}` first."
        raise KeyError(msg)
    layer = np.array([int(match["layer"]) if match else -1 for match in matches])
    base_of = np.array([match["base"] if match else "" for match in matches], dtype=object)
    return {base: summary[base_of == base].assign(layer=layer[base_of == base]).sort_values("layer") for base in wanted}


def _curve(ax: Axes, base: str, curve: pd.DataFrame, appearance: Look, *, place: float, turn: int) -> None:
    """One curve with its intervals, moved aside by `place`; `turn` counts those of one look, which differ in line."""
    middle = curve["auroc"].to_numpy(dtype=float)
    low, high = (curve[side].to_numpy(dtype=float) for side in ("ci_low", "ci_high"))
    spread_ = np.nan_to_num(np.vstack([middle - low, high - middle]), nan=0.0)
    counts = curve["n_units"].to_numpy()
    n = f"n = {counts.min()}" if counts.min() == counts.max() else f"n = {counts.min()} to {counts.max()}"
    ax.errorbar(
        curve["layer"].to_numpy() + place,
        middle,
        yerr=np.clip(spread_, 0, None),
        color=appearance.colour,
        linestyle=CURVES[turn % len(CURVES)],
        marker=appearance.marker,
        markerfacecolor=appearance.colour if turn == 0 else "white",
        markersize=6,
        capsize=2,
        linewidth=1.5,
        zorder=3,
        label=f"{base} ({n})",
    )


def _look(base: str, kind: str) -> Look:
    """Look of a curve: that of its kind, and where the name says so that of a scale or a control."""
    for suffix, named in ((RANDOMIZED, "control"), ("uniform_fold", "scale"), ("centered", "scale")):
        if base.endswith(f"_{suffix}"):
            return look(named)
    return look(kind)


def _lines(ax: Axes, flat: pd.DataFrame) -> None:
    """Horizontal lines, named at their right end; names that would overlap are moved apart."""
    used: dict[str, int] = {}
    for _, row in flat.iterrows():
        number = used.setdefault(str(row["kind"]), 0)
        used[str(row["kind"])] += 1
        dashes = (0, DASHES[number % len(DASHES)])
        ax.axhline(float(row["auroc"]), color=look(str(row["kind"])).colour, linestyle=dashes, linewidth=1.3, zorder=2)
    ax.margins(y=0.08)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top)
    figure = ax.get_figure(root=True)
    inches = ax.get_position().height * (figure.get_size_inches()[1] if figure is not None else 4.0)
    gap = 1.25 * SMALL / 72 / inches * (top - bottom)
    heights = spread([float(value) for value in flat["auroc"]], gap)
    for (_, row), height in zip(flat.iterrows(), heights, strict=True):
        colour = look(str(row["kind"])).colour
        ax.annotate(
            f"{row['predictor']} {row['auroc']:.2f}",
            xy=(1.0, float(row["auroc"])),
            xytext=(1.05, height),
            xycoords=ax.get_yaxis_transform(),
            textcoords=ax.get_yaxis_transform(),
            color=colour,
            fontsize=SMALL,
            va="center",
            ha="left",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
