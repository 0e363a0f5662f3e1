"""Cells that have a guide, told from cells into which some of its molecules have drifted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scipy import sparse

    from scepsis._core._types import FloatArray, IntArray

#: Standard deviation of log counts of cells with the guide that is taken to be the least: a component cannot collapse.
MIN_SD = 0.25
#: Variance of background counts over their mean, less one, below which they are taken for Poisson.
MIN_EXCESS = 0.05
#: Cells at or above the smallest count, below which nothing can be said of those with the guide.
MIN_CELLS = 5
_ITERATIONS, _TOLERANCE = 500, 1e-9
_LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


class Mixture(NamedTuple):
    """Counts of one guide: negative binomial in cells without it, log-normal in cells with it."""

    #: Mean count in cells without the guide.
    background: float
    #: Size of the negative binomial; infinite where these counts vary no more than a Poisson number.
    size: float
    #: Mean and standard deviation of the natural logarithm of the count in cells with it.
    mean: float
    sd: float
    #: Share of cells with it.
    share: float
    #: Smallest count at which a cell more likely has it than not; infinite where none was looked for.
    threshold: float
    #: Mean log-likelihood of a cell.
    log_likelihood: float


NOTHING = Mixture(math.nan, math.nan, math.nan, math.nan, math.nan, math.inf, math.nan)


def fit_guides(counts: sparse.csc_matrix, min_counts: int) -> Iterator[Mixture]:
    """Yield the mixture of every guide (cells x guides)."""
    n_cells = counts.shape[0]
    for column in range(counts.shape[1]):
        found = counts.data[counts.indptr[column] : counts.indptr[column + 1]]
        values, times = np.unique(found[found > 0], return_counts=True)
        yield fit_mixture(values.astype(np.float64), times, n_cells, min_counts)


def fit_mixture(values: FloatArray, times: IntArray, n_cells: int, min_counts: int) -> Mixture:
    r"""
    Fit the mixture to distinct positive counts, each found in so many cells, all other cells having none.

    With the guide in a share :math:`\pi` of cells, a count c has the likelihood

    .. math:: (1 - \pi) \binom{c + r - 1}{c} \left(\frac{m}{m + r}\right)^c \left(\frac{r}{m + r}\right)^r
        + \pi \frac{\phi((\ln c - \mu) / \sigma)}{\sigma c},

    the second term being 0 for c = 0. Molecules that drift in come in clumps, so that the first is no Poisson
    distribution. Expectation and maximisation alternate, r being that of the moments, from three starting points that
    take cells above the smallest, the middle and a high count for those with the guide; the likeliest end is kept.
    """
    above = values >= min_counts
    if times[above].sum() < MIN_CELLS:
        return NOTHING
    candidates = values[above]
    best = NOTHING
    for start in np.unique(np.quantile(candidates, [0, 0.5, 0.9], method="nearest")):
        found = Mixture(*_maximise(values, times.astype(np.float64), float(n_cells), float(start)))
        if not best.log_likelihood >= found.log_likelihood:
            best = found
    return best._replace(threshold=_threshold(best, min_counts, float(values[-1])))


def posterior(found: Mixture, counts: FloatArray) -> FloatArray:
    """Probability that a cell with a positive count has the guide."""
    log_odds = np.array([_log_odds(c, found.background, found.size, found.mean, found.sd, found.share) for c in counts])
    result: FloatArray = 1 / (1 + np.exp(-np.clip(log_odds, -700, 700)))
    return result


def _threshold(found: Mixture, min_counts: int, largest: float) -> float:
    """Smallest count from which on all have odds above one."""
    counts = np.arange(min_counts, largest + 1)
    likely = posterior(found, counts) > 0.5
    if not likely.any() or not likely[-1]:
        return math.inf
    unlikely = np.flatnonzero(~likely)
    return float(counts[unlikely[-1] + 1] if len(unlikely) else counts[0])


@numba.njit(cache=True, nogil=True)
def _log_odds(count: float, background: float, size: float, mean: float, sd: float, share: float) -> float:
    """Log odds of the guide at a positive count."""
    if share <= 0:
        return -np.inf
    if share >= 1 or background <= 0:
        return np.inf
    log_count = np.log(count)
    with_guide = np.log(share) - _LOG_ROOT_TAU - np.log(sd) - log_count - 0.5 * ((log_count - mean) / sd) ** 2
    without = np.log1p(-share) - math.lgamma(count + 1)
    if np.isinf(size):
        without += count * np.log(background) - background
    else:
        without += math.lgamma(count + size) - math.lgamma(size) + count * np.log(background / (background + size))
        without += size * np.log(size / (background + size))
    odds: float = with_guide - without
    return odds


@numba.njit(cache=True, nogil=True)
def _maximise(
    values: FloatArray, times: FloatArray, n_cells: float, start: float
) -> tuple[float, float, float, float, float, float, float]:
    """Alternate until the likelihood stands still, cells from `start` counts on having the guide at first."""
    n_values = len(values)
    with_guide = np.where(values >= start, 1.0, 0.0)
    before = -np.inf
    background = mean = sd = share = log_likelihood = 0.0
    size = np.inf
    for _ in range(_ITERATIONS):
        n_with = total = total_squares = total_log = squares = 0.0
        for one in range(n_values):
            weight = times[one] * with_guide[one]
            log_count = np.log(values[one])
            n_with += weight
            total_log += weight * log_count
            squares += weight * log_count * log_count
            drifted = times[one] * (1 - with_guide[one]) * values[one]
            total += drifted
            total_squares += drifted * values[one]
        share = n_with / n_cells
        n_without = max(n_cells - n_with, 1.0)
        background = total / n_without
        excess = total_squares / n_without - background * background - background
        size = background * background / excess if excess > MIN_EXCESS * background else np.inf
        if n_with <= 0:
            break
        mean = total_log / n_with
        sd = max(np.sqrt(max(squares / n_with - mean * mean, 0.0)), MIN_SD)
        zeros = n_cells - times.sum()
        nothing = -background if np.isinf(size) else size * np.log(size / (background + size))
        log_likelihood = zeros * (np.log1p(-share) + nothing) if zeros > 0 else 0.0
        for one in range(n_values):
            odds = _log_odds(values[one], background, size, mean, sd, share)
            with_guide[one] = 1 / (1 + np.exp(-min(max(odds, -700.0), 700.0)))
            log_count = np.log(values[one])
            dense = np.log(share) - _LOG_ROOT_TAU - np.log(sd) - log_count - 0.5 * ((log_count - mean) / sd) ** 2
            # log(with + without) = log(with) + log(1 + 1 / odds), whichever of the two is larger
            log_likelihood += times[one] * (dense + max(-odds, 0.0) + np.log1p(np.exp(-min(abs(odds), 700.0))))
        log_likelihood /= n_cells
        if abs(log_likelihood - before) < _TOLERANCE:
            break
        before = log_likelihood
    return background, size, mean, sd, share, np.inf, log_likelihood
