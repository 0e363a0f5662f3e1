"""Paired comparisons over units: signed ranks, and the size of the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray

#: Differences of ratios that are equal on paper differ in the last bits; they are tied after rounding to this.
DECIMALS = 12
#: Largest number of differences for which the distribution is enumerated.
MAX_EXACT = 25
#: Units below which Cohen's d is corrected for its bias.
HEDGES_BELOW = 20


class SignedRank(NamedTuple):
    """Result of a signed-rank test."""

    #: Smaller of the two sums of ranks.
    statistic: float
    p_value: float
    #: Differences other than zero.
    n: int
    exact: bool


def signed_rank(differences: FloatArray) -> SignedRank:
    """
    Wilcoxon's signed-rank test, two-sided.

    Zeros are dropped. Up to 25 differences without ties the distribution is exact, otherwise normal with
    continuity and tie correction. Without any difference other than zero, p is 1.
    """
    from scipy.stats import wilcoxon

    rounded = np.round(differences[~np.isnan(differences)], DECIMALS)
    rounded = rounded[rounded != 0]
    n = len(rounded)
    if not n:
        return SignedRank(0.0, 1.0, 0, exact=True)
    exact = n <= MAX_EXACT and len(np.unique(np.abs(rounded))) == n
    result = wilcoxon(rounded, correction=not exact, method="exact" if exact else "asymptotic")
    return SignedRank(float(result.statistic), float(result.pvalue), n, exact)


def cohen_d(differences: FloatArray) -> float:
    """
    Mean difference in units of its standard deviation over pairs.

    Below 20 units multiplied by Hedges' factor ``1 - 3 / (4 (n - 1) - 1)``. NaN below two units or without variation.
    """
    differences = differences[~np.isnan(differences)]
    n = len(differences)
    if n < 2:
        return np.nan
    spread = float(np.std(differences, ddof=1))
    if spread < 10.0**-DECIMALS:
        return np.nan
    correction = 1 - 3 / (4 * (n - 1) - 1) if n < HEDGES_BELOW else 1.0
    return correction * float(np.mean(differences)) / spread
