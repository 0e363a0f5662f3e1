"""Value binning: a cell's expression values become the numbers of the quantiles that they fall between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bin_values(
    values: NDArray[np.floating[Any]], n_bins: int, generator: np.random.Generator
) -> NDArray[np.floating[Any]]:
    r"""
    Bin the non-zero values of one cell by the cell's own quantiles.

    The edges are :math:`e_k = Q(k / (b - 2))`, :math:`k = 0, \dots, b - 2`, for `b` bins, bin 0 being that of zeros.
    A value that equals several edges, as small counts do, belongs to no single bin; it gets one of those between
    them with equal chance. Any increasing transformation of the cell (a total, a logarithm) gives the same bins.

    Parameters
    ----------
    values
        Values above 0.
    n_bins
        Bins, that of zeros included.
    generator
        Where ties are drawn from; the published code takes numpy's global state, so that no two runs agree.

    Returns
    -------
    Whole numbers from 1 to ``n_bins - 1``.
    """
    if not len(values):
        return np.zeros(0)
    edges = np.quantile(values, np.linspace(0, 1, n_bins - 1))
    above = np.digitize(values, edges)
    below = np.digitize(values, edges, right=True)
    bins: NDArray[np.floating[Any]] = np.ceil(generator.random(len(values)) * (below - above) + above)
    return bins
