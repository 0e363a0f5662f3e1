"""The study of intervals in small: its truths against simulation, and what it must find at any size."""

from __future__ import annotations

import interval_coverage as coverage
import numpy as np
import pandas as pd
import pooled_coverage as pooled
import pytest
from scipy.stats import multivariate_normal, norm

from scepsis.stats._order import Order, Ranked


@pytest.mark.parametrize(("correlation", "threshold"), [(0.0, 1.5), (0.3, 1.5), (-0.5, 0.2), (0.9, 2.0)])
def test_expected_auroc_is_that_of_pairs_drawn(correlation: float, threshold: float) -> None:
    """Against an orthant probability of four normal variables."""
    # liabilities of a positive and of a negative, and the difference of their scores
    covariance = np.array([[1, 0, correlation], [0, 1, -correlation], [correlation, -correlation, 2]])
    # P(l1 > t, l2 < t, s1 - s2 > 0), over P(l1 > t) P(l2 < t)
    flip = np.diag([-1.0, 1.0, -1.0])
    joint = multivariate_normal(np.zeros(3), flip @ covariance @ flip).cdf([-threshold, threshold, 0.0])
    expected = joint / (norm.sf(threshold) * norm.cdf(threshold))
    found = coverage.expected_auroc(np.array([correlation]), np.array([threshold]))[0]
    assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("design", coverage.DESIGNS, ids=lambda one: one.name)
def test_truth_is_the_mean_over_panels(design: coverage.Design) -> None:
    """A pair's expectation, and the mean AUROC of perturbations drawn with panels of their own."""
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(60):
        panel, units = coverage.draw_panel(design, 100, rng), coverage.draw_units(design, 40, rng)
        scores, positive = coverage.draw_pairs(design, panel, units, rng)
        ranked = [Ranked(Order.of(one), positive, np.ones_like(positive)) for one in scores]
        enough = positive.sum(axis=1) >= coverage.MIN_POSITIVES
        areas.append([one.auroc[enough].mean() for one in ranked])
    error = np.std(areas, axis=0) / np.sqrt(len(areas))
    truth = coverage.truth_of_random_panels(design, n_genes=100, n_units=4000)
    assert (np.abs(np.mean(areas, axis=0) - truth) < 4 * error + 0.002).all()


def test_bootstrap_of_pairs_has_the_spread_of_resampled_tables() -> None:
    """Against copying and ranking every table anew."""
    rng = np.random.default_rng(2)
    positive = rng.random((4, 40)) < 0.3
    scores = [np.round(rng.normal(size=positive.shape) + 0.8 * positive, 1) for _ in range(2)]
    found = coverage.pair_bootstrap(scores, positive, 1500, seed=3)
    slow = []
    for _ in range(1500):
        drawn = rng.integers(positive.size, size=positive.size)
        total = []
        for row in range(4):
            places = drawn[drawn // 40 == row] % 40
            areas = [_auroc(one[row, places], positive[row, places]) for one in scores]
            total.append(areas[0] - areas[1])
        slow.append(np.mean(total))
    assert np.mean(found) == pytest.approx(np.mean(slow), abs=0.006)
    assert np.std(found) == pytest.approx(np.std(slow), rel=0.1)


def _auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    wins = scores[positive][:, None] - scores[~positive]
    return float(np.mean((wins > 0) + 0.5 * (wins == 0)))


def test_intervals_over_perturbations_hold_for_a_panel_and_two_way_ones_for_any() -> None:
    rows = coverage.study(coverage.DESIGNS[3], 60, sizes=(16,), n_genes=80)
    table = coverage.summary(rows).set_index(["panel", "interval"])["covered"]
    assert table["fixed", "t"] >= 88
    assert table["random", "two_way"] >= 88
    assert table["random", "t"] <= 85  # genes are shared: what perturbations alone tell is not enough
    assert table["random", "pairs"] <= 85


def test_pooled_intervals_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"N_FOR_TRUTH": 400, "N_PANELS": 4, "N_FOR_PANEL": 150, "N_BOOT": 200, "N_GENES": 80}.items():
        monkeypatch.setattr(pooled, name, value)
    rows = pooled.study(pooled.DESIGNS[2], 60, sizes=(16,))
    table = pooled.summary(rows).set_index(["panel", "interval"])["covered"]
    assert table["fixed", "t"] >= 88
    assert table["random", "two_way"] >= 88
    assert table["random", "pairs"] <= 88


def test_summary_counts_and_measures() -> None:
    rows = pd.DataFrame(
        {
            "design": "x", "n_units": 8, "seed": range(4), "panel": "random", "interval": "t",
            "estimate": [0.1, -0.1, 0.1, -0.1], "truth": 0.0, "low": [-0.1, -0.2, 0.05, -0.3], "high": 0.2,
        }
    )  # fmt: skip
    (row,) = coverage.summary(rows).itertuples()
    assert row.covered == 75
    assert row.relative_width == pytest.approx(np.mean([0.3, 0.4, 0.15, 0.5]) / (2 * 1.96 * 0.1))
