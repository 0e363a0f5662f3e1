"""What edges add to gene features in a matched sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._auroc import auroc, placements
from scepsis.stats._contrasts import contrast
from scepsis.stats._influence import ClusterSums
from scepsis.stats._learners import logistic, standardiser
from scepsis.stats._weighted_auroc import weighted_auroc_by_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._contrasts import Contrast
    from scepsis.stats._matching import Matched


@dataclass(frozen=True)
class Ranked:
    """How well one score ranks the responders of every unit of a matched sample."""

    #: One for each unit; NaN where a class is missing.
    auroc: FloatArray
    #: Influence of every row.
    influence: FloatArray
    #: Units in which all rows have the same score.
    constant: BoolArray


def held_out_scores(
    matched: Matched, features: FloatArray, columns: Sequence[FloatArray], fold: IntArray
) -> FloatArray:
    """
    Log odds of every row under a logistic model of the rows of other folds, models x rows.

    The first model has `features` (rows x features) alone, the others one of `columns` more each. Rows are weighted
    as they were matched, and standardised on those that are fitted on. NaN for a fold that the others lack a class
    for.
    """
    result = np.full((1 + len(columns), len(matched.unit)), np.nan)
    for number in np.unique(fold):
        test = fold == number
        positive, weight = matched.positive[~test], matched.weight[~test]
        if positive.all() or not positive.any():
            continue
        design = _standardised(features.T, test, weight)
        alone = logistic(design[:, ~test], weight * positive, weight)
        result[0, test] = alone @ design[:, test]
        for index, column in enumerate(columns, start=1):
            wider = np.vstack([design, _standardised(column[None], test, weight)[1:]])
            fitted = logistic(wider[:, ~test], weight * positive, weight, start=np.append(alone, 0.0))
            result[index, test] = fitted @ wider[:, test]
    return result


def _standardised(values: FloatArray, test: BoolArray, weight: FloatArray) -> FloatArray:
    """Columns x rows after a row of ones, standardised on what is not tested."""
    mean, sd = standardiser(values[:, ~test], weight)
    return np.vstack([np.ones(values.shape[1]), (values - mean[:, None]) / sd[:, None]])


def rank_units(matched: Matched, scores: FloatArray, n_units: int) -> Ranked:
    """Rank the rows of every unit by `scores`; a row without a score takes no part."""
    weight = np.where(np.isnan(scores), 0.0, matched.weight)
    filled = np.where(np.isnan(scores), 0.0, scores)
    return Ranked(*weighted_auroc_by_unit(filled, matched.unit, matched.positive, weight, n_units))


def compare(
    matched: Matched,
    one: Ranked,
    other: Ranked | None,
    *,
    units: BoolArray,
    n_targets: int,
    margin: float,
    min_units: int,
) -> tuple[Contrast, BoolArray]:
    """
    Compare two scores, or one with chance, over the units that count and for which both are defined.

    Also gives these units. The interval is clustered by unit and target.
    """
    differences = one.auroc - (0.5 if other is None else other.auroc)
    influence = one.influence if other is None else one.influence - other.influence
    used = units & ~np.isnan(differences)
    rows = used[matched.unit]
    took_part = np.zeros(n_targets, dtype=bool)
    took_part[matched.target[rows]] = True
    sums = ClusterSums(
        by_gene=np.bincount(matched.target[rows], influence[rows], minlength=n_targets).astype(np.float64),
        took_part=took_part,
        of_pairs=float(influence[rows] @ influence[rows]),
        n_units=int(used.sum()),
    )
    return contrast(differences[used], sums, margin=margin, min_units=min_units), used


def rank_all(labels: IntArray, scores: FloatArray) -> FloatArray:
    """AUROC of every unit among all of its pairs, units x targets; NaN where a class is missing."""
    return auroc(placements(scores, labels == 1, labels >= 0))
