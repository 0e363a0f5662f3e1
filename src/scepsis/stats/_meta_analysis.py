"""One quantity from several contexts: its mean over them, how far they differ, and which of them does."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._contrasts import NO_INTERVAL
from scepsis.stats._equivalence import equivalence
from scepsis.stats._intervals import t_interval

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.stats._equivalence import Conclusion
    from scepsis.stats._intervals import Interval


@dataclass(frozen=True)
class RandomEffects:
    """Mean over contexts that are themselves drawn from more; NaN with fewer than two."""

    n: int
    mean: float = np.nan
    standard_error: float = np.nan
    #: 95 % interval of the mean, and of a further context.
    interval: Interval = NO_INTERVAL
    prediction: Interval = NO_INTERVAL
    p_value: float = np.nan
    #: Variance between contexts, and the share of it in what is seen.
    tau2: float = np.nan
    i2: float = np.nan
    #: Cochran's Q with one degree of freedom less than there are contexts, and its p-value.
    cochran_q: float = np.nan
    p_heterogeneity: float = np.nan

    def equivalence(self, margin: float) -> Conclusion:
        """What the mean says of a difference that is smaller than a margin."""
        return equivalence(self.mean, self.standard_error, self.n - 1, margin) if self.n > 1 else ""


def random_effects(effects: FloatArray, errors: FloatArray) -> RandomEffects:
    r"""
    Summarise estimates of the same quantity.

    The variance between contexts is that of Paule and Mandel (1982): :math:`\tau^2` at which
    :math:`\sum_k (y_k - \mu)^2 / (s_k^2 + \tau^2)` is its degrees of freedom, 0 where it cannot be so large. The
    standard error of the mean is that of Hartung and Knapp (2001), t with one degree of freedom less than there are
    contexts, but not below the plain one, which it undercuts when few contexts happen to agree. The interval of a
    further context has two degrees of freedom less (Higgins, Thompson and Spiegelhalter 2009), and needs three.

    Parameters
    ----------
    effects, errors
        Estimates, and standard errors above 0.
    """
    from scipy.special import stdtr
    from statsmodels.stats.meta_analysis import combine_effects

    n = len(effects)
    if n < 2:
        return RandomEffects(n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about intervals of the single samples, which are not used
        found = combine_effects(effects, errors**2, method_re="iterated", use_t=True)
    mean, tau2 = float(found.mean_effect_re), max(float(found.tau2), 0.0)
    error = max(float(found.sd_eff_w_re), float(found.sd_eff_w_re_hksj))
    homogeneity = found.test_homogeneity()
    spread = float(np.sqrt(tau2 + error**2))
    return RandomEffects(
        n=n,
        mean=mean,
        standard_error=error,
        interval=t_interval(mean, error, n - 1),
        prediction=t_interval(mean, spread, n - 2) if n > 2 else NO_INTERVAL,
        p_value=2 * float(stdtr(n - 1, -abs(mean) / error)),
        tau2=tau2,
        i2=max(float(found.i2), 0.0),
        cochran_q=float(homogeneity.statistic),
        p_heterogeneity=float(homogeneity.pvalue),
    )


def deviations(effects: FloatArray, errors: FloatArray) -> FloatArray:
    r"""
    How far each context is from what the others predict, in standard errors; NaN with fewer than three.

    .. math:: z_k = \frac{y_k - \mu_{-k}}{\sqrt{s_k^2 + \tau^2_{-k} + \mathrm{se}(\mu_{-k})^2}}

    with mean and variance between contexts of all others (externally standardised residuals, Viechtbauer and Cheung
    2010).
    """
    n = len(effects)
    result = np.full(n, np.nan)
    for index in range(n if n > 2 else 0):
        others = random_effects(np.delete(effects, index), np.delete(errors, index))
        variance = 1 / np.sum(1 / (np.delete(errors, index) ** 2 + others.tau2))
        result[index] = (effects[index] - others.mean) / np.sqrt(errors[index] ** 2 + others.tau2 + variance)
    return result


@dataclass(frozen=True)
class Difference:
    """Two contexts compared, first less second, as independent estimates."""

    first: int
    second: int
    difference: float
    standard_error: float

    @property
    def z(self) -> float:
        return self.difference / self.standard_error

    @property
    def interval(self) -> Interval:
        return t_interval(self.difference, self.standard_error, np.inf)

    @property
    def p_value(self) -> float:
        return two_sided(self.z)


def differences(effects: FloatArray, errors: FloatArray) -> list[Difference]:
    """Compare every two contexts."""
    return [
        Difference(i, j, float(effects[i] - effects[j]), float(np.hypot(errors[i], errors[j])))
        for i, j in combinations(range(len(effects)), 2)
    ]


def two_sided(z: float) -> float:
    """p-value of a standard normal value."""
    from scipy.special import ndtr

    return 2 * float(ndtr(-abs(z)))


def error_of_interval(low: float, high: float, n_units: int) -> float:
    """Standard error that a 95 % t interval with one degree of freedom less than units was made from; NaN if none."""
    from scipy.special import stdtrit

    if n_units < 2 or not np.isfinite(high - low) or high <= low:
        return np.nan
    return (high - low) / 2 / float(stdtrit(n_units - 1, 0.975))
