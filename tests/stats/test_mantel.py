from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from scepsis.stats._mantel import mantel


@pytest.mark.parametrize("ranks", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_correlation_and_null_are_those_of_a_loop(ranks: bool, half: bool) -> None:
    rng = np.random.default_rng(0)
    n = 10
    first, second = rng.normal(size=(2, n, n))
    if half:
        first, second = first + first.T, second + second.T
    valid = np.triu(np.ones((n, n), dtype=bool), 1) if half else ~np.eye(n, dtype=bool)
    found = mantel(first, second, valid, 30, np.random.default_rng(1), ranks=ranks)
    correlate = spearmanr if ranks else pearsonr
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(30):
        names = generator.permutation(n)
        drawn.append(correlate(first[valid], second[np.ix_(names, names)][valid]).statistic)
    observed = correlate(first[valid], second[valid]).statistic
    assert found.correlation == pytest.approx(observed)
    assert found.null_mean == pytest.approx(np.mean(drawn))
    assert found.z == pytest.approx((observed - np.mean(drawn)) / np.std(drawn, ddof=1))
    assert found.p_value == pytest.approx((1 + np.sum(np.abs(drawn) >= abs(observed))) / 31)


def test_gene_effects_of_different_genes_are_no_finding_and_pairs_as_observations_would_make_them_one() -> None:
    p_genes, p_pairs = [], []
    valid = np.triu(np.ones((30, 30), dtype=bool), 1)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        first, second = ((one[:, None] + one) for one in rng.normal(size=(2, 30)))
        p_genes.append(mantel(first, second, valid, 99, rng, ranks=True).p_value)
        p_pairs.append(spearmanr(first[valid], second[valid]).pvalue)
    assert np.mean(np.array(p_genes) < 0.05) < 0.2
    assert np.mean(np.array(p_pairs) < 0.05) > 0.5


def test_a_planted_signal_is_found_and_a_constant_has_no_number() -> None:
    rng = np.random.default_rng(5)
    valid = np.triu(np.ones((25, 25), dtype=bool), 1)
    noise, shared = rng.normal(size=(2, 25, 25))
    shared += shared.T
    assert mantel(shared + 0.5 * (noise + noise.T), shared, valid, 99, rng, ranks=True).p_value == pytest.approx(0.01)
    assert np.isnan(mantel(shared, np.ones_like(shared), valid, 9, rng, ranks=True).correlation)
