from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._balance import standardised_differences


def test_is_the_formula_by_hand() -> None:
    values = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0], [2.0, 5.0], [2.0, 5.0], [5.0, 5.0]])
    positive = np.array([True, True, True, False, False, False])
    # means 3 and 3 of the first; 1, 3, 5 have variance 4, and 2, 2, 5 have 3
    assert standardised_differences(values, positive).tolist() == [0.0, 0.0]
    values[0, 0] = 4.0  # means 4 and 3; variances 1 and 3
    assert standardised_differences(values, positive)[0] == pytest.approx(1 / np.sqrt(2))


def test_whole_weights_are_repeated_rows_but_for_the_denominator() -> None:
    rng = np.random.default_rng(0)
    values, positive, weight = rng.normal(size=(40, 3)), rng.random(40) < 0.4, rng.integers(1, 5, 40)
    weighted = standardised_differences(values, positive, weight.astype(float))
    for column in range(3):
        means, variances = [], []
        for group in (positive, ~positive):
            repeated = np.repeat(values[group, column], weight[group])
            w = weight[group]
            means.append(repeated.mean())
            variances.append(((repeated - repeated.mean()) ** 2).sum() / (w.sum() - (w**2).sum() / w.sum()))
        expected = (means[0] - means[1]) / np.sqrt(np.mean(variances))
        assert weighted[column] == pytest.approx(expected, rel=1e-12)


def test_equal_weights_are_none() -> None:
    rng = np.random.default_rng(1)
    values, positive = rng.normal(size=(30, 2)), rng.random(30) < 0.5
    half = standardised_differences(values, positive, np.full(30, 0.5))
    np.testing.assert_allclose(half, standardised_differences(values, positive), rtol=1e-12)


def test_a_difference_without_spread_is_unknown_and_so_is_a_group_of_one() -> None:
    values = np.array([[1.0], [1.0], [2.0], [2.0]])
    assert np.isnan(standardised_differences(values, np.array([True, True, False, False]))).all()
    assert np.isnan(standardised_differences(values, np.array([True, False, False, False]))).all()
    assert np.isnan(standardised_differences(values, np.zeros(4, dtype=bool))).all()
