"""Student intervals and tests of a mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray


class Interval(NamedTuple):
    """A range of values."""

    low: float
    high: float

    def negated(self) -> Interval:
        """The range of the values with their signs changed."""
        return Interval(-self.high, -self.low)

    def within(self, margin: float) -> bool:
        """Whether the whole range is closer to 0 than `margin`."""
        return self.low > -margin and self.high < margin

    def excludes(self, value: float = 0.0) -> bool:
        """Whether `value` is outside."""
        return self.low > value or self.high < value


def t_interval(mean: float, standard_error: float, df: float, level: float = 0.95) -> Interval:
    """``mean`` plus and minus the t quantile times the standard error; NaN without degrees of freedom."""
    from scipy.special import stdtrit

    if df < 1 or not np.isfinite(standard_error):
        return Interval(np.nan, np.nan)
    half = float(stdtrit(df, 0.5 + level / 2)) * standard_error
    return Interval(mean - half, mean + half)


class MeanTest(NamedTuple):
    """Mean of units, its interval and its test."""

    mean: float
    sd: float
    interval: Interval
    p_value: float


def one_sample_t(values: FloatArray, against: float = 0.0, level: float = 0.95) -> MeanTest:
    """
    Student's t test of a mean, two-sided, and the interval that belongs to it. `values` are free of NaN.

    Without variation there is no test: p is NaN (the interval has width 0).
    """
    from scipy.special import stdtr

    n = len(values)
    if n < 2:
        return MeanTest(float(values.mean()) if n else np.nan, np.nan, Interval(np.nan, np.nan), np.nan)
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    error = sd / np.sqrt(n)
    p = 2 * float(stdtr(n - 1, -abs(mean - against) / error)) if error > 0 else np.nan
    return MeanTest(mean, sd, t_interval(mean, error, n - 1, level), p)
