"""Partial correlation and ridge against scikit-learn, gene by gene, and on chains whose structure is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import StandardScaler

from scepsis.edges._linear import partial_correlation, ridge


def _chain(n_cells: int, seed: int = 0) -> np.ndarray:
    """Gene 0 drives 1 drives 2; 3 is on its own."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=n_cells)
    second = first + 0.5 * rng.normal(size=n_cells)
    third = second + 0.5 * rng.normal(size=n_cells)
    return np.stack([first, second, third, rng.normal(size=n_cells)], axis=1)


def test_partial_correlation_is_that_of_residuals() -> None:
    values = _chain(20_000)  # so many cells that next to nothing is shrunk
    found, shrinkage = partial_correlation(values)
    assert 0 <= shrinkage < 1e-3
    for i, j in [(0, 1), (0, 2), (1, 3)]:
        others = np.delete(values, [i, j], axis=1)
        left, right = (
            values[:, one] - LinearRegression().fit(others, values[:, one]).predict(others) for one in (i, j)
        )
        assert found[i, j] == pytest.approx(np.corrcoef(left, right)[0, 1], abs=2e-3)
    assert abs(found[0, 2]) < 0.03 < 0.8 < np.corrcoef(values, rowvar=False)[0, 2]


def test_partial_correlation_is_shrunk_as_by_ledoit_and_wolf() -> None:
    values = np.random.default_rng(1).normal(size=(30, 50))  # more genes than cells
    found, shrinkage = partial_correlation(values)
    covariance, expected = ledoit_wolf(StandardScaler().fit_transform(values), assume_centered=True)
    assert shrinkage == pytest.approx(expected)
    precision = np.linalg.inv(covariance)
    scale = np.sqrt(np.diag(precision))
    off = ~np.eye(50, dtype=bool)
    np.testing.assert_allclose(found[off], (-precision / np.outer(scale, scale))[off], atol=1e-6)
    np.testing.assert_array_equal(found[off], found.T[off])


@pytest.mark.parametrize("sources", [[0, 1, 2, 3, 4, 5], [1, 4]])
def test_ridge_is_that_of_scikit_learn_for_every_target(sources: list[int]) -> None:
    values = np.random.default_rng(2).normal(size=(80, 6)) @ np.random.default_rng(3).normal(size=(6, 6))
    found = ridge(values, np.array(sources), 0.3)
    scaled = StandardScaler().fit_transform(values)
    expected = np.full((6, 6), np.nan)
    for target in range(6):
        own = [one for one in sources if one != target]
        model = Ridge(alpha=0.3 * len(values), fit_intercept=False)
        expected[own, target] = model.fit(scaled[:, own], scaled[:, target]).coef_
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_genes_that_do_not_vary_have_no_edges() -> None:
    values = _chain(100)
    values[:, 1] = 3.0
    for found in (partial_correlation(values)[0], ridge(values, np.arange(4), 0.1)):
        assert np.isnan(found[1]).all()
        assert np.isnan(found[:, 1]).all()
        assert np.isfinite(found[np.ix_([0, 2], [2, 3])][~np.eye(2, dtype=bool)[::-1]]).any()
    assert np.isnan(ridge(values, np.array([1]), 0.1)).all()
    values[:, [0, 2]] = 1.0
    assert np.isnan(partial_correlation(values)[0]).all()
