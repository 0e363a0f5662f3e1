from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scepsis.stats._learners import Pairs, boosted_scores, logistic, logistic_scores


def _data(
    seed: int = 0, n_units: int = 20, n_genes: int = 50
) -> tuple[Pairs, list[np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = np.exp(rng.normal(size=(n_genes, 3))) * [1, 100, 0.01]
    edges = rng.normal(size=(n_units, n_genes))
    chance = 1 / (1 + np.exp(1.5 - 0.01 * features[:, 1] - edges))
    labels = (rng.random(chance.shape) < chance).astype(np.int8)
    labels[rng.random(chance.shape) < 0.1] = -1
    data = Pairs(labels, features, np.arange(n_units))
    columns = [data.column(edges), np.concatenate([data.column(edges), data.column(edges**2)])]
    test = data.unit < n_units // 4
    return data, columns, np.flatnonzero(~test), np.flatnonzero(test)


def _table(data: Pairs, column: np.ndarray | None = None) -> np.ndarray:
    features = data.features[data.gene]
    return features if column is None else np.column_stack([features, column.T])


def test_logistic_regression_is_that_of_sklearn() -> None:
    data, columns, train, test = _data()
    found = logistic_scores(data, columns, train, test, alone=True)
    for scores, column in zip(found, [None, *columns], strict=True):
        table = _table(data, column)
        model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        theirs = make_pipeline(StandardScaler(), model).fit(table[train], data.positive[train])
        np.testing.assert_allclose(scores, theirs.decision_function(table[test]), rtol=0, atol=1e-8)


def test_logistic_regression_has_converged_on_separated_classes() -> None:
    x = np.linspace(-1, 1, 40)
    found = logistic(np.stack([np.ones(40), x]), (x > 0).astype(float))
    gradient = (1 / (1 + np.exp(-(found[0] + found[1] * x))) - (x > 0)) @ x + found[1]
    assert abs(gradient) < 1e-6
    assert np.isfinite(found).all()


def test_weighted_rows_stand_for_repeated_ones() -> None:
    rng = np.random.default_rng(0)
    x, n = np.stack([np.ones(12), rng.normal(size=12)]), rng.integers(1, 9, 12)
    n_pos = rng.binomial(n, 0.4)
    apart = np.repeat(x, n, axis=1)
    responds = np.concatenate([np.arange(total) < some for total, some in zip(n, n_pos, strict=True)]).astype(float)
    np.testing.assert_allclose(logistic(x, n_pos.astype(float), n.astype(float)), logistic(apart, responds), atol=1e-9)


def test_constant_column_changes_nothing() -> None:
    data, _, train, test = _data()
    alone, constant = logistic_scores(data, [np.full((1, len(data.rows)), 0.1)], train, test, alone=True)
    np.testing.assert_allclose(alone, constant, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_trees_are_those_of_sklearn_without_early_stopping(seed: int) -> None:
    data, columns, train, test = _data(seed, n_units=100)  # with few pairs, many splits gain the same
    found = boosted_scores(data, columns, train, test, alone=True)
    for scores, column in zip(found, [None, *columns], strict=True):
        table = _table(data, column)
        model = HistGradientBoostingClassifier(max_iter=50, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False)
        model.fit(table[train], data.positive[train])
        theirs = model.decision_function(table[test])
        np.testing.assert_allclose(scores, theirs, rtol=0, atol=1e-6)


def test_pairs_go_there_and_back() -> None:
    data, *_ = _data()
    values = np.arange(data.labels.size, dtype=float).reshape(data.labels.shape)
    back = data.matrix(data.column(values)[0])
    np.testing.assert_array_equal(np.isnan(back), data.labels < 0)
    np.testing.assert_array_equal(back[data.labels >= 0], values[data.labels >= 0])
    np.testing.assert_array_equal(data.positive, data.labels[data.unit, data.gene] == 1)
