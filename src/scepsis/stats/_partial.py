"""Whether listed pairs have other scores than pairs that are like them in given respects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis.stats._pair_space import sums_of

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._pair_space import PairSpace

#: What is left of a score, relative to what there was, below which it counts as explained to the last digit.
NOTHING_LEFT = 1e-10
#: Ranks (of 0 to 1) at which what a feature says may change.
KNOTS = (0.2, 0.4, 0.6, 0.8, 0.9)


@dataclass(frozen=True)
class PartialCorrelation:
    """Correlation of a score with membership, given covariates."""

    r: float
    #: Of `r`, clustered by gene; NaN with too few of them.
    standard_error: float
    df: int
    p_value: float
    #: As if pairs were independent.
    p_pairs: float


UNDEFINED = PartialCorrelation(np.nan, np.nan, 0, np.nan, np.nan)


@dataclass(frozen=True)
class Given:
    """Membership of pairs, and covariates that are taken away from it and from any number of scores."""

    #: Pairs x columns that span the centred covariates.
    basis: FloatArray
    #: What covariates leave of membership; None where that is nothing.
    left: FloatArray | None

    @classmethod
    def of(cls, member: BoolArray, covariates: FloatArray) -> Given:
        """`member` says of every pair whether it is listed; `covariates` are pairs x covariates, and may be none."""
        basis = _orthonormal(covariates)
        listed = member - member.mean()
        left = _without(listed, basis)
        explained = float(left @ left) <= NOTHING_LEFT * float(listed @ listed)
        return cls(basis, None if explained else left)


def partial_correlations(
    scores: FloatArray, given: Given, space: PairSpace, *, max_df: int
) -> list[PartialCorrelation]:
    r"""
    Correlate scores with membership, what covariates say of either taken away.

    With residuals :math:`\tilde y, \tilde m` of both on the covariates (and a constant),
    :math:`r = \tilde y^\top \tilde m / (|\tilde y| |\tilde m|)`; for one covariate that is
    :math:`(r_{ym} - r_{yc} r_{mc}) / \sqrt{(1 - r_{yc}^2)(1 - r_{mc}^2)}`. Its standard error is that of the
    coefficient of membership in the regression, clustered by gene (every pair shares its genes with others), in units
    of the correlation.

    Parameters
    ----------
    scores
        Pairs x scores, NaN-free.
    given
        Membership and covariates of the same pairs.
    space
        The same pairs.
    max_df
        Degrees of freedom at most: one less than the genes that listed pairs are between.
    """
    from scipy.special import stdtr

    left = given.left
    n, n_covariates = given.basis.shape
    if left is None or n <= n_covariates + 2:
        return [UNDEFINED] * scores.shape[1]
    norm = float(left @ left)
    centred = scores - scores.mean(axis=0)
    residuals = _without(centred, given.basis)
    df_pairs = n - n_covariates - 2
    result = []
    for whole, residual in zip(centred.T, residuals.T, strict=True):
        squares = float(residual @ residual)
        if squares <= NOTHING_LEFT * float(whole @ whole):
            result.append(UNDEFINED)
            continue
        slope = float(residual @ left) / norm
        scale = float(np.sqrt(norm / squares))
        terms = left * (residual - slope * left) / norm * np.sqrt(n / df_pairs)
        found = space.variance(*sums_of(space, terms))
        r = slope * scale
        error = float(np.sqrt(found.two_way)) * scale
        df = min(found.df, max_df)
        known = np.isfinite(error) and df >= 1 and error > 0
        p = 2 * float(stdtr(df, -abs(r) / error)) if known else np.nan
        t = abs(r) * np.sqrt(df_pairs / max(1 - r**2, 1e-300))
        result.append(PartialCorrelation(r, error, df, p, 2 * float(stdtr(df_pairs, -t))))
    return result


def _orthonormal(covariates: FloatArray) -> FloatArray:
    """Columns that span the centred covariates; those that others make up are left out."""
    from scipy.linalg import qr

    if not covariates.shape[1]:
        return covariates
    centred = covariates - covariates.mean(axis=0)
    norms = np.sqrt(np.einsum("pc,pc->c", centred, centred))
    scaled: FloatArray = centred[:, norms > 0] / norms[norms > 0]
    if not scaled.shape[1]:
        return scaled
    basis, triangle, _ = qr(scaled, mode="economic", pivoting=True)
    kept: FloatArray = basis[:, np.abs(np.diagonal(triangle)) > 1e-8]
    return kept


def _without(values: FloatArray, basis: FloatArray) -> FloatArray:
    left: FloatArray = values - basis @ (basis.T @ values)
    return left


def normal_scores(values: FloatArray) -> FloatArray:
    """Quantiles of the normal distribution at the ranks of each column (van der Waerden); ties share theirs."""
    from scipy.special import ndtri

    scores: FloatArray = ndtri(relative_ranks(values))
    return scores


def pair_covariates(features: FloatArray, first: IntArray, second: IntArray, *, dyadic: bool) -> FloatArray:
    """
    Columns that say what features of both genes could say of a pair, pairs x columns.

    Of each feature, as normal scores: sum, product, sum of squares and absolute difference of the two genes, and
    products of different features; as ranks: sum and product, and at every one of `KNOTS` the sum and the product of
    what either gene has above it. The latter are for references whose genes are all at one end of a feature: there a
    polynomial alone leaves a correlation of .1 where there is nothing. Where pairs have a direction, differences stand
    beside sums.

    Parameters
    ----------
    features
        Genes x features.
    first, second
        Genes of every pair.
    """
    ranks = relative_ranks(features)
    columns: list[Any] = []
    for scores, of_ranks in zip(normal_scores(features).T, ranks.T, strict=True):
        one, other, low, high = scores[first], scores[second], of_ranks[first], of_ranks[second]
        columns += [one + other, one * other, one**2 + other**2, np.abs(one - other), low + high, low * high]
        if not dyadic:
            columns += [one - other, one**2 - other**2, low - high]
        for knot in KNOTS:
            of_one, of_other = np.maximum(low - knot, 0), np.maximum(high - knot, 0)
            columns += [of_one + of_other, of_one * of_other, *([] if dyadic else [of_one - of_other])]
    scores = normal_scores(features)
    for index, one in enumerate(scores.T):
        for other in scores.T[index + 1 :]:
            columns += [
                one[first] * other[first] + one[second] * other[second],
                one[first] * other[second] + one[second] * other[first],
            ]
    return np.stack(columns, axis=1)


def value_covariates(values: FloatArray) -> FloatArray:
    """Columns that say what a value of each pair could say: its normal score, and what its rank has above knots."""
    scores, ranks = normal_scores(values), relative_ranks(values)
    columns = [scores, scores**2, ranks, *(np.maximum(ranks - knot, 0) for knot in KNOTS)]
    return np.stack(columns, axis=1)


def relative_ranks(values: FloatArray) -> FloatArray:
    """Ranks within each column, from 0 to 1; ties share theirs."""
    from scipy.stats import rankdata

    ranks: FloatArray = rankdata(values, axis=0) / (len(values) + 1)
    return ranks


def balanced_sample(listed: BoolArray, limit: int, rng: np.random.Generator) -> IntArray:
    """Positions of at most `limit` listed pairs and of as many others, each drawn without replacement, ascending."""
    positives, negatives = np.flatnonzero(listed), np.flatnonzero(~listed)
    size = min(len(positives), len(negatives), limit)
    drawn = [rng.choice(part, size, replace=False) for part in (positives, negatives)]
    return np.sort(np.concatenate(drawn))
