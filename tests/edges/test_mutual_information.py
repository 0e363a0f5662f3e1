"""Mutual information against scikit-learn's on the same bins, and against what is known of the bins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import mutual_info_score

from scepsis.edges._mutual_information import binned, mutual_information


def _values(n_cells: int = 150, n_genes: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n_cells, 1))
    return np.log1p(rng.poisson(np.exp(0.8 * factor + rng.normal(size=n_genes)))).astype(np.float32)


@pytest.mark.parametrize("n_bins", [2, 3, 8])
@pytest.mark.parametrize("n_cells", [64, 150])
def test_is_that_of_scikit_learn(n_bins: int, n_cells: int) -> None:
    codes = binned(sparse.csc_matrix(_values(n_cells)), n_bins)
    found = mutual_information(codes, n_bins)
    for i in range(len(codes)):
        for j in range(len(codes)):
            expected = np.nan if i == j else mutual_info_score(codes[i], codes[j])
            np.testing.assert_allclose(found[i, j], expected, atol=1e-6)


def test_bins_are_zero_and_quantiles_of_the_rest() -> None:
    values = np.r_[np.zeros(50), np.arange(1, 101)].astype(np.float32)
    codes = binned(sparse.csc_matrix(values[:, None]), 5)[0]
    np.testing.assert_array_equal(codes, np.r_[np.zeros(50), np.repeat([1, 2, 3, 4], 25)])


def test_equal_values_share_a_bin() -> None:
    values = np.repeat([0.0, 1.0, 2.0], [10, 95, 5]).astype(np.float32)
    codes = binned(sparse.csc_matrix(values[:, None]), 8)[0]
    assert [len(set(codes[values == value])) for value in (0, 1, 2)] == [1, 1, 1]
    assert len(set(codes)) == 3


def test_sees_what_no_correlation_does() -> None:
    rng = np.random.default_rng(1)
    both = rng.normal(size=2000)
    values = np.stack([both, both**2, rng.normal(size=2000)], axis=1) + 4
    found = mutual_information(binned(sparse.csc_matrix(values), 6), 6)
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.1
    assert found[0, 1] > 20 * found[0, 2]


def test_threads_change_nothing_and_a_constant_gene_has_none() -> None:
    values = _values()
    values[:, 2] = 0
    codes = binned(sparse.csc_matrix(values), 4)
    one = mutual_information(codes, 4)
    assert one.tobytes() == mutual_information(codes, 4, n_jobs=3).tobytes()
    assert np.isnan(one[2]).all()
    assert np.isnan(one[:, 2]).all()
    assert np.isfinite(np.delete(np.delete(one, 2, 0), 2, 1)[~np.eye(6, dtype=bool)]).all()
