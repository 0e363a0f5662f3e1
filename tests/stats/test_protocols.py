"""AUROCs under several protocols against scikit-learn, and the sums of them against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from scepsis.stats._protocols import Scored, Term, total


def _world(seed: int, n_units: int = 20, n_genes: int = 60, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random((n_units, n_genes)) < 0.2
    return rng.normal(size=(n_units, n_genes)) + signal * positive, positive


def test_aurocs_are_scikit_learns_on_the_candidates() -> None:
    scores, positive = _world(0)
    valid = np.random.default_rng(1).random(positive.shape) < 0.7
    positive[3] = False
    found = Scored.of([scores, -scores], positive, valid, min_positives=2, min_candidates=10)
    for unit in np.flatnonzero(found.used):
        expected = roc_auc_score(positive[unit, valid[unit]], scores[unit, valid[unit]])
        assert found.auroc[:, unit] == pytest.approx([expected, 1 - expected])
    assert not found.used[3]
    few = Scored.of([scores], positive, valid, min_positives=30, min_candidates=10)
    assert not few.used.any()
    assert not Scored.of([np.zeros_like(scores)], positive, valid, min_positives=2, min_candidates=10).used.any()


def test_a_sum_is_over_the_units_that_count_everywhere() -> None:
    scores, positive = _world(2)
    everything = np.ones_like(positive)
    half = np.broadcast_to(np.arange(60) < 30, positive.shape)
    one, other = (
        Scored.of([scores, -scores], positive, valid, min_positives=2, min_candidates=10)
        for valid in (everything, half)
    )
    one = one.among(np.arange(20) > 2)
    rng = np.random.default_rng(0)
    found = total([Term(other, 0), Term(one, 0, -1)], margin=0.02, min_units=6, n_boot=500, rng=rng)
    both = one.used & other.used
    units = (other.auroc[0] - one.auroc[0])[both]
    assert (found.n_units, found.difference) == (both.sum(), pytest.approx(units.mean()))
    tied = wilcoxon(np.round(units, 12), correction=True, method="asymptotic")
    assert found.p_value == pytest.approx(tied.pvalue)
    assert found.boot.low < units.mean() < found.boot.high
    nothing = total([Term(one, 0), Term(one, 0, -1)], margin=0.02, min_units=6, n_boot=10, rng=rng)
    assert (nothing.difference, nothing.p_value, nothing.equivalence) == (0, 1, "equivalent")
    few = total([Term(one, 0)], margin=0.02, min_units=50, n_boot=10, rng=rng)
    assert np.isnan(few.p_value)


def test_the_same_candidates_and_ranks_are_the_same() -> None:
    scores, positive = _world(3)
    valid = np.ones_like(positive)
    least = {"min_positives": 2, "min_candidates": 10}
    one = Scored.of([scores, -scores], positive, valid, **least)
    assert one.is_same(Scored.of([scores * 2, scores], positive, valid, **least), 0)
    assert not one.is_same(Scored.of([scores * 2, scores], positive, valid, **least), 0, 1)
    fewer = valid.copy()
    fewer[:, -1] = False
    assert not one.is_same(Scored.of([scores, -scores], positive, fewer, **least), 0)
    assert not one.is_same(one.among(np.zeros(20, dtype=bool)), 0)


def test_interval_of_a_shift_holds_no_shift() -> None:
    held = []
    for seed in range(60):
        scores, positive = _world(seed, signal=0.8)
        half = np.broadcast_to(np.arange(60) < 30, positive.shape)
        parts = [
            Scored.of([scores], positive, valid, min_positives=2, min_candidates=10)
            for valid in (np.ones_like(positive), half)
        ]
        rng = np.random.default_rng(seed)
        found = total([Term(parts[1], 0), Term(parts[0], 0, -1)], margin=0.02, min_units=6, n_boot=10, rng=rng)
        held.append(found.two_way.low < 0 < found.two_way.high)
    assert np.mean(held) > 0.88
