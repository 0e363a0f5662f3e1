from __future__ import annotations

import numpy as np
import pytest
import torch

from scepsis.edges._scales import double_centered, scaled


def residual_by_least_squares(values: np.ndarray) -> np.ndarray:
    """Fit mu + alpha_i + beta_j to the entries off the diagonal, and take what is left."""
    n = len(values)
    rows, columns = np.nonzero(~np.eye(n, dtype=bool))
    design = np.zeros((len(rows), 2 * n + 1))
    design[:, 0] = 1
    design[np.arange(len(rows)), 1 + rows] = 1
    design[np.arange(len(rows)), 1 + n + columns] = 1
    fit, *_ = np.linalg.lstsq(design, values[rows, columns], rcond=None)
    result = np.full((n, n), np.nan)
    result[rows, columns] = values[rows, columns] - design @ fit
    return result


@pytest.mark.parametrize("n", [3, 4, 11])
def test_centering_is_the_residual_of_the_additive_model_without_the_diagonal(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(n, n))
    values[np.diag_indices(n)] = 1e3  # must not matter
    found = double_centered(torch.from_numpy(values)).numpy()
    off = ~np.eye(n, dtype=bool)
    np.testing.assert_allclose(found[off], residual_by_least_squares(values)[off], atol=1e-9)


def test_two_genes_leave_nothing() -> None:
    assert not double_centered(torch.tensor([[1.0, 5.0], [2.0, 7.0]])).any()


def test_centered_attention_forgets_depth_keys_and_queries() -> None:
    rng = np.random.default_rng(0)
    pair = rng.normal(0, 0.3, (9, 9))
    plain = torch.from_numpy(np.exp(pair))
    key, query = torch.from_numpy(rng.gamma(1, 1, 9)), torch.from_numpy(rng.gamma(1, 1, (9, 1)))
    one = scaled(plain, "centered", 9)
    other = scaled(plain * key * query / 50, "centered", 400)
    off = ~torch.eye(9, dtype=torch.bool)
    torch.testing.assert_close(one[off], other[off])
    assert one[off].abs().max() > 0.1


def test_uniform_attention_is_one_fold() -> None:
    block = torch.full((4, 4), 1 / 37)
    assert torch.allclose(scaled(block, "uniform_fold", 37), torch.ones(4, 4))
    assert scaled(block, "probability", 37) is block


def test_weights_that_underflow_stay_finite() -> None:
    block = torch.tensor([[0.5, 0.0, 0.1], [0.2, 0.3, 0.1], [0.2, 0.3, 0.1]])
    assert torch.isfinite(scaled(block, "centered", 5)).all()
