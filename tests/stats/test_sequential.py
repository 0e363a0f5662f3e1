from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from scepsis.stats._sequential import SequentialTest


def run(values: list[float], *, n_exceed: int) -> SequentialTest:
    """The first value is the observed one."""
    test = SequentialTest(values[0], n_most=len(values) - 1, n_exceed=n_exceed)
    for value in values[1:]:
        test.add(value)
    return test


@pytest.mark.parametrize("n_exceed", [1, 2, 3])
def test_p_value_is_exact_over_all_orders(n_exceed: int) -> None:
    # Six values in every order: a p-value that can be had is not had too often, and exactly as often as it says.
    p_values = [run(list(map(float, order)), n_exceed=n_exceed).p_value for order in permutations(range(6))]
    for value in sorted(set(p_values)):
        share = np.mean([p <= value + 1e-12 for p in p_values])
        assert share == pytest.approx(value, abs=1e-12)


def test_without_stopping_it_is_the_plain_permutation_p_value() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=99)
    test = SequentialTest(1.0, n_most=99, n_exceed=1000)
    for draw in draws:
        test.add(draw)
    assert test.p_value == float(Fraction(1 + int((draws >= 1.0).sum()), 100))
    assert test.floor == 0.01
    assert test.percentile == pytest.approx(100 * (draws < 1.0).mean())


def test_it_stops_when_the_decision_is_clear_and_takes_no_more() -> None:
    test = SequentialTest(0.0, n_most=1000, n_exceed=10)
    for _ in range(50):
        test.add(1.0)
    assert test.stopped
    assert test.done
    assert len(test.draws) == 10
    assert test.p_value == 1.0


def test_draws_ahead_are_about_those_that_it_takes() -> None:
    """Each time as many are drawn as it says: never more than are left, never none, few more than it took."""
    rng = np.random.default_rng(0)
    wasted, blocks = [], []
    for share in (0.9, 0.5, 0.2, 0.05, 0.0):
        for _ in range(20):
            test, n, rounds = SequentialTest(0.0, n_most=200, n_exceed=10), 0, 0
            while not test.done:
                assert max(1, 10 - test.exceeded) <= test.n_ahead or test.n_ahead == 200 - n
                assert test.n_ahead <= 200 - n
                some, rounds = rng.random(test.n_ahead) < share, rounds + 1
                n += len(some)
                for exceeds in some:
                    test.add(1.0 if exceeds else -1.0)
            assert test.n_ahead == 0
            wasted.append(n / len(test.draws))
            blocks.append(rounds)
    assert np.mean(wasted) < 1.25
    assert np.mean(blocks) < 5
    assert SequentialTest(0.0, n_most=200, n_exceed=10).n_ahead == 10


def test_randomised_p_value_is_uniform() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(4000):
        test = SequentialTest(rng.normal(), n_most=30, n_exceed=5)
        while not test.done:
            test.add(rng.normal())
        found.append(test.randomised(rng.random()))
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert stats.chisquare(np.histogram(found, bins=20, range=(0, 1))[0]).pvalue > 0.01


def test_what_is_not_known_does_not_speak_for_the_effect() -> None:
    assert run([1.0, np.nan, 0.0, 0.0], n_exceed=10).p_value == 0.5
    assert np.isnan(run([np.nan, 0.0], n_exceed=10).p_value)
    assert np.isnan(SequentialTest(1.0, n_most=5).p_value)
    assert np.isnan(SequentialTest(1.0, n_most=5).percentile)
