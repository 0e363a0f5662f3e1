from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import hypergeom

from scepsis.stats._top_pairs import top_pairs


def test_ties_count_as_they_would_on_average() -> None:
    """Every order of the tied pairs, one after the other."""
    scores = np.array([3.0, 2.0, 2.0, 2.0, 1.0, 1.0, np.nan])
    positive = np.array([True, True, False, False, True, False, True])
    for k in range(1, 7):
        counts = []
        for order in permutations(range(6)):
            stands = sorted(order, key=lambda place: -scores[place])  # stable: ties as in `order`
            counts.append(positive[stands[:k]].sum())
        found = top_pairs(scores, positive, [k])
        assert found.true_positives[0] == pytest.approx(np.mean(counts))
        precision, recall = np.mean(counts) / k, np.mean(counts) / 4
        assert found.precision[0] == pytest.approx(precision)
        assert found.recall[0] == pytest.approx(recall)  # a positive without a score is not found
        assert found.f1[0] == pytest.approx(2 * precision * recall / (precision + recall))


def test_chance_is_hypergeometric() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=500), np.arange(500) < 40
    found = top_pairs(scores, positive, [20, 100, 9999])
    assert found.k.tolist() == [20, 100, 500]
    np.testing.assert_allclose(found.expected, [1.6, 8, 40])
    draws = [positive[rng.permutation(500)[:100]].sum() for _ in range(4000)]
    assert (found.chance_low[1], found.chance_high[1]) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1)
    assert found.chance_low[0] == hypergeom(500, 40, 20).ppf(0.025)
    assert found.f1[2] == pytest.approx(2 * 40 / 540)


def test_nothing_to_find() -> None:
    none = top_pairs(np.array([1.0, 2.0]), np.array([False, False]), [1])
    assert none.true_positives[0] == 0
    assert np.isnan(none.f1[0])
    empty = top_pairs(np.array([np.nan]), np.array([True]), [1])
    assert (empty.k[0], empty.true_positives[0], empty.f1[0]) == (0, 0, 0)
