"""Trends over the layers of a model, whose neighbours are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray

#: Layers below which nothing is said of a trend over them: the exact test of ranks cannot reach 5 % with fewer.
MIN_LAYERS = 5


@dataclass(frozen=True)
class RankTrend:
    """How two sequences over layers go together; all NaN with too few layers, or where one does not vary."""

    rho: float = np.nan
    #: Student's approximation, as if layers were independent.
    p_value: float = np.nan
    #: Share of circular shifts with at least as strong a correlation.
    p_shift: float = np.nan


def rank_trend(first: FloatArray | IntArray, second: FloatArray | IntArray) -> RankTrend:
    r"""
    Spearman correlation of two sequences in the order of layers.

    Neighbouring layers are alike, which makes the usual p-value too small. Shifting one sequence along the other,
    the end joined to the beginning, keeps its smoothness: with n layers there are n shifts, none among them, and
    :math:`p = \#\{|\rho_k| \ge |\rho_0|\} / n` is at least 1/n.
    """
    from scipy.stats import rankdata, spearmanr

    n = len(first)
    one, other = (rankdata(values) for values in (first, second))
    if n < MIN_LAYERS or np.ptp(one) == 0 or np.ptp(other) == 0 or not np.isfinite([*first, *second]).all():
        return RankTrend()
    found = spearmanr(one, other)
    one, other = one - one.mean(), other - other.mean()
    shifted = np.array([one @ np.roll(other, shift) for shift in range(n)])
    as_strong = np.abs(shifted) >= np.abs(shifted[0]) * (1 - 1e-9)
    return RankTrend(float(found.statistic), float(found.pvalue), float(as_strong.mean()))


def monotone_r2(values: FloatArray, *, increasing: bool) -> float:
    """Share of the variance that the best monotone sequence explains; NaN for one that does not vary."""
    from scipy.optimize import isotonic_regression

    total = float(np.sum((values - values.mean()) ** 2)) if len(values) else 0.0
    if not np.isfinite(total) or total == 0:
        return np.nan
    fitted = isotonic_regression(values, increasing=increasing).x
    return 1 - float(np.sum((values - fitted) ** 2)) / total


def slope_weights(layers: IntArray) -> FloatArray:
    """Weights of values at `layers` in the slope of their regression line; 0 for a single layer."""
    centred = np.asarray(layers, dtype=np.float64) - np.mean(layers)
    total = float(centred @ centred)
    weights: FloatArray = centred / total if total else centred
    return weights
