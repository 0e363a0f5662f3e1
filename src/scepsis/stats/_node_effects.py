"""The additive model of a directed network: an effect of the source, an effect of the target, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._residual import Explained, rounded, share_explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray

#: A pair whose leverage is closer to 1 than this is fitted by itself alone.
ALONE = 1e-8


def node_effects(values: Sequence[FloatArray], mask: BoolArray) -> list[Explained]:
    r"""
    What is left of every pair under :math:`A_{ij} = a_i + b_j + e_{ij}`, fitted without that pair.

    Least squares over the pairs of `mask`. Leaving a pair out needs no second fit: its residual is
    :math:`r_{ij} / (1 - h_{ij})`, with r the residual and h the leverage of the fit to all pairs, whichever are
    missing. With all pairs of n genes but the diagonal everything is in row and column sums
    :math:`R_i, C_j` with total T:

    .. math::
        a_i = \frac{(n - 1) (R_i - \tau) + C_i - \tau}{(n - 1)^2 - 1}, \quad
        b_j = \frac{(n - 1) (C_j - \tau) + R_j - \tau}{(n - 1)^2 - 1}, \quad
        \tau = \frac{T}{2 (n - 1)}, \quad h = \frac{2 n - 1}{n (n - 1)}.

    Parameters
    ----------
    values
        One matrix for each set of edges, genes x genes; pairs outside `mask` are not read.
    mask
        Genes x genes, false on the diagonal. A pair whose source or target effect nothing else tells has no residual.

    Notes
    -----
    ``G^2`` for each set where no pair but the diagonal is missing; else one factorisation, ``G^3``, for all sets.
    """
    solve = _Complete(len(mask)) if _is_complete(mask) else _Any(mask)
    leverage = solve.leverage()
    alone = ~mask | (leverage > 1 - ALONE)
    result = []
    for one in values:
        centre = float(one[mask].mean()) if mask.any() else 0.0
        y = np.where(mask, one - centre, 0.0)
        of_source, of_target = solve.effects(y.sum(axis=1), y.sum(axis=0))
        fitted = y - of_source[:, None] - of_target[None, :]
        in_sample = share_explained(y[mask], fitted[mask])
        left_out = np.divide(fitted, 1 - leverage, out=np.full(y.shape, np.nan), where=~alone)
        result.append(Explained(rounded(left_out, one, mask), in_sample))
    return result


def _is_complete(mask: BoolArray) -> bool:
    n = len(mask)
    return n > 2 and int(mask.sum()) == n * (n - 1)


class _Complete:
    """All pairs but the diagonal."""

    def __init__(self, n: int) -> None:
        self.n = n

    def effects(self, rows: FloatArray, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        others = self.n - 1
        half = float(rows.sum()) / (2 * others)
        scale = others**2 - 1
        return (
            (others * (rows - half) + columns - half) / scale,
            (others * (columns - half) + rows - half) / scale,
        )

    def leverage(self) -> FloatArray:
        n = self.n
        return np.full((n, n), (2 * n - 1) / (n * (n - 1)))


class _Any:
    """
    Any pattern of missing pairs.

    Normal equations :math:`D_r a + M b = R, M^T a + D_c b = C`. The sources are eliminated: with
    :math:`S = D_c - M^T D_r^{-1} M`, whose null space (a constant for each connected part) a pseudo-inverse leaves
    aside, predictions do not depend on how it is chosen.
    """

    def __init__(self, mask: BoolArray) -> None:
        self.mask = mask.astype(np.float64)
        n_rows = self.mask.sum(axis=1)
        self.per_row = np.divide(1.0, n_rows, out=np.zeros(len(n_rows)), where=n_rows > 0)
        self.scaled = self.per_row[:, None] * self.mask
        schur = np.diag(self.mask.sum(axis=0)) - self.mask.T @ self.scaled
        self.inverse = np.linalg.pinv(schur, rcond=1e-11, hermitian=True)

    def effects(self, rows: FloatArray, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        of_target = self.inverse @ (columns - self.scaled.T @ rows)
        return self.per_row * rows - self.scaled @ of_target, of_target

    def leverage(self) -> FloatArray:
        cross = self.scaled @ self.inverse
        of_source = self.per_row + np.einsum("ij,ij->i", cross, self.scaled)
        leverage: FloatArray = of_source[:, None] - 2 * cross + np.diag(self.inverse)[None, :]
        return leverage
