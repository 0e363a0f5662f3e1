from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from scepsis.stats._head_sets import matched_sets, nearest_in_entropy

LAYER = np.repeat(np.arange(4), 6)
ENTROPY = np.random.default_rng(0).normal(size=24)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_all_are_given_where_few_exist() -> None:
    found = matched_sets([0, 1, 7], LAYER, None, 200, rng())
    expected = {tuple(sorted((*pair, other))) for pair in combinations(range(6), 2) for other in range(6, 12)} - {
        (0, 1, 7)
    }
    assert {tuple(one) for one in found.sets.tolist()} == expected
    assert found.enumerated
    assert found.n_possible == len(expected) == 89
    assert found.floor == 1 / 90


def test_sets_have_the_layers_of_the_chosen_and_are_different() -> None:
    chosen = [0, 1, 2, 8, 9, 15, 20, 21]
    found = matched_sets(chosen, LAYER, None, 300, rng())
    assert not found.enumerated
    assert len({tuple(one) for one in found.sets.tolist()}) == 300
    assert tuple(chosen) not in {tuple(one) for one in found.sets.tolist()}
    histogram = np.bincount(LAYER[chosen], minlength=4)
    assert all((np.bincount(LAYER[one], minlength=4) == histogram).all() for one in found.sets)
    assert all(len(set(one)) == 8 for one in found.sets.tolist())
    # every head is drawn as often as its layer allows
    share = np.bincount(found.sets.ravel(), minlength=24) / 300
    np.testing.assert_allclose(share, histogram[LAYER] / 6, atol=0.1)


def test_entropy_is_matched_to_the_nearest() -> None:
    chosen = [0, 1, 2, 8, 9, 15, 20, 21]
    matched = matched_sets(chosen, LAYER, ENTROPY, 100, rng())
    free = matched_sets(chosen, LAYER, None, 100, rng())
    of_free = ENTROPY[free.sets].mean(axis=1) - ENTROPY[chosen].mean()
    np.testing.assert_allclose(matched.entropy_difference, ENTROPY[matched.sets].mean(axis=1) - ENTROPY[chosen].mean())
    assert np.abs(matched.entropy_difference).max() < 0.5 * np.abs(of_free).max()
    # with 89 sets in all, 30 wanted: exactly the 30 nearest of them
    few = matched_sets([0, 1, 7], LAYER, ENTROPY, 30, rng())
    every = matched_sets([0, 1, 7], LAYER, None, 200, rng()).sets
    distance = np.sort(np.abs(ENTROPY[every].mean(axis=1) - ENTROPY[[0, 1, 7]].mean()))
    np.testing.assert_allclose(np.sort(np.abs(few.entropy_difference)), distance[:30])
    assert not few.enumerated


def test_sets_are_made_of_those_that_may_be() -> None:
    among = LAYER < 3
    found = matched_sets([5], LAYER, None, 200, rng(), by_layer=False, among=among)
    assert sorted(found.sets.ravel().tolist()) == [one for one in range(18) if one != 5]
    assert found.n_possible == 17
    drawn = matched_sets([0, 1, 7], LAYER, ENTROPY, 40, rng(), by_layer=False, among=among)
    assert among[drawn.sets].all()
    assert drawn.n_possible == comb(18, 3) - 1


def test_without_layers_every_other_head_is_one() -> None:
    found = matched_sets([5], LAYER, None, 200, rng(), by_layer=False)
    assert sorted(found.sets.ravel().tolist()) == [one for one in range(24) if one != 5]
    whole = matched_sets(range(6), LAYER, ENTROPY, 200, rng())
    assert whole.sets.shape == (0, 6)
    assert whole.floor == 1.0


def test_same_seed_same_sets() -> None:
    first, second = (matched_sets([0, 8, 15, 21], LAYER, ENTROPY, 50, rng()) for _ in range(2))
    np.testing.assert_array_equal(first.sets, second.sets)


def test_nearest_in_entropy_is_greedy_and_outside() -> None:
    entropy = np.array([1.0, 1.1, 1.05, 3.0, 2.9, np.nan])
    assert nearest_in_entropy([0, 3], entropy).tolist() == [2, 4]
    assert nearest_in_entropy([0, 1], entropy).tolist() == [2, 4]
    assert nearest_in_entropy([0, 1, 2, 3], entropy).tolist() == [4]
    assert nearest_in_entropy([5], entropy).tolist() == []
