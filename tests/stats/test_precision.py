from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score

from scepsis.stats._auroc import placements
from scepsis.stats._precision import average_precision, lift, prevalence


def test_average_precision_is_that_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    for levels in (2, 5, 10_000):
        scores = rng.integers(levels, size=(30, 80)).astype(float)
        positive, valid = rng.random((30, 80)) < 0.15, rng.random((30, 80)) < 0.8
        expected = [
            average_precision_score(y[v], s[v]) if y[v].any() else np.nan
            for y, s, v in zip(positive, scores, valid, strict=True)
        ]
        found = average_precision(placements(scores, positive, valid))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_lift_is_one_where_scores_say_nothing() -> None:
    positive = np.array([[True, False, False, False, True]])
    placed = placements(np.ones((1, 5)), positive)
    np.testing.assert_allclose(prevalence(placed), 0.4)
    np.testing.assert_allclose(lift(average_precision(placed), prevalence(placed)), 1)


def test_rows_without_targets_have_no_prevalence() -> None:
    placed = placements(np.full((1, 3), np.nan), np.ones((1, 3), dtype=bool))
    assert np.isnan(prevalence(placed)).all()
    assert np.isnan(lift(average_precision(placed), prevalence(placed))).all()
