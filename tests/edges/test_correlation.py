from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr

from scepsis.edges._correlation import correlation, correlation_bytes


def _blocks(matrix: np.ndarray, size: int) -> list[sparse.csr_matrix]:
    return [sparse.csr_matrix(matrix[start : start + size]) for start in range(0, len(matrix), size)]


def _values(n_cells: int, n_genes: int, *, negative: bool = False, seed: int = 0) -> np.ndarray:
    """Sparse values with heavy ties and a common factor."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n_cells, 1))
    counts = rng.poisson(np.exp(rng.normal(-1, 1, n_genes) + 0.7 * factor * rng.normal(size=n_genes)))
    values = np.log1p(counts.astype(np.float64))
    return (values - 0.7 * (values > 1)) * np.where(rng.random(values.shape) < 0.3, -1, 1) if negative else values


def _oracle(values: np.ndarray, method: str) -> np.ndarray:
    values = values.astype(np.float32).astype(np.float64)
    with np.errstate(all="ignore"):
        found = spearmanr(values).statistic if method == "spearman" else np.corrcoef(values, rowvar=False)
    np.fill_diagonal(found, np.nan)
    return found


@pytest.mark.parametrize("method", ["spearman", "pearson"])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("size", [13, 5000])
def test_all_pairs_are_scipys(method: str, *, negative: bool, size: int) -> None:
    values = _values(2500, 40, negative=negative)
    found = correlation(_blocks(values, size), method)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _oracle(values, method), atol=1e-7)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("method", ["spearman", "pearson"])
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_constant_genes_have_no_correlation(method: str) -> None:
    values = _values(300, 8)
    values[:, 2], values[:, 5] = 0, 1.7
    found = correlation(_blocks(values, 100), method)
    assert np.isnan(found[[2, 5]]).all()
    assert np.isnan(found[:, [2, 5]]).all()
    others = [0, 1, 3, 4, 6, 7]
    np.testing.assert_allclose(found[np.ix_(others, others)], _oracle(values[:, others], method), atol=1e-7)


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_a_small_spread_on_a_large_level_is_kept(method: str) -> None:
    rng = np.random.default_rng(0)
    values = 1000 + rng.normal(size=(400, 1)) + rng.normal(size=(400, 3))
    np.testing.assert_allclose(correlation(_blocks(values, 64), method), _oracle(values, method), atol=2e-7)


@pytest.mark.parametrize("level", [-4.0, -1.8, 2.0])
def test_rare_genes_and_others_are_scipys(level: float) -> None:
    """All genes seen in few cells; some; none. More cells than are made dense at a time."""
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(4500, 1))
    values = rng.poisson(np.exp(level + 0.5 * factor + rng.normal(0, 0.3, 20))).astype(np.float64)
    found = correlation(_blocks(values, 1000), "spearman")
    np.testing.assert_allclose(found, _oracle(values, "spearman"), atol=1e-7)
    np.testing.assert_array_equal(found, found.T)


def test_one_cell_gives_nothing() -> None:
    assert np.isnan(correlation([sparse.csr_matrix(np.ones((1, 3)))], "spearman")).all()


def test_copies_of_a_gene_correlate_fully() -> None:
    values = _values(500, 3)
    doubled = np.hstack([values, -2 * values])
    found = correlation(_blocks(doubled, 500), "spearman")
    np.testing.assert_allclose([found[i, i + 3] for i in range(3)], -1, atol=1e-7)
    assert np.nanmin(found) >= -1


def test_input_is_left_alone() -> None:
    block = sparse.csr_matrix(_values(50, 5).astype(np.float32))
    before = block.copy()
    correlation([block], "spearman")
    np.testing.assert_array_equal(block.toarray(), before.toarray())


def test_memory_stays_under_the_estimate() -> None:
    rng = np.random.default_rng(0)
    blocks = [sparse.random_array((2000, 300), density=0.25, rng=rng, format="csr") for _ in range(10)]
    tracemalloc.start()
    correlation((sparse.csr_matrix(block) for block in blocks), "spearman")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < correlation_bytes(20_000, 300) < 20_000 * 300 * 8 * 3
