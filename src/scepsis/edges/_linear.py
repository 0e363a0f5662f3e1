"""Partial correlation and ridge regression of genes on each other, both from one covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray


def standardized(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """Columns with mean 0 and variance 1, of those that vary, in 64 bits; and which these are."""
    varies = np.flatnonzero(values.max(axis=0) > values.min(axis=0))
    chosen = values[:, varies].astype(np.float64)
    chosen -= chosen.mean(axis=0)
    chosen /= np.sqrt(np.einsum("cg,cg->g", chosen, chosen) / len(chosen))
    return chosen, varies


def partial_correlation(values: FloatArray) -> tuple[FloatArray, float]:
    r"""
    Partial correlation of every pair of genes given all others, genes x genes, float32, and how far it was shrunk.

    .. math:: r_{ij} = - P_{ij} / \sqrt{P_{ii} P_{jj}}, \qquad P = \big( (1 - \delta) R + \delta I \big)^{-1}

    with the correlation matrix R and the shrinkage :math:`\delta` of Ledoit and Wolf (2004), without which R of more
    genes than cells has no inverse. NaN on the diagonal, and for genes that do not vary.

    Parameters
    ----------
    values
        Cells x genes.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    cells, varies = standardized(values)
    n_genes = values.shape[1]
    if len(varies) < 2:
        return np.full((n_genes, n_genes), np.nan, dtype=np.float32), np.nan
    shrinkage = float(ledoit_wolf_shrinkage(cells, assume_centered=True))
    covariance = cells.T @ cells
    covariance *= (1 - shrinkage) / len(cells)
    covariance.flat[:: len(varies) + 1] += shrinkage
    precision = _inverse(covariance)
    scale = np.sqrt(np.diag(precision))
    precision /= -scale[:, None]
    precision /= scale[None, :]
    return _spread(precision, varies, varies, n_genes), shrinkage


def ridge(values: FloatArray, sources: IntArray, penalty: float) -> FloatArray:
    r"""
    Coefficients of ridge regressions, one for every gene on all sources but itself; genes x genes, float32.

    With standardised values, :math:`\beta_t = (R_{ss} + \lambda I)^{-1} R_{st}`: row i, column j holds the
    coefficient of source i in the regression of target j. NaN on the diagonal, in rows of genes that are no source,
    and for genes that do not vary.

    Parameters
    ----------
    values
        Cells x genes.
    sources
        Columns that others are regressed on.
    penalty
        :math:`\lambda`: the penalty on squared coefficients of standardised genes, over the number of cells.

    Notes
    -----
    Of a target that is a source itself, the coefficients without it follow from the inverse with it:
    :math:`\beta_{it} = - P_{it} / P_{tt}` for :math:`P = (R_{ss} + \lambda I)^{-1}`. One factorisation serves all.
    """
    cells, varies = standardized(values)
    n_genes = values.shape[1]
    place = np.full(n_genes, -1)
    place[varies] = np.arange(len(varies))
    own = place[sources]
    own = own[own >= 0]
    if not len(own):
        return np.full((n_genes, n_genes), np.nan, dtype=np.float32)
    covariance = cells[:, own].T @ cells / len(cells)
    among = covariance[:, own].copy()
    among.flat[:: len(own) + 1] += penalty
    inverse = _inverse(among)
    coefficients = inverse @ covariance
    coefficients[:, own] = -inverse / np.diag(inverse)[None, :]
    return _spread(coefficients, varies[own], varies, n_genes)


def linear_bytes(n_cells: int, n_genes: int) -> int:
    """Memory that either takes: dense values in 32 and 64 bits with a copy, three matrices of all pairs."""
    return 20 * n_cells * n_genes + 28 * n_genes**2


def _inverse(matrix: FloatArray) -> FloatArray:
    """Inverse of a positive definite matrix by Cholesky, which it is overwritten by."""
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(matrix, lower=False, overwrite_a=True)
    if failed:  # cannot be for a positive penalty, but for values that are not finite
        msg = "The covariance of the genes is not positive definite."
        raise np.linalg.LinAlgError(msg)
    inverse, _ = lapack.dpotri(factor, lower=False, overwrite_c=True)
    result: FloatArray = np.triu(inverse) + np.triu(inverse, 1).T
    return result


def _spread(values: FloatArray, rows: IntArray, columns: IntArray, n_genes: int) -> FloatArray:
    """Among all genes, NaN elsewhere and on the diagonal."""
    result = np.full((n_genes, n_genes), np.nan, dtype=np.float32)
    result[np.ix_(rows, columns)] = values
    np.fill_diagonal(result, np.nan)
    return result
