from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from scepsis.stats._top_k import top_k


def test_without_ties_it_is_what_scikit_learn_says_of_the_first_k() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.normal(size=300), rng.random(300) < 0.1
    for one in top_k(scores, positive, [1, 7, 50, 300]):
        predicted = np.zeros(300, dtype=bool)
        predicted[np.argsort(scores)[-one.k :]] = True
        assert one.hits == (predicted & positive).sum()
        assert one.precision == pytest.approx(precision_score(positive, predicted))
        assert one.recall == pytest.approx(recall_score(positive, predicted))
        assert one.f1 == pytest.approx(f1_score(positive, predicted))


def test_ties_at_the_cut_are_shared_out() -> None:
    scores = np.array([3.0, 2.0, 2.0, 2.0, 2.0, 1.0])
    positive = np.array([True, True, False, False, True, True])
    first, second, everything = top_k(scores, positive, [1, 3, 6])
    assert first.hits == 1
    assert second.hits == 1 + 2 * 2 / 4
    assert everything.hits == 4


def test_recall_of_more_positives_than_have_a_score_and_cuts_beyond_the_end() -> None:
    scores, positive = np.array([2.0, 1.0]), np.array([True, False])
    (one,) = top_k(scores, positive, [1], n_positives=4)
    assert one.recall == 0.25
    (beyond,) = top_k(scores, positive, [3])
    assert np.isnan([beyond.hits, beyond.precision, beyond.recall, beyond.f1]).all()
    (none,) = top_k(scores, ~positive, [1])
    assert (none.hits, none.f1) == (0, 0)
