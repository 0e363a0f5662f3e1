from __future__ import annotations

import tracemalloc
from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import rankdata, spearmanr

from scepsis.edges._correlation import correlation, correlations_within
from scepsis.edges._cssi import AGGREGATIONS, BELOW_ONE, NEED_POOLED, FisherMaximum, aggregate, rank_shares

SIZES = [30, 7, 100, 41]


def _networks(n_genes: int = 9, *, signed: bool = True, seed: int = 0) -> list[np.ndarray]:
    """Networks with ties in size, pairs that some strata lack, and one that all lack."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.uniform(-1 if signed else 0, 1, (len(SIZES), n_genes, n_genes)), 1)
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 0, 1] = np.nan
    values[:, 2, 3] = [0.4, -0.4, np.nan, 0.1]
    return [one.astype(np.float32) for one in values]


def _slow(values: list[float], sizes: list[int], pooled: float, how: str, *, signed: bool) -> float:
    """One pair, by the formula."""
    here = [(value, n) for value, n in zip(values, sizes, strict=True) if not np.isnan(value)]
    if not here or (how in NEED_POOLED and np.isnan(pooled)):
        return np.nan
    w = [value for value, _ in here]
    n = [size for _, size in here]
    if how == "max":
        return max(w, key=lambda value: (abs(value), value)) if signed else max(w)
    if how in {"mean", "weighted_deviation"}:
        of = w if how == "mean" else [abs(value - pooled) for value in w]
        return sum(a * b for a, b in zip(of, n, strict=True)) / sum(n)
    if how == "deviation":
        return max(abs(value - pooled) for value in w)
    if how == "range":
        return max(w) - min(w)
    return {"mean_unweighted": np.mean, "std": np.std, "median": np.median}[how](w)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("how", [how for how in AGGREGATIONS if how != "rank"])
def test_every_pair_is_the_formula(how: str, *, signed: bool) -> None:
    networks = _networks(signed=signed)
    pooled = _networks(signed=signed, seed=9)[0]
    found = aggregate(zip(SIZES, networks, strict=True), how, signed=signed, pooled=pooled)
    assert found.dtype == np.float32
    for i, j in np.ndindex(found.shape):
        values = [float(network[i, j]) for network in networks]
        expected = _slow(values, SIZES, float(pooled[i, j]), how, signed=signed)
        assert found[i, j] == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("signed", [True, False])
def test_ranks_are_scipys(*, signed: bool) -> None:
    networks = _networks()
    shares = []
    for network in networks:
        strength = np.abs(network) if signed else network
        share = np.full(network.shape, np.nan)
        here = ~np.isnan(network)
        share[here] = rankdata(strength[here]) / here.sum()
        shares.append(share)
        np.testing.assert_allclose(rank_shares(strength), share, atol=1e-6)
    with np.errstate(all="ignore"):
        n = (~np.isnan(shares)).sum(axis=0)
        expected = np.where(n > 0, np.nansum(shares, axis=0) / np.maximum(n, 1), np.nan)
    found = aggregate(zip(SIZES, networks, strict=True), "rank", signed=signed)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_the_order_of_strata_says_nothing(how: str) -> None:
    networks = _networks()
    items = list(zip(SIZES, networks, strict=True))
    first, *others = (
        aggregate([items[place] for place in order], how, signed=True, pooled=networks[0])
        for order in list(permutations(range(len(items))))[::5]
    )
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-6)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_one_stratum_is_its_own_aggregate(how: str) -> None:
    network = _networks()[0]
    np.testing.assert_array_equal(aggregate([(30, network)], how, signed=True, pooled=network), network)
    assert aggregate([], how, signed=True) is None


def test_deviations_need_the_whole() -> None:
    with pytest.raises(ValueError, match="all cells together"):
        aggregate([(3, _networks()[0])], "deviation", signed=True)


def test_fishers_maximum_is_the_formula() -> None:
    networks = _networks(20)
    networks[0][5, 6], networks[1][5, 6] = 1.0, -1.0  # perfect, in 30 and in 7 cells
    fisher = FisherMaximum((20, 20))
    for n, network in zip(SIZES, networks, strict=True):
        fisher.add(network, n)
    fisher.add(np.ones((20, 20), dtype=np.float32), 3)  # three cells say nothing
    found = fisher.result()
    for i, j in np.ndindex(found.shape):
        z = [
            np.sqrt(n - 3) * np.arctanh(np.clip(float(network[i, j]), -BELOW_ONE, BELOW_ONE))
            for n, network in zip(SIZES, networks, strict=True)
            if not np.isnan(network[i, j])
        ]
        expected = max(z, key=lambda value: (abs(value), value)) if z else np.nan
        assert found[i, j] == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)


def _cells(n_cells: int, n_genes: int, seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.poisson(1, (n_cells, n_genes)).astype(np.float32))


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_correlations_within_strata(method: str) -> None:
    cells = _cells(2600, 12)
    members = [np.arange(2600)[np.arange(2600) % 3 == code] for code in range(3)]
    for rows, found in zip(members, correlations_within(cells, members, method), strict=True):
        values = cells[rows].toarray().astype(np.float64)
        expected = spearmanr(values).statistic if method == "spearman" else np.corrcoef(values, rowvar=False)
        np.fill_diagonal(expected, np.nan)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_a_stratum_of_all_cells_is_the_whole_to_the_bit(method: str) -> None:
    cells = _cells(2600, 12)
    blocks = (cells[start : start + 1024] for start in range(0, 2600, 1024))
    (found,) = correlations_within(cells, [np.arange(2600)], method)
    np.testing.assert_array_equal(found, correlation(blocks, method))


@pytest.mark.parametrize("how", ["max", "mean", "range", "std", "deviation", "weighted_deviation"])
def test_memory_does_not_grow_with_strata(how: str) -> None:
    n_genes = 200
    pooled = np.zeros((n_genes, n_genes), dtype=np.float32)

    def networks(n: int):
        rng = np.random.default_rng(0)
        return ((20, rng.random((n_genes, n_genes), dtype=np.float32)) for _ in range(n))

    peaks = []
    for n_strata in (3, 3, 30):
        tracemalloc.start()
        aggregate(networks(n_strata), how, signed=True, pooled=pooled)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert all(later <= 1.05 * earlier for earlier, later in pairwise(peaks))
