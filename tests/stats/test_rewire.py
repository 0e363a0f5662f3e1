from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare

from scepsis.stats._rewire import rewire


def _as_matrices(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    networks = np.zeros((len(cells), shape[0] * shape[1]), dtype=bool)
    np.put_along_axis(networks, cells, True, axis=1)
    return networks.reshape(len(cells), *shape)


def _network(n_rows: int, n_columns: int, n_edges: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Heavy-tailed degrees on both sides; row i is the gene of column i, so that this cell stays empty."""
    rng = np.random.default_rng(seed)
    allowed = np.ones((n_rows, n_columns), dtype=bool)
    allowed[np.arange(n_rows), np.arange(n_rows)] = False
    weight = np.outer(rng.pareto(1.3, n_rows) + 0.2, rng.pareto(1.3, n_columns) + 0.2) * allowed
    keys = rng.random(weight.shape) ** (1 / np.maximum(weight, 1e-12))
    keys[~allowed] = -1
    listed = np.zeros(weight.shape, dtype=bool)
    listed.ravel()[np.argsort(keys.ravel())[-n_edges:]] = True
    return listed, allowed


def _curveball(listed: np.ndarray, allowed: np.ndarray, n_trades: int, rng: np.random.Generator) -> np.ndarray:
    """Second sampler: rows trade the targets that only one of them has (Strona 2014), where both may have them."""
    rows = [set(np.flatnonzero(row)) for row in listed]
    for _ in range(n_trades):
        first, second = rng.choice(len(rows), size=2, replace=False)
        own = [
            target
            for one, other in ((first, second), (second, first))
            for target in rows[one] - rows[other]
            if allowed[other, target]
        ]
        n_first = sum(target in rows[first] for target in own)
        shuffled = rng.permutation(np.array(sorted(own), dtype=int)).tolist()
        rows[first] = (rows[first] - set(own)) | set(shuffled[:n_first])
        rows[second] = (rows[second] - set(own)) | set(shuffled[n_first:])
    result = np.zeros_like(listed)
    for row, targets in enumerate(rows):
        result[row, sorted(targets)] = True
    return result


def test_degrees_are_kept_and_forbidden_pairs_stay_empty_in_every_network() -> None:
    listed, allowed = _network(20, 80, 200)
    found = rewire(listed, allowed, 120, seed=0)
    networks = _as_matrices(found.cells, listed.shape)
    assert networks.shape[0] == 120
    assert (networks.sum(axis=2) == listed.sum(axis=1)).all()
    assert (networks.sum(axis=1) == listed.sum(axis=0)).all()
    assert not networks[:, ~allowed].any()
    assert found.mixing.mixed
    assert found.mixing.moved
    np.testing.assert_allclose(found.overlap, (networks & listed).sum(axis=(1, 2)) / listed.sum())
    assert len(np.unique(found.cells, axis=0)) == 120


def _reachable(start: np.ndarray, allowed: np.ndarray) -> set[bytes]:
    """Every network that swaps lead to, by walking all of them."""
    seen, waiting = {start.tobytes()}, [start]
    while waiting:
        network = waiting.pop()
        edges = list(zip(*np.nonzero(network), strict=True))
        for (a, b), (c, d) in product(edges, edges):
            if a != c and b != d and allowed[a, d] and allowed[c, b] and not network[a, d] and not network[c, b]:
                other = network.copy()
                other[a, b] = other[c, d] = False
                other[a, d] = other[c, b] = True
                if other.tobytes() not in seen:
                    seen.add(other.tobytes())
                    waiting.append(other)
    return seen


@pytest.mark.parametrize(
    "listed",
    [
        np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=bool),
        np.array([[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]], dtype=bool),
    ],
)
def test_all_networks_within_reach_are_equally_likely(listed: np.ndarray) -> None:
    allowed = np.ones(listed.shape, dtype=bool)
    allowed[np.arange(3), np.arange(3)] = False
    states = sorted(_reachable(listed, allowed))
    assert len(states) >= 3
    found = rewire(listed, allowed, 200 * len(states), seed=1)
    drawn = [network.tobytes() for network in _as_matrices(found.cells, listed.shape)]
    counts = [drawn.count(state) for state in states]
    assert sum(counts) == len(drawn), "a network out of reach"
    assert chisquare(counts).pvalue > 0.001


def test_overlap_is_that_of_another_sampler() -> None:
    listed, allowed = _network(16, 1500, 138, seed=3)
    found = rewire(listed, allowed, 200, seed=2)
    rng = np.random.default_rng(0)
    other = np.array([(_curveball(listed, allowed, 400, rng) & listed).sum() / 138 for _ in range(60)])
    error = np.hypot(found.overlap.std(ddof=1) / np.sqrt(200), other.std(ddof=1) / np.sqrt(60))
    assert found.mixing.mixed
    assert abs(found.overlap.mean() - other.mean()) < 3 * error


def test_a_chain_that_is_too_short_is_found_out() -> None:
    listed, allowed = _network(16, 300, 138)
    short = rewire(listed, allowed, 60, seed=0, swaps_per_edge=0.05, max_doublings=2)
    assert not short.mixing.mixed
    assert short.mixing.moved
    longer = rewire(listed, allowed, 60, seed=0, swaps_per_edge=0.05, max_doublings=12)
    assert longer.mixing.mixed
    assert longer.mixing.n_steps[-1] > short.mixing.n_steps[-1]
    assert longer.overlap.mean() < short.overlap.mean()


def test_nothing_to_trade_does_not_move() -> None:
    same_rows = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], dtype=bool)
    one_row = np.array([[0, 1, 1, 0]], dtype=bool)
    for listed in (same_rows, one_row):
        found = rewire(listed, np.ones(listed.shape, dtype=bool), 10, seed=0)
        assert not found.mixing.moved
        np.testing.assert_array_equal(found.overlap, 1)


def test_networks_do_not_depend_on_threads_or_on_how_many_are_drawn() -> None:
    listed, allowed = _network(10, 60, 90)
    one = rewire(listed, allowed, 70, seed=4)
    two = rewire(listed, allowed, 70, seed=4, n_jobs=2)
    np.testing.assert_array_equal(one.cells, two.cells)
    few = rewire(listed, allowed, 5, seed=4)
    assert few.cells.shape == (5, 90)
    assert len(rewire(listed, allowed, 5, seed=5).overlap) == 5
