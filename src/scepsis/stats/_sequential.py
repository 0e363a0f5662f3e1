"""A Monte-Carlo p-value that stops drawing once the decision is clear."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: Draws at least as extreme after which no more are made: p is then known within about a third of itself.
N_EXCEED = 10


@dataclass
class SequentialTest:
    r"""
    Besag and Clifford's sequential Monte-Carlo test, one-sided: how rare is a value as large as `observed`?

    Draws are taken one after the other until `n_exceed` of them are at least as large, or until there are `n_most`. If
    it stopped after `l` draws, the p-value is :math:`h / l`; if it never stopped and `g` were as large,
    :math:`(g + 1) / (n + 1)`. Under exchangeability both are valid at every level (Besag and Clifford 1991), for
    :math:`P(L \ge l) = h / l`: a value needs to be among the `h` largest of `l` to go on.

    Parameters
    ----------
    observed
        The value that draws are held against.
    n_most
        Draws at most.
    n_exceed
        Draws as large as the observed value after which it stops, `h`.
    """

    observed: float
    n_most: int
    n_exceed: int = N_EXCEED
    draws: list[float] = field(default_factory=list)

    @property
    def exceeded(self) -> int:
        """Draws at least as large as the observed value. A NaN counts: what is not known does not speak for it."""
        return sum(not one < self.observed for one in self.draws)

    @property
    def stopped(self) -> bool:
        """Whether it stopped because enough draws were as large."""
        return self.exceeded >= self.n_exceed

    @property
    def done(self) -> bool:
        """Whether no more draws are needed."""
        return self.stopped or len(self.draws) >= self.n_most

    @property
    def n_ahead(self) -> int:
        """Draws that it will take from here, as far as can be told from those made; 0 when it is done."""
        if self.done:
            return 0
        lacking, n = self.n_exceed - self.exceeded, len(self.draws)
        expected = lacking * (n + 1) // (self.exceeded + 1)
        return min(max(lacking, expected), self.n_most - n)

    def add(self, draw: float) -> None:
        """Take one more draw, unless it is done."""
        if not self.done:
            self.draws.append(draw)

    @property
    def p_value(self) -> float:
        """As far as it has come; NaN for an observed value that is not defined, or without draws."""
        if np.isnan(self.observed) or not self.draws:
            return np.nan
        if self.stopped:
            return self.exceeded / len(self.draws)
        return (self.exceeded + 1) / (len(self.draws) + 1)

    @property
    def floor(self) -> float:
        """Smallest p-value that could have been reached."""
        return 1 / (self.n_most + 1)

    def randomised(self, u: float) -> float:
        """
        Give a p-value that is exactly uniform under the null, with `u` uniform between 0 and 1.

        It lies between the p-value and the next smaller one that could have been. That is so where no two values are
        equal; draws that equal the observed value count as larger, and make it larger.
        """
        if np.isnan(self.observed) or not self.draws:
            return np.nan
        n = len(self.draws)
        if self.stopped:
            low, high = self.exceeded / (n + 1), self.exceeded / n
        else:
            low, high = self.exceeded / (n + 1), (self.exceeded + 1) / (n + 1)
        return low + u * (high - low)

    @property
    def percentile(self) -> float:
        """Share of draws that are smaller than the observed value, in percent."""
        return np.nan if not self.draws else 100 * (1 - self.exceeded / len(self.draws))
