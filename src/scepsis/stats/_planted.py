"""A signal of known strength, planted to see whether a test would have found it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray

#: Level at which a test is said to see a signal.
ALPHA = 0.05
#: Strengths that are planted, in standard deviations of the scores.
DELTAS = (0.25, 0.5, 1.0, 2.0)


def planted(scores: FloatArray, positive: BoolArray, delta: float, rng: np.random.Generator) -> FloatArray:
    """
    Give `scores` with `delta` of their standard deviations added to a random half of the positives.

    The deviation is that of all scores, which are left as they are; a NaN stays one and is never chosen. Of an odd
    number of positives the smaller half is chosen. One generator plants the same half whatever `delta` is, if it
    comes in the same state.
    """
    result = scores.astype(np.float64)
    places = np.flatnonzero(positive & ~np.isnan(scores))
    chosen = rng.permutation(places)[: len(places) // 2]
    result.flat[chosen] += delta * np.nanstd(result) if len(chosen) else 0.0
    return result


def critical_value(drawn: FloatArray) -> float:
    r"""
    Give the distance from 0 beyond which a statistic is significant at 5 % against draws of its null, two-sided.

    That is where :math:`p = (1 + b)/(1 + B)` falls to 0.05, b of B draws being as far from 0 at least; infinite where
    there are too few draws for any p to be that small.
    """
    k = int(ALPHA * (1 + len(drawn)) + 1e-9)
    return float(np.sort(np.abs(drawn))[-k]) if k else np.inf
