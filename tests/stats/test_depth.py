from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

from scepsis.stats._depth import monotone_r2, rank_trend, slope_weights


def test_trend_is_spearman_and_shifts_are_counted_one_by_one() -> None:
    rng = np.random.default_rng(0)
    layers, values = np.arange(18), np.round(np.cumsum(rng.normal(size=18)), 1)
    found, expected = rank_trend(layers, values), spearmanr(layers, values)
    assert found.rho == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    shifted = [spearmanr(layers, np.concatenate([values[k:], values[:k]])).statistic for k in range(18)]
    assert found.p_shift == pytest.approx(np.mean(np.abs(shifted) >= abs(shifted[0]) - 1e-9))


def test_shifts_are_calibrated_where_neighbours_are_alike_and_layers_as_if_independent_are_not() -> None:
    """Smooth sequences that close in a circle, without any trend: half of them look like one to the usual test."""
    rng = np.random.default_rng(1)
    turns = 2 * np.pi * np.arange(18) / 18
    found = [rank_trend(np.arange(18), np.sin(turns + rng.uniform(0, 2 * np.pi))) for _ in range(200)]
    assert np.mean([one.p_value < 0.05 for one in found]) > 0.3
    assert np.mean([one.p_shift <= 1 / 18 + 1e-9 for one in found]) < 0.15


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0, 4.0], [1.0] * 6, [1.0, np.nan, 2.0, 3.0, 4.0]])
def test_few_layers_or_no_variation_give_no_number(values: list[float]) -> None:
    assert np.isnan([*vars(rank_trend(np.arange(len(values)), np.array(values))).values()]).all()


@pytest.mark.parametrize("increasing", [True, False])
def test_monotone_share_is_that_of_scikit_learn(increasing: bool) -> None:
    values = np.random.default_rng(2).normal(size=12) + np.arange(12) * 0.1
    fitted = IsotonicRegression(increasing=increasing).fit_transform(np.arange(12), values)
    expected = 1 - ((values - fitted) ** 2).sum() / ((values - values.mean()) ** 2).sum()
    assert monotone_r2(values, increasing=increasing) == pytest.approx(expected)
    assert np.isnan(monotone_r2(np.ones(5), increasing=increasing))


def test_weights_make_the_slope_of_the_line() -> None:
    layers, values = np.array([0, 4, 10, 13, 17]), np.array([0.6, 0.5, 0.55, 0.7, 0.72])
    assert slope_weights(layers) @ values == pytest.approx(np.polyfit(layers, values, 1)[0])
    assert slope_weights(np.array([3])).tolist() == [0.0]
