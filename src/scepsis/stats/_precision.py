"""Precision at the top of a ranking: average precision, and how far it is above the share of positives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.stats._auroc import Placements


def average_precision(placed: Placements) -> FloatArray:
    r"""
    Area under the precision-recall curve as a step function, :math:`\sum_k (R_k - R_{k-1}) P_k`.

    The sum runs over distinct scores, so that it equals the mean, over positives, of the precision among all
    targets that score at least as high. No interpolation: that would flatter.
    """
    positives = placed.n_pos[placed.row] - placed.positives_below
    negatives = placed.n_neg[placed.row] - placed.negatives_below
    return placed.mean(positives / (positives + negatives))


def prevalence(placed: Placements) -> FloatArray:
    """Share of positives in each row: what average precision is by chance. NaN for an empty row."""
    n = placed.n_pos + placed.n_neg
    share: FloatArray = np.divide(placed.n_pos, n, out=np.full(len(n), np.nan), where=n > 0)
    return share


def lift(precision: FloatArray, share: FloatArray) -> FloatArray:
    """Average precision over the share of positives; 1 is chance."""
    ratio: FloatArray = np.divide(precision, share, out=np.full(len(share), np.nan), where=share > 0)
    return ratio
