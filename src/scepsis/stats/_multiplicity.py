"""False discovery control within one family of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under independence or positive dependence."""
    return _adjust(p, "bh")


def benjamini_yekutieli(p: FloatArray) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under any dependence."""
    return _adjust(p, "by")


def _adjust(p: FloatArray, method: Literal["bh", "by"]) -> FloatArray:
    """Correct over the tests that were made; a NaN is a test that was not, and stays NaN."""
    from scipy.stats import false_discovery_control  # noqa: PLC0415

    p = np.asarray(p, dtype=np.float64)
    made = ~np.isnan(p)
    adjusted = np.full(p.shape, np.nan)
    if made.any():
        adjusted[made] = false_discovery_control(p[made], method=method)
    return adjusted
