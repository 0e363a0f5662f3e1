"""
Ranking of targets, many rows at once: AUROC and its relatives, from where the positives stand.

A row is one perturbation, a column one target. Everything that a ranking statistic needs is how many negatives and
how many positives stand below each *positive*; positives are few, so each row is sorted once (a sort of values,
several times cheaper than one of positions) and only the positives are looked up in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: False-positive rate up to which the partial area is taken.
MAX_FPR = 0.05
#: Weight of the top of the list in BEDROC: 80 % of the score comes from the first 8 % of it.
ALPHA = 20.0


@dataclass(frozen=True)
class Placements:
    """Where the positives of every row stand. Counts are of valid targets; ties are kept apart, not broken."""

    #: Row of each positive, ascending.
    row: IntArray
    #: Negatives with a lower score than the positive.
    negatives_below: IntArray
    #: Negatives with a lower or the same score.
    negatives_to: IntArray
    #: Positives with a lower score.
    positives_below: IntArray
    #: Positives with a lower or the same score, itself included.
    positives_to: IntArray
    #: Positives of each row.
    n_pos: IntArray
    #: Negatives of each row.
    n_neg: IntArray

    @property
    def constant(self) -> BoolArray:
        """Rows of both classes in which all scores are the same."""
        result = (self.n_pos > 0) & (self.n_neg > 0)
        some = np.flatnonzero(result)
        first = np.searchsorted(self.row, some)
        tied = self.negatives_to - self.negatives_below + self.positives_to - self.positives_below
        result[some] = tied[first] == (self.n_pos + self.n_neg)[some]
        return result

    def mean(self, values: FloatArray) -> FloatArray:
        """Mean over the positives of each row; NaN for rows with one class only."""
        total = np.bincount(self.row, weights=values, minlength=len(self.n_pos))
        defined = (self.n_pos > 0) & (self.n_neg > 0)
        mean: FloatArray = np.divide(total, self.n_pos, out=np.full(len(total), np.nan), where=defined)
        return mean


def placements(scores: FloatArray, positive: BoolArray, valid: BoolArray | None = None) -> Placements:
    """
    Place the positives of every row among its valid targets.

    Parameters
    ----------
    scores
        Rows x targets. A NaN is never valid.
    positive
        Rows x targets, true for targets that should stand high. Only valid ones count.
    valid
        Rows x targets, true for targets that take part; None means all with a score.

    Notes
    -----
    ``R T log T`` for R rows of T targets, with the constant of a sort of values, and a copy of `scores`.
    """
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    present = scores == scores  # noqa: PLR0124  # not NaN
    valid = present if valid is None else valid & present
    positive = positive & valid
    ranked = _masked(scores, valid & ~positive)
    ranked.sort(axis=1)  # what is no negative ends up last
    places = np.flatnonzero(positive)
    row, values = places // scores.shape[1], scores.ravel().take(places)
    n_pos = np.bincount(row, minlength=len(scores))
    n_neg = np.count_nonzero(valid, axis=1) - n_pos
    ends = np.cumsum(n_pos)
    negatives_below, negatives_to = np.empty((2, len(row)), dtype=np.int64)
    for index in np.flatnonzero(n_pos):
        of_row = slice(ends[index] - n_pos[index], ends[index])
        candidates, needles = ranked[index, : n_neg[index]], values[of_row]
        needles.sort()
        negatives_below[of_row] = candidates.searchsorted(needles)
        negatives_to[of_row] = candidates.searchsorted(needles, "right")
    positives_below, positives_to = _among_themselves(row, values, (ends - n_pos)[row])
    return Placements(row, negatives_below, negatives_to, positives_below, positives_to, n_pos, n_neg)


def _masked(scores: FloatArray, kept: BoolArray) -> FloatArray:
    """Scores, NaN where not kept. Adding 0 or NaN does not stumble over masks without a pattern, as choosing does."""
    masked: FloatArray = scores + np.array([np.nan, 0], dtype=scores.dtype).take(kept.view(np.int8))
    return masked


def _among_themselves(row: IntArray, values: FloatArray, offset: IntArray) -> tuple[IntArray, IntArray]:
    """Positives of the same row below, and up to, each positive; `values` ascend within a row."""
    if not len(row):
        return row, row
    is_first = np.append(True, (row[1:] != row[:-1]) | (values[1:] != values[:-1]))
    start = np.flatnonzero(is_first)
    block = np.cumsum(is_first) - 1
    return start[block] - offset, np.append(start[1:], len(row))[block] - offset


def auroc(placed: Placements) -> FloatArray:
    r"""
    Probability that a positive has a higher score than a negative, ties counting one half.

    Mann-Whitney's :math:`U / (n_+ n_-)` with average ranks. Sums are of whole numbers, hence exact.
    """
    halves = np.bincount(placed.row, placed.negatives_below + placed.negatives_to, minlength=len(placed.n_pos))
    pairs = placed.n_pos * placed.n_neg
    area: FloatArray = np.divide(halves, 2 * pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return area


def mann_whitney(positives: FloatArray, negatives: FloatArray) -> float:
    """AUROC of one ranking, given the scores of either class (negatives are sorted in place); NaN if one is empty."""
    if not len(positives) or not len(negatives):
        return np.nan
    values, counts = np.unique(positives, return_counts=True)
    negatives.sort()
    twice = counts @ (negatives.searchsorted(values) + negatives.searchsorted(values, "right"))
    return float(twice) / (2 * len(positives) * len(negatives))


def mann_whitney_counts(values: FloatArray, n_pos: IntArray, n_neg: IntArray) -> float:
    """The same, where value i is the score of ``n_pos[i]`` positives and ``n_neg[i]`` negatives."""
    if not n_pos.any() or not n_neg.any():
        return np.nan
    _, place = np.unique(values, return_inverse=True)
    positives, negatives = (np.bincount(place, counts) for counts in (n_pos, n_neg))
    wins = positives @ (np.cumsum(negatives) - negatives / 2)
    return float(wins / (positives.sum() * negatives.sum()))


def partial_auroc(placed: Placements, max_fpr: float = MAX_FPR) -> FloatArray:
    r"""
    Area under the ROC curve up to a false-positive rate, rescaled so that chance is 0.5 and perfection 1.

    The curve is linear within ties. With :math:`a` the limit and :math:`A` the area,
    :math:`\frac12 \left(1 + \frac{A - a^2/2}{a - a^2/2}\right)` (McClish 1989).
    """
    n_neg = np.maximum(placed.n_neg, 1)[placed.row]
    # a positive lifts the curve by 1/n_pos over the span of the negatives that it is tied with
    start = (n_neg - placed.negatives_to) / n_neg
    end = (n_neg - placed.negatives_below) / n_neg
    span = np.clip(max_fpr - start, 0, end - start)
    slope = np.divide(span, 2 * (end - start), out=np.zeros(len(span)), where=end > start)
    area = placed.mean(slope * span + np.clip(max_fpr - end, 0, None))
    chance = max_fpr**2 / 2
    standardised: FloatArray = 0.5 * (1 + (area - chance) / (max_fpr - chance))
    return standardised


def bedroc(placed: Placements, alpha: float = ALPHA) -> FloatArray:
    r"""
    Boltzmann-enhanced discrimination of ROC: how early in the list the positives come.

    The mean over positives of :math:`e^{-\alpha r / n}`, with r the rank from the top among n targets, scaled to
    [0, 1] by its smallest and largest value at this share of positives (Truchon and Bayly 2007). Within ties the
    mean over all orders is taken.
    """
    n = np.maximum(placed.n_pos + placed.n_neg, 1)
    step = (alpha / n)[placed.row]
    above = n[placed.row] - placed.negatives_to - placed.positives_to
    tied = placed.negatives_to - placed.negatives_below + placed.positives_to - placed.positives_below
    early = np.exp(-step * (above + 1)) * np.expm1(-step * tied) / (tied * np.expm1(-step))
    enhancement = placed.mean(early) * n * np.expm1(alpha / n) / -np.expm1(-alpha)
    share = np.where((placed.n_pos > 0) & (placed.n_neg > 0), placed.n_pos / n, np.nan)
    lowest = np.expm1(alpha * share) / (share * np.expm1(alpha))
    highest = np.expm1(-alpha * share) / (share * np.expm1(-alpha))
    scaled: FloatArray = (enhancement - lowest) / (highest - lowest)
    return scaled
