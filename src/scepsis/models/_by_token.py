"""Counts by token: what every tokenizer begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sum_by_token(
    counts: sparse.csr_matrix, tokens: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.integer[Any]], sparse.csr_matrix]:
    """
    Sum the genes that share a token; genes without one (-1) go.

    Returns
    -------
    tuple
        Token ids, ascending, and cells x token ids in double precision, without stored zeros and with sorted
        indices: what follows cannot depend on the order of genes in the matrix.
    """
    known = np.flatnonzero(tokens >= 0)
    ids, column = np.unique(tokens[known], return_inverse=True)
    to_token = sparse.csr_matrix(
        (np.ones(len(known)), (known, column)),
        shape=(counts.shape[1], len(ids)),
    )
    summed = sparse.csr_matrix(counts.astype(np.float64) @ to_token)
    summed.eliminate_zeros()
    summed.sort_indices()
    return ids, summed
