"""Pairs that a reference does not list, chosen so that both genes look like those of a pair that it lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.stats._influence import variance_of_sums
from scepsis.stats._intervals import Interval, t_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._equivalence import Conclusion

#: Detection rates below this are as far apart as if they were this, and means below that are alike up to the third.
RATE_FLOOR, MEAN_FLOOR, MEAN_CEILING = 0.05, 1e-6, 1e-5


class Rule(NamedTuple):
    """When a pair is alike enough, and how many are wanted."""

    tolerance: float = 0.2
    #: Tolerance where fewer than `min_matched` are found with the first.
    wider: float = 0.4
    n_matched: int = 50
    min_matched: int = 5


@dataclass(frozen=True)
class Matches:
    """Listed pairs with at least one negative, and the negatives of each in turn."""

    #: Rows and columns of the listed pairs.
    row: IntArray
    column: IntArray
    #: Tolerance that each needed.
    tolerance: FloatArray
    #: Listed pair (its place in `row`) of each negative, ascending; rows and columns of the negatives.
    of: IntArray
    negative_row: IntArray
    negative_column: IntArray
    #: Weight of each negative; those of one listed pair sum to 1.
    weight: FloatArray
    #: Listed pairs without any negative.
    n_skipped: int

    @property
    def n_negatives(self) -> IntArray:
        """How many each listed pair has."""
        counts: IntArray = np.bincount(self.of, minlength=len(self.row))
        return counts

    def balanced(self, level: FloatArray) -> Matches:
        """
        Weigh negatives that have more than their listed pair as much, in all, as those that have less.

        `level` is rows x columns; who has as much counts half on either side. Listed pairs with negatives on one side
        alone are left out.
        """
        own, others = self.split(level)
        more = (others > own[self.of]) + 0.5 * (others == own[self.of])
        n = len(own)
        sides = [np.bincount(self.of, weights=part, minlength=n) for part in (more, 1 - more)]
        kept = np.minimum(*sides) > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = 0.5 * (more / sides[0][self.of] + (1 - more) / sides[1][self.of])
        mine = kept[self.of]
        return Matches(
            self.row[kept], self.column[kept], self.tolerance[kept], (np.cumsum(kept) - 1)[self.of[mine]],
            self.negative_row[mine], self.negative_column[mine], weight[mine], self.n_skipped + int((~kept).sum()),
        )  # fmt: skip

    def split(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Scores (rows x columns) of the listed pairs and of the negatives."""
        return scores[self.row, self.column], scores[self.negative_row, self.negative_column]


def alike(features: FloatArray, gene: int, tolerance: float) -> BoolArray:
    """Genes whose mean and detection rate (genes x 2) are within a share of those of one of them."""
    mean, rate = features.T
    its_mean, its_rate = features[gene]
    close = np.abs(mean - its_mean) <= tolerance * its_mean
    if its_mean < MEAN_FLOOR:
        close = mean <= MEAN_CEILING
    result: BoolArray = close & (np.abs(rate - its_rate) <= tolerance * max(its_rate, RATE_FLOOR))
    return result


def match_negatives(
    listed: BoolArray,
    negative: BoolArray,
    features: tuple[FloatArray, FloatArray],
    rule: Rule,
    generator: Callable[[int, int], np.random.Generator],
) -> Matches:
    """
    Draw, without replacement, negatives for every listed pair, widening the tolerance where there are too few.

    Parameters
    ----------
    listed, negative
        Rows x columns: pairs to match, and pairs to draw from.
    features
        Mean and detection rate of the genes in rows, and in columns (genes x 2).
    rule
        How close and how many.
    generator
        Generator that belongs to a listed pair, by row and column.
    """
    chosen: list[tuple[int, int, float, IntArray, IntArray]] = []
    rows, columns = np.nonzero(listed)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        tolerance = rule.tolerance
        found = _candidates(negative, features, row, column, tolerance)
        if len(found) < rule.min_matched and rule.wider > tolerance:
            tolerance = rule.wider
            found = _candidates(negative, features, row, column, tolerance)
        if len(found):
            order = generator(row, column).permutation(len(found))[: rule.n_matched]
            drawn = found[np.sort(order)]
            chosen.append((row, column, tolerance, drawn[:, 0], drawn[:, 1]))
    empty = np.zeros(0, dtype=np.int64)
    sizes = np.array([len(one[3]) for one in chosen], dtype=np.int64)
    return Matches(
        row=np.array([one[0] for one in chosen], dtype=np.int64),
        column=np.array([one[1] for one in chosen], dtype=np.int64),
        tolerance=np.array([one[2] for one in chosen], dtype=np.float64),
        of=np.repeat(np.arange(len(chosen)), sizes),
        negative_row=np.concatenate([empty, *(one[3] for one in chosen)]),
        negative_column=np.concatenate([empty, *(one[4] for one in chosen)]),
        weight=np.repeat(1 / np.maximum(sizes, 1), sizes),
        n_skipped=len(rows) - len(chosen),
    )


