from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis.stats import _win_matrix
from scepsis.stats._bootstrap import draw_counts
from scepsis.stats._win_matrix import WinMatrix, bootstrap_aurocs


def _pairs(seed: int, n: int = 600, n_clusters: int = 9, *, tied: bool = True) -> tuple[np.ndarray, ...]:
    """Scores with many ties, a fifth positive, in clusters of unequal size and no order."""
    rng = np.random.default_rng(seed)
    clusters = rng.choice(n_clusters, size=n, p=rng.dirichlet(np.ones(n_clusters)))
    scores = rng.normal(size=n) + 0.3 * clusters
    positive = rng.random(n) < 0.2
    return (np.round(scores, 1) if tied else scores) + 0.0, positive, clusters


def _naive(scores: np.ndarray, positive: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> float:
    """Copy the pairs of every cluster as often as it was drawn, and rank them anew."""
    copies = weights.astype(int)[clusters]
    return roc_auc_score(np.repeat(positive, copies), np.repeat(scores, copies))


@pytest.mark.parametrize("block", [1, 50, _win_matrix.BLOCK])
def test_matrix_is_what_a_loop_over_couples_counts(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_win_matrix, "BLOCK", block)
    scores, positive, clusters = _pairs(0, n=150, n_clusters=5)
    expected = np.zeros((6, 6))
    for p in np.flatnonzero(positive):
        for n in np.flatnonzero(~positive):
            win = 2 * (scores[p] > scores[n]) + (scores[p] == scores[n])
            expected[clusters[p], clusters[n]] += win
    assert (expected % 2 == 1).any(), "no ties, nothing tested"
    found = WinMatrix.of(scores, positive, clusters, 6)  # the last cluster has no pairs
    np.testing.assert_array_equal(found.twice, expected)
    np.testing.assert_array_equal(found.n_pos, np.bincount(clusters[positive], minlength=6))
    np.testing.assert_array_equal(found.n_neg, np.bincount(clusters[~positive], minlength=6))


@pytest.mark.parametrize("tied", [True, False])
def test_any_draw_is_the_naive_resample(*, tied: bool) -> None:
    scores, positive, clusters = _pairs(1, tied=tied)
    matrix = WinMatrix.of(scores, positive, clusters, 9)
    assert matrix.auroc()[0] == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    draws = draw_counts(200, 9, np.random.default_rng(0))
    expected = [_naive(scores, positive, clusters, draw) for draw in draws]
    np.testing.assert_allclose(matrix.auroc(draws), expected, atol=1e-12, rtol=0)


def test_clusters_alone_and_left_out() -> None:
    scores, positive, clusters = _pairs(2)
    matrix = WinMatrix.of(scores, positive, clusters, 9)
    for cluster in range(9):
        of, rest = clusters == cluster, clusters != cluster
        assert matrix.without[cluster] == pytest.approx(roc_auc_score(positive[rest], scores[rest]), abs=1e-12)
        if 0 < positive[of].sum() < of.sum():
            assert matrix.within[cluster] == pytest.approx(roc_auc_score(positive[of], scores[of]), abs=1e-12)
        else:
            assert np.isnan(matrix.within[cluster])
    loo = np.array([roc_auc_score(positive[clusters != c], scores[clusters != c]) for c in range(9)])
    assert matrix.jackknife_variance() == pytest.approx(8 / 9 * ((loo - loo.mean()) ** 2).sum(), rel=1e-9)


def test_bootstrap_shares_its_draws() -> None:
    scores, positive, clusters = _pairs(3)
    other = np.random.default_rng(1).normal(size=len(scores))
    matrices = [WinMatrix.of(one, positive, clusters, 9) for one in (scores, other)]
    found = bootstrap_aurocs(matrices, 50, np.random.default_rng(5))
    draws = draw_counts(50, 9, np.random.default_rng(5))
    assert ((draws @ matrices[0].n_pos > 0) & (draws @ matrices[0].n_neg > 0)).all()
    for column, one in enumerate((scores, other)):
        expected = [_naive(one, positive, clusters, draw) for draw in draws]
        np.testing.assert_allclose(found[:, column], expected, atol=1e-12, rtol=0)


def test_replicates_of_one_class_are_drawn_again() -> None:
    """All positives are in one of eight clusters, which a draw misses with a chance of (7/8)^8 = 0.34."""
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(8), 20)
    positive = (clusters == 0) & (np.arange(160) % 2 == 0)
    matrix = WinMatrix.of(rng.normal(size=160), positive, clusters, 8)
    found = bootstrap_aurocs([matrix], 500, np.random.default_rng(0))
    assert not np.isnan(found).any()


@pytest.mark.parametrize("which", [0, 1])
def test_one_class_has_no_area(which: int) -> None:
    clusters = np.array([0, 1, 1])
    matrix = WinMatrix.of(np.array([1.0, 2.0, 3.0]), np.full(3, bool(which)), clusters, 2)
    assert np.isnan(matrix.auroc()).all()
    assert np.isnan(bootstrap_aurocs([matrix], 3, np.random.default_rng(0))).all()


def test_equal_scores_are_worth_one_half() -> None:
    matrix = WinMatrix.of(np.ones(40), np.arange(40) < 7, np.arange(40) % 3, 3)
    np.testing.assert_array_equal(bootstrap_aurocs([matrix], 20, np.random.default_rng(0)), 0.5)
