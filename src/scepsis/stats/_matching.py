"""Samples in which responders and others are alike in their propensity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: What breaks ties of propensities at random, in log odds.
JITTER = 1e-9
#: Newton steps at most, their smallest share, and how far (of all weight) a covariate may be from what is wanted.
MAX_STEPS, SMALLEST_STEP, TOLERANCE = 100, 1e-6, 1e-10


@dataclass(frozen=True)
class Matched:
    """Rows of a matched sample, by unit (perturbation); no pair of a unit and a target occurs twice."""

    unit: IntArray
    target: IntArray
    positive: BoolArray
    #: A responder counts 1 where it was matched; another counts for the share that it has in the matches.
    weight: FloatArray
    #: Responders of each unit that found no partner.
    n_unmatched: IntArray
    #: Unit, responder, partner and distance of every match; None where there are no single matches.
    links: tuple[IntArray, IntArray, IntArray, FloatArray] | None = None


def nearest(queries: FloatArray, among: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """
    Positions of the `k` values of `among` nearest to each query, and their distances, nearest first.

    Where there are fewer than k, position -1 at an infinite distance. One sort; then the nearest of a query lie in
    the window of k values on either side of its place.
    """
    order = np.argsort(among, kind="stable")
    place = among[order].searchsorted(queries)[:, None] + np.arange(-k, k)
    inside = (place >= 0) & (place < len(among))
    index = np.where(inside, order.take(place, mode="clip") if len(order) else -1, -1)
    values = among.take(index, mode="clip") if len(among) else np.zeros(index.shape)
    distance = np.where(inside, np.abs(values - queries[:, None]), np.inf)
    first = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(index, first, axis=1), np.take_along_axis(distance, first, axis=1)


def jittered(logit: FloatArray, rng: np.random.Generator) -> FloatArray:
    """`logit` with its ties broken at random, so that partners of equal propensity are drawn evenly."""
    result: FloatArray = logit + rng.uniform(-JITTER, JITTER, logit.shape)
    return result


def pooled_sd(values: FloatArray, labels: IntArray) -> float:
    """Root of the mean variance of responders and others."""
    parts = [values[(labels == label) & ~np.isnan(values)] for label in (0, 1)]
    if min(len(part) for part in parts) < 2:
        return np.nan
    return float(np.sqrt(np.mean([np.var(part, ddof=1) for part in parts])))


def match_within(labels: IntArray, logit: FloatArray, *, k: int, caliper: float) -> Matched:
    """
    Match every responder with up to `k` other targets of the same unit, with replacement.

    Only partners within `caliper` (in logits) count. A responder's partners share its weight of 1 evenly, so that
    the partners of a unit weigh as much as its responders.

    Parameters
    ----------
    labels
        Units x targets: 1 responds, 0 does not, -1 takes no part.
    logit
        Units x targets, without ties (`jittered`).
    """
    rows: list[tuple[IntArray, IntArray, BoolArray, FloatArray]] = []
    links: list[tuple[IntArray, IntArray, IntArray, FloatArray]] = []
    n_unmatched = np.zeros(len(labels), dtype=np.int64)
    for unit, (label, score) in enumerate(zip(labels, logit, strict=True)):
        positives = np.flatnonzero(label == 1)
        negatives = np.flatnonzero((label == 0) & ~np.isnan(score))
        index, distance = nearest(score[positives], score[negatives], k)
        near = distance <= caliper + 2 * JITTER
        found = near.sum(axis=1)
        n_unmatched[unit] = int((found == 0).sum())
        responder, _ = np.nonzero(near)
        partner = negatives[index[near]]
        share = np.bincount(partner, 1 / found[responder], minlength=len(label)).astype(np.float64)
        used = np.flatnonzero(share)
        matched = positives[found > 0]
        rows.append(_stacked(unit, matched, np.ones(len(matched)), used, share[used]))
        links.append((np.full(len(partner), unit), positives[responder], partner, distance[near]))
    unit_of, target, positive, weight = _concatenated(rows)
    return Matched(unit_of, target, positive, weight, n_unmatched, _joined(links))


def match_globally(labels: IntArray, logit: FloatArray, *, k: int) -> Matched:
    """
    Match every responder with the `k` other pairs nearest in propensity, of whatever unit, and drop duplicates.

    With replacement and without a caliper; all rows weigh the same. A pair that was chosen by many responders counts
    once, so that responders and others are less alike than their matches.
    """
    known = ~np.isnan(logit)
    positives, negatives = np.flatnonzero((labels == 1) & known), np.flatnonzero((labels == 0) & known)
    index, _ = nearest(logit.ravel()[positives], logit.ravel()[negatives], k)
    chosen = negatives[np.unique(index[index >= 0])]
    positives = positives if len(chosen) else positives[:0]
    pair = np.concatenate([positives, chosen])
    positive = np.arange(len(pair)) < len(positives)
    order = np.argsort(pair)
    unit, target = np.divmod(pair[order], labels.shape[1])
    n_unmatched = (labels == 1).sum(axis=1) - np.bincount(unit[positive[order]], minlength=len(labels))
    return Matched(unit, target, positive[order], np.ones(len(pair)), n_unmatched)


def restricted(matched: Matched, units: BoolArray) -> Matched:
    """The rows of some units."""
    rows, links = units[matched.unit], matched.links
    if links is not None:
        linked = units[links[0]]
        links = links[0][linked], links[1][linked], links[2][linked], links[3][linked]
    return replace(
        matched,
        unit=matched.unit[rows],
        target=matched.target[rows],
        positive=matched.positive[rows],
        weight=matched.weight[rows],
        links=links,
    )


def rebalanced(matched: Matched, covariates: FloatArray) -> Matched:
    r"""
    Change the weights of the partners so that covariates have the same means as in the responders.

    Entropy balancing (Hainmueller 2012) of a matched sample: of all weights with these means, those nearest to the
    ones that matching gave, in each unit as heavy as before. They are
    :math:`w_j e^{\lambda x_j} / \sum_{i \in u} w_i e^{\lambda x_i}` times the weight of the unit u's responders, and
    :math:`\lambda` solves a convex problem with as many unknowns as there are covariates. Where responders lie outside
    of their partners there is no solution, and the weights are the best that were found.

    Parameters
    ----------
    covariates
        Rows x covariates.
    """
    positive, unit, weight = matched.positive, matched.unit, matched.weight
    if not len(unit):
        return matched
    spread = covariates.std(axis=0)
    x = (covariates - covariates.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    problem = _Tilt(x[~positive], unit[~positive], weight[~positive], x[positive].sum(axis=0))
    changed = weight.copy()
    changed[~positive] = problem.weights(problem.solved())
    return replace(matched, weight=changed)


class _Tilt:
    """Weights of partners as a function of the multipliers of their covariates."""

    def __init__(self, x: FloatArray, unit: IntArray, weight: FloatArray, wanted: FloatArray) -> None:
        self._x, self._unit, self._weight, self._wanted = x, unit, weight, wanted
        self._n_units = int(unit.max(initial=-1)) + 1
        self._of_unit = self._sums(weight)

    def _sums(self, values: FloatArray) -> FloatArray:
        return np.bincount(self._unit, values, minlength=self._n_units).astype(np.float64)

    def weights(self, multipliers: FloatArray) -> FloatArray:
        tilted, total = self._tilted(multipliers)
        weights: FloatArray = tilted * (self._of_unit / total)[self._unit]
        return weights

    def _tilted(self, multipliers: FloatArray) -> tuple[FloatArray, FloatArray]:
        score = self._x @ multipliers
        tilted = self._weight * np.exp(score - score.max(initial=-np.inf))
        total = self._sums(tilted)
        return tilted, np.where(total > 0, total, 1.0)

    def _value(self, multipliers: FloatArray) -> float:
        """What is least at the solution; the weighted log partition of every unit less the wanted sums."""
        score = self._x @ multipliers
        _, total = self._tilted(multipliers)
        logs = np.log(total) + score.max(initial=-np.inf)
        return float(self._of_unit @ np.where(self._of_unit > 0, logs, 0.0) - multipliers @ self._wanted)

    def solved(self) -> FloatArray:
        """Multipliers by Newton's method with halved steps."""
        multipliers = np.zeros(self._x.shape[1])
        value = self._value(multipliers)
        for _ in range(MAX_STEPS):
            weights = self.weights(multipliers)
            gradient = weights @ self._x - self._wanted
            if np.abs(gradient).max() < TOLERANCE * max(self._of_unit.sum(), 1.0):
                break
            step = np.linalg.lstsq(self._curvature(weights), gradient, rcond=1e-10)[0]
            size = 1.0
            while (tried := self._value(multipliers - size * step)) > value - 1e-4 * size * float(gradient @ step):
                size /= 2
                if size < SMALLEST_STEP:
                    return multipliers
            multipliers, value = multipliers - size * step, tried
        return multipliers

    def _curvature(self, weights: FloatArray) -> FloatArray:
        means = np.stack([self._sums(weights * column) for column in self._x.T], axis=1)
        means /= np.where(self._of_unit > 0, self._of_unit, 1.0)[:, None]
        curvature: FloatArray = (self._x.T * weights) @ self._x - (means.T * self._of_unit) @ means
        return curvature


def _stacked(
    unit: int, positives: IntArray, of_positives: FloatArray, negatives: IntArray, of_negatives: FloatArray
) -> tuple[IntArray, IntArray, BoolArray, FloatArray]:
    target = np.concatenate([positives, negatives])
    positive = np.arange(len(target)) < len(positives)
    return np.full(len(target), unit), target, positive, np.concatenate([of_positives, of_negatives])


def _concatenated(
    rows: list[tuple[IntArray, IntArray, BoolArray, FloatArray]],
) -> tuple[IntArray, IntArray, BoolArray, FloatArray]:
    unit, target, positive, weight = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return unit, target, positive, weight


def _joined(
    links: list[tuple[IntArray, IntArray, IntArray, FloatArray]],
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    unit, positive, negative, distance = (np.concatenate(parts) for parts in zip(*links, strict=True))
    return unit, positive, negative, distance
