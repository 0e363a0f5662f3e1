from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis.stats._responders import mean_auroc, responder_auroc


def test_auroc_of_each_row_against_another_library() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6, 40)).round(1)
    labels = rng.choice([-1, 0, 1], size=(6, 40), p=[0.2, 0.6, 0.2])
    scores[0, :3] = np.nan
    scores[2] = 1.0
    labels[3] = 0
    labels[4, 9:] = -1
    found = responder_auroc(scores, labels)
    for row in (0, 1, 5):
        kept = (labels[row] >= 0) & ~np.isnan(scores[row])
        assert found[row] == pytest.approx(roc_auc_score(labels[row, kept], scores[row, kept]))
    assert np.isnan(found[[2, 3, 4]]).all(), "all the same, no responder, too few candidates"
    assert mean_auroc(found) == pytest.approx(np.nanmean(found))
    assert np.isnan(mean_auroc(np.array([np.nan])))
    assert responder_auroc(np.empty((0, 40)), np.empty((0, 40), dtype=int)).shape == (0,)
