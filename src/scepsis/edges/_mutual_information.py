"""Mutual information of every pair of genes, from the bins that their values fall into."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from scepsis._core._types import FloatArray, IntArray

#: Cells of one machine word.
_WORD = 64


def binned(columns: sparse.csc_matrix, n_bins: int) -> IntArray:
    """
    Bin of every value, genes x cells, uint8: zero has bin 0 to itself, the rest falls into quantiles of its gene.

    The ``n_bins - 1`` others hold equally many of the gene's non-zero values; equal values share a bin, so that a gene
    with few distinct values has fewer.
    """
    n_cells, n_genes = columns.shape
    codes = np.zeros((n_genes, n_cells), dtype=np.uint8)
    shares = np.arange(1, n_bins - 1) / (n_bins - 1)
    for gene in range(n_genes):
        stored = slice(columns.indptr[gene], columns.indptr[gene + 1])
        values, cells = columns.data[stored], columns.indices[stored]
        kept = values != 0
        values, cells = values[kept], cells[kept]
        if len(values):
            edges = np.unique(np.quantile(values, shares, method="inverted_cdf")) if len(shares) else values[:0]
            codes[gene, cells] = 1 + np.searchsorted(edges, values, side="left")
    return codes


def mutual_information(codes: IntArray, n_bins: int, *, n_jobs: int = 1) -> FloatArray:
    r"""
    Mutual information of every pair of genes in nats, genes x genes, float32, symmetric, NaN on the diagonal.

    .. math:: I_{ij} = \sum_{a, b} p_{ab} \log \frac{p_{ab}}{p_a p_b}

    with the shares of cells in bin `a` of one gene and `b` of the other (the plug-in estimate). NaN for genes that
    fall into one bin alone.

    Parameters
    ----------
    codes
        Genes x cells, bins from 0.
    n_bins
        Number of bins.
    n_jobs
        Threads.

    Notes
    -----
    A bin of a gene is a row of bits, one per cell; cells in two bins at once are the bits that both have. The first
    bin's counts follow from the others': ``G**2 (n_bins - 1)**2 n_cells / 128`` words.
    """
    n_genes, n_cells = codes.shape
    bits = _bits(codes, n_bins)
    counts = np.stack([(codes == one).sum(axis=1) for one in range(n_bins)], axis=1)
    result = np.full((n_genes, n_genes), np.nan, dtype=np.float32)
    table = np.zeros(n_cells + 1)
    table[1:] = np.arange(1, n_cells + 1) * np.log(np.arange(1, n_cells + 1))
    varies = (counts > 0).sum(axis=1) > 1
    # rows in turn over the threads: those at the top have the most pairs
    parts = [np.arange(start, n_genes, max(n_jobs, 1)) for start in range(max(n_jobs, 1))]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(lambda rows: _rows(rows, bits, counts, table, varies, n_cells, result), parts))
    return result


def mutual_information_bytes(n_cells: int, n_genes: int, n_bins: int) -> int:
    """Memory that binning and `mutual_information` take: values (up to a third non-zero), codes, bits, the result."""
    return n_cells * n_genes * 5 + n_bins * n_genes * n_cells // 8 + 4 * n_genes**2


def _bits(codes: IntArray, n_bins: int) -> Any:
    """One row of words for every gene and bin but the first."""
    n_genes, n_cells = codes.shape
    n_words = -(-n_cells // _WORD)
    padded = np.zeros((n_genes, n_words * _WORD), dtype=bool)
    result = np.empty((n_genes, n_bins - 1, n_words), dtype=np.uint64)
    for one in range(1, n_bins):
        padded[:, :n_cells] = codes == one
        result[:, one - 1] = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    return result


@numba.njit(cache=True, nogil=True)
def _rows(rows: Any, bits: Any, counts: Any, table: Any, varies: Any, n_cells: int, result: Any) -> None:
    """Fill in the pairs of a few genes with all after them; `table[n]` is ``n log n``."""
    n_genes, n_more, n_words = bits.shape
    one = np.uint64(1)
    two = np.uint64(2)
    four = np.uint64(4)
    top = np.uint64(56)
    odd = np.uint64(0x5555555555555555)
    pairs = np.uint64(0x3333333333333333)
    nibbles = np.uint64(0x0F0F0F0F0F0F0F0F)
    ones = np.uint64(0x0101010101010101)
    joint = np.empty((n_more + 1, n_more + 1), dtype=np.int64)
    for i in rows:
        if not varies[i]:
            continue
        for j in range(i + 1, n_genes):
            if not varies[j]:
                continue
            for a in range(n_more):
                for b in range(n_more):
                    total = np.uint64(0)
                    for word in range(n_words):
                        both = bits[i, a, word] & bits[j, b, word]
                        both = both - ((both >> one) & odd)
                        both = (both & pairs) + ((both >> two) & pairs)
                        both = (both + (both >> four)) & nibbles
                        total += (both * ones) >> top
                    joint[a + 1, b + 1] = np.int64(total)
            for a in range(1, n_more + 1):
                joint[a, 0] = counts[i, a] - joint[a, 1:].sum()
                joint[0, a] = counts[j, a] - joint[1:, a].sum()
            joint[0, 0] = counts[i, 0] - joint[0, 1:].sum()
            entropy = table[n_cells]
            for a in range(n_more + 1):
                entropy -= table[counts[i, a]] + table[counts[j, a]]
                for b in range(n_more + 1):
                    entropy += table[joint[a, b]]
            information = max(entropy / n_cells, 0.0)
            result[i, j] = information
            result[j, i] = information
