from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from scepsis.stats._multiplicity import benjamini_hochberg, benjamini_yekutieli, simes, two_level

CASES = [(benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by")]


@pytest.mark.parametrize(("adjust", "method"), CASES)
def test_equal_statsmodels_over_the_tests_that_were_made(adjust, method: str) -> None:
    rng = np.random.default_rng(0)
    p = np.r_[rng.random(80), rng.random(20) * 1e-4, 0.0, 0.0, 1.0, np.repeat(0.02, 5)]
    p[rng.choice(len(p), 30, replace=False)] = np.nan
    made = ~np.isnan(p)
    adjusted = adjust(p)
    np.testing.assert_array_equal(np.isnan(adjusted), ~made)
    np.testing.assert_allclose(adjusted[made], multipletests(p[made], method=method)[1], rtol=1e-12)


@pytest.mark.parametrize(("adjust", "method"), CASES)
def test_nothing_tested_stays_nothing(adjust, method: str) -> None:
    assert np.isnan(adjust(np.full(4, np.nan))).all()
    assert adjust(np.zeros(0)).shape == (0,)
    assert adjust(np.array([0.3, np.nan]))[0] == pytest.approx(0.3)


def test_by_hand() -> None:
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5])), [0.04, 0.16 / 3, 0.16 / 3, 0.5])


def test_simes_is_the_smallest_ordered_p_times_n_over_rank() -> None:
    p = np.random.default_rng(0).random(30)
    expected = min(30 * value / rank for rank, value in enumerate(np.sort(p), start=1))
    assert simes(np.r_[p, np.nan]) == pytest.approx(expected)
    assert np.isnan(simes(np.array([np.nan])))


def test_families_are_selected_and_then_tested_at_the_level_of_the_share_selected() -> None:
    families = [np.array([0.001, 0.02, 0.9]), np.array([0.3, 0.6]), np.array([0.004, 0.03]), np.array([0.5])]
    found = two_level(families, 0.05)
    np.testing.assert_allclose(found.p_family, [0.003, 0.6, 0.008, 0.5])
    np.testing.assert_allclose(found.q_family, multipletests(found.p_family, method="fdr_bh")[1])
    assert found.selected.tolist() == [True, False, True, False]
    assert found.level == 0.025
    expected = [multipletests(family, 0.025, method="fdr_bh")[0] for family in (families[0], families[2])]
    assert found.significant[0].tolist() == expected[0].tolist() == [True, False, False]
    assert found.significant[2].tolist() == expected[1].tolist() == [True, False]
    assert not found.significant[1].any()


def test_selection_keeps_the_average_false_discovery_proportion() -> None:
    # 10 families of 10, 3 of them with 5 true effects; the average is over the selected families
    rng, average = np.random.default_rng(0), []
    for _ in range(400):
        z = rng.normal(size=(10, 10))
        z[:3, :5] += 4
        p = 1 - norm.cdf(z)
        found = two_level(list(p), 0.1)
        shares = [hit[5 if row < 3 else 0 :].sum() / max(hit.sum(), 1) for row, hit in enumerate(found.significant)]
        average.append(np.sum(shares) / max(found.selected.sum(), 1))
    assert np.mean(average) <= 0.1
    assert two_level([], 0.05).level == 0
