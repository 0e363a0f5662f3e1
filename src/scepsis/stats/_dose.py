"""Whether an effect grows with the dose, over units that got every dose."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray


class Trend(NamedTuple):
    """Result of a test of a monotone trend."""

    #: Page's L.
    statistic: float
    #: One-sided.
    p_value: float
    #: Slope of the mean over units on the rank of the dose.
    slope: float
    n_units: int


def decreasing(values: FloatArray) -> Trend:
    r"""
    Page's test that values fall from the first dose to the last, one-sided.

    Within every unit doses are ranked (ties share the mean rank), :math:`L = \sum_j j R_j` over the sums of ranks of
    the doses, j counted from the largest dose; its distribution is that of shuffled doses within units. Units are
    taken as independent. With up to 12 units (20 of three doses) without ties it is enumerated, else taken as normal.

    Parameters
    ----------
    values
        Units x doses, doses ascending; a unit with a NaN is left out.
    """
    from scipy.stats import page_trend_test

    values = values[~np.isnan(values).any(axis=1)]
    n_units, n_doses = values.shape
    if n_units < 2 or n_doses < 3:
        return Trend(np.nan, np.nan, np.nan, n_units)
    found = page_trend_test(np.round(values[:, ::-1], 12))
    places = np.arange(n_doses) - (n_doses - 1) / 2
    slope = float(values.mean(axis=0) @ places / (places @ places))
    return Trend(float(found.statistic), float(found.pvalue), slope, n_units)
