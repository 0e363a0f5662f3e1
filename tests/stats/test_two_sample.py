from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse, stats

from scepsis.stats import _two_sample
from scepsis.stats._moments import group_moments
from scepsis.stats._two_sample import mann_whitney, student, welch

if TYPE_CHECKING:
    from scepsis.stats._moments import Moments

N_GENES = 300


def moments_of(dense: np.ndarray) -> Moments:
    matrix = sparse.csr_matrix(dense)
    block = [(np.arange(len(dense)), matrix)]
    return group_moments(block, [np.arange(len(dense))], n_cells=len(dense), n_genes=dense.shape[1])[0]


@pytest.fixture(scope="module", params=[(60, 400), (2, 5), (1000, 3)], ids=str)
def samples(request) -> tuple[np.ndarray, np.ndarray]:
    """Sparse values with shifts from none to enormous, and zeros throughout in one group or both."""
    n_first, n_second = request.param
    rng = np.random.default_rng(n_first)
    rate = rng.gamma(0.5, 1.0, N_GENES)
    shift = np.where(np.arange(N_GENES) % 3 == 0, 4.0, 1.0)
    first, second = rng.poisson(rate * shift, (n_first, N_GENES)), rng.poisson(rate, (n_second, N_GENES))
    first[:, 5] = 0
    second[:, 7] = 0
    first[:, 9], second[:, 9] = 0, 0
    first[:, 11], second[:, 11] = 40 + rng.integers(0, 2, n_first), rng.integers(0, 2, n_second)
    return np.log1p(first).astype(float), np.log1p(second).astype(float)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy's own, on genes that are constant
@pytest.mark.parametrize(("test", "equal_var"), [(student, True), (welch, False)])
def test_t_equals_scipy(samples, test, equal_var: bool) -> None:
    first, second = samples
    mine = test(moments_of(first), moments_of(second))
    oracle = stats.ttest_ind(first, second, equal_var=equal_var)
    varying = (first.std(axis=0) > 0) | (second.std(axis=0) > 0)
    assert varying.sum() > 200
    np.testing.assert_allclose(mine.statistic[varying], oracle.statistic[varying], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(mine.df[varying], oracle.df[varying], rtol=1e-8)
    np.testing.assert_allclose(mine.p[varying], oracle.pvalue[varying], rtol=1e-6, atol=1e-300)


def test_p_equals_the_distribution_function_wherever_the_fast_form_is_used() -> None:
    t, df = np.meshgrid(np.r_[0, np.geomspace(1e-6, 40, 400)], np.r_[1, 1.5, 20, 99.9, 100, 101.3, 300, 2e3, 1e5, 1e7])
    expected = 2 * stats.t.sf(t.ravel(), df.ravel())
    found = _two_sample._two_sided(t.ravel(), df.ravel())
    assert (4 * t**2 <= df).mean() > 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-300)
    assert np.isnan(_two_sample._two_sided(np.array([np.nan, 1.0]), np.array([50.0, np.nan]))).all()
    assert _two_sample._two_sided(np.array([np.inf]), np.array([50.0]))[0] == 0


def test_student_is_indifferent_to_order_but_for_the_sign(samples) -> None:
    first, second = (moments_of(sample) for sample in samples)
    one, two = student(first, second), student(second, first)
    np.testing.assert_allclose(one.statistic, -two.statistic)
    np.testing.assert_allclose(one.p, two.p)


def test_tiny_p_keep_their_order_of_magnitude() -> None:
    """Far in the tail, one minus the distribution function would be 0; the closed form for 2 df knows better."""
    first, second = np.array([[100.0], [100.001]]), np.array([[0.0], [0.001]])
    found = student(moments_of(first), moments_of(second))
    t = found.statistic[0]
    # two-sided p of Student's t with 2 degrees of freedom is 1 - t / sqrt(t**2 + 2), about 1 / t**2
    assert found.p[0] == pytest.approx(1 / t**2, rel=1e-6)
    low, high = np.r_[np.zeros(60), 1][:, None], np.r_[np.full(60, 9.0), 10][:, None]
    mine = student(moments_of(low), moments_of(high)).p[0]
    assert 0 < mine < 1e-100
    assert mine == pytest.approx(stats.ttest_ind(low, high).pvalue[0], rel=1e-6)


def test_welch_trap_a_group_of_zeros() -> None:
    """One cell in ten expresses the gene in control and none of 30 perturbed cells does: no evidence to speak of."""
    rng = np.random.default_rng(0)
    control = np.where(rng.random((1000, 1)) < 0.1, 1.5 + rng.normal(0, 0.05, (1000, 1)), 0)
    perturbed = np.zeros((30, 1))
    exact = stats.fisher_exact([[0, 30], [int((control > 0).sum()), int((control == 0).sum())]]).pvalue
    pooled = student(moments_of(perturbed), moments_of(control)).p[0]
    separate = welch(moments_of(perturbed), moments_of(control)).p[0]
    assert exact > 0.05
    assert pooled > 0.05
    assert separate < 1e-10


def test_mann_whitney_equals_a_loop_over_genes(samples, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = samples
    expected = np.array(
        [
            np.nan
            if np.ptp(np.r_[first[:, gene], second[:, gene]]) == 0
            else stats.mannwhitneyu(first[:, gene], second[:, gene], method="asymptotic").pvalue
            for gene in range(N_GENES)
        ]
    )
    csr = sparse.csr_matrix(first), sparse.csr_matrix(second)
    np.testing.assert_allclose(mann_whitney(*csr), expected, rtol=1e-12)
    monkeypatch.setattr(_two_sample, "_CHUNK", 7 * (len(first) + len(second)))
    np.testing.assert_allclose(mann_whitney(*csr), expected, rtol=1e-12)
    assert np.isnan(expected[9])
