"""Two matrices over the same genes, compared with how they would be if genes changed names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from scepsis.stats._planted import critical_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray, FloatArray


#: Permutations that share one pass over the pairs, which is what takes the time.
AT_ONCE = 8


@dataclass(frozen=True)
class Mantel:
    """Correlation over pairs, and its null."""

    correlation: float
    null_mean: float
    null_sd: float
    z: float
    p_value: float
    #: Distance from 0 beyond which the correlation is significant at 5 %.
    critical: float = np.nan


def mantel(
    first: FloatArray, second: FloatArray, valid: BoolArray, n_null: int, rng: np.random.Generator, *, ranks: bool
) -> Mantel:
    r"""
    Correlate two matrices over the pairs of `valid`, and permute the genes of the second, two-sided.

    A pair that is not valid stands at the mean in either matrix. With b of B permutations whose correlation is at
    least as far from 0, :math:`p = (1 + b)/(1 + B)`.

    Parameters
    ----------
    first, second
        Genes x genes.
    valid
        Genes x genes: pairs that count (one half of the matrix, or all but its diagonal).
    n_null
        Permutations.
    rng
        Their generator.
    ranks
        Correlate ranks (Spearman) instead of values.
    """
    one, other = (_standardised(values, valid, ranks=ranks) for values in (first, second))
    if one is None or other is None:
        return Mantel(np.nan, np.nan, np.nan, np.nan, np.nan)
    if not (valid & valid.T).any():  # every pair once: the other half is where permuted genes look theirs up
        other = other + other.T
    starts = np.concatenate([[0], np.cumsum(valid.sum(axis=1))])
    column = np.nonzero(valid)[1].astype(np.uint32)
    weights = one[valid]
    unchanged = np.tile(np.arange(len(valid), dtype=np.uint32), (AT_ONCE, 1))
    observed = float(_along(weights, starts, column, other, unchanged)[0])
    taken = np.flatnonzero(valid.any(axis=0) | valid.any(axis=1))
    drawn = np.empty(n_null)
    for start in range(0, n_null, AT_ONCE):
        some = drawn[start : start + AT_ONCE]
        names = unchanged[: len(some)].copy()
        for own in names:
            own[taken] = rng.permutation(taken)
        some[:] = _along(weights, starts, column, other, names)
    mean, sd = float(drawn.mean()), float(drawn.std(ddof=1))
    far = np.abs(drawn) >= abs(observed) * (1 - 1e-12)
    z = (observed - mean) / sd if sd > 1e-12 else np.nan
    return Mantel(observed, mean, sd, z, (1 + int(far.sum())) / (1 + n_null), critical_value(drawn))


def _standardised(values: FloatArray, valid: BoolArray, *, ranks: bool) -> NDArray[np.float64] | None:
    """Values (or ranks) of valid pairs with mean 0 and length 1, 0 elsewhere; None when they do not vary."""
    from scipy.stats import rankdata

    some = values[valid].astype(np.float64)
    some = rankdata(some) if ranks else some
    some -= some.mean() if len(some) else 0.0
    length = float(np.sqrt(some @ some))
    if length == 0 or not np.isfinite(length):
        return None
    result = np.zeros(valid.shape)
    result[valid] = some / length
    return result


@numba.njit(cache=True, nogil=True)
def _along(
    weights: NDArray[np.float64],
    starts: NDArray[np.int64],
    column: NDArray[np.uint32],
    other: NDArray[np.float64],
    names: NDArray[np.uint32],
) -> NDArray[np.float64]:
    """Correlation under each permutation (rows of `names`), gene by gene, so that what is read stays in the cache."""
    totals = np.zeros(len(names))
    for gene in range(len(starts) - 1):
        for draw in range(len(names)):
            own, line = names[draw], other[names[draw, gene]]
            total = totals[draw]
            for pair in range(starts[gene], starts[gene + 1]):
                total += weights[pair] * line[own[column[pair]]]
            totals[draw] = total
    return totals
