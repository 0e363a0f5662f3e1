from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scepsis.stats import _bootstrap
from scepsis.stats._bootstrap import bootstrap_means, percentile_interval


def test_means_are_those_of_the_units_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(9, 3))
    values[2, 1] = np.nan
    found = bootstrap_means(values, 50, np.random.default_rng(7))
    drawn = np.random.default_rng(7).integers(9, size=(50, 9))
    for replicate, units in zip(found, drawn, strict=True):
        np.testing.assert_allclose(replicate, np.nanmean(values[units], axis=0), rtol=1e-12)


def test_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(2, size=40)
    low, high = percentile_interval(bootstrap_means(values[:, None], 20_000, np.random.default_rng(2)))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3), vectorized=True
    ).confidence_interval
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=0.02 * values.std())


def test_draws_are_shared_and_depend_on_the_seed_alone() -> None:
    values = np.random.default_rng(4).normal(size=(20, 2))
    values = np.column_stack([values, values[:, 0] - values[:, 1]])
    means = bootstrap_means(values, 300, np.random.default_rng(0))
    np.testing.assert_allclose(means[:, 2], means[:, 0] - means[:, 1], atol=1e-12)
    np.testing.assert_array_equal(means, bootstrap_means(values, 300, np.random.default_rng(0)))
    assert not np.array_equal(means, bootstrap_means(values, 300, np.random.default_rng(1)))


def test_replicates_without_a_value_are_drawn_again() -> None:
    values = np.full((6, 2), np.nan)
    values[0, 0], values[:, 1] = 3.0, np.arange(6)
    means = bootstrap_means(values, 400, np.random.default_rng(0))
    assert np.isfinite(means[:, 1]).all()
    # a third of replicates lacks unit 0; after 20 more draws practically none does
    assert np.isnan(means[:, 0]).sum() == 0
    assert set(means[:, 0]) == {3.0}


def test_what_is_never_there_has_no_interval() -> None:
    values = np.column_stack([np.full(5, np.nan), np.ones(5)])
    low, high = percentile_interval(bootstrap_means(values, 30, np.random.default_rng(0)))
    np.testing.assert_array_equal(low, [np.nan, 1])
    np.testing.assert_array_equal(high, [np.nan, 1])
    low, high = percentile_interval(bootstrap_means(np.empty((0, 1)), 30, np.random.default_rng(0)))
    assert np.isnan([low[0], high[0]]).all()


def test_blocks_do_not_change_what_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=(15, 1))
    monkeypatch.setattr(_bootstrap, "BLOCK", 64)
    means = bootstrap_means(values, 4000, np.random.default_rng(0))
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.std() == pytest.approx(values.std() / np.sqrt(15), rel=0.05)
