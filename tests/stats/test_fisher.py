from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, norm, pearsonr, rankdata, spearmanr

from scepsis.stats._fisher import correlation_z, strongest_state


def test_p_of_one_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400))
    y += 0.15 * x
    for spearman, test in ((False, pearsonr), (True, spearmanr)):
        rho, expected = test(x, y)
        z = correlation_z(np.array([rho]), 400, spearman=spearman)[0]
        # scipy's is t, for Spearman with the variance 1 / (n - 1)
        assert z == pytest.approx(np.sign(rho) * norm.isf(expected / 2), rel=0.05)
    assert np.isfinite(correlation_z(np.array([1.0, -1.0]), 10, spearman=True)).all()
    assert correlation_z(np.array([0.5]), 3, spearman=False)[0] == 0


def test_p_of_the_strongest_state_is_uniform_where_there_is_nothing() -> None:
    rng = np.random.default_rng(1)
    sizes = [30, 60, 200]
    draws = [rng.normal(size=(n, 60)) for n in sizes]
    ranks = [rankdata(values, axis=0) for values in draws]
    networks = [np.corrcoef(values, rowvar=False)[np.triu_indices(60, 1)] for values in ranks]
    networks[0][:5] = np.nan
    found = strongest_state(zip(sizes, networks, strict=True), spearman=True)
    assert kstest(found.p_value, "uniform").pvalue > 0.01
    assert set(found.state[:5]) <= {1, 2}
    # the formula, pair by pair
    for pair in range(0, 200, 7):
        z = [correlation_z(network[[pair]], n, spearman=True)[0] for n, network in zip(sizes, networks, strict=True)]
        known = [value for value in z if not np.isnan(value)]
        single = min(2 * norm.sf(abs(value)) for value in known)
        assert found.p_value[pair] == pytest.approx(1 - (1 - single) ** len(known), rel=1e-6)
        assert found.z[pair] == z[found.state[pair]]
    assert strongest_state([], spearman=True) is None
    nothing = strongest_state([(9, np.array([np.nan]))], spearman=True)
    assert (nothing.state[0], np.isnan(nothing.z[0]), np.isnan(nothing.p_value[0])) == (-1, True, True)
