"""What each perturbation's AUROC would be with a planted signal, from counts: no pair that stays is ranked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from scepsis.stats._planted import DELTAS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._ranking import Ranking, Responders
    from scepsis.stats._row_scores import RowScores


def planted_aurocs(
    scores: RowScores, index: int, ranking: Ranking, responders: Responders, rng: np.random.Generator
) -> FloatArray:
    """
    AUROC of every perturbation with a signal of each of `DELTAS` planted in one score, deltas x perturbations.

    A random half of the responders of all perturbations that count is raised by `delta` standard deviations of the
    scores of all their candidates, as `scepsis.stats._planted.planted` does. Pairs, and perturbations that count, are
    those of `ranking`, where the score is at `index`; NaN for the others. Only negatives that a responder passes
    change its AUROC, and these are counted.

    Notes
    -----
    ``R T log T`` for R perturbations and T targets; memory is a block of rows.
    """
    used = ranking.used[index]
    result: FloatArray = np.where(used, ranking.auroc[index], np.nan) + np.zeros((len(DELTAS), 1))
    n_columns = responders.labels.shape[1]
    places, spread = _responders(scores, ranking, responders, used)
    chosen = np.sort(rng.permutation(places)[: len(places) // 2])
    if not len(chosen):
        return result
    shifts = np.array(DELTAS) * spread
    for rows, valid in _blocks(ranking, responders, used):
        values = scores.rows(rows)
        negative = valid & (responders.labels[rows] != 1)
        below = np.sort(np.where(negative, values, values.dtype.type(np.inf)), axis=1)
        first, last = chosen.searchsorted([rows.start * n_columns, rows.stop * n_columns])
        own = chosen[first:last] - rows.start * n_columns
        n_pos, n_neg = ranking.n_pos[index, rows], ranking.n_neg[index, rows]
        passed = _passed(below, n_neg, own // n_columns, values.ravel()[own].astype(np.float64), shifts)
        result[:, rows] += passed / np.maximum(2 * n_pos * n_neg, 1)
    return result


def _blocks(ranking: Ranking, responders: Responders, used: BoolArray) -> Iterator[tuple[slice, BoolArray]]:
    """Rows, and which of their pairs take part."""
    for start in range(0, len(used), responders.block):
        rows = slice(start, min(start + responders.block, len(used)))
        yield rows, ranking.complete[rows] & used[rows, None]


def _responders(scores: RowScores, ranking: Ranking, responders: Responders, used: BoolArray) -> tuple[IntArray, float]:
    """Flat positions of the responders that take part, and the standard deviation of all scores that do."""
    places, center = [np.zeros(0, dtype=np.int64)], 0.0
    n, total, squares = 0, 0.0, 0.0
    for rows, valid in _blocks(ranking, responders, used):
        places.append(np.flatnonzero(valid & (responders.labels[rows] == 1)) + rows.start * valid.shape[1])
        values = scores.rows(rows)[valid].astype(np.float64)
        if not n and len(values):
            center = float(values.mean())  # near the mean of all, so that the squares lose no digits
        values -= center
        n, total, squares = n + len(values), total + float(values.sum()), squares + float(values @ values)
    spread = np.sqrt(max(squares - total**2 / n, 0.0) / n) if n else 0.0
    return np.concatenate(places), float(spread)


@numba.njit(cache=True)
def _passed(below: FloatArray, n_below: IntArray, row: IntArray, value: FloatArray, shifts: FloatArray) -> FloatArray:
    """Half wins that responders gain when they are raised, shifts x rows; `below` are negatives in ascending order."""
    gained = np.zeros((len(shifts), len(below)))
    for item in range(len(row)):
        negatives = below[row[item], : n_below[row[item]]]
        here = np.searchsorted(negatives, value[item]) + np.searchsorted(negatives, value[item], side="right")
        for place in range(len(shifts)):
            raised = value[item] + shifts[place]
            there = np.searchsorted(negatives, raised) + np.searchsorted(negatives, raised, side="right")
            gained[place, row[item]] += there - here
    return gained
