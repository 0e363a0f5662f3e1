from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from scepsis.stats._partial_spearman import RankCorrelation


def _made(n: int = 60, seed: int = 0, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    known = rng.normal(size=(n, 3))
    first = known[:, 0] + rng.normal(size=n)
    second = 0.5 * first + known[:, 1] + rng.normal(size=n)
    if ties:
        first, second, known = np.round(first), np.round(second), np.round(known, 1)
    return first, second, known


def _by_residuals(first: np.ndarray, second: np.ndarray, known: np.ndarray) -> float:
    design = np.column_stack([np.ones(len(first)), *(rankdata(column) for column in known.T)])
    left = [rankdata(one) - design @ np.linalg.lstsq(design, rankdata(one), rcond=None)[0] for one in (first, second)]
    return float(np.corrcoef(left)[0, 1])


@pytest.mark.parametrize("ties", [False, True])
def test_raw_is_spearman_and_partial_that_of_residuals(ties: bool) -> None:
    first, second, known = _made(ties=ties)
    assert RankCorrelation(first, second).rho() == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert RankCorrelation(first, second, known).rho() == pytest.approx(_by_residuals(first, second, known), abs=1e-10)


def test_one_covariate_gives_the_textbook_formula() -> None:
    first, second, known = _made()
    ranks = [rankdata(one) for one in (first, second, known[:, 0])]
    (xy, xz, yz) = (np.corrcoef(ranks)[place] for place in ((0, 1), (0, 2), (1, 2)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert RankCorrelation(first, second, known[:, :1]).rho() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_weights_are_repetitions(ties: bool) -> None:
    first, second, known = _made(ties=ties)
    times = np.random.default_rng(1).integers(0, 4, len(first))
    often = [np.repeat(one, times, axis=0) for one in (first, second, known)]
    for covariates, repeated in ((None, None), (known, often[2])):
        found = RankCorrelation(first, second, covariates).rho(times.astype(float))
        assert found == pytest.approx(RankCorrelation(often[0], often[1], repeated).rho(), abs=1e-10)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_influence_is_the_derivative_by_each_weight(ties: bool, partial: bool) -> None:
    first, second, known = _made(40, ties=ties)
    correlation = RankCorrelation(first, second, known if partial else None)
    found = correlation.influence()
    step = 1e-5
    for one in range(40):
        sides = []
        for sign in (1, -1):
            weights = np.ones(40)
            weights[one] += sign * step
            sides.append(correlation.rho(weights))
        assert found[one] == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-6)
    assert found.sum() == pytest.approx(0, abs=1e-9)


def test_influence_gives_the_spread_of_fresh_samples() -> None:
    """Standard error of a correlation, raw and partial, against 400 fresh samples."""
    drawn = {False: [], True: []}
    stated = {False: [], True: []}
    for seed in range(400):
        first, second, known = _made(150, seed)
        for partial in (False, True):
            correlation = RankCorrelation(first, second, known if partial else None)
            drawn[partial].append(correlation.rho())
            stated[partial].append(np.sqrt((correlation.influence() ** 2).sum()))
    for partial in (False, True):
        assert np.mean(stated[partial]) == pytest.approx(np.std(drawn[partial]), rel=0.12)


def test_nothing_left_is_nan() -> None:
    first, second, known = _made()
    assert np.isnan(RankCorrelation(np.ones(60), second).rho())
    assert np.isnan(RankCorrelation(np.ones(60), second).influence()).all()
    assert np.isnan(RankCorrelation(known[:, 0], second, known).rho())
    flat = np.column_stack([known, np.ones(60)])
    assert RankCorrelation(first, second, flat).rho() == RankCorrelation(first, second, known).rho()
