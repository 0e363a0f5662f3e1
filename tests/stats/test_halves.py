from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._halves import best, halves, held_out, ranks


def test_halves_are_even_within_strata_and_in_all() -> None:
    strata = np.repeat([0, 1, 2], [7, 5, 4])
    for seed in range(20):
        half = halves(strata, np.random.default_rng(seed))
        for stratum in range(3):
            assert abs(int((half[strata == stratum] * 2 - 1).sum())) <= 1
        assert abs(int((half * 2 - 1).sum())) <= 1
    share = np.mean([halves(strata, np.random.default_rng(seed)) for seed in range(400)], axis=0)
    np.testing.assert_allclose(share, 0.5, atol=0.2)  # 3 of 7, 3 of 5


def test_best_and_ranks() -> None:
    values = np.array([0.1, np.nan, 0.9, 0.5, 0.9])
    assert best(values, 3).tolist() == [2, 4, 3]
    assert best(values, 9).tolist() == [2, 4, 3, 0]
    assert ranks(values).tolist() == [4, 0, 1, 3, 2]


def test_chance_does_not_survive_the_other_half_and_signal_does() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 300))
    (of_noise,) = held_out(noise.mean(axis=0), noise, [10])
    assert of_noise.in_sample > 1.0
    assert abs(of_noise.held_out) < 0.5
    assert of_noise.of_all == pytest.approx(noise.mean())
    signal = noise + np.where(np.arange(300) < 10, 5.0, 0.0)
    (of_signal,) = held_out(signal.mean(axis=0), signal, [10])
    assert of_signal.held_out > 4.0
    manual = (signal[1, best(signal[0], 10)].mean() + signal[0, best(signal[1], 10)].mean()) / 2
    assert of_signal.held_out == pytest.approx(manual)