def _candidates(
    negative: BoolArray, features: tuple[FloatArray, FloatArray], row: int, column: int, tolerance: float
) -> IntArray:
    """Rows and columns of pairs to draw from for one listed pair."""
    of_rows, of_columns = features
    near_rows = np.flatnonzero(alike(of_rows, row, tolerance))
    near_columns = np.flatnonzero(alike(of_columns, column, tolerance))
    places = np.argwhere(negative[np.ix_(near_rows, near_columns)])
    found: IntArray = np.stack([near_rows[places[:, 0]], near_columns[places[:, 1]]], axis=1)
    return found


class Estimate(NamedTuple):
    """A mean over listed pairs, with an interval clustered by both genes of them."""

    value: float
    interval: Interval = Interval(np.nan, np.nan)
    equivalence: Conclusion = ""
    minimum_detectable: float = np.nan


def wins(matches: Matches, scores: FloatArray) -> FloatArray:
    """Share of its own negatives, by weight, that each listed pair stands above, ties counting one half."""
    own, others = matches.split(scores)
    above = (own[matches.of] > others) + 0.5 * (own[matches.of] == others)
    return np.bincount(matches.of, weights=above * matches.weight, minlength=len(own)).astype(np.float64)


def mean_estimate(matches: Matches, values: FloatArray, *, against: float, margin: float, min_units: int) -> Estimate:
    """Mean of one value per listed pair."""
    if not len(values):
        return Estimate(np.nan)
    mean = float(values.mean())
    return _with_interval(matches, (values - mean) / len(values), mean, against, margin, min_units)


def pooled_estimate(matches: Matches, scores: FloatArray, *, margin: float, min_units: int) -> Estimate:
    """AUROC of all listed pairs against all negatives together; what a pair and its negatives do is one influence."""
    own, others = matches.split(scores)
    if not len(own):
        return Estimate(np.nan)
    of_own, of_others = _placements(own, others), 1 - _placements(others, own)
    auroc = float(of_own.mean())
    influence = (of_own - auroc) / len(own)
    influence += np.bincount(matches.of, weights=(of_others - auroc) / len(others), minlength=len(own))
    return _with_interval(matches, influence, auroc, 0.5, margin, min_units)


def _placements(values: FloatArray, among: FloatArray) -> FloatArray:
    """Share of `among` below each value, ties counting one half."""
    ordered = np.sort(among)
    below, up_to = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    share: FloatArray = (below + up_to) / (2 * len(ordered))
    return share


def _with_interval(
    matches: Matches, influence: FloatArray, value: float, against: float, margin: float, min_units: int
) -> Estimate:
    by_row, by_column = (
        np.bincount(np.unique(genes, return_inverse=True)[1], weights=influence).astype(np.float64)
        for genes in (matches.row, matches.column)
    )
    if len(by_row) < min_units:
        return Estimate(value)
    part = np.ones(len(by_row), dtype=bool), np.ones(len(by_column), dtype=bool)
    found = variance_of_sums(by_row, by_column, float(influence @ influence), took_part=part, dyadic=False)
    error = float(np.sqrt(found.two_way))
    return Estimate(
        value,
        t_interval(value, error, found.df),
        equivalence(value - against, error, found.df, margin),
        minimum_detectable(error, found.df),
    )
