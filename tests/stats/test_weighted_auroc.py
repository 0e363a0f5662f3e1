from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis.stats._order import Order
from scepsis.stats._order import Ranked as RowsRanked
from scepsis.stats._weighted_auroc import weighted_auroc, weighted_auroc_by_unit


def _case(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 12, n).astype(float), rng.random(n) < 0.3, rng.random(n) + 0.01


@pytest.mark.parametrize("seed", range(5))
def test_equals_every_pair_compared_and_scikit_learn(seed: int) -> None:
    scores, positive, weight = _case(seed)
    wins = total = 0.0
    for p in np.flatnonzero(positive):
        for n in np.flatnonzero(~positive):
            wins += weight[p] * weight[n] * ((scores[p] > scores[n]) + 0.5 * (scores[p] == scores[n]))
            total += weight[p] * weight[n]
    found = weighted_auroc(scores, positive, weight)
    assert found.auroc == pytest.approx(wins / total, rel=1e-12)
    assert found.auroc == pytest.approx(roc_auc_score(positive, scores, sample_weight=weight), rel=1e-12)


def test_influence_is_that_of_the_unweighted_code_where_weights_are_equal() -> None:
    scores, positive, _ = _case(7)
    valid = np.ones((1, len(scores)), dtype=bool)
    expected = RowsRanked(Order.of(scores[None]), positive[None], valid).influence()[0]
    np.testing.assert_allclose(weighted_auroc(scores, positive, np.full(60, 3.0)).influence, expected, atol=1e-13)


def test_influence_is_the_derivative_by_weights() -> None:
    scores, positive, weight = _case(3)
    found = weighted_auroc(scores, positive, weight)
    for row in range(10):
        moved = weight.copy()
        moved[row] *= 1 + 1e-6
        slope = (weighted_auroc(scores, positive, moved).auroc - found.auroc) / 1e-6
        own = weight[positive == positive[row]]
        size = own.sum() ** 2 / (own**2).sum()
        assert found.influence[row] == pytest.approx(slope * np.sqrt(size / (size - 1)), abs=1e-6)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_one_class_and_constants() -> None:
    ones = np.ones(4)
    nothing = weighted_auroc(np.arange(4.0), np.zeros(4, dtype=bool), ones)
    assert np.isnan(nothing.auroc)
    assert not nothing.influence.any()
    same = weighted_auroc(ones, np.array([True, False, False, True]), ones)
    assert (same.auroc, same.constant) == (0.5, True)
    weightless = weighted_auroc(np.arange(4.0), np.array([True, True, False, False]), np.array([1.0, 1, 0, 0]))
    assert np.isnan(weightless.auroc)


def test_units_are_ranked_apart_whatever_the_order_of_rows() -> None:
    scores, positive, weight = _case(9)
    unit = np.random.default_rng(0).integers(0, 4, 60)
    area, influence, _ = weighted_auroc_by_unit(scores, unit, positive, weight, 5)
    for number in range(4):
        rows = unit == number
        own = weighted_auroc(scores[rows], positive[rows], weight[rows])
        assert area[number] == own.auroc
        np.testing.assert_array_equal(influence[rows], own.influence)
    assert np.isnan(area[4])
