"""False discovery control within one family of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under independence or positive dependence."""
    return _step_up(p)


def benjamini_yekutieli(p: FloatArray) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under any dependence."""
    n = np.count_nonzero(~np.isnan(p))
    return _step_up(p, factor=float((1 / np.arange(1, n + 1)).sum()))


def _step_up(p: FloatArray, factor: float = 1.0) -> FloatArray:
    """Adjust over the tests that were made; a NaN is a test that was not, and stays NaN."""
    order = np.argsort(p)  # NaN last
    order = order[: np.count_nonzero(~np.isnan(p))]
    scaled = factor * len(order) * p[order] / np.arange(1, len(order) + 1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
