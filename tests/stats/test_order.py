from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis.stats._auroc import auroc, placements
from scepsis.stats._order import Order, Ranked


def _slow_influence(scores: np.ndarray, positive: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """By definition: the share of the other class on the right side, against the AUROC, by DeLong's weights."""
    result = np.zeros(scores.shape)
    for g, (score, label, use) in enumerate(zip(scores, positive, valid, strict=True)):
        pos, neg = np.flatnonzero(label & use), np.flatnonzero(~label & use)
        if not len(pos) or not len(neg):
            continue
        wins = (score[pos][:, None] > score[neg]) + 0.5 * (score[pos][:, None] == score[neg])
        for targets, share in ((pos, wins.mean(axis=1)), (neg, wins.mean(axis=0))):
            n = len(targets)
            result[g, targets] = (share - wins.mean()) / n * (np.sqrt(n / (n - 1)) if n > 1 else 1)
    return result


def _data(seed: int, levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(25, 60)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    positive, valid = rng.random(scores.shape) < 0.2, rng.random(scores.shape) < 0.7
    positive[0], positive[1] = False, True
    return scores, positive, valid & ~np.isnan(scores)


@pytest.mark.parametrize("levels", [3, 10_000_000])
def test_subsets_of_one_order_are_ranked_as_if_sorted_alone(levels: int) -> None:
    scores, positive, valid = _data(0, levels)
    order = Order.of(scores)
    for subset in (valid, ~np.isnan(scores), valid & (np.arange(60) % 2 == 0)):
        ranked, alone = Ranked(order, positive, subset), placements(scores, positive, subset)
        for name in ("row", "n_pos", "n_neg", "constant"):
            np.testing.assert_array_equal(getattr(ranked.placements, name), getattr(alone, name), err_msg=name)
        expected = [
            roc_auc_score(y[v], s[v]) if 0 < y[v].sum() < v.sum() else np.nan
            for y, s, v in zip(positive, scores, subset, strict=True)
        ]
        np.testing.assert_allclose(ranked.auroc, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", [3, 10_000_000])
def test_influence_is_its_definition(levels: int) -> None:
    scores, positive, valid = _data(1, levels)
    found = Ranked(Order.of(scores), positive, valid).influence()
    np.testing.assert_allclose(found, _slow_influence(scores, positive, valid), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-13)


def test_squared_influence_is_the_variance_of_delong() -> None:
    scores, positive, valid = _data(2, 30)
    found = Ranked(Order.of(scores), positive, valid).influence()
    for g in range(2, len(scores)):
        pos, neg = scores[g][positive[g] & valid[g]], scores[g][~positive[g] & valid[g]]
        wins = (pos[:, None] > neg) + 0.5 * (pos[:, None] == neg)
        delong = wins.mean(axis=1).var(ddof=1) / len(pos) + wins.mean(axis=0).var(ddof=1) / len(neg)
        np.testing.assert_allclose((found[g] ** 2).sum(), delong, rtol=1e-10)


def test_influence_is_the_change_when_a_target_is_left_out() -> None:
    # first order: leaving target t out moves the AUROC by minus its influence (without the n / (n - 1) factors)
    rng = np.random.default_rng(3)
    scores, positive = rng.normal(size=(1, 400)), rng.random((1, 400)) < 0.5
    valid = np.ones_like(positive)
    whole = roc_auc_score(positive[0], scores[0])
    left_out = [whole - roc_auc_score(np.delete(positive[0], t), np.delete(scores[0], t)) for t in range(0, 400, 17)]
    found = Ranked(Order.of(scores), positive, valid).influence()[0, ::17]
    np.testing.assert_allclose(found, left_out, atol=2e-5)


def test_infinite_scores_and_missing_ones_do_not_mix() -> None:
    scores = np.array([[np.inf, np.nan, 0.0, 1.0, np.inf, -np.inf]])
    positive = np.array([[True, True, False, True, False, False]])
    valid = ~np.isnan(scores)
    ranked = Ranked(Order.of(scores), positive, valid)
    np.testing.assert_allclose(ranked.auroc, roc_auc_score(positive[valid], np.nan_to_num(scores[valid])))
    np.testing.assert_allclose(ranked.influence(), _slow_influence(scores, positive, valid), atol=1e-14)


def test_the_same_row_many_times_is_sorted_once_with_the_same_result() -> None:
    rng = np.random.default_rng(4)
    row = rng.integers(5, size=50).astype(float)
    row[3] = np.nan
    positive, valid = rng.random((12, 50)) < 0.3, (rng.random((12, 50)) < 0.8) & ~np.isnan(row)
    view = np.broadcast_to(row, (12, 50))
    one, other = Ranked(Order.of(view), positive, valid), Ranked(Order.of(view.copy()), positive, valid)
    np.testing.assert_array_equal(one.auroc, other.auroc)
    np.testing.assert_array_equal(one.influence(), other.influence())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_every_kind_are_in_order(dtype: type) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    row = np.array([0.0, -0.0, 1, -1, tiny, -tiny, np.inf, -np.inf, np.nan, 1e30, -1e30, 1, 1.5, -1.5], dtype=dtype)
    row = np.random.default_rng(0).permutation(np.tile(row, 3))
    order = Order.of(np.stack([row, row[::-1]]))
    for ranked in (
        np.nan_to_num(np.stack([row, row[::-1]]), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        .ravel()[order.pair]
        .reshape(2, -1)
    ):
        assert (np.diff(ranked[np.isfinite(ranked)]) >= 0).all()
        assert (ranked[:3] == -np.inf).all()
        assert (ranked[-6:] == np.inf).all()
    # one step for each distinct value, both zeros being one, NaN with the infinite ones
    assert np.diff(order.first).tolist() == [len(np.unique(row[~np.isnan(row)]))] * 2


def test_groups_of_targets_are_ranked_on_their_own() -> None:
    scores, positive, valid = _data(5, 6)
    group = np.random.default_rng(0).integers(-1, 4, size=60)
    found = Ranked(Order.of(scores), positive, valid).auroc_within(group, 4)
    for number in range(4):
        alone = auroc(placements(scores, positive, valid & (group == number)))
        np.testing.assert_allclose(found[:, number], alone, rtol=0, atol=1e-14)


def test_missing_scores_are_zero() -> None:
    scores, positive, valid = _data(6, 5)
    scores -= 2  # negative, zero and positive ones
    missing = np.isnan(scores) & (np.random.default_rng(0).random(scores.shape) < 0.8)
    found = Ranked(Order.of(scores), positive, valid).auroc_filled(scores, missing, positive)
    expected = auroc(placements(np.nan_to_num(scores), positive, valid | missing))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
