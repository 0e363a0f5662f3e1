from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from scepsis.stats._auroc import auroc, bedroc, mann_whitney, mann_whitney_counts, partial_auroc, placements

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def _rows(seed: int, *, shape: tuple[int, int] = (40, 90), levels: int = 6) -> tuple[NDArray, NDArray, NDArray]:
    """Scores with heavy ties, labels, and a mask that leaves out a third."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=shape) / 7.0
    return scores, rng.random(shape) < 0.2, rng.random(shape) < 0.67


def _loop(function: Callable[[NDArray, NDArray], float], scores: NDArray, positive: NDArray, valid: NDArray) -> NDArray:
    result = []
    for score, label, use in zip(scores, positive, valid, strict=True):
        both = label[use].any() and not label[use].all()
        result.append(function(label[use], score[use]) if both else np.nan)
    return np.array(result)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auroc_is_that_of_sklearn_with_heavy_ties(dtype: type) -> None:
    for seed, levels in enumerate((2, 6, 1000)):
        scores, positive, valid = _rows(seed, levels=levels)
        expected = _loop(roc_auc_score, scores, positive, valid)
        found = auroc(placements(scores.astype(dtype), positive, valid))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_auroc_counts_pairs() -> None:
    scores, positive, valid = _rows(3, shape=(5, 14))

    def count(label: NDArray, score: NDArray) -> float:
        wins = [(p > n) + 0.5 * (p == n) for p, n in itertools.product(score[label], score[~label])]
        return float(np.mean(wins))

    np.testing.assert_allclose(
        auroc(placements(scores, positive, valid)), _loop(count, scores, positive, valid), rtol=0, atol=1e-14
    )


def test_dense_positives_are_ranked_the_same_as_sparse_ones() -> None:
    scores, _, valid = _rows(5, shape=(6, 200))
    positive = np.random.default_rng(0).random(scores.shape) < 0.6
    found = auroc(placements(scores, positive, valid))
    np.testing.assert_allclose(found, _loop(roc_auc_score, scores, positive, valid), rtol=0, atol=1e-12)


def test_one_class_constant_scores_and_missing_scores() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [4.0, 4.0, 4.0], [1.0, np.nan, 3.0], [np.nan] * 3])
    positive = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=bool)
    placed = placements(scores, positive)
    np.testing.assert_array_equal(auroc(placed), [np.nan, np.nan, 0.5, 1.0, np.nan])
    np.testing.assert_array_equal(placed.constant, [False, False, True, False, False])
    np.testing.assert_array_equal(placed.n_pos, [0, 3, 1, 1, 0])
    np.testing.assert_array_equal(placed.n_neg, [3, 0, 2, 1, 0])
    for function in (partial_auroc, bedroc):
        np.testing.assert_array_equal(np.isnan(function(placed)), [True, True, False, False, True])


def test_infinite_scores_stand_at_the_ends() -> None:
    scores = np.array([[np.inf, 0.0, -np.inf, 1.0, np.inf]])
    positive = np.array([[True, False, False, True, False]])
    # inf beats 0 and -inf and ties with inf; 1 beats 0 and -inf
    np.testing.assert_allclose(auroc(placements(scores, positive)), [(2 + 0.5 + 2) / 6])


def test_inputs_are_left_alone() -> None:
    scores, positive, valid = _rows(0)
    before = scores.copy(), positive.copy(), valid.copy()
    placements(scores, positive, valid)
    for left, right in zip(before, (scores, positive, valid), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 0.97])
def test_partial_area_is_that_of_sklearn(max_fpr: float) -> None:
    for seed, levels in enumerate((3, 12, 10_000)):
        scores, positive, valid = _rows(seed, levels=levels)
        expected = _loop(lambda y, s: roc_auc_score(y, s, max_fpr=max_fpr), scores, positive, valid)
        found = partial_auroc(placements(scores, positive, valid), max_fpr)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def _bedroc_of_ranks(ranks: NDArray, n: int, alpha: float) -> float:
    """Truchon and Bayly's formula, from ranks counted from the top."""
    share = len(ranks) / n
    chance = (1 / n) * (1 - np.exp(-alpha)) / (np.exp(alpha / n) - 1)
    enhancement = np.exp(-alpha * ranks / n).mean() / chance
    shape = share * np.sinh(alpha / 2) / (np.cosh(alpha / 2) - np.cosh(alpha / 2 - alpha * share))
    return float(enhancement * shape + 1 / (1 - np.exp(alpha * (1 - share))))


def test_bedroc_is_the_published_formula() -> None:
    rng = np.random.default_rng(0)
    for n_pos in (1, 4, 20):
        scores = rng.permutation(60).astype(float)[None]
        positive = np.zeros((1, 60), dtype=bool)
        positive[0, :n_pos] = True
        ranks = 60 - scores[positive]
        found = bedroc(placements(scores, positive), alpha=20)
        np.testing.assert_allclose(found, _bedroc_of_ranks(ranks, 60, 20.0), rtol=1e-10)


def test_bedroc_of_ties_is_the_mean_over_orders() -> None:
    scores = np.array([[3.0, 2.0, 2.0, 2.0, 1.0, 1.0]])
    positive = np.array([[False, True, True, False, True, False]])
    values = []
    for middle, low in itertools.product(itertools.permutations([0.1, 0.2, 0.3]), itertools.permutations([0.1, 0.2])):
        broken = scores[0] + [0, *middle, *low]
        ranks = 1 + np.array([(broken > broken[index]).sum() for index in (1, 2, 4)])
        values.append(_bedroc_of_ranks(ranks, 6, 5.0))
    np.testing.assert_allclose(bedroc(placements(scores, positive), alpha=5.0), np.mean(values), rtol=1e-10)


def test_best_and_worst_rankings() -> None:
    scores = np.arange(400.0)[None]
    best, worst = np.zeros((2, 1, 400), dtype=bool)
    best[0, -40:] = worst[0, :40] = True
    for function in (auroc, partial_auroc):
        assert function(placements(scores, best))[0] == pytest.approx(1)
    assert bedroc(placements(scores, best))[0] == pytest.approx(1, abs=1e-9)
    assert bedroc(placements(scores, worst))[0] == pytest.approx(0, abs=1e-9)
    assert auroc(placements(scores, worst))[0] == 0


def test_mann_whitney_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    positives, negatives = rng.integers(9, size=30).astype(float), rng.integers(8, size=200).astype(float)
    expected = mannwhitneyu(positives, negatives).statistic / (30 * 200)
    assert mann_whitney(positives, negatives) == pytest.approx(expected, abs=1e-14)
    assert np.isnan(mann_whitney(positives, np.array([])))
    values = np.array([*range(9), 3.0])
    counts = [[(scores == value).sum() for value in range(9)] + [0] for scores in (positives, negatives)]
    assert mann_whitney_counts(values, *map(np.array, counts)) == pytest.approx(expected, abs=1e-14)
    assert np.isnan(mann_whitney_counts(values, np.array(counts[0]), np.zeros(10, dtype=int)))
