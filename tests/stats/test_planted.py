from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._auroc import auroc, placements
from scepsis.stats._planted import critical_value, planted


def test_half_of_the_positives_move_by_delta_deviations_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(6, 50)).astype(np.float32)
    scores[0, :5] = np.nan
    positive = rng.random((6, 50)) < 0.2
    before = scores.copy()
    result = planted(scores, positive, 0.5, np.random.default_rng(2))
    np.testing.assert_array_equal(scores, before)
    moved = result - scores
    is_moved = np.nan_to_num(moved) != 0
    assert is_moved.sum() == (positive & ~np.isnan(scores)).sum() // 2
    assert not (is_moved & ~positive).any()
    assert moved[is_moved] == pytest.approx(0.5 * np.nanstd(scores.astype(float)), rel=1e-5)
    stronger = planted(scores, positive, 2.0, np.random.default_rng(2))
    np.testing.assert_array_equal(np.nan_to_num(stronger - scores) != 0, is_moved)


def test_auroc_of_noise_with_a_planted_signal_is_that_of_shifted_normals() -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(3)
    scores, positive = rng.normal(size=(1, 200_000)), rng.random((1, 200_000)) < 0.3
    for delta in (0.25, 1.0, 2.0):
        area = auroc(placements(planted(scores, positive, delta, rng), positive))[0]
        # half of the positives are noise as before, half are shifted: P(X + delta > Y)
        assert area == pytest.approx(0.25 + 0.5 * norm.cdf(delta / np.sqrt(2)), abs=0.01)


def test_without_positives_nothing_is_planted() -> None:
    scores = np.arange(6.0).reshape(2, 3)
    result = planted(scores, np.zeros((2, 3), dtype=bool), 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(result, scores)


@pytest.mark.parametrize("n", [5, 18, 19, 20, 39, 99, 100, 1_000])
def test_beyond_the_critical_value_p_is_significant_and_at_it_not(n: int) -> None:
    drawn = np.random.default_rng(n).normal(size=n)

    def p(statistic: float) -> float:
        return (1 + np.sum(np.abs(drawn) >= abs(statistic))) / (1 + n)

    critical = critical_value(drawn)
    if n < 19:
        assert critical == np.inf
        assert p(1e9) > 0.05
        return
    assert p(critical) > 0.05
    assert p(-critical) > 0.05
    assert p(np.nextafter(critical, np.inf)) <= 0.05
