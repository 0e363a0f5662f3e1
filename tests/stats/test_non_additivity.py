from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._non_additivity import LAMBDAS, Additivity, certificates, prevalence_p, standard_error
from scepsis.stats._shapley import Coalitions, shapley, singles


def _game(n: int, pair: float, n_cells: int = 80, noise: float = 0.2, seed: int = 0) -> tuple[Coalitions, np.ndarray]:
    """Components worth 1, 2, ... and `pair` more where the first two meet; cells differ by noise."""
    rng = np.random.default_rng(seed)
    game = Coalitions.every(n)
    own = np.arange(1, n + 1)[:, None] + noise * rng.normal(size=(n, n_cells))
    values = game.members @ own
    return game, values + pair * (game.members[:, 0] & game.members[:, 1])[:, None]


def test_standard_error_is_that_of_a_bootstrap() -> None:
    values = np.random.default_rng(0).normal(size=50)
    rng = np.random.default_rng(1)
    drawn = [rng.choice(values, 50).mean() for _ in range(4000)]
    assert float(standard_error(values)) == pytest.approx(np.std(drawn), rel=0.05)
    assert np.isnan(standard_error(values[:1]))


@pytest.mark.parametrize("direction", ["denoise", "ablate"])
def test_planted_interaction_is_bounded_and_its_absence_is_not(direction: str) -> None:
    """A pair worth 5 is left over whole by insert-one and counted twice by remove-one."""
    game, values = _game(5, 5.0)
    left = Additivity.of(values[-1], singles(game, values, direction))
    assert left.residual == pytest.approx(5.0 if direction == "denoise" else -5.0, abs=1e-9)
    assert 4.5 < left.lower_bound <= 5
    assert left.ratio == pytest.approx(left.lower_bound / left.total)
    game, values = _game(5, 0.0)
    none = Additivity.of(values[-1], singles(game, values, direction))
    assert none.lower_bound == pytest.approx(0, abs=1e-9)


def test_bound_above_zero_is_rare_where_interactions_average_out() -> None:
    rng = np.random.default_rng(0)
    bounded = 0
    for _ in range(400):
        single = rng.normal(size=(3, 40)) + 2
        bounded += Additivity.of(single.sum(axis=0) + rng.normal(size=40), single).lower_bound > 0
    assert 8 <= bounded <= 36  # 5 % of 400, give or take 3 standard errors


def test_what_cannot_be_known_is_nan() -> None:
    one = Additivity.of(np.ones(5), np.ones((1, 5)))
    assert np.isnan([one.residual, one.lower_bound, one.ratio]).all()
    constant = Additivity.of(np.full(5, 2.0), np.random.default_rng(0).normal(size=(2, 5)))
    assert np.isnan(constant.ratio)
    assert np.isfinite(constant.residual)
    weak = Additivity.of(np.array([1.0, -1.0, 0.1]), np.zeros((2, 3)))
    assert np.isnan(weak.ratio)
    cell = Additivity.of(np.ones(1), np.ones((3, 1)))
    assert np.isnan(cell.lower_bound)
    assert np.isnan(certificates(np.ones((1, 9)), np.zeros(1), 0.0).by_bias).all()


def _loop(single: np.ndarray, bias: np.ndarray, bound: float, factor: float) -> tuple[list[bool], list[bool]]:
    """Pair by pair, as it is written in the definition."""
    n, n_cells = single.shape
    mean = single.mean(axis=1)
    by_bound, by_bias = [], []
    for i in range(n):
        for j in range(i + 1, n):
            error = np.std(single[i] - single[j], ddof=1) / np.sqrt(n_cells)
            gap = abs(mean[i] - mean[j])
            by_bound.append(gap > 2 * factor * bound / n + 1.96 * error)
            by_bias.append(gap > factor * (abs(bias[i]) + abs(bias[j])) + 1.96 * error)
    return by_bound, by_bias


def test_certificates_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(3)
    single, bias = rng.normal(size=(7, 30)) + 0.4 * np.arange(7)[:, None], rng.normal(size=7) * 0.2
    found = certificates(single, bias, 0.8)
    assert found.factors == LAMBDAS
    for index, factor in enumerate(LAMBDAS):
        by_bound, by_bias = _loop(single, bias, 0.8, factor)
        assert found.by_bound[index] == pytest.approx(np.mean(by_bound))
        assert found.by_bias[index] == pytest.approx(np.mean(by_bias))


def test_a_certified_order_is_the_true_one_and_the_papers_need_not_be() -> None:
    """Half of what is certified by the bound alone can be wrong; by the biases nothing is."""
    wrong_by_bound = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        game = Coalitions.every(5)
        mean = rng.normal(size=(2**5, 1))
        mean[0] = 0
        values = mean + 0.01 * rng.normal(size=(2**5, 50)) * (game.members.sum(axis=1) > 0)[:, None]
        single, share = singles(game, values, "denoise"), shapley(game, values).mean
        bias = single.mean(axis=1) - share
        bound = Additivity.of(values[-1], single).lower_bound
        estimate = single.mean(axis=1)
        by_bound, by_bias = _loop(single, bias, bound, 1.0)
        pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
        agrees = [(estimate[i] - estimate[j]) * (share[i] - share[j]) > 0 for i, j in pairs]
        assert all(agreed for agreed, certified in zip(agrees, by_bias, strict=True) if certified)
        wrong_by_bound += sum(not agreed for agreed, certified in zip(agrees, by_bound, strict=True) if certified)
    assert wrong_by_bound > 0


def test_first_place_needs_a_certificate_against_all() -> None:
    rng = np.random.default_rng(0)
    single = np.array([[3.0], [1.0], [0.9]]) + 0.01 * rng.normal(size=(3, 40))
    clear = certificates(single, np.array([0.1, 0.1, 0.1]), 0.0)
    assert clear.first_by_bias[0] == 1
    assert clear.by_bias[0] == pytest.approx(2 / 3)
    biased = certificates(single, np.array([0.1, 0.1, 2.5]), 0.0)
    assert biased.first_by_bias[0] == 0
    assert (np.diff(clear.by_bias) <= 0).all()
    downwards = certificates(-single, np.full(3, 0.1), 0.0, sign=-1.0)
    assert downwards.first_by_bias[0] == 1
    unsure = certificates(single, np.full(3, 0.1), 0.0, bias_error=np.full(3, 0.6))
    assert unsure.first_by_bias[0] == 0


def test_prevalence_is_the_binomial_tail() -> None:
    from math import comb

    expected = sum(comb(16, k) * 0.05**k * 0.95 ** (16 - k) for k in range(10, 17))
    assert prevalence_p(10, 16) == pytest.approx(expected, rel=1e-9)
    assert prevalence_p(0, 16) == pytest.approx(1)
