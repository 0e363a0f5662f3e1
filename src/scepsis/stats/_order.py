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

from scepsis.stats._auroc import Placements

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
        pair, ranked = _ascending(distinct)
        pair += n_columns * np.arange(len(distinct))[:, None]
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


def _ascending(scores: FloatArray) -> tuple[IntArray, IntArray | FloatArray]:
    """Columns of every row in ascending order of the scores, and something that is equal where those are."""
    numbers = scores + scores.dtype.type(0)  # a copy, without negative zeros
    np.copyto(numbers, np.inf, where=np.isnan(scores))  # sorting positions is many times slower with NaN
    if scores.dtype != np.float32:
        order = np.argsort(numbers, axis=1)
        return order, numbers.ravel().take(order + scores.shape[1] * np.arange(len(scores))[:, None])
    # Half as long as a sort of positions: read as integers that ascend with them, the scores are sorted with the
    # column in the lower half of each number.
    bits = numbers.view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    packed = bits.astype(np.int64)
    packed <<= 32
    packed |= np.arange(scores.shape[1])
    packed.sort(axis=1)
    return packed & 0xFFFFFFFF, packed >> 32


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
        negatives = _before(self._negative.ravel().take(order.pair)).take(order.bounds)
        of_rows = negatives.take(order.first)
        self.n_pos: IntArray = np.bincount(self._row, minlength=len(valid))
        self.n_neg: IntArray = np.diff(of_rows)
        self._below = negatives.take(self._step) - of_rows.take(self._row)
        self._upto = negatives.take(self._step + 1) - of_rows.take(self._row)

    @cached_property
    def _positives(self) -> IntArray:
        """Positives before every step, and in all."""
        return _before(np.bincount(self._step, minlength=len(self._order.bounds) - 1))

    @cached_property
    def placements(self) -> Placements:
        """Where the positives stand."""
        before = self._positives.take(self._order.first).take(self._row)
        return Placements(
            row=self._row,
            negatives_below=self._below,
            negatives_to=self._upto,
            positives_below=self._positives.take(self._step) - before,
            positives_to=self._positives.take(self._step + 1) - before,
            n_pos=self.n_pos,
            n_neg=self.n_neg,
        )

    @cached_property
    def _halves(self) -> IntArray:
        """Half wins of the positives of every row."""
        return np.bincount(self._row, self._below + self._upto, minlength=len(self._valid)).astype(np.int64)

    @cached_property
    def auroc(self) -> FloatArray:
        """AUROC of every row."""
        return _ratio(self._halves, self.n_pos * self.n_neg)

    def auroc_filled(self, scores: FloatArray, missing: BoolArray, positive: BoolArray) -> FloatArray:
        """
        AUROC of every row when the pairs of `missing` take part too, with the score 0.

        Who has a score meets the missing ones at 0, and those meet each other in ties: counts by sign are enough.
        """
        missing_pos, missing_neg = _per_row(missing & positive), _per_row(missing & ~positive)
        have_pos, have_neg = self._valid & positive, self._negative
        halves = self._halves + missing_pos * missing_neg
        halves += missing_neg * (_per_row(have_pos & (scores > 0)) + _per_row(have_pos & (scores >= 0)))
        halves += missing_pos * (_per_row(have_neg & (scores < 0)) + _per_row(have_neg & (scores <= 0)))
        return _ratio(halves, (self.n_pos + missing_pos) * (self.n_neg + missing_neg))

    def auroc_within(self, group: IntArray, n_groups: int) -> FloatArray:
        """
        AUROC among the targets of each group alone, rows x groups.

        `group` numbers the columns, -1 for those in none; at most 127 groups. Negatives are counted by group along
        every row, several groups in the bits of one number.
        """
        n_rows, n_columns = self._valid.shape
        code = np.where(group < 0, n_groups, group).astype(np.uint8)
        codes = code | (~self._negative).view(np.uint8) << 7  # whoever is no negative counts nowhere
        codes = codes.ravel().take(self._order.pair)
        groups = group.take(self._pairs % n_columns)
        inside = groups >= 0
        row, groups, step = self._row[inside], groups[inside], self._step[inside]
        first, last = self._order.bounds.take(step), self._order.bounds.take(step + 1) - 1

        n_bits = int(np.bincount(code, minlength=n_groups)[:n_groups].max(initial=1)).bit_length()
        mask, per_number = (1 << n_bits) - 1, 63 // n_bits
        n_neg = np.empty((n_rows, n_groups), dtype=np.int64)
        halves = np.empty(len(row), dtype=np.int64)
        for start in range(0, n_groups, per_number):
            counted = np.arange(start, min(start + per_number, n_groups))
            unit = np.zeros(256, dtype=np.int64)
            unit[counted] = 1 << n_bits * (counted - start)
            upto = np.cumsum(unit.take(codes).reshape(n_rows, n_columns), axis=1)
            n_neg[:, counted] = upto[:, -1:] >> n_bits * (counted - start) & mask
            here = np.flatnonzero((groups >= start) & (groups <= counted[-1]))
            shift = n_bits * (groups[here] - start)
            below = upto.ravel().take(first[here]) - unit.take(codes.take(first[here]))
            halves[here] = (below >> shift & mask) + (upto.ravel().take(last[here]) >> shift & mask)
        cell = row * n_groups + groups
        n_pos: IntArray = np.bincount(cell, minlength=n_rows * n_groups)
        wins = np.bincount(cell, halves, minlength=n_rows * n_groups).astype(np.int64)
        return _ratio(wins, n_pos * n_neg.ravel()).reshape(n_rows, n_groups)

    def influence(self) -> FloatArray:
        r"""
        Influence of every pair on the AUROC of its row, rows x targets; 0 for pairs that take no part.

        With :math:`V_t` the share of the other class that stands on the right side of target t (ties one half) and
        n the size of t's own class, :math:`\phi_t = \sqrt{n/(n-1)}\,(V_t - \mathrm{AUROC})/n`. Within a row the
        values sum to 0 and their squares to DeLong's variance of the AUROC. Rows with one class only are 0.
        """
        first = self._order.first
        defined = ~np.isnan(self.auroc)
        area = np.where(defined, self.auroc, 0.0)
        n_pos, n_neg = np.where(defined, self.n_pos, 1), np.where(defined, self.n_neg, 1)
        of_pos, of_neg = (np.where(defined, _weight(n), 0.0) for n in (n_pos, n_neg))
        # all pairs as if they were negatives: one minus the share of positives below, ties one half
        slope = -of_neg / (2 * n_pos)
        level = of_neg * (1 - area) - slope * 2 * self._positives.take(first[:-1])
        n_steps = np.diff(first)
        of_step = np.repeat(level, n_steps)
        of_step += np.repeat(slope, n_steps) * (self._positives[:-1] + self._positives[1:])
        influence: FloatArray = of_step.take(self._order.step)
        twice_above = (self._below + self._upto) / (2 * n_neg)[self._row]
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
