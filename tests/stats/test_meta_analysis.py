"""Random effects against their definition, solved by root finding, and against how often they are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from scepsis.stats._meta_analysis import deviations, differences, error_of_interval, random_effects, two_sided


def _by_hand(effects: np.ndarray, errors: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, its Hartung-Knapp error (floored), tau squared and Q, by solving for tau squared."""

    def q(tau2: float) -> float:
        weight = 1 / (errors**2 + tau2)
        mean = (weight * effects).sum() / weight.sum()
        return float((weight * (effects - mean) ** 2).sum())

    df = len(effects) - 1
    tau2 = brentq(lambda value: q(value) - df, 0, 100) if q(0) > df else 0.0
    weight = 1 / (errors**2 + tau2)
    mean = float((weight * effects).sum() / weight.sum())
    return mean, float(np.sqrt(max(q(tau2) / df, 1) / weight.sum())), tau2, q(0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("between", [0.0, 0.3])
def test_is_what_its_equations_say(seed: int, between: float) -> None:
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.05, 0.2, 2 + seed)
    effects = 0.4 + between * rng.normal(size=len(errors)) + errors * rng.normal(size=len(errors))
    found = random_effects(effects, errors)
    mean, error, tau2, q = _by_hand(effects, errors)
    df = len(effects) - 1
    assert (found.mean, found.standard_error, found.cochran_q) == pytest.approx((mean, error, q), rel=1e-4)
    assert found.tau2 == pytest.approx(tau2, rel=1e-3, abs=1e-5)
    assert found.p_heterogeneity == pytest.approx(stats.chi2.sf(q, df))
    assert found.i2 == pytest.approx(max(0, (q - df) / q))
    assert found.interval == pytest.approx(stats.t.interval(0.95, df, mean, error), rel=1e-4)
    assert found.p_value == pytest.approx(2 * stats.t.sf(mean / error, df), rel=1e-3)
    if df > 1:
        expected = stats.t.interval(0.95, df - 1, mean, np.sqrt(tau2 + error**2))
        assert found.prediction == pytest.approx(expected, rel=1e-3)
    else:
        assert np.isnan(found.prediction).all()


def test_holds_its_level_with_few_contexts() -> None:
    rng = np.random.default_rng(0)
    covered, called = [], []
    for _ in range(400):
        errors = rng.uniform(0.02, 0.08, 4)
        found = random_effects(0.1 * rng.normal(size=4) + errors * rng.normal(size=4), errors)
        covered.append(found.interval.low < 0 < found.interval.high)
        same = random_effects(errors * rng.normal(size=4), errors)
        called.append(same.p_heterogeneity < 0.05)
    assert np.mean(covered) > 0.92
    assert 0.02 < np.mean(called) < 0.09


def test_equivalence_is_of_the_mean() -> None:
    assert random_effects(np.array([0.001, -0.001, 0.0]), np.full(3, 0.001)).equivalence(0.02) == "equivalent"
    assert random_effects(np.array([0.1, 0.11, 0.09]), np.full(3, 0.001)).equivalence(0.02) == "different"
    assert random_effects(np.array([0.1, -0.1, 0.0]), np.full(3, 0.05)).equivalence(0.02) == "inconclusive"


def test_one_context_has_no_mean() -> None:
    found = random_effects(np.array([0.3]), np.array([0.1]))
    assert found.n == 1
    assert np.isnan([found.mean, found.p_value, found.tau2]).all()
    assert found.equivalence(0.02) == ""


def test_the_one_that_differs_deviates_and_the_others_do_not() -> None:
    effects, errors = np.array([0.01, 0.0, 0.35]), np.full(3, 0.03)
    z = deviations(effects, errors)
    # the two others agree, so that there is no variance between them
    assert z[2] == pytest.approx((0.35 - 0.005) / np.sqrt(0.03**2 * 1.5), rel=1e-3)
    assert (np.abs(z[:2]) < 1.96).all()
    assert np.isnan(deviations(effects[:2], errors[:2])).all()


def test_differences_of_two() -> None:
    found = differences(np.array([0.5, 0.2, 0.1]), np.array([0.03, 0.04, 0.1]))
    assert [(one.first, one.second) for one in found] == [(0, 1), (0, 2), (1, 2)]
    assert found[0].standard_error == pytest.approx(0.05)
    assert found[0].z == pytest.approx(6)
    assert found[0].p_value == pytest.approx(2 * stats.norm.sf(6))
    assert found[0].interval == pytest.approx(stats.norm.interval(0.95, 0.3, 0.05))
    assert two_sided(1.96) == pytest.approx(0.05, abs=1e-4)


def test_error_of_an_interval() -> None:
    low, high = stats.t.interval(0.95, 9, 0.3, 0.07)
    assert error_of_interval(low, high, 10) == pytest.approx(0.07)
    assert np.isnan(
        [error_of_interval(0.1, 0.1, 10), error_of_interval(np.nan, 1, 10), error_of_interval(0, 1, 1)]
    ).all()
