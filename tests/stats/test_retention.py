from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t, wilcoxon
from sklearn.metrics import roc_auc_score

from scepsis.stats._retention import Known, pooled, retained, retention


def _made(seed: int = 0, n_units: int = 12, n_genes: int = 60) -> tuple[Known, np.ndarray, np.ndarray]:
    """Raw scores that know of listed pairs and of genes, residuals that know of listed pairs a little."""
    rng = np.random.default_rng(seed)
    listed = rng.random((n_units, n_genes)) < 0.15
    valid = rng.random((n_units, n_genes)) < 0.95
    raw = np.round(rng.normal(size=listed.shape) + 1.2 * listed + rng.normal(size=n_genes), 1)
    left = rng.normal(size=listed.shape) + 0.6 * listed
    raw[~valid] = np.nan
    return Known(listed, valid), raw, left


def _options(**more: object) -> dict:
    return {"margin": 0.02, "min_units": 6, "n_boot": 300, "rng": np.random.default_rng(3)} | more


def _area(known: Known, scores: np.ndarray, rows: np.ndarray | None = None) -> float:
    rows = np.arange(len(scores)) if rows is None else rows
    valid = known.valid[rows]
    return roc_auc_score(known.listed[rows][valid], scores[rows][valid])


def test_numbers_are_those_of_loops_and_other_libraries() -> None:
    known, raw, left = _made()
    (found,) = retained(raw, [left], known, **_options())
    assert found.raw.auroc == pytest.approx(_area(known, raw), abs=1e-12)
    assert found.residual.auroc == pytest.approx(_area(known, left), abs=1e-12)
    assert found.retention == pytest.approx((_area(known, left) - 0.5) / (_area(known, raw) - 0.5), abs=1e-12)
    by_unit = np.array([[_area(known, one, np.array([row])) for row in range(12)] for one in (raw, left)])
    np.testing.assert_allclose([found.raw_by_unit, found.by_unit], by_unit, atol=1e-12)
    assert found.change.difference == pytest.approx((by_unit[1] - by_unit[0]).mean(), abs=1e-12)
    assert found.change.p_value == pytest.approx(wilcoxon(by_unit[1] - by_unit[0]).pvalue, abs=1e-12)


def test_interval_of_the_retention_is_that_of_naive_resampling() -> None:
    known, raw, left = _made(1)
    (found,) = retained(raw, [left], known, **_options(n_boot=150))
    rng = np.random.default_rng(3)
    shares, areas = [], []
    for rows in rng.integers(12, size=(150, 12)):
        areas.append(_area(known, left, rows))
        shares.append((areas[-1] - 0.5) / (_area(known, raw, rows) - 0.5))
    np.testing.assert_allclose(found.retention_boot, np.percentile(shares, [2.5, 97.5]), atol=1e-10)
    np.testing.assert_allclose(found.boot, np.percentile(areas, [2.5, 97.5]), atol=1e-10)


def test_two_way_interval_of_the_retention_is_the_delta_method_by_finite_differences() -> None:
    """Influence of a pair on a ratio, from how the ratio moves when its two parts move a little."""
    known, raw, left = _made(2)
    (found,) = retained(raw, [left], known, **_options())
    step = 1e-7
    above = np.array([found.residual.auroc - 0.5, found.raw.auroc - 0.5])
    slopes = [
        ((above[0] + step) / above[1] - above[0] / above[1]) / step,
        (above[0] / (above[1] + step) - above[0] / above[1]) / step,
    ]
    influence = slopes[0] * found.residual.influence + slopes[1] * found.raw.influence
    parts = []
    for axis in (1, 0):
        squares = [total**2 for total in influence.sum(axis=axis)]
        carriers = sum(squares) ** 2 / sum(square**2 for square in squares)
        parts.append(sum(squares) * carriers / (carriers - 1))
    variance = max(sum(parts) - (influence**2).sum(), *parts)
    half = t.ppf(0.975, 12 - 1) * np.sqrt(variance)
    np.testing.assert_allclose(found.retention_two_way, [found.retention - half, found.retention + half], atol=1e-6)


def test_intervals_cover_the_truth_of_planted_scores() -> None:
    """Normal scores: the true AUROC of a shift d is Phi(d / sqrt 2), known without the code."""
    from scipy.stats import norm

    truth = [norm.cdf(shift / np.sqrt(2)) for shift in (1.2, 0.6)]
    share = (truth[1] - 0.5) / (truth[0] - 0.5)
    covered = np.zeros(3)
    for seed in range(120):
        rng = np.random.default_rng(seed)
        listed = rng.random((20, 80)) < 0.15
        raw, left = (rng.normal(size=listed.shape) + shift * listed for shift in (1.2, 0.6))
        (found,) = retained(raw, [left], Known(listed, listed | True), **_options(n_boot=200))
        for index, (low, high) in enumerate((found.retention_boot, found.retention_two_way, found.residual.interval)):
            covered[index] += low <= (share if index < 2 else truth[1]) <= high
    assert (covered / 120 > [0.86, 0.9, 0.9]).all(), covered / 120  # percentile intervals are short of clusters


def test_nothing_is_kept_of_next_to_nothing() -> None:
    assert np.isnan(retention(0.52, 0.6))
    assert retention(0.6, 0.48) == pytest.approx(-0.2)
    known, _, left = _made()
    (found,) = retained(np.random.default_rng(9).normal(size=left.shape), [left], known, **_options())
    assert found.raw.auroc < 0.52
    assert np.isnan([found.retention, *found.retention_boot, *found.retention_two_way]).all()
    assert np.isfinite(found.residual.interval).all()


def test_few_regulators_have_numbers_and_no_intervals() -> None:
    known, raw, left = _made(n_units=5)
    (found,) = retained(raw, [left], known, **_options())
    assert np.isfinite([found.raw.auroc, found.residual.auroc, found.retention, found.change.difference]).all()
    for interval in (found.residual.interval, found.boot, found.retention_boot, found.retention_two_way):
        assert np.isnan(interval).all()
    assert np.isnan(found.change.p_value)
    assert found.equivalence == ""


def test_unordered_pairs_have_no_regulators_to_resample() -> None:
    rng = np.random.default_rng(4)
    valid = np.triu(np.ones((40, 40), dtype=bool), 1)
    listed = valid & (rng.random((40, 40)) < 0.1)
    known = Known(listed, valid, unordered=True)
    raw, left = rng.normal(size=(2, 40, 40)) + np.array([1.5, 1.0])[:, None, None] * listed
    (found,) = retained(raw, [left], known, **_options())
    assert np.isnan([*found.boot, *found.retention_boot, found.change.difference]).all()
    assert np.isfinite([*found.retention_two_way, *found.residual.interval]).all()
    assert len(found.by_unit) == 0


def test_no_listed_pair_is_nan_and_no_error() -> None:
    known, raw, left = _made()
    empty = Known(np.zeros_like(known.listed), known.valid)
    (found,) = retained(raw, [left], empty, **_options())
    assert np.isnan([found.raw.auroc, found.residual.auroc, found.retention]).all()
    assert np.isnan(pooled(raw, empty).interval).all()
