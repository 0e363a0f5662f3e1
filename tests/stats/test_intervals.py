from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.stats._intervals import Interval, one_sample_t, t_interval


def test_t_test_and_interval_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.2, 13)
    expected = stats.ttest_1samp(values, 0.5)
    found = one_sample_t(values, 0.5)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    interval = expected.confidence_interval()
    np.testing.assert_allclose(found.interval, [interval.low, interval.high], rtol=1e-12)
    assert found.sd == pytest.approx(values.std(ddof=1))


def test_degenerate_samples_have_no_test() -> None:
    assert one_sample_t(np.array([0.7])).mean == 0.7
    assert np.isnan(one_sample_t(np.array([0.7])).p_value)
    assert np.isnan(one_sample_t(np.array([])).mean)
    assert np.isnan(one_sample_t(np.full(9, 0.25)).p_value)
    assert np.isnan(t_interval(0.1, 0.2, 0)).all()


def test_intervals_know_margins() -> None:
    assert Interval(-0.01, 0.015).within(0.02)
    assert not Interval(-0.01, 0.02).within(0.02)
    assert Interval(0.1, 0.2).excludes()
    assert not Interval(np.nan, np.nan).excludes()
    assert Interval(-1, 2).negated() == Interval(-2, 1)


@pytest.mark.parametrize(
    ("estimate", "error", "conclusion"),
    [
        (0.001, 0.004, "equivalent"),
        (0.012, 0.003, "equivalent"),  # significant too: equivalence comes first
        (0.05, 0.01, "different"),
        (-0.05, 0.01, "different"),
        (0.01, 0.05, "inconclusive"),
        (0.018, 0.006, "different"),
        (0.01, np.nan, ""),
    ],
)
def test_conclusions_in_order(estimate: float, error: float, conclusion: str) -> None:
    assert equivalence(estimate, error, 30, 0.02) == conclusion


def test_equivalence_is_two_one_sided_tests() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        values = rng.normal(rng.uniform(-0.03, 0.03), 0.03, 20)
        error = values.std(ddof=1) / np.sqrt(20)
        both = max(
            stats.ttest_1samp(values, -0.02, alternative="greater").pvalue,
            stats.ttest_1samp(values, 0.02, alternative="less").pvalue,
        )
        assert (equivalence(values.mean(), error, 19, 0.02) == "equivalent") == (both < 0.05)


def test_minimum_detectable_is_detected_four_times_in_five() -> None:
    # power of a t test at the true difference, from the noncentral t distribution
    error, df = 0.01, 60
    delta = minimum_detectable(error, df)
    critical = stats.t.ppf(0.975, df)
    power = stats.nct.sf(critical, df, delta / error) + stats.nct.cdf(-critical, df, delta / error)
    assert power == pytest.approx(0.8, abs=0.01)
    assert np.isnan(minimum_detectable(np.nan, 5))
