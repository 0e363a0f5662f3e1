"""Whether two groups are alike in their covariates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray


def standardised_differences(values: FloatArray, positive: BoolArray, weight: FloatArray | None = None) -> FloatArray:
    r"""
    Standardised mean difference of every covariate, positives less the others.

    .. math:: (m_1 - m_0) / \sqrt{(s_1^2 + s_0^2) / 2}

    with weighted means, and variances whose denominator is :math:`W - \sum w^2 / W` (n - 1 for equal weights). NaN
    for fewer than two rows in a group, 0 for a covariate that is the same everywhere.

    Parameters
    ----------
    values
        Rows x covariates.
    """
    weight = np.ones(len(values)) if weight is None else weight
    (m1, v1), (m0, v0) = (_moments(values[group], weight[group]) for group in (positive, ~positive))
    spread = np.sqrt((v1 + v0) / 2)
    difference = m1 - m0
    result: FloatArray = np.divide(difference, spread, out=np.where(difference == 0, 0.0, np.nan), where=spread > 0)
    return result


def _moments(values: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    total = weight.sum()
    free = total - (weight**2).sum() / total if total > 0 else 0.0
    if not free > 0:
        unknown = np.full(values.shape[1], np.nan)
        return unknown, unknown
    mean = weight @ values / total
    return mean, weight @ (values - mean) ** 2 / free
