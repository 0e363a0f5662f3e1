from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scepsis.stats._column_moments import column_moments


def _blocks(matrix: np.ndarray, size: int) -> list[sparse.csr_matrix]:
    return [sparse.csr_matrix(matrix[start : start + size]) for start in range(0, len(matrix), size)]


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_any_blocks_give_numpys_moments(size: int) -> None:
    rng = np.random.default_rng(0)
    matrix = np.where(rng.random((333, 20)) < 0.3, rng.normal(2, 3, (333, 20)), 0)
    matrix[:, 4] = 0
    found = column_moments(_blocks(matrix, size), 20)
    np.testing.assert_allclose(found.mean, matrix.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.variance, matrix.var(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.detection_rate, (matrix > 0).mean(axis=0))


def test_a_large_mean_does_not_drown_a_small_variance() -> None:
    matrix = 1e6 + np.random.default_rng(1).normal(0, 1e-3, (5000, 3))
    found = column_moments(_blocks(matrix, 512), 3)
    exact = ((matrix - 1e6) ** 2).mean(axis=0) - (matrix - 1e6).mean(axis=0) ** 2
    np.testing.assert_allclose(found.variance, exact, rtol=1e-5)


def test_explicit_zeros_are_not_detected() -> None:
    block = sparse.csr_matrix((np.array([0.0, 2.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    np.testing.assert_array_equal(column_moments([block], 2).detection_rate, [0, 1])


def test_32_bit_values_are_summed_in_64() -> None:
    matrix = np.full((200_000, 1), np.float32(0.1))
    found = column_moments(_blocks(matrix, 4096), 1)
    assert found.mean[0] == pytest.approx(float(np.float32(0.1)), rel=1e-13)
    assert found.variance[0] < 1e-25
