"""Resampling of whole units, with the draws shared by everything that is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray

#: Counts held at a time.
BLOCK = 1 << 17


def bootstrap_means(values: FloatArray, n_boot: int, rng: np.random.Generator) -> FloatArray:
    """
    Means over resampled units, replicates x columns.

    Units are drawn with replacement; one drawn k times has weight k, and one whose value is NaN is left out of that
    column. All columns see the same draws, so that differences of columns keep the pairing. A replicate without any
    value for a column is drawn again for all columns, 20 times at most, and is NaN after that.

    Parameters
    ----------
    values
        Units x columns.
    n_boot
        Number of replicates.
    rng
        Generator of the draws.

    Notes
    -----
    A draw is a row of counts, so that all means come from one matrix product: ``n_boot * units * columns`` operations
    and blocks of bounded size.
    """
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    possible = present.any(axis=0)
    complete = bool(present.all())
    present = present.astype(np.float64)
    means = np.full((n_boot, values.shape[1]), np.nan)
    size = max(1, BLOCK // max(1, len(values)))
    for start in range(0, n_boot if len(values) else 0, size):
        counts = draw_counts(min(size, n_boot - start), len(values), rng)
        if complete:
            np.divide(counts @ filled, len(values), out=means[start : start + size])
            continue
        weight = counts @ present
        for _ in range(20):
            empty = np.flatnonzero(((weight == 0) & possible).any(axis=1))
            if not len(empty):
                break
            counts[empty] = draw_counts(len(empty), len(values), rng)
            weight[empty] = counts[empty] @ present
        block = means[start : start + size]
        np.divide(counts @ filled, weight, out=block, where=weight > 0)
    return means


def draw_counts(n_boot: int, n_units: int, rng: np.random.Generator) -> FloatArray:
    """How often each unit is drawn in each replicate."""
    drawn = rng.integers(n_units, size=(n_boot, n_units))
    drawn += n_units * np.arange(n_boot)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_boot * n_units).reshape(n_boot, n_units).astype(np.float64)


def percentile_interval(replicates: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Percentile interval of each column; NaN replicates are left out, and a column of NaN has no interval."""
    tails = [50 * (1 - level), 50 * (1 + level)]
    result = np.full((2, replicates.shape[1]), np.nan)
    missing = np.isnan(replicates)
    some = ~missing.all(axis=0)
    if some.any():
        percentile = np.nanpercentile if missing[:, some].any() else np.percentile
        result[:, some] = percentile(replicates[:, some], tails, axis=0)
    return result[0], result[1]
