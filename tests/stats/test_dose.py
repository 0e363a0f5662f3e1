from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from scepsis.stats._dose import decreasing


def test_statistic_and_p_value_against_all_shuffles() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)) + np.array([0.5, 0.0, -0.5])
    weights = np.array([3, 2, 1])  # the smallest dose is expected to rank highest

    def page(ranks: np.ndarray) -> float:
        return float(weights @ ranks.sum(axis=0))

    observed = page(values.argsort(axis=1).argsort(axis=1) + 1)
    every = [page(np.array(rows)) for rows in product(permutations([1, 2, 3]), repeat=5)]
    exact = np.mean(np.array(every) >= observed - 1e-9)
    found = decreasing(values)
    assert found.statistic == observed
    assert found.p_value == pytest.approx(exact, abs=1e-9)
    assert found.slope == pytest.approx(np.polyfit(range(3), values.mean(axis=0), 1)[0])
    assert found.n_units == 5


def test_direction_and_what_is_missing() -> None:
    values = np.arange(40.0).reshape(10, 4) % 4
    assert decreasing(-values).p_value < 1e-4 < 0.999 < decreasing(values).p_value
    values[0, 1] = np.nan
    assert decreasing(values).n_units == 9
    assert np.isnan(decreasing(values[:, :2]).p_value), "two doses are no trend"
    assert np.isnan(decreasing(values[:1]).p_value)
    assert decreasing(np.zeros((8, 3))).p_value > 0.4
