"""Mean, variance and share of non-zero values of every column, in one pass over blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scipy import sparse

    from scepsis._core._types import FloatArray


@dataclass(frozen=True)
class ColumnMoments:
    """Moments over rows, one value per column, float64."""

    mean: FloatArray
    #: Population variance (divided by the number of rows).
    variance: FloatArray
    #: Share of rows with a value above zero.
    detection_rate: FloatArray


def column_moments(blocks: Iterable[sparse.csr_matrix], n_columns: int) -> ColumnMoments:
    """
    Moments of the columns of a matrix that comes in CSR blocks of rows.

    Each block is centred on its own means; blocks are merged by the parallel rule
    ``S = S_a + S_b + d**2 n_a n_b / (n_a + n_b)``, ``d`` the difference of means, so no large squares cancel.
    """
    n_rows = 0
    mean, squares = np.zeros(n_columns), np.zeros(n_columns)
    detected = np.zeros(n_columns, dtype=np.int64)
    for block in blocks:
        n_new = block.shape[0]
        data, column = block.data.astype(np.float64), block.indices
        stored = np.bincount(column, minlength=n_columns)
        new_mean = np.bincount(column, weights=data, minlength=n_columns) / n_new
        centred = (data - new_mean[column]) ** 2
        new_squares = np.bincount(column, weights=centred, minlength=n_columns) + (n_new - stored) * new_mean**2
        difference = new_mean - mean
        n_all = n_rows + n_new
        mean += difference * n_new / n_all
        squares += new_squares + difference**2 * n_rows * n_new / n_all
        detected += np.bincount(column[data > 0], minlength=n_columns)
        n_rows = n_all
    return ColumnMoments(mean, squares / max(n_rows, 1), detected / max(n_rows, 1))
