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
    """
    Ascending order of the scores in every row of a block.

    Pairs are numbered as in the flattened block. Places count through its rows one after the other, each in ascending
    order; neighbours with the same score make up a step, and steps are numbered through the rows too.
    """

    #: Pair at every place.
    pair: IntArray
    #: First place of every step, and the number of places.
    bounds: IntArray
    #: Step of every pair.
    step: IntArray
    #: First step of every row, and the number of steps.
    first: IntArray

    @classmethod
    def of(cls, scores: FloatArray) -> Order:
        """
        Sort every row of `scores`, rows x targets.

        A NaN takes the place of an infinite score: it must not be valid later. Rows that are one and the same (a
        broadcast array) are sorted once.
        """
        n_rows, n_columns = scores.shape
        distinct = scores[:1] if scores.strides[0] == 0 else scores
        numbers = distinct.copy()
        np.copyto(numbers, np.inf, where=np.isnan(distinct))  # sorting positions is many times slower with NaN
        pair = np.argsort(numbers, axis=1)
        pair += n_columns * np.arange(len(distinct))[:, None]
        ranked = numbers.ravel().take(pair)
        is_first = np.ones(ranked.shape, dtype=bool)
        np.not_equal(ranked[:, 1:], ranked[:, :-1], out=is_first[:, 1:])
        number = np.cumsum(is_first)
        bounds = np.append(np.flatnonzero(is_first), ranked.size)
        pair, step = pair.ravel(), np.empty(ranked.size, dtype=np.int64)
        step[pair] = number - 1
        first = np.append(number[::n_columns] - 1, len(bounds) - 1)
        if len(distinct) < n_rows:
            rows = np.arange(n_rows)[:, None]
            n_steps = len(bounds) - 1
            pair, step = (pair + n_columns * rows).ravel(), (step + n_steps * rows).ravel()
            bounds = np.append((bounds[:-1] + n_columns * rows).ravel(), pair.size)
            first = n_steps * np.arange(n_rows + 1)
        return cls(pair, bounds, step, first)


