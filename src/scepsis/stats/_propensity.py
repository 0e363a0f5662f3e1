"""How likely a target responds, by what it shows alone: fitted without the perturbations that it is said of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._rng import child
from scepsis.stats._held_out import encoded_frequency, rows_of
from scepsis.stats._learners import logistic_scores
from scepsis.stats._splits import Blocks, draw_blocks, folds_of

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray
    from scepsis.stats._learners import Pairs


@dataclass(frozen=True)
class Propensity:
    """What is said of every pair by the model that was fitted without its unit; units x targets."""

    #: Log odds of responding; NaN where the other units lack a class.
    logit: FloatArray
    #: Share of the units of all other folds that the target responds to.
    frequency: FloatArray
    #: Fold of every unit.
    fold: IntArray


def cross_fitted(data: Pairs, n_folds: int, seed: int) -> Propensity:
    """
    Model which targets respond by their features and by how often they respond to units of other folds.

    Logistic regression, standardised, with a small ridge penalty. Within a fold a target has one propensity, whatever
    its labels there: nothing that a pair is matched by has seen the pair.
    """
    n = (data.labels >= 0).sum(axis=1)
    unit = draw_blocks(data.group, n, n_folds, child(seed, "matched_evaluation", "folds"))
    blocks = Blocks(unit, np.zeros(data.labels.shape[1], dtype=np.int64))
    logit, frequency = np.full((2, *data.labels.shape), np.nan)
    for fold in folds_of("perturbation", blocks) if blocks.n_units > 1 else []:
        encoded = encoded_frequency(data, blocks, fold, seed)
        held_out = unit == fold.unit
        frequency[held_out] = encoded[held_out]
        rows = rows_of(data, blocks, fold)
        if rows is not None:
            logit.flat[data.rows[rows[1]]] = logistic_scores(data, [data.column(encoded)], *rows, alone=False)[0]
    return Propensity(logit, frequency, unit)
