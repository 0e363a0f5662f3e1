from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from scepsis.stats._multiplicity import benjamini_hochberg, benjamini_yekutieli

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