class Ranked:
    """Some pairs of a block, ranked by its order."""

    def __init__(self, order: Order, positive: BoolArray, valid: BoolArray) -> None:
        """Rank the pairs of `valid`, of which those of `positive` should stand high (both rows x targets)."""
        self._order = order
        self._valid = valid
        self._negative = valid & ~positive
        self._pairs = np.flatnonzero(positive & valid)
        self._step = order.step.take(self._pairs)
        self._row = self._pairs // valid.shape[1]
        #: Positives and negatives before every step, and in all.
        n_steps = len(order.bounds) - 1
        self._positives = _before(np.bincount(self._step, minlength=n_steps))
        self._negatives = _before(self._negative.ravel().take(order.pair)).take(order.bounds)

    @cached_property
    def placements(self) -> Placements:
        """Where the positives stand."""
        step, first, row = self._step, self._order.first, self._row
        positives, negatives = self._positives.take(first), self._negatives.take(first)
        return Placements(
            row=row,
            negatives_below=self._negatives.take(step) - negatives.take(row),
            negatives_to=self._negatives.take(step + 1) - negatives.take(row),
            positives_below=self._positives.take(step) - positives.take(row),
            positives_to=self._positives.take(step + 1) - positives.take(row),
            n_pos=np.diff(positives),
            n_neg=np.diff(negatives),
        )

    @cached_property
    def auroc(self) -> FloatArray:
        """AUROC of every row."""
        return auroc(self.placements)

    def auroc_filled(self, scores: FloatArray, missing: BoolArray, positive: BoolArray) -> FloatArray:
        """
        AUROC of every row when the pairs of `missing` take part too, with the score 0.

        Who has a score meets the missing ones at 0, and those meet each other in ties: counts by sign are enough.
        """
        placed = self.placements
        missing_pos, missing_neg = _per_row(missing & positive), _per_row(missing & ~positive)
        have_pos, have_neg = self._valid & positive, self._negative
        halves = placed.half_wins() + missing_pos * missing_neg
        halves += missing_neg * (_per_row(have_pos & (scores > 0)) + _per_row(have_pos & (scores >= 0)))
        halves += missing_pos * (_per_row(have_neg & (scores < 0)) + _per_row(have_neg & (scores <= 0)))
        return _ratio(halves, (placed.n_pos + missing_pos) * (placed.n_neg + missing_neg))

    def auroc_within(self, group: IntArray, n_groups: int) -> FloatArray:
        """
        AUROC among the targets of each group alone, rows x groups.

        `group` numbers the columns, -1 for those in none. Steps are numbered anew by group, then row, then score, so
        that one sort of small numbers ranks every group of every row.
        """
        n_rows, n_steps = len(self._valid), len(self._order.bounds) - 1
        offset = n_steps * np.where(group < 0, n_groups, group)
        numbers = (offset + self._order.step.reshape(self._valid.shape)).ravel()
        narrow = np.int32 if (n_groups + 1) * n_steps < 2**31 else np.int64
        negatives = np.sort(numbers.take(np.flatnonzero(self._negative)).astype(narrow))
        bounds = np.append(n_steps * np.arange(n_groups)[:, None] + self._order.first[:-1], n_groups * n_steps)
        edges = negatives.searchsorted(bounds.astype(narrow))

        groups = group[self._pairs % len(group)]
        cell = groups * n_rows + self._row
        needles = numbers.take(self._pairs).astype(narrow)
        ascending = np.argsort(needles)[: np.count_nonzero(groups >= 0)]  # those in no group come last
        cell, needles = cell[ascending], needles[ascending]
        twice = negatives.searchsorted(needles) + negatives.searchsorted(needles, "right") - 2 * edges[cell]
        n_pos = np.bincount(cell, minlength=n_groups * n_rows)
        halves = np.bincount(cell, twice, minlength=n_groups * n_rows).astype(np.int64)
        return _ratio(halves, n_pos * np.diff(edges)).reshape(n_groups, n_rows).T

    def influence(self) -> FloatArray:
        r"""
        Influence of every pair on the AUROC of its row, rows x targets; 0 for pairs that take no part.

        With :math:`V_t` the share of the other class that stands on the right side of target t (ties one half) and
        n the size of t's own class, :math:`\phi_t = \sqrt{n/(n-1)}\,(V_t - \mathrm{AUROC})/n`. Within a row the
        values sum to 0 and their squares to DeLong's variance of the AUROC. Rows with one class only are 0.
        """
        placed, first = self.placements, self._order.first
        defined = ~np.isnan(self.auroc)
        area = np.where(defined, self.auroc, 0.0)
        n_pos, n_neg = np.where(defined, placed.n_pos, 1), np.where(defined, placed.n_neg, 1)
        of_pos, of_neg = (np.where(defined, _weight(n), 0.0) for n in (n_pos, n_neg))
        # all pairs as if they were negatives: one minus the share of positives below, ties one half
        slope = -of_neg / (2 * n_pos)
        level = of_neg * (1 - area) - slope * 2 * self._positives.take(first[:-1])
        n_steps = np.diff(first)
        of_step = np.repeat(level, n_steps)
        of_step += np.repeat(slope, n_steps) * (self._positives[:-1] + self._positives[1:])
        influence: FloatArray = of_step.take(self._order.step)
        twice_above = (placed.negatives_below + placed.negatives_to) / (2 * n_neg)[self._row]
        influence[self._pairs] = (twice_above - area[self._row]) * of_pos[self._row]
        influence = influence.reshape(self._valid.shape)
        influence *= self._valid
        return influence


def _before(counts: IntArray | BoolArray) -> IntArray:
    """Sum before each entry, and of all."""
    sums = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=sums[1:])
    return sums


def _per_row(pairs: BoolArray) -> IntArray:
    counts: IntArray = pairs.sum(axis=1, dtype=np.int64)
    return counts


def _ratio(halves: IntArray, pairs: IntArray) -> FloatArray:
    area: FloatArray = np.divide(halves, 2 * pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return area


def _weight(n: IntArray) -> FloatArray:
    weight: FloatArray = np.sqrt(n / np.maximum(n - 1, 1)) / n
    return weight
