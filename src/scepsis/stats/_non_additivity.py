"""How far single components are from adding up, and which order among them survives that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray

#: Factors by which the allowance for bias is multiplied.
LAMBDAS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
#: Standard errors that a bound stays away.
NORMAL = 1.96
#: Standard errors that a total effect needs before anything is a share of it.
RELIABLE = 3.0
#: Share of games that would show a bound above 0 if none was non-additive.
FALSE_BOUNDS = 0.05


def standard_error(values: FloatArray) -> FloatArray:
    """
    Standard error of the mean over cells, along the last axis; NaN for one cell.

    The bootstrap of a mean over cells has this in closed form (but for n - 1 in place of n): none is drawn.
    """
    n = values.shape[-1]
    if n < 2:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.std(axis=-1, ddof=1) / np.sqrt(n))


@dataclass(frozen=True)
class Additivity:
    """How much of a total effect its single components leave over."""

    total: float
    total_error: float
    #: Total effect less the sum over single components.
    residual: float
    residual_error: float
    #: What the residual amounts to at least: its size less 1.96 standard errors, or 0.
    lower_bound: float
    #: That, as a share of the total effect; NaN where the total is within 3 of its standard errors, or constant.
    ratio: float

    @classmethod
    def of(cls, total: FloatArray, single: FloatArray) -> Additivity:
        """
        Compare, cell by cell, the total effect with single components; `single` is components x cells.

        Of one component nothing can be left over, and of one cell nothing is known: NaN.
        """
        left = total - single.sum(axis=0)
        error = float(standard_error(total))
        if len(single) < 2 or len(total) < 2:
            return cls(float(total.mean()), error, np.nan, np.nan, np.nan, np.nan)
        residual, residual_error = float(left.mean()), float(standard_error(left))
        bound = max(0.0, abs(residual) - NORMAL * residual_error)
        mean = float(total.mean())
        reliable = error > 0 and abs(mean) >= RELIABLE * error
        return cls(mean, error, residual, residual_error, bound, bound / abs(mean) if reliable else np.nan)


@dataclass(frozen=True)
class Certificates:
    """Share of the pairs of components whose order is certified, for each factor, and whether the first place is."""

    factors: tuple[float, ...]
    #: By the paper's allowance, the bound spread evenly: a lower bound on bias, which certifies nothing.
    by_bound: FloatArray
    first_by_bound: FloatArray
    #: By the bias of both components, known from their Shapley values.
    by_bias: FloatArray
    first_by_bias: FloatArray


def certificates(
    single: FloatArray,
    bias: FloatArray,
    lower_bound: float,
    *,
    bias_error: FloatArray | None = None,
    sign: float = 1.0,
    factors: Sequence[float] = LAMBDAS,
) -> Certificates:
    r"""
    Which orders of two components survive that single estimates are biased.

    The order of i and j is certified when
    :math:`|\hat m_i - \hat m_j| > \lambda (|b_i| + |b_j|) + 1.96\,\mathrm{SE}(\hat m_i - \hat m_j)`, the standard error
    that of paired cells. The paper's has :math:`2 \lambda A / n` in the place of the biases, with A the lower bound of
    what is left over. Values are NaN for fewer than two components or cells.

    Parameters
    ----------
    single
        Components x cells.
    bias
        Mean of each single estimate less its Shapley value.
    lower_bound
        As :class:`Additivity` has it.
    bias_error
        Standard errors of `bias` from sampled permutations; 1.96 of them are added to its size.
    sign
        Of the total effect: the first place is that of the largest single estimate in this direction.
    factors
        Values of lambda.
    """
    n = len(single)
    steps = tuple(float(factor) for factor in factors)
    if n < 2 or single.shape[1] < 2:
        nothing = np.full(len(steps), np.nan)
        return Certificates(steps, nothing, nothing, nothing, nothing)
    mean = single.mean(axis=1)
    first = int(np.argmax(mean if sign >= 0 else -mean))
    gap = np.abs(mean[:, None] - mean) - NORMAL * _paired_errors(single)
    size = np.abs(bias) + (0.0 if bias_error is None else NORMAL * bias_error)
    allowances = (np.full((n, n), 2 * lower_bound / n), size[:, None] + size)
    pairs = np.triu_indices(n, 1)
    others = np.arange(n) != first
    shares, firsts = [], []
    for allowance in allowances:
        passed = [gap > factor * allowance for factor in steps]
        shares.append(np.array([one[pairs].mean() for one in passed]))
        firsts.append(np.array([float(one[first, others].all()) for one in passed]))
    return Certificates(steps, shares[0], firsts[0], shares[1], firsts[1])


def _paired_errors(single: FloatArray) -> FloatArray:
    """Components x components: standard error of the difference of two, over paired cells."""
    covariance = np.cov(single) / single.shape[1]
    variance = np.diag(covariance)
    return np.asarray(np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 0.0)))


def prevalence_p(n_bounded: int, n_games: int) -> float:
    """Exact binomial p, one-sided: so many bounds above 0 if each were so by chance 1 time in 20."""
    from scipy.stats import binomtest

    return float(binomtest(n_bounded, n_games, FALSE_BOUNDS, alternative="greater").pvalue)
