"""The two learners that say what gene features, with or without an edge, tell of responders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray

Learner = Literal["logistic", "gbdt"]
#: Trees of a fixed number: early stopping holds out random pairs, whose genes and perturbations are also fitted on.
BOOSTING: dict[str, Any] = {
    "max_iter": 50,
    "learning_rate": 0.2,
    "max_leaf_nodes": 15,
    "early_stopping": False,
    "random_state": 0,
}
MAX_STEPS = 100
#: Largest expected gain of a further Newton step, per pair, at which the fit has converged.
TOLERANCE = 1e-14


@dataclass(frozen=True)
class Pairs:
    """A long table of units x genes: one row for every labelled pair."""

    #: Units x genes: 1 responds, 0 does not, -1 takes no part.
    labels: IntArray
    #: Genes x features.
    features: FloatArray
    #: Units of one group are never split.
    group: IntArray

    @cached_property
    def rows(self) -> IntArray:
        """Place of every pair in the flattened matrix."""
        return np.flatnonzero(self.labels.ravel() >= 0)

    @cached_property
    def unit(self) -> IntArray:
        return np.floor_divide(self.rows, self.labels.shape[1])

    @cached_property
    def gene(self) -> IntArray:
        return np.mod(self.rows, self.labels.shape[1])

    @cached_property
    def positive(self) -> BoolArray:
        result: BoolArray = self.labels.ravel()[self.rows] == 1
        return result

    def column(self, values: FloatArray) -> FloatArray:
        """Entries of a matrix of units x genes as one column of the table (1 x pairs)."""
        return values.ravel()[self.rows][None, :].astype(np.float64)

    def matrix(self, values: FloatArray) -> FloatArray:
        """A column as a matrix again, NaN where there is no pair."""
        result = np.full(self.labels.size, np.nan)
        result[self.rows] = values
        return result.reshape(self.labels.shape)


def logistic(
    design: FloatArray,
    n_pos: FloatArray,
    n: FloatArray | None = None,
    *,
    start: FloatArray | None = None,
    penalty: float = 1.0,
) -> FloatArray:
    r"""
    Fit a penalised logistic regression by Newton's method, to convergence.

    Minimises :math:`\sum_i \left( n_i \log(1 + e^{\eta_i}) - n_{+,i} \eta_i \right) + \frac{\lambda}{2}
    \lVert w_{1:} \rVert^2`, the objective of scikit-learn's ``LogisticRegression(C=1/penalty)``; the intercept is not
    penalised. Steps that do not lower it are halved.

    Parameters
    ----------
    design
        Columns x rows, the first of ones: d columns of n numbers each lie together.
    n_pos
        Positives of each row.
    n
        Pairs of each row; None for one each.
    start
        Coefficients to begin with.

    Returns
    -------
    Coefficients, the intercept first.
    """
    ridge = np.full(len(design), penalty)
    ridge[0] = 0
    total = float(design.shape[1]) if n is None else float(n.sum())
    w = np.zeros(len(design)) if start is None else start.copy()
    if start is None:  # the intercept of a model without features
        share = float(n_pos.sum()) / total
        w[0] = np.log(share / (1 - share))
    loss, eta = _loss(w, design, n_pos, n, ridge)
    for _ in range(MAX_STEPS):
        p = expit(eta)
        residual = (p if n is None else n * p) - n_pos
        curvature = p * (1 - p) if n is None else n * p * (1 - p)
        gradient = design @ residual + ridge * w
        hessian = (design * curvature) @ design.T + np.diag(ridge)
        step = np.linalg.solve(hessian + np.diag(np.full(len(w), 1e-12 * np.trace(hessian))), gradient)
        if float(gradient @ step) <= TOLERANCE * total:
            return w - step
        size = 1.0
        while size > 1e-6:
            lower, at = _loss(w - size * step, design, n_pos, n, ridge)
            if lower <= loss:
                break
            size /= 2
        w, loss, eta = w - size * step, lower, at
    return w


def _loss(
    w: FloatArray, design: FloatArray, n_pos: FloatArray, n: FloatArray | None, ridge: FloatArray
) -> tuple[float, FloatArray]:
    eta = w @ design
    soft = np.logaddexp(0, eta)
    total = soft.sum() if n is None else n @ soft
    return float(total - n_pos @ eta + ridge @ w**2 / 2), eta


def standardiser(values: FloatArray, weight: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of each column (the last axis), rows weighted; 1 for a column without variation."""
    mean = np.average(values, axis=-1, weights=weight)
    sd = np.sqrt(np.average((values - mean[..., None]) ** 2, axis=-1, weights=weight))
    flat = sd <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
    return mean, np.where(flat, 1.0, sd)


def logistic_scores(
    data: Pairs, columns: Sequence[FloatArray], train: IntArray, test: IntArray, *, alone: bool
) -> FloatArray:
    """
    Log odds of test pairs under features alone (if `alone`) and with each of `columns` added, models x pairs.

    Everything is standardised on the pairs that are fitted on. Features alone take as many values as there are genes:
    that model is fitted on genes, weighted by their pairs, which is the same to rounding.

    Parameters
    ----------
    data
        Pairs and the features of their genes.
    columns
        For each model, one or more further columns: columns x pairs.
    train, test
        Pairs fitted on and tested.
    """
    n_genes = len(data.features)
    n = np.bincount(data.gene[train], minlength=n_genes).astype(float)
    n_pos = np.bincount(data.gene[train], data.positive[train], minlength=n_genes).astype(float)
    seen = n > 0
    mean, sd = standardiser(data.features[seen].T, n[seen])
    design = np.ones((data.features.shape[1] + 1, n_genes))
    design[1:] = (data.features.T - mean[:, None]) / sd[:, None]
    of_genes = logistic(design[:, seen], n_pos[seen], n[seen])
    result = np.empty((alone + len(columns), len(test)))
    if alone:
        result[0] = (of_genes @ design)[data.gene[test]]
    if not len(columns):
        return result
    first, room = len(design), max(len(one) for one in columns)
    fitted, tested = (
        np.concatenate([design[:, data.gene[rows]], np.empty((room, len(rows)))]) for rows in (train, test)
    )
    y = data.positive[train].astype(float)
    for index, column in enumerate(columns):
        last = first + len(column)
        values = column[:, train]
        mean, sd = standardiser(values)
        fitted[first:last] = (values - mean[:, None]) / sd[:, None]
        tested[first:last] = (column[:, test] - mean[:, None]) / sd[:, None]
        start = np.append(of_genes, np.zeros(len(column)))
        result[alone + index] = logistic(fitted[:last], y, start=start) @ tested[:last]
    return result


def boosted_scores(
    data: Pairs, columns: Sequence[FloatArray], train: IntArray, test: IntArray, *, alone: bool
) -> FloatArray:
    """Give the same under gradient-boosted trees: scikit-learn's histogram boosting, one thread."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import ThreadpoolController

    y = data.positive[train]
    of_genes = [data.features[data.gene[rows]] for rows in (train, test)]
    models: list[FloatArray | None] = [*([None] if alone else []), *columns]
    result = np.empty((len(models), len(test)))
    with ThreadpoolController().limit(limits=1):
        for index, column in enumerate(models):
            fitted, tested = (
                part if column is None else np.column_stack([part, column[:, rows].T])
                for part, rows in zip(of_genes, (train, test), strict=True)
            )
            model = HistGradientBoostingClassifier(**BOOSTING).fit(fitted, y)
            result[index] = model.decision_function(tested)
    return result


SCORES = {"logistic": logistic_scores, "gbdt": boosted_scores}
