from __future__ import annotations

from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest

from scepsis.stats._shapley import Coalitions, interactions, n_sampled, shapley, singles


def _random(n: int, n_cells: int = 3, seed: int = 0) -> tuple[Coalitions, np.ndarray]:
    game = Coalitions.every(n)
    values = np.random.default_rng(seed).normal(size=(2**n, n_cells))
    values[0] = 0
    return game, values


def _subsets(items: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [some for size in range(len(items) + 1) for some in combinations(items, size)]


def _code(members: tuple[int, ...]) -> int:
    return sum(1 << one for one in members)


def _mobius(values: np.ndarray, n: int) -> dict[tuple[int, ...], float]:
    return {
        some: sum((-1) ** (len(some) - len(part)) * values[_code(part)] for part in _subsets(some))
        for some in _subsets(tuple(range(n)))
    }


@pytest.mark.parametrize("n", range(1, 7))
def test_values_are_those_of_all_orders(n: int) -> None:
    """The definition: what a component adds, averaged over every order in which all can come in."""
    game, values = _random(n, seed=n)
    expected = np.zeros((n, values.shape[1]))
    for order in permutations(range(n)):
        for place, one in enumerate(order):
            before = _code(order[:place])
            expected[one] += values[before | 1 << one] - values[before]
    np.testing.assert_allclose(shapley(game, values).values, expected / factorial(n), atol=1e-12)


@pytest.mark.parametrize("n", range(1, 11))
def test_values_sum_to_the_total_effect(n: int) -> None:
    game, values = _random(n, seed=n)
    np.testing.assert_allclose(shapley(game, values).values.sum(axis=0), values[-1], rtol=0, atol=1e-12)
    rng = np.random.default_rng(n)
    drawn = Coalitions.sampled(n, 20, rng)
    played = values[drawn.members @ (1 << np.arange(n))]
    np.testing.assert_allclose(shapley(drawn, played).values.sum(axis=0), values[-1], rtol=0, atol=1e-12)


def test_an_additive_game_gives_everybody_their_own() -> None:
    weights = np.array([3.0, -1.0, 0.5, 0.0])
    for game in (Coalitions.every(4), Coalitions.sampled(4, 10, np.random.default_rng(0))):
        values = (game.members @ weights)[:, None]
        found = shapley(game, values)
        np.testing.assert_allclose(found.mean, weights, atol=1e-12)
        np.testing.assert_allclose(found.sampling_error, 0, atol=1e-12)
        for direction in ("denoise", "ablate"):
            np.testing.assert_allclose(singles(game, values, direction)[:, 0], weights, atol=1e-12)


def test_glove_game() -> None:
    """One left glove, two right ones, a pair is worth 1: two thirds, one sixth, one sixth."""
    game = Coalitions.every(3)
    left, right = game.members[:, 0], game.members[:, 1:].any(axis=1)
    found = shapley(game, (left & right).astype(float)[:, None])
    np.testing.assert_allclose(found.mean, [2 / 3, 1 / 6, 1 / 6], atol=1e-15)


def test_voting_game() -> None:
    """Quota 51 with 50, 49 and 1 votes: the small party has as much power as the second."""
    game = Coalitions.every(3)
    won = game.members @ np.array([50, 49, 1]) >= 51
    np.testing.assert_allclose(shapley(game, won.astype(float)[:, None]).mean, [2 / 3, 1 / 6, 1 / 6], atol=1e-15)


def test_values_are_shares_of_interactions() -> None:
    game, values = _random(5, n_cells=1)
    mobius = _mobius(values[:, 0], 5)
    expected = [sum(mu / len(some) for some, mu in mobius.items() if one in some) for one in range(5)]
    np.testing.assert_allclose(shapley(game, values).mean, expected, atol=1e-12)
    by_size = [sum(mu for some, mu in mobius.items() if len(some) == size) for size in range(6)]
    np.testing.assert_allclose(interactions(game, values), by_size, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_bias_of_single_components_is_that_of_the_formulas(seed: int) -> None:
    """Insert-one misses every interaction; remove-one has every interaction whole, and shares it with nobody."""
    n = 6
    game, values = _random(n, n_cells=1, seed=seed)
    mobius = {some: mu for some, mu in _mobius(values[:, 0], n).items() if len(some) >= 2}
    share = shapley(game, values).mean
    inserted, removed = (singles(game, values, way)[:, 0] for way in ("denoise", "ablate"))
    for one in range(n):
        own = [(len(some), mu) for some, mu in mobius.items() if one in some]
        assert inserted[one] - share[one] == pytest.approx(-sum(mu / size for size, mu in own), abs=1e-12)
        assert removed[one] - share[one] == pytest.approx(sum(mu * (1 - 1 / size) for size, mu in own), abs=1e-12)
    left = values[-1, 0] - inserted.sum(), values[-1, 0] - removed.sum()
    assert left[0] == pytest.approx(sum(mobius.values()), abs=1e-12)
    assert left[1] == pytest.approx(sum(mu * (1 - len(some)) for some, mu in mobius.items()), abs=1e-12)


def test_sampled_values_are_near_by_their_own_standard_errors() -> None:
    """Over 60 draws of 40 permutations: no bias, errors of the stated size, and the reverse order helps."""
    n, n_draws = 6, 60
    full, values = _random(n, seed=4)
    truth = shapley(full, values).mean
    found, stated, plain = [], [], []
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        game = Coalitions.sampled(n, 40, rng)
        played = values[game.members @ (1 << np.arange(n))]
        result = shapley(game, played)
        found.append(result.mean)
        stated.append(result.sampling_error)
        forward = np.stack([_marginals(values.mean(axis=1), rng.permutation(n)) for _ in range(40)])
        plain.append(forward.mean(axis=0))
    spread = np.std(found, axis=0, ddof=1)
    assert (np.abs(np.mean(found, axis=0) - truth) < 4 * spread / np.sqrt(n_draws)).all()
    assert np.mean(stated, axis=0) == pytest.approx(spread, rel=0.35)
    assert np.mean(spread) < np.mean(np.std(plain, axis=0, ddof=1)) * 1.05


def _marginals(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result, code = np.zeros(len(order)), 0
    for one in order:
        result[one] = values[code | 1 << one] - values[code]
        code |= 1 << one
    return result


def test_every_coalition_that_is_needed_is_played_once() -> None:
    game = Coalitions.sampled(20, 31, np.random.default_rng(0))
    assert len(np.unique(game.members, axis=0)) == len(game.members) <= n_sampled(20, 31)
    assert not game.members[game.nobody].any()
    assert game.members[game.everybody].all()
    np.testing.assert_array_equal(game.members[game.alone], np.eye(20, dtype=bool))
    np.testing.assert_array_equal(game.members[game.without], ~np.eye(20, dtype=bool))
    assert len(game.orders) == 32
    np.testing.assert_array_equal(game.orders[::2], game.orders[1::2, ::-1])
    for order, path in zip(game.orders, game.paths, strict=True):
        for step, row in enumerate(path):
            assert set(np.flatnonzero(game.members[row])) == set(order[:step])
    assert n_sampled(3, 200) == 8
