from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._bootstrap import draw_counts
from scepsis.stats._layer_choice import TopRanked, best, nested, resampled_f1, shares, stability
from scepsis.stats._top_k import top_k


def test_best_takes_the_lower_of_equals_and_none_of_nothing() -> None:
    values = np.array([[1, 3, 3.0], [2, 1, 0], [np.nan, 1, 2], [np.nan] * 3, [0.1 + 0.2, 0.3, 0.2]])
    assert best(values).tolist() == [1, 0, 2, -1, 0]
    np.testing.assert_allclose(shares(values), [0.5, 0.25, 0.25])


def test_nested_choice_never_sees_the_held_out_units() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(23, 4))
    found = nested(values, 5, np.random.default_rng(1))
    assert sorted(np.bincount(found.fold)) == [4, 4, 5, 5, 5]
    for number in range(5):
        means = [np.mean([values[u, c] for u in range(23) if found.fold[u] != number]) for c in range(4)]
        assert found.chosen[number] == int(np.argmax(means))
        assert found.of_training[number] == pytest.approx(max(means), abs=1e-12)
        changed = values.copy()
        changed[found.fold == number] += rng.normal(size=(int((found.fold == number).sum()), 4)) * 100
        assert nested(changed, 5, np.random.default_rng(1)).chosen[number] == found.chosen[number]


def test_nested_choice_of_noise_is_not_flattered_where_the_best_is() -> None:
    """Layers that are all noise around 0: the best of 12 has a mean above 0, the nested choice does not."""
    of_best, of_nested = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(30, 12))
        of_best.append(values.mean(axis=0).max())
        found = nested(values, 5, rng)
        of_nested.append(values[np.arange(30), found.of_unit].mean())
    assert np.mean(of_best) > 0.25
    error = np.std(of_nested, ddof=1) / np.sqrt(200)
    assert np.mean(of_nested) < 2.5 * error  # at most chance (each fold's choice is a little below it)


def test_stability_is_that_of_a_loop_over_resamples() -> None:
    values = np.random.default_rng(2).normal(size=(12, 3))
    found = stability(values, 300, np.random.default_rng(3))
    counts = draw_counts(300, 12, np.random.default_rng(3))
    winners = [int(np.argmax([np.repeat(values[:, c], one.astype(int)).mean() for c in range(3)])) for one in counts]
    np.testing.assert_allclose(found, np.bincount(winners, minlength=3) / 300)
    values[:, 1] += 10
    assert stability(values, 50, np.random.default_rng(4)).tolist() == [0, 1, 0]


@pytest.mark.parametrize("decimals", [1, 8])
def test_f1_under_weights_is_that_of_copied_pairs(decimals: int) -> None:
    rng = np.random.default_rng(5)
    scores, positive = np.round(rng.normal(size=300), decimals), rng.random(300) < 0.1
    clusters = rng.integers(8, size=300)
    ranked = TopRanked(scores, positive, clusters)
    assert ranked.f1(40, np.ones(8)) == pytest.approx(top_k(scores, positive, [40])[0].f1, abs=1e-12)
    draws = draw_counts(50, 8, np.random.default_rng(6))
    found = resampled_f1([ranked], 40, 8, 50, np.random.default_rng(6))[:, 0]
    for weights, value in zip(draws, found, strict=True):
        copies = weights.astype(int)[clusters]
        again = top_k(np.repeat(scores, copies), np.repeat(positive, copies), [40])[0]
        assert value == pytest.approx(again.f1, abs=1e-12)


def test_f1_of_more_than_there_is_or_of_no_positive_is_nan() -> None:
    ranked = TopRanked(np.arange(5.0), np.array([True, False, False, False, False]), np.array([0, 1, 1, 1, 1]))
    assert np.isnan(ranked.f1(6, np.ones(2)))
    assert np.isnan(ranked.f1(2, np.array([0.0, 3.0])))
