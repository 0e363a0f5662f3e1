"""False discovery control within one family of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under independence or positive dependence."""
    return _step_up(p)


def benjamini_yekutieli(p: FloatArray) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under any dependence."""
    n = np.count_nonzero(~np.isnan(p))
    return _step_up(p, factor=float((1 / np.arange(1, n + 1)).sum()))


def simes(p: FloatArray) -> float:
    """
    One p-value for the hypothesis that every null of a family holds.

    The smallest Benjamini-Hochberg value of the family (Simes 1986); NaN for a family without tests.
    """
    return float(np.nanmin(benjamini_hochberg(p))) if (~np.isnan(p)).any() else np.nan


class TwoLevel(NamedTuple):
    """Families that were selected, and what was found within them."""

    #: Simes' p-value of each family, and those corrected over families.
    p_family: FloatArray
    q_family: FloatArray
    selected: BoolArray
    #: Level at which the tests of selected families are read.
    level: float
    #: One array for each family.
    significant: list[BoolArray]


def two_level(families: Sequence[FloatArray], alpha: float = 0.05) -> TwoLevel:
    """
    Select families, then test within those selected (Benjamini and Bogomolov 2014).

    Families are selected by Benjamini-Hochberg on their Simes p-values at `alpha`. Within each of the R out of m that
    are, Benjamini-Hochberg at ``alpha R / m`` controls the expected average false discovery proportion over the
    selected families.
    """
    p = np.array([simes(family) for family in families])
    q = benjamini_hochberg(p)
    selected = q < alpha  # NaN is not
    level = alpha * float(selected.mean()) if len(p) else 0.0
    found = [(benjamini_hochberg(family) < level) & chosen for family, chosen in zip(families, selected, strict=True)]
    return TwoLevel(p, q, selected, level, found)


def _step_up(p: FloatArray, factor: float = 1.0) -> FloatArray:
    """Adjust over the tests that were made; a NaN is a test that was not, and stays NaN."""
    order = np.argsort(p)  # NaN last
    order = order[: np.count_nonzero(~np.isnan(p))]
    scaled = factor * len(order) * p[order] / np.arange(1, len(order) + 1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
