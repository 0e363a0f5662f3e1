from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis._core._rng import child
from scepsis.stats._matched_negatives import Rule, alike, match_negatives, mean_estimate, pooled_estimate, wins

if TYPE_CHECKING:
    from scepsis.stats._matched_negatives import Matches


def _made(
    seed: int = 0, n_rows: int = 15, n_columns: int = 60
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(seed)
    listed = rng.random((n_rows, n_columns)) < 0.08
    candidate = rng.random(listed.shape) < 0.9
    features = tuple(
        np.stack([rng.lognormal(0, 0.4, n), rng.uniform(0.02, 0.9, n)], axis=1) for n in (n_rows, n_columns)
    )
    return listed & candidate, candidate & ~listed, features


def _draw(rule: Rule, seed: int = 0) -> tuple[Matches, np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    listed, negative, features = _made(seed)
    found = match_negatives(listed, negative, features, rule, lambda i, j: child(0, i, j))
    return found, listed, negative, features


@pytest.mark.parametrize("n_matched", [3, 50])
def test_negatives_are_those_of_a_loop(n_matched: int) -> None:
    """By the words of the definition, pair by pair."""
    rule = Rule(n_matched=n_matched)
    found, listed, negative, (of_rows, of_columns) = _draw(rule)

    def near(values: np.ndarray, one: np.ndarray, tolerance: float) -> bool:
        mean = abs(values[0] - one[0]) <= tolerance * one[0]
        return mean and abs(values[1] - one[1]) <= tolerance * max(one[1], 0.05)

    place = 0
    for i, j in np.argwhere(listed):
        for tolerance in (0.2, 0.4):
            pool = {
                (a, b)
                for a, b in np.argwhere(negative)
                if near(of_rows[a], of_rows[i], tolerance) and near(of_columns[b], of_columns[j], tolerance)
            }
            if len(pool) >= 5:
                break
        if not pool:
            continue
        assert (found.row[place], found.column[place], found.tolerance[place]) == (i, j, tolerance)
        mine = found.of == place
        drawn = list(zip(found.negative_row[mine], found.negative_column[mine], strict=True))
        assert len(set(drawn)) == len(drawn) == min(len(pool), n_matched)
        assert set(drawn) <= pool
        place += 1
    assert place == len(found.row)
    assert found.n_skipped == listed.sum() - place
    assert {0.2, 0.4} == set(found.tolerance)


def test_draws_are_even_and_seeded() -> None:
    listed = np.zeros((1, 21), dtype=bool)
    listed[0, 0] = True
    features = np.full((1, 2), 0.5), np.full((21, 2), 0.5)
    times = np.zeros(21)
    for seed in range(400):
        found = match_negatives(listed, ~listed, features, Rule(n_matched=5), lambda i, j, s=seed: child(s, i, j))
        times[found.negative_column] += 1
    assert times[0] == 0
    assert times.sum() == 2000
    assert np.abs(times[1:] - 100).max() < 5 * np.sqrt(100 * 0.75)


def test_means_near_zero_are_alike_up_to_a_ceiling() -> None:
    features = np.array([[0.0, 0.0], [5e-6, 0.0], [2e-5, 0.0], [0.0, 0.02]])
    assert alike(features, 0, 0.2).tolist() == [True, True, False, False]
    assert alike(features, 3, 0.2).tolist() == [False, False, False, True]
    assert alike(np.array([[1.0, 0.01], [1.1, 0.02]]), 0, 0.2).tolist() == [True, True], "0.2 * 0.05 apart at most"


def test_wins_and_pooled_are_those_of_loops_and_of_sklearn() -> None:
    found, listed, _, _ = _draw(Rule(n_matched=8))
    scores = np.random.default_rng(1).integers(0, 6, listed.shape).astype(float)  # with ties
    own, others = found.split(scores)
    expected = [
        np.mean([(own[k] > one) + 0.5 * (own[k] == one) for one in others[found.of == k]]) for k in range(len(own))
    ]
    np.testing.assert_allclose(wins(found, scores), expected)
    pooled = pooled_estimate(found, scores, margin=0.02, min_units=2)
    truth = np.r_[np.ones(len(own)), np.zeros(len(others))]
    assert pooled.value == pytest.approx(roc_auc_score(truth, np.r_[own, others]))
    mean = mean_estimate(found, wins(found, scores), against=0.5, margin=0.02, min_units=2)
    assert mean.value == pytest.approx(np.mean(expected))
    assert mean.interval.low < mean.value < mean.interval.high
    few = mean_estimate(found, wins(found, scores), against=0.5, margin=0.02, min_units=10**6)
    assert np.isnan(few.interval.low)


def test_the_interval_holds_a_truth_that_regulators_share() -> None:
    """Listed pairs of one regulator, and of one target, go up and down together; the mean truth is 0.5."""
    held = []
    found, listed, _, _ = _draw(Rule(n_matched=20))
    for seed in range(300):
        rng = np.random.default_rng(seed)
        values = 0.5 + 0.1 * rng.normal(size=listed.shape[0])[found.row] + 0.1 * rng.normal(size=60)[found.column]
        values += 0.1 * rng.normal(size=len(values))
        low, high = mean_estimate(found, values, against=0.5, margin=0.02, min_units=2).interval
        held.append(low < 0.5 < high)
    assert 0.9 < np.mean(held) < 0.99


def test_balanced_weights_are_those_of_a_loop() -> None:
    found, listed, _, (of_rows, of_columns) = _draw(Rule(n_matched=20))
    level = np.round(np.outer(of_rows[:, 0], of_columns[:, 0]), 1)  # with ties
    scores = np.random.default_rng(2).normal(size=listed.shape)
    balanced = found.balanced(level)
    expected = {}
    for k in range(len(found.row)):
        i, j = found.row[k], found.column[k]
        others = [(found.negative_row[m], found.negative_column[m]) for m in np.flatnonzero(found.of == k)]
        more = [1.0 if level[one] > level[i, j] else 0.5 if level[one] == level[i, j] else 0.0 for one in others]
        won = [float(scores[i, j] > scores[one]) for one in others]
        if 0 < sum(more) < len(more):
            above = np.average(won, weights=more)
            below = np.average(won, weights=[1 - one for one in more])
            expected[int(i), int(j)] = (above + below) / 2
    keys = list(zip(balanced.row.tolist(), balanced.column.tolist(), strict=True))
    assert keys == list(expected)
    np.testing.assert_allclose(wins(balanced, scores), list(expected.values()))
    untied = np.outer(of_rows[:, 0], of_columns[:, 0])
    np.testing.assert_allclose(wins(found.balanced(untied), untied), 0.5)
    np.testing.assert_allclose(np.bincount(balanced.of, weights=balanced.weight), 1)
    assert balanced.n_skipped == listed.sum() - len(expected)
