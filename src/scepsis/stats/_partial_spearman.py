"""
Rank correlation of two scores of pairs, raw and with covariates taken away, and how much each pair moves it.

Pairs share sources and targets. How much each pair moves a correlation (its influence) summed by source and by target
allows for that, as for AUROCs (`scepsis.stats._influence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray

#: A covariate, or what is left of a score, that varies by less than this share of its ranks' spread is constant.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class _Variable:
    """Ranks of one variable under any weights of its observations, from one sort."""

    order: IntArray
    #: Group of ties of every observation, in order of values.
    tie: IntArray
    n_ties: int

    @classmethod
    def of(cls, values: FloatArray) -> _Variable:
        order = np.argsort(values, kind="stable")
        ascending = values[order]
        steps = np.concatenate([[0], np.cumsum(ascending[1:] != ascending[:-1])]).astype(np.int64)
        tie = np.empty(len(values), dtype=np.int64)
        tie[order] = steps
        return cls(order, tie, int(steps[-1]) + 1)

    def ranks(self, weights: FloatArray) -> FloatArray:
        """Weight below each observation, and half of that of its ties."""
        mass = np.bincount(self.tie, weights=weights, minlength=self.n_ties)
        middle = np.cumsum(mass) - mass / 2
        return np.asarray(middle[self.tie])

    def moved(self, gradient: FloatArray) -> FloatArray:
        """By how much weight on each observation moves the sum of `gradient` times ranks: it lifts what is above."""
        mass = np.bincount(self.tie, weights=gradient, minlength=self.n_ties)
        above = mass[::-1].cumsum()[::-1] - mass / 2
        return np.asarray(above[self.tie])


class RankCorrelation:
    r"""
    Spearman's correlation of two scores, raw or partial.

    Both scores and all covariates are turned into ranks (ties share theirs); what a least-squares line in the
    covariates' ranks says is taken from the scores' ranks, and :math:`\rho` is Pearson's correlation of what is left.
    Without covariates that is Spearman's.

    Parameters
    ----------
    first, second
        One value for each pair, NaN-free.
    covariates
        Pairs x covariates; one that does not vary is left out.
    """

    def __init__(self, first: FloatArray, second: FloatArray, covariates: FloatArray | None = None) -> None:
        columns = [] if covariates is None else list(covariates.T)
        varying = [column for column in columns if len(column) and column.min() < column.max()]
        self._scores = (_Variable.of(first), _Variable.of(second))
        self._covariates = [_Variable.of(column) for column in varying]
        self.n = len(first)

    def rho(self, weights: FloatArray | None = None) -> float:
        """The correlation, of pairs that count by `weights`; NaN where nothing is left of either score."""
        given = np.ones(self.n) if weights is None else weights
        left, scale, _ = self._left(given)
        if not scale.all():
            return np.nan
        return float(np.clip((given * left[0]) @ left[1] / (scale[0] * scale[1]), -1, 1))

    def influence(self) -> FloatArray:
        r"""
        Influence of every pair: the change of the correlation is the sum of influence times change of weight.

        With standardised residuals :math:`z, w` of the two scores, the pair itself moves :math:`\rho` by
        :math:`zw - \rho(z^2 + w^2)/2`, over the number of pairs; and it lifts the rank of every pair above it, in
        every variable, by one: the rest is the sum of these lifts times the derivative of :math:`\rho` by each rank.
        Values sum to 0. NaN where the correlation is.
        """
        weights = np.ones(self.n)
        left, scale, slopes = self._left(weights)
        if not scale.all():
            return np.full(self.n, np.nan)
        unit = left / scale[:, None]
        rho = float(unit[0] @ unit[1])
        own = unit[0] * unit[1] - rho * (unit[0] ** 2 + unit[1] ** 2) / 2
        # Derivatives of rho by the ranks of either score; they are orthogonal to the covariates.
        slope = ((unit[1] - rho * unit[0]) / scale[0], (unit[0] - rho * unit[1]) / scale[1])
        total = own
        for variable, gradient in zip(self._scores, slope, strict=True):
            total = total + variable.moved(gradient)
        for variable, (by_first, by_second) in zip(self._covariates, slopes, strict=True):
            total = total - variable.moved(by_first * slope[0] + by_second * slope[1])
        return np.asarray(total)

    def _left(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What is left of the ranks of both scores, its scale (0 for nothing), and their slopes on the covariates."""
        ranks = np.stack([one.ranks(weights) for one in self._scores])
        total = weights.sum()
        ranks = ranks - (ranks @ weights / total)[:, None]
        before = np.sqrt(ranks**2 @ weights)
        slopes = np.zeros((0, 2))
        if self._covariates:
            known = np.stack([one.ranks(weights) for one in self._covariates])
            known = known - (known @ weights / total)[:, None]
            weighted = known * weights
            slopes = np.linalg.lstsq(weighted @ known.T, weighted @ ranks.T, rcond=1e-12)[0]
            ranks = ranks - slopes.T @ known
        scale = np.sqrt(ranks**2 @ weights)
        scale[scale <= NEGLIGIBLE * np.maximum(before, 1)] = 0
        return ranks, scale, slopes
