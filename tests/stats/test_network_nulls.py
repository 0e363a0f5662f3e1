from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis.stats._network_nulls import RankedPairs, against, shuffled, shuffled_by_source


def _case(seed: int = 0, n_sources: int = 7, n_targets: int = 23) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tied scores, some of them missing, a network, and where an edge may be."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=(n_sources, n_targets)), 1)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    allowed = rng.random(scores.shape) < 0.9
    listed = allowed & (rng.random(scores.shape) < 0.2)
    listed[3] = False
    listed[3, np.flatnonzero(allowed[3])[:1]] = True
    return scores, listed, allowed


def test_sums_of_ranks_are_the_areas_of_scikit_learn() -> None:
    scores, listed, allowed = _case()
    drawn = shuffled(listed, allowed, 30, seed=1)
    found = RankedPairs.of(scores, allowed).aurocs(drawn)
    valid = allowed & ~np.isnan(scores)
    for cells, (pooled, by_source) in zip(drawn, found, strict=True):
        network = np.zeros(scores.size, dtype=bool)
        network[cells] = True
        network = network.reshape(scores.shape)
        assert pooled == pytest.approx(roc_auc_score(network[valid], scores[valid]), abs=1e-12)
        areas = [
            roc_auc_score(row[some], score[some])
            for row, some, score in zip(network, valid, scores, strict=True)
            if 2 <= row[some].sum() < some.sum()
        ]
        assert by_source == pytest.approx(np.mean(areas), abs=1e-12)


def test_shuffles_stay_where_they_may_and_keep_what_they_should() -> None:
    _, listed, allowed = _case()
    for draw, keeps_rows in ((shuffled, False), (shuffled_by_source, True)):
        cells = draw(listed, allowed, 200, seed=3)
        assert cells.shape == (200, listed.sum())
        assert allowed.ravel()[cells].all()
        assert all(len(set(one)) == len(one) for one in cells.tolist())
        rows = np.array([np.bincount(one // listed.shape[1], minlength=len(listed)) for one in cells])
        assert (rows == listed.sum(axis=1)).all() == keeps_rows
        np.testing.assert_array_equal(cells, draw(listed, allowed, 200, seed=3))
        np.testing.assert_array_equal(cells[:10], draw(listed, allowed, 10, seed=3))


def test_every_pair_of_a_source_is_as_likely_as_any_other() -> None:
    _, listed, allowed = _case()
    n_draws = 4000
    share = np.bincount(shuffled_by_source(listed, allowed, n_draws, seed=5).ravel(), minlength=listed.size)
    expected = (listed.sum(axis=1) / allowed.sum(axis=1))[:, None] * allowed
    error = np.sqrt(expected * (1 - expected) / n_draws)
    assert (np.abs(share.reshape(listed.shape) / n_draws - expected) <= 4.5 * error).all()


def test_place_among_draws() -> None:
    null = np.array([0.4, 0.5, 0.6, np.nan, 0.7])
    found = against(0.6, null)
    assert found.p_value == pytest.approx((1 + 2) / (1 + 4))
    assert found.z == pytest.approx((0.6 - 0.55) / np.std([0.4, 0.5, 0.6, 0.7], ddof=1))
    assert found.n_null == 4
    assert np.isnan(against(0.6, np.full(5, 0.6)).z)
    assert np.isnan(against(np.nan, null).p_value)
    assert np.isnan(against(0.5, np.full(3, np.nan)).null_mean)
