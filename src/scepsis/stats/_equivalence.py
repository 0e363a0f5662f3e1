"""What a difference that is not significant says: equal within a margin, or nothing yet."""

from __future__ import annotations

from typing import Literal

import numpy as np

from scepsis.stats._intervals import t_interval

Conclusion = Literal["equivalent", "different", "inconclusive", ""]


def equivalence(estimate: float, standard_error: float, df: int, margin: float, alpha: float = 0.05) -> Conclusion:
    """
    Conclude from intervals, in this order.

    ``equivalent`` when the ``1 - 2 alpha`` interval lies within plus and minus `margin`, which is two one-sided tests
    at `alpha` each (a difference can be equivalent *and* significant: too small to matter, too certain to be 0);
    ``different`` when the ``1 - alpha`` interval excludes 0; else ``inconclusive``. Empty when there is no interval.
    """
    if df < 1 or not np.isfinite(standard_error):
        return ""
    if t_interval(estimate, standard_error, df, 1 - 2 * alpha).within(margin):
        return "equivalent"
    return "different" if t_interval(estimate, standard_error, df, 1 - alpha).excludes(0.0) else "inconclusive"


def minimum_detectable(standard_error: float, df: int, power: float = 0.8, alpha: float = 0.05) -> float:
    r"""
    Smallest difference that a two-sided test at `alpha` finds with probability `power`.

    :math:`(t_{1-\alpha/2} + t_\mathrm{power})` standard errors, at the degrees of freedom of that error.
    """
    from scipy.special import stdtrit

    if df < 1 or not np.isfinite(standard_error):
        return np.nan
    return float(stdtrit(df, 1 - alpha / 2) + stdtrit(df, power)) * standard_error
