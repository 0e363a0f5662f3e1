from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from scepsis.stats._influence import ClusterSums, two_way_variance
from scepsis.stats._intervals import Interval, t_interval
from scepsis.stats._power import CrossedError


def _detectable(by_unit: float, shared: float, now: int, n: int, n_genes: int, power: float = 0.8) -> float:
    df = min(n, n_genes) - 1
    return (t.ppf(0.975, df) + t.ppf(power, df)) * np.sqrt(by_unit * now / n + shared)


@pytest.mark.parametrize(("by_unit", "shared", "gain"), [(1e-4, 0.0, 0.02), (1e-4, 1e-5, 0.02), (4e-6, 1e-6, 0.005)])
def test_units_needed_are_the_fewest_that_detect(by_unit: float, shared: float, gain: float) -> None:
    """Against a walk through all numbers."""
    error = CrossedError(by_unit, shared, n_units=24, n_genes=300)
    walked = next(n for n in range(2, 5000) if _detectable(by_unit, shared, 24, n, 300) <= gain)
    assert error.units_for(gain) == walked
    assert error.detectable(walked) <= gain < error.detectable(walked - 1)


def test_without_a_shared_part_units_grow_with_the_square_of_what_is_wanted() -> None:
    """n (detectable / gain)^2, but for the quantiles, which change little with many units."""
    error = CrossedError(1e-4, 0.0, n_units=200, n_genes=10_000)
    wanted = 200 * (error.detectable(200) / 0.005) ** 2
    assert error.units_for(0.005) == pytest.approx(wanted, rel=0.02)


def test_what_genes_share_bounds_the_gain() -> None:
    error = CrossedError(1e-6, 4e-6, n_units=30, n_genes=200)
    limit = (t.ppf(0.975, 199) + t.ppf(0.8, 199)) * 2e-3
    assert error.limit() == pytest.approx(limit, rel=1e-9)
    assert error.units_for(0.99 * limit) == np.inf
    assert np.isfinite(error.units_for(1.05 * limit))


def test_parts_are_read_from_an_interval() -> None:
    differences = np.array([0.01, 0.03, -0.02, 0.04, 0.0, 0.02])
    by_unit = sum((one - differences.mean()) ** 2 for one in differences) / 5 / 6
    two_way = t_interval(float(differences.mean()), np.sqrt(by_unit + 5e-5), 5)
    error = CrossedError.of(differences, two_way, n_genes=40)
    assert error.by_unit == pytest.approx(by_unit, rel=1e-12)
    assert error.shared == pytest.approx(5e-5, rel=1e-9)
    assert error.standard_error == pytest.approx(np.sqrt(by_unit + 5e-5), rel=1e-9)


def test_planted_parts_are_found() -> None:
    """Crossed effects of known size: the part of genes stays when there are four times as many units."""
    rng = np.random.default_rng(3)
    n_genes, sd_unit, sd_gene, sd_pair = 50, 0.1, 0.2, 0.5
    shared = {20: [], 80: []}
    for n_units, found in shared.items():
        for _ in range(200):
            pairs = sd_unit * rng.normal(size=(n_units, 1)) + sd_gene * rng.normal(size=n_genes)
            pairs = pairs + sd_pair * rng.normal(size=(n_units, n_genes))
            units = pairs.mean(axis=1)
            sums = ClusterSums.zeros(n_genes)
            influence = (pairs - units[:, None]) / n_genes
            sums.add(influence, np.ones(n_genes, dtype=bool))
            variance, df = two_way_variance(units, sums)
            found.append(CrossedError.of(units, t_interval(0.0, np.sqrt(variance), df), n_genes).shared)
    for found in shared.values():
        assert np.mean(found) == pytest.approx(sd_gene**2 / n_genes, rel=0.25)


def test_nothing_is_known_without_an_interval() -> None:
    error = CrossedError.of(np.array([0.1, 0.2]), Interval(np.nan, np.nan), n_genes=50)
    assert np.isnan(error.units_for(0.02))
    assert np.isnan(error.limit())
