from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from scepsis.stats._pair_ranks import Members, Ranks, Standings


def scores_of(kind: str, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n)
    if kind == "rounded":
        values = np.round(values * 2) / 2
    elif kind == "half_zero":
        values = np.where(rng.random(n) < 0.5, 0.0, values)
    elif kind == "constant":
        values[:] = 1.5
    return values.astype(np.float32)


def influence(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """DeLong's influence, pair by pair."""
    wins = (scores[positive, None] > scores[None, ~positive]) + 0.5 * (scores[positive, None] == scores[~positive])
    area, (n_pos, n_neg) = wins.mean(), wins.shape
    result = np.empty(len(scores))
    result[positive] = np.sqrt(n_pos / (n_pos - 1)) / n_pos * (wins.mean(axis=1) - area)
    result[~positive] = np.sqrt(n_neg / (n_neg - 1)) / n_neg * (wins.mean(axis=0) - area)
    return result


@pytest.mark.parametrize("kind", ["distinct", "rounded", "half_zero", "constant"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_many_sets_at_once_are_each_set_alone(kind: str, share: float) -> None:
    """Sets overlap, one is part of another, and one of them is nearly everything."""
    rng = np.random.default_rng(1)
    scores = scores_of(kind, 400, 0)
    first = rng.random(400) < share
    first[:2], first[2:4] = True, False
    chosen = [first, first & (rng.random(400) < 0.5) | (np.arange(400) < 2), rng.random(400) < 0.1]
    sets = [np.flatnonzero(one) for one in chosen]
    found = Standings.of(Ranks.of(scores.astype(np.float64)), Members.of(400, sets))
    for positive, area, got in zip(chosen, found.auroc, found.influence(), strict=True):
        assert area == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
        np.testing.assert_allclose(got, influence(scores, positive), rtol=1e-5, atol=1e-8)


def test_twenty_sets_of_any_size_are_counted_exactly() -> None:
    rng = np.random.default_rng(2)
    scores = scores_of("half_zero", 3_000, 3)
    sets = [np.sort(rng.choice(3_000, size, replace=False)) for size in rng.integers(1, 2_999, size=20)]
    found = Standings.of(Ranks.of(scores), Members.of(3_000, sets))
    ranks = rankdata(scores)
    for positives, area in zip(sets, found.auroc, strict=True):
        n_pos = len(positives)
        wins = ranks[positives].sum() - n_pos * (n_pos + 1) / 2
        assert area == pytest.approx(wins / (n_pos * (3_000 - n_pos)), abs=1e-12)


@pytest.mark.parametrize("kind", ["distinct", "rounded", "half_zero", "constant"])
def test_order_is_that_of_a_stable_sort(kind: str) -> None:
    scores = scores_of(kind, 2_000, 4)
    scores[:3] = np.inf, -np.inf, -0.0
    order = (Ranks.of(scores).packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
    np.testing.assert_array_equal(order, np.argsort(scores + np.float32(0), kind="stable"))


def test_top_leaves_a_cut_tie_out() -> None:
    ranks = Ranks.of(np.array([0.5, -2.0, 3.0, 0.5, -0.0, 0.0]))
    assert ranks.top(1).tolist() == [2]
    assert ranks.top(2).tolist() == [2]  # 0.5 is twice there, and one of the two would not fit
    assert ranks.top(3).tolist() == [0, 2, 3]
    assert ranks.top(6).tolist() == ranks.top(9).tolist() == [0, 1, 2, 3, 4, 5]
    assert not ranks.constant
    tied = Ranks.of(np.full(4, 7.0))
    assert tied.constant
    assert tied.top(3).tolist() == []
    assert tied.top(4).tolist() == [0, 1, 2, 3]


def test_without_either_class_there_is_nothing() -> None:
    scores = scores_of("distinct", 50, 5)
    found = Standings.of(Ranks.of(scores), Members.of(50, [np.arange(0), np.arange(50), np.arange(0, 50, 2)]))
    assert np.isnan(found.auroc).tolist() == [True, True, False]
    assert not found.table[:2].any()
    assert not found.influence()[:2].any()
