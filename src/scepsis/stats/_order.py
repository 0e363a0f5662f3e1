"""
Rows sorted once, ranked many times.

The order of a row does not depend on which of its targets take part. Once it is known, the AUROC on any subset of
pairs, and the influence of every pair on it, are cumulative counts: no second sort.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._auroc import Placements, auroc

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Order:
    """Ascending order of the scores in every row of a block; places count through the rows, one after the other."""

    #: For every place, the position in the flattened block of the score that stands there.
    position: IntArray
    #: For every place, the first place of the scores tied with the one that stands there.
    start: IntArray
    #: For every place, one past the last of them.
    end: IntArray
    n_columns: int

    @classmethod
    def of(cls, scores: FloatArray) -> Order:
        """
        Sort every row of `scores`, rows x targets.

        A NaN takes the place of an infinite score: it must not be valid later. Rows that are one and the same (a
        broadcast array) are sorted once.
        """
        n_rows, n_columns = scores.shape
        distinct = scores[:1] if scores.strides[0] == 0 else scores
        numbers = np.where(np.isnan(distinct), np.inf, distinct)  # sorting positions is many times slower with NaN
        position = np.argsort(numbers, axis=1)
        offset = n_columns * np.arange(n_rows)[:, None]
        ranked = numbers.ravel().take(position + offset[: len(distinct)])
        is_first = np.ones(ranked.shape, dtype=bool)
        np.not_equal(ranked[:, 1:], ranked[:, :-1], out=is_first[:, 1:])
        start = np.flatnonzero(is_first)
        end = np.append(start[1:], ranked.size)
        if len(start) < ranked.size:
            block = np.cumsum(is_first) - 1
            start, end = start.take(block), end.take(block)
        places = [start.reshape(ranked.shape), end.reshape(ranked.shape), position]
        if len(distinct) < n_rows or n_rows == 1:
            start, end, position = (array + offset for array in places)
        else:
            start, end, position = *places[:2], position + offset
        return cls(position.ravel(), start.ravel(), end.ravel(), n_columns)


class Ranked:
    """Some pairs of a block, ranked by its order."""

    def __init__(self, order: Order, positive: BoolArray, valid: BoolArray) -> None:
        """Rank the pairs of `valid`, of which those of `positive` should stand high (both rows x targets)."""
        self._order = order
        self._shape = valid.shape
        self._valid = valid
        is_positive = (positive & valid).ravel().take(order.position)
        is_negative = (~positive & valid).ravel().take(order.position)
        self._places = np.flatnonzero(is_positive)
        self._row = self._places // order.n_columns
        self._first = np.arange(len(valid)) * order.n_columns
        self._positives, self._negatives = _cumulated(is_positive), _cumulated(is_negative)

    @cached_property
    def placements(self) -> Placements:
        """Where the positives stand."""
        start, end = self._order.start[self._places], self._order.end[self._places]
        first, last = self._first, self._first + self._order.n_columns
        positives, negatives = self._positives, self._negatives
        return Placements(
            row=self._row,
            negatives_below=negatives[start] - negatives[first][self._row],
            negatives_to=negatives[end] - negatives[first][self._row],
            positives_below=positives[start] - positives[first][self._row],
            positives_to=positives[end] - positives[first][self._row],
            n_pos=positives[last] - positives[first],
            n_neg=negatives[last] - negatives[first],
        )

    @cached_property
    def auroc(self) -> FloatArray:
        """AUROC of every row."""
        return auroc(self.placements)

    def influence(self) -> FloatArray:
        r"""
        Influence of every pair on the AUROC of its row, rows x targets; 0 for pairs that take no part.

        With :math:`V_t` the share of the other class that stands on the right side of target t (ties one half) and
        n the size of t's own class, :math:`\phi_t = \sqrt{n/(n-1)}\,(V_t - \mathrm{AUROC})/n`. Within a row the
        values sum to 0 and their squares to DeLong's variance of the AUROC. Rows with one class only are 0.
        """
        placed, order = self.placements, self._order
        area = self.auroc
        defined = ~np.isnan(area)
        n_pos, n_neg = np.where(defined, placed.n_pos, 1), np.where(defined, placed.n_neg, 1)
        of_pos, of_neg = (np.where(defined, _weight(n), 0.0) for n in (n_pos, n_neg))
        area = np.where(defined, area, 0.0)
        # all pairs as if they were negatives: one minus the share of positives below, ties one half
        twice_below = self._positives.take(order.start) + self._positives.take(order.end)
        slope = -of_neg / (2 * n_pos)
        level = of_neg * (1 - area) - slope * 2 * self._positives[self._first]
        values = twice_below.reshape(self._shape) * slope[:, None]
        values += level[:, None]
        twice_above = (placed.negatives_below + placed.negatives_to) / (2 * n_neg)[self._row]
        values.ravel()[self._places] = (twice_above - area[self._row]) * of_pos[self._row]
        influence = np.empty(self._shape)
        influence.ravel()[order.position] = values.ravel()
        influence[~self._valid] = 0
        return influence


def _cumulated(flags: BoolArray) -> IntArray:
    """How many are true before each place, and in all."""
    counts = np.zeros(len(flags) + 1, dtype=np.int32)
    np.cumsum(flags, out=counts[1:])
    return counts


def _weight(n: IntArray) -> FloatArray:
    weight: FloatArray = np.sqrt(n / np.maximum(n - 1, 1)) / n
    return weight
