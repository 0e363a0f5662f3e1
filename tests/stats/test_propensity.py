from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from scepsis.stats._learners import Pairs
from scepsis.stats._propensity import cross_fitted


def _pairs(n_units: int = 30, n_targets: int = 80, seed: int = 0) -> Pairs:
    """Targets differ in how often they respond; which perturbations they respond to is chance."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1, 3, n_targets)
    labels = (rng.random((n_units, n_targets)) < chance).astype(np.int8)
    labels[rng.random(labels.shape) < 0.05] = -1
    features = np.column_stack([chance + rng.normal(0, 0.3, n_targets), rng.normal(size=(n_targets, 2))])
    return Pairs(labels, features, np.arange(n_units) // 2)


def test_frequency_is_that_of_the_other_folds_and_perturbations_of_a_gene_stay_together() -> None:
    data = _pairs()
    found = cross_fitted(data, 5, seed=0)
    assert len(np.unique(found.fold)) == 5
    np.testing.assert_array_equal(found.fold[::2], found.fold[1::2])
    for unit in range(30):
        others = data.labels[found.fold != found.fold[unit]]
        expected = [(column == 1).sum() / (column >= 0).sum() for column in others.T]
        np.testing.assert_allclose(found.frequency[unit], expected, rtol=1e-12)


def test_logit_is_scikit_learns_on_rows_that_carry_inner_frequencies() -> None:
    data = _pairs()
    found = cross_fitted(data, 5, seed=0)
    from scepsis.stats._held_out import encoded_frequency
    from scepsis.stats._splits import Blocks, Fold

    blocks = Blocks(found.fold, np.zeros(80, dtype=int))
    encoded = encoded_frequency(data, blocks, Fold(2, -1), 0)
    train, test = (found.fold != 2)[:, None] & (data.labels >= 0), (found.fold == 2)[:, None] & (data.labels >= 0)

    def rows(chosen: np.ndarray) -> np.ndarray:
        return np.column_stack([data.features[np.nonzero(chosen)[1]], encoded[chosen]])

    mean, sd = rows(train).mean(axis=0), rows(train).std(axis=0)
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit((rows(train) - mean) / sd, data.labels[train])
    expected = model.decision_function((rows(test) - mean) / sd)
    np.testing.assert_allclose(found.logit[test], expected, atol=1e-4)


def _of_targets(labels: np.ndarray, scores: np.ndarray) -> float:
    """AUROC of responders among the perturbations of one target, averaged: above chance only if labels leak."""
    areas = []
    for label, score in zip(labels.T, scores.T, strict=True):
        positive, negative = score[label == 1], score[label == 0]
        if len(positive) and len(negative):
            areas.append(np.mean(positive[:, None] > negative) + 0.5 * np.mean(positive[:, None] == negative))
    return float(np.mean(areas))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_tells_responders_of_a_target_from_its_others_within_a_fold(seed: int) -> None:
    data = _pairs(seed=seed)
    n_pos, n = (data.labels == 1).sum(axis=0), (data.labels >= 0).sum(axis=0)
    left_out = (n_pos - (data.labels == 1)) / (n - (data.labels >= 0))
    assert _of_targets(data.labels, left_out) == 0.0  # positives n - 1, negatives n: the label, upside down
    found = cross_fitted(data, 5, seed=seed)
    for fold in range(5):
        own = found.fold == fold
        for scores in (found.logit, found.frequency):
            known = np.where(data.labels[own] >= 0, scores[own], np.nan)
            assert np.nanmax(np.nanmax(known, axis=0) - np.nanmin(known, axis=0)) < 1e-12
        assert _of_targets(data.labels[own], found.frequency[own]) == pytest.approx(0.5)


def test_without_others_there_is_no_propensity() -> None:
    one = Pairs(np.array([[1, 0, 1, 0]]), np.ones((4, 2)), np.zeros(1, dtype=int))
    assert np.isnan(cross_fitted(one, 5, seed=0).logit).all()
    apart = Pairs(np.array([[1, 1, 1, 1], [0, 0, 0, 0]]), np.ones((4, 2)), np.arange(2))
    assert np.isnan(cross_fitted(apart, 5, seed=0).logit).all()
