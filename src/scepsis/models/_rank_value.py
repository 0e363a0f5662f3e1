"""Rank-value encoding: a cell becomes its genes, ordered by expression relative to each gene's usual level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis.models._by_token import sum_by_token

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse


def rank_value_encode(
    counts: sparse.csr_matrix,
    tokens: NDArray[np.integer[Any]],
    medians: NDArray[np.floating[Any]],
    max_tokens: int,
) -> list[NDArray[np.int32]]:
    """
    Order each cell's detected genes by count / median, highest first, and keep the first `max_tokens`.

    Parameters
    ----------
    counts
        Cells x genes, raw counts. The cell's total is a constant within the cell and cannot change the order, so it
        is not needed.
    tokens
        Token id of every gene, -1 where the vocabulary has none. Genes that share a token have their counts summed.
    medians
        Non-zero median by token id; entries of special tokens are never read.
    max_tokens
        Genes kept per cell.

    Returns
    -------
    list
        Token ids per cell, in rank order; an empty array for a cell without genes of the vocabulary. Ties are broken
        by token id, so the result does not depend on the order of genes in the matrix (the published tokenizer
        leaves ties to an unstable sort).
    """
    ids, summed = sum_by_token(counts, tokens)
    score = summed.data / medians[ids[summed.indices]]
    cells = []
    for start, stop in zip(summed.indptr[:-1], summed.indptr[1:], strict=True):
        order = np.argsort(-score[start:stop], kind="stable")[:max_tokens]
        cells.append(ids[summed.indices[start:stop][order]].astype(np.int32))
    return cells
