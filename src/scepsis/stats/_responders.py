"""AUROC of the responders of each perturbation under one score, and which perturbations count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._auroc import auroc, placements

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray


def responder_auroc(
    scores: FloatArray, labels: IntArray, *, min_positives: int = 2, min_candidates: int = 10
) -> FloatArray:
    """
    AUROC of every perturbation (a row), NaN for those that do not count.

    Labels are 1 (responds), 0 (does not) and -1 (takes no part); a NaN takes no part either. A perturbation counts
    with enough responders among enough candidates of both kinds, unless all of its scores are the same.
    """
    if not len(scores):
        return np.empty(0)
    placed = placements(scores, labels == 1, labels >= 0)
    counts = (placed.n_pos >= min_positives) & (placed.n_pos + placed.n_neg >= min_candidates)
    return np.where(counts & ~placed.constant, auroc(placed), np.nan)


def mean_auroc(values: FloatArray) -> float:
    """Mean over the perturbations that count; NaN where none does."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
