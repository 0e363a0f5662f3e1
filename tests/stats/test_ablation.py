from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from scepsis.stats._ablation import Target, cell_error, change, detection


def made(seed: int = 0, n: int = 12) -> tuple[Target, np.ndarray, np.ndarray]:
    """Perturbations whose genes stand in other rows, one of them without any."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 50)) < 0.2).astype(np.int8)
    labels[:, 0] = -1
    row = rng.permutation(n)
    row[3] = -1
    before = rng.normal(size=(n, 50))
    after = before + rng.normal(0, 0.5, size=before.shape)
    return Target(labels, row), before, after


def test_change_against_other_libraries() -> None:
    target, before, after = made()
    found = change(before, after, target, margin=0.005)
    expected = []
    for index, row in enumerate(target.row):
        if row >= 0:
            kept = target.labels[index] >= 0
            one, two = (roc_auc_score(target.labels[index, kept], scores[row, kept]) for scores in (before, after))
            assert found.before[index] == pytest.approx(one)
            assert found.after[index] == pytest.approx(two)
            expected.append(two - one)
    assert not found.used[3]
    assert found.found.n_units == len(expected) == 11
    assert found.found.difference == pytest.approx(np.mean(expected))
    assert found.found.p_value == pytest.approx(wilcoxon(expected).pvalue)
    assert target.drop(before, after) == pytest.approx(-np.mean(expected))


def test_error_of_cells_is_the_jackknife_and_falls_with_their_root() -> None:
    target, mean, _ = made()
    rng = np.random.default_rng(1)
    blocks = 8
    before = [mean * 10 + rng.normal(size=mean.shape) for _ in range(blocks)]
    after = [mean * 8 + rng.normal(size=mean.shape) for _ in range(blocks)]
    counts = [np.full(mean.shape, 10.0) for _ in range(blocks)]
    found = cell_error(before, after, counts, target, 80)
    drops = []
    for left_out in range(blocks):
        kept = [index for index in range(blocks) if index != left_out]
        one, two = (np.sum([parts[index] for index in kept], axis=0) / (10 * len(kept)) for parts in (before, after))
        drops.append(target.drop(one, two))
    expected = np.sqrt((blocks - 1) / blocks * np.sum((np.array(drops) - np.mean(drops)) ** 2))
    assert found.standard_error == pytest.approx(expected)
    assert found.drop == pytest.approx(target.drop(np.sum(before, axis=0) / 80, np.sum(after, axis=0) / 80))
    assert found.needed(expected) == 80
    assert found.needed(expected / 2) == 320
    assert found.needed(expected * 10) == 1


def test_error_of_cells_is_that_of_repeated_samples() -> None:
    """Drops on fresh cells scatter by about as much as the jackknife says."""
    target, mean, _ = made()
    rng = np.random.default_rng(2)
    drops, errors = [], []
    for _ in range(60):
        before = [mean * 10 + 6 * rng.normal(size=mean.shape) for _ in range(8)]
        after = [mean * 5 + 6 * rng.normal(size=mean.shape) for _ in range(8)]
        counts = [np.full(mean.shape, 10.0) for _ in range(8)]
        drops.append(target.drop(np.sum(before, axis=0) / 80, np.sum(after, axis=0) / 80))
        errors.append(cell_error(before, after, counts, target, 80).standard_error)
    assert np.mean(errors) == pytest.approx(np.std(drops, ddof=1), rel=0.3)


def test_planted_signal_is_found_the_sooner_the_stronger() -> None:
    target, before, _ = made(n=24)
    seen = detection(before, before, target, margin=0.005, rng=np.random.default_rng(0))
    assert [one.delta for one in seen] == [0.25, 0.5, 1.0, 2.0]
    drops = [one.found.difference for one in seen]
    assert drops == sorted(drops, reverse=True)
    assert drops[0] < 0
    assert seen[-1].detected
    nothing = change(before, before, target, margin=0.005).found
    assert nothing.difference == 0
    assert nothing.equivalence == "equivalent"
