from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.optimize import minimize

from scepsis.stats._guide_mixture import MIN_SD, NOTHING, Mixture, fit_guides, fit_mixture, posterior


def _counts(
    rng: np.random.Generator, *, n_cells: int = 5000, share: float = 0.02, background: float = 0.3, mean: float = 4.5,
    sd: float = 0.7, dispersion: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Counts, and the cells that have the guide."""
    has = rng.random(n_cells) < share
    rate = background * (rng.gamma(1 / dispersion, dispersion, n_cells) if dispersion else 1.0)
    counts = rng.poisson(rate, n_cells)
    counts[has] = np.maximum(np.rint(rng.lognormal(mean, sd, has.sum())), 1)
    return counts, has


def _fit(counts: np.ndarray, min_counts: int = 3) -> Mixture:
    values, times = np.unique(counts[counts > 0], return_counts=True)
    return fit_mixture(values.astype(float), times, len(counts), min_counts)


def _negative(parameters: np.ndarray, counts: np.ndarray) -> float:
    """The likelihood by scipy's distributions, cell by cell."""
    logit, log_background, mean, log_sd = parameters
    share, sd = 1 / (1 + np.exp(-logit)), np.exp(log_sd)
    likelihood = (1 - share) * stats.poisson.pmf(counts, np.exp(log_background))
    positive = counts > 0
    likelihood[positive] += share * stats.lognorm.pdf(counts[positive], sd, scale=np.exp(mean))
    return -float(np.log(np.maximum(likelihood, 1e-300)).mean())


@pytest.mark.parametrize("background", [0.05, 0.5, 4.0])
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_end_is_the_maximum_that_a_general_optimiser_finds(background: float, share: float) -> None:
    counts, _ = _counts(np.random.default_rng(0), background=background, share=share)
    found = _fit(counts)
    start = [np.log(share / (1 - share)), np.log(background), 4.5, np.log(0.7)]
    best = minimize(_negative, start, args=(counts,), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    logit, log_background, mean, log_sd = best.x
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-7)
    assert found.share == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-3)
    assert found.background == pytest.approx(np.exp(log_background), rel=1e-3)
    assert found.mean == pytest.approx(mean, abs=1e-3)
    assert found.sd == pytest.approx(np.exp(log_sd), rel=1e-2)


@pytest.mark.parametrize("background", [0.0, 0.05, 0.5, 4.0])
@pytest.mark.parametrize("share", [0.004, 0.05])
def test_planted_cells_are_called(background: float, share: float) -> None:
    counts, has = _counts(np.random.default_rng(1), background=background, share=share)
    called = counts >= _fit(counts).threshold
    assert (called & has).sum() > 0.97 * (has & (counts >= 3)).sum()
    assert (called & ~has).sum() < 0.03 * has.sum() + 1


def test_one_threshold_for_all_guides_is_worse() -> None:
    """A guide that drifts into every cell and one that is rarely read: no number fits both."""
    rng = np.random.default_rng(2)
    made = [_counts(rng, background=12.0, mean=5.5, sd=0.5), _counts(rng, background=0.05, mean=1.8, sd=0.5)]
    wrong = {fixed: sum(int(((counts >= fixed) != has).sum()) for counts, has in made) for fixed in range(2, 60)}
    ours = sum(int(((counts >= _fit(counts).threshold) != has).sum()) for counts, has in made)
    assert ours < 0.5 * min(wrong.values())


def test_background_that_varies_between_cells() -> None:
    counts, has = _counts(np.random.default_rng(3), background=1.0, dispersion=0.2, share=0.02)
    called = counts >= _fit(counts).threshold
    assert (called & has).sum() > 0.95 * has.sum()
    assert (called & ~has).sum() < 0.05 * has.sum()


@pytest.mark.parametrize("share", [0.005, 0.05])
def test_background_in_clumps(share: float) -> None:
    """A few cells have two or three molecules at once, many more than a Poisson number of that mean would give."""
    rng = np.random.default_rng(6)
    counts = np.where(rng.random(20_000) < 0.1, rng.integers(1, 5, 20_000), 0)
    has = rng.random(20_000) < share
    counts[has] += np.rint(rng.lognormal(4, 0.6, has.sum())).astype(int)
    found = _fit(counts)
    assert np.isfinite(found.size)
    assert found.threshold > 4
    called = counts >= found.threshold
    assert (called & has).sum() > 0.95 * has.sum()
    assert (called & ~has).sum() < 0.02 * has.sum()


def test_a_guide_that_nobody_has() -> None:
    counts = np.random.default_rng(4).poisson(0.2, 5000)
    assert (counts >= _fit(counts, min_counts=5).threshold).sum() == 0
    assert _fit(np.zeros(10, dtype=int)) == NOTHING
    few = np.zeros(100, dtype=int)
    few[:4] = 50
    assert _fit(few) == NOTHING
    few[:5] = 50
    assert (few >= _fit(few).threshold).sum() == 5
    assert _fit(few).sd == MIN_SD


def test_posterior_is_the_odds_of_both_likelihoods() -> None:
    found = Mixture(0.5, np.inf, 4.0, 0.7, 0.02, np.nan, np.nan)
    counts = np.array([1.0, 3.0, 6.0, 12.0, 50.0, 2000.0])
    with_guide = 0.02 * stats.lognorm.pdf(counts, 0.7, scale=np.exp(4.0))
    expected = with_guide / (with_guide + 0.98 * stats.poisson.pmf(counts, 0.5))
    np.testing.assert_allclose(posterior(found, counts), expected, rtol=1e-9)
    without = stats.nbinom.pmf(counts, 1.5, 1.5 / (1.5 + 0.5))
    expected = with_guide / (with_guide + 0.98 * without)
    np.testing.assert_allclose(posterior(found._replace(size=1.5), counts), expected, rtol=1e-9)


def test_guides_are_fitted_one_by_one() -> None:
    rng = np.random.default_rng(5)
    columns = [_counts(rng, background=b)[0] for b in (0.1, 1.0, 0.0)]
    matrix = sparse.csc_matrix(np.stack(columns, axis=1))
    for column, found in zip(columns, fit_guides(matrix, 3), strict=True):
        assert found == _fit(column)
