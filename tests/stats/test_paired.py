from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from scepsis.stats._paired import cohen_d, signed_rank


def _enumerated(differences: np.ndarray) -> float:
    """Two-sided p from all assignments of signs."""
    ranks = rankdata(np.abs(differences))
    observed = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
    total = ranks.sum()
    sums = [ranks[np.array(signs, bool)].sum() for signs in itertools.product([0, 1], repeat=len(ranks))]
    return float(np.mean([min(s, total - s) <= observed for s in sums]))


def test_seven_differences_have_the_attainable_p_values() -> None:
    magnitudes = np.arange(1.0, 8)
    found = set()
    for signs in itertools.product([-1, 1], repeat=7):
        found.add(round(signed_rank(magnitudes * signs).p_value * 128))
    assert {2, 10, 104, 120, 128} <= found
    assert signed_rank(magnitudes).p_value == pytest.approx(0.015625)


def test_exact_p_is_the_enumeration_of_signs() -> None:
    rng = np.random.default_rng(0)
    for n in (3, 6, 11):
        differences = rng.normal(0.4, 1, size=n)
        result = signed_rank(differences)
        assert result.exact
        assert result.p_value == pytest.approx(_enumerated(differences), rel=1e-12)


def _normal(differences: np.ndarray) -> float:
    """The normal approximation written out, with continuity and tie correction."""
    differences = differences[differences != 0]
    n, ranks = len(differences), rankdata(np.abs(differences))
    _, ties = np.unique(ranks, return_counts=True)
    variance = n * (n + 1) * (2 * n + 1) / 24 - (ties**3 - ties).sum() / 48
    distance = abs(ranks[differences > 0].sum() - n * (n + 1) / 4)
    return float(2 * norm.sf((distance - 0.5) / np.sqrt(variance)))


def test_many_differences_and_ties_use_the_corrected_normal() -> None:
    rng = np.random.default_rng(1)
    for differences in (rng.normal(0.2, 1, 60), rng.integers(-3, 6, 40).astype(float), rng.integers(1, 4, 9) * 1.0):
        result = signed_rank(differences)
        assert not result.exact
        assert result.p_value == pytest.approx(_normal(differences), rel=1e-10)


def test_25_is_still_exact() -> None:
    differences = np.random.default_rng(2).normal(size=26)
    assert signed_rank(differences[:25]).exact
    assert not signed_rank(differences).exact


def test_equal_differences_of_ratios_are_ties_and_zeros_are_dropped() -> None:
    differences = np.array([0.3 - 0.2, 0.2 - 0.1, 0.7 - 0.7, np.nan, -0.4])
    result = signed_rank(differences)
    assert result.n == 3
    assert not result.exact
    assert signed_rank(np.zeros(8)).p_value == 1


def test_cohen_d_and_hedges() -> None:
    differences = np.array([0.1, 0.3, 0.2, 0.6])
    plain = differences.mean() / differences.std(ddof=1)
    assert cohen_d(differences) == pytest.approx(plain * (1 - 3 / 11))
    many = np.random.default_rng(0).normal(1, 2, 20)
    assert cohen_d(many) == pytest.approx(many.mean() / many.std(ddof=1))
    assert np.isnan(cohen_d(np.full(5, 0.3)))
    assert np.isnan(cohen_d(np.array([0.3])))
