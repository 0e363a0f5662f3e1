from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._saturation import saturation_fits


def test_planted_curves_come_back() -> None:
    n = np.array([25, 50, 100, 200, 400, 800, 1600], dtype=float)
    rng = np.random.default_rng(0)
    values = 0.09 * (1 - np.exp(-0.0055 * n)) + 0.519 + rng.normal(0, 1e-4, len(n))
    fits = {fit.name: fit for fit in saturation_fits(n, values)}
    assert fits["saturating"].values == pytest.approx((0.09, 0.0055, 0.519), rel=0.05)
    assert fits["saturating"].r_squared > 0.99 > fits["logarithmic"].r_squared > fits["linear"].r_squared
    assert all(0 < error < 0.01 for error in fits["saturating"].errors)
    line = {fit.name: fit for fit in saturation_fits(n, 2e-5 * n + 0.4 + rng.normal(0, 1e-6, len(n)))}["linear"]
    slope, intercept = np.polyfit(n, 2e-5 * n + 0.4, 1)
    assert (line.values[0], line.values[2]) == pytest.approx((slope, intercept), rel=1e-3)
    assert np.isnan(line.values[1])


def test_too_few_points_are_not_fitted() -> None:
    for n, values in (([], []), ([10.0], [0.5]), ([10.0, 20.0, 30.0], [0.5, 0.5, 0.5]), ([1.0, 2.0], [0.1, np.nan])):
        for fit in saturation_fits(np.array(n), np.array(values)):
            assert not fit.converged
            assert np.isnan(fit.values).all()
            assert np.isnan(fit.r_squared)
