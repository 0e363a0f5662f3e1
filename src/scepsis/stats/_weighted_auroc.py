"""AUROC and its influence values where pairs have weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray


class WeightedAuroc(NamedTuple):
    """One ranking of weighted rows."""

    auroc: float
    #: Influence of every row on the AUROC; 0 where it is not defined.
    influence: FloatArray
    constant: bool


def weighted_auroc(scores: FloatArray, positive: BoolArray, weight: FloatArray) -> WeightedAuroc:
    r"""
    Chance that a positive stands above a negative, both drawn by their weights, ties counting one half.

    Influence values are those of DeLong with weights: with :math:`V_i` the weighted share of the other class on the
    right side of row i and W the weight of its own, :math:`\phi_i = \sqrt{n/(n-1)}\, w_i (V_i - A) / W`, n being
    Kish's effective size :math:`W^2 / \sum w^2`. Equal weights give those of `scepsis.stats._order`.
    """
    wanted, others = np.where(positive, weight, 0.0), np.where(positive, 0.0, weight)
    n_wanted, n_others = float(wanted.sum()), float(others.sum())
    if not (n_wanted > 0 and n_others > 0):
        return WeightedAuroc(np.nan, np.zeros(len(scores)), constant=False)
    values, step = np.unique(scores, return_inverse=True)
    below_wanted, below_others = (_below(np.bincount(step, part).astype(np.float64)) for part in (wanted, others))
    right = np.where(positive, below_others[step] / n_others, 1 - below_wanted[step] / n_wanted)
    area = float(wanted @ right / n_wanted)
    if len(values) == 1:
        return WeightedAuroc(0.5, np.zeros(len(scores)), constant=True)
    share = np.where(positive, wanted / n_wanted * _factor(wanted), others / n_others * _factor(others))
    return WeightedAuroc(area, share * (right - area), constant=False)


def weighted_auroc_by_unit(
    scores: FloatArray, unit: IntArray, positive: BoolArray, weight: FloatArray, n_units: int
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """AUROC of every unit (NaN where one class is missing), influence of every row, and units without variation."""
    area, constant = np.full(n_units, np.nan), np.zeros(n_units, dtype=bool)
    influence = np.zeros(len(scores))
    order = np.argsort(unit, kind="stable")
    ends = np.cumsum(np.bincount(unit, minlength=n_units))
    for number, (start, end) in enumerate(zip(np.append(0, ends[:-1]), ends, strict=True)):
        rows = order[start:end]
        area[number], influence[rows], constant[number] = weighted_auroc(scores[rows], positive[rows], weight[rows])
    return area, influence, constant


def _below(of_step: FloatArray) -> FloatArray:
    """Weight below every step, and half of its own."""
    below: FloatArray = np.cumsum(of_step) - of_step / 2
    return below


def _factor(weight: FloatArray) -> float:
    size = float(weight.sum() ** 2 / (weight**2).sum())
    return float(np.sqrt(size / (size - 1))) if size > 1 + 1e-9 else 1.0
