from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._planted_rows import planted_aurocs
from scepsis.stats._ranking import Responders, rank_responders

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.stats._ranking import Ranking


@dataclass(frozen=True)
class Rows:
    values: FloatArray
    narrows: bool = True

    def rows(self, block: slice) -> FloatArray:
        return self.values[block].copy()


def make(n_units: int = 40, n_targets: int = 60, seed: int = 0) -> tuple[FloatArray, Responders]:
    """Scores with ties and gaps; some perturbations have too few responders, and one cannot be scored."""
    rng = np.random.default_rng(seed)
    scores = np.round(100 + rng.normal(size=(n_units, n_targets)), 1).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    labels = (rng.random(scores.shape) < 0.08).astype(np.int8)
    labels[rng.random(labels.shape) < 0.05] = -1
    usable = np.ones(n_units, dtype=bool)
    usable[3] = False
    scores[5] = 1.0
    return scores, Responders(labels, usable)


def ranked(scores: FloatArray, responders: Responders) -> Ranking:
    return rank_responders([Rows(scores)], responders)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_aurocs_are_those_of_scores_that_are_planted_and_ranked_anew(dtype: type) -> None:
    """The whole matrix at once, the general function that plants, and scikit-learn."""
    scores, responders = make()
    scores = scores.astype(dtype)
    ranking = ranked(scores, responders)
    found = planted_aurocs(Rows(scores), 0, ranking, responders, np.random.default_rng(7))
    used = ranking.used[0]
    assert 0 < used.sum() < len(used) - 2
    taken = (responders.labels >= 0) & ~np.isnan(scores) & used[:, None]
    masked = np.where(taken, scores, np.nan).astype(np.float64)
    for delta, areas in zip(DELTAS, found, strict=True):
        changed = planted(masked, responders.labels == 1, delta, np.random.default_rng(7))
        expected = [
            roc_auc_score(responders.labels[unit, taken[unit]], changed[unit, taken[unit]]) if used[unit] else np.nan
            for unit in range(len(used))
        ]
        np.testing.assert_allclose(areas, expected, rtol=0, atol=1e-12)
    assert (np.diff(np.nanmean(found, axis=1)) > 0).all()


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, responders = make()
    ranking = ranked(scores, responders)
    whole = planted_aurocs(Rows(scores), 0, ranking, responders, np.random.default_rng(1))
    monkeypatch.setattr("scepsis.stats._ranking.BLOCK", 5 * scores.shape[1])
    assert responders.block == 5
    parts = planted_aurocs(Rows(scores), 0, ranking, responders, np.random.default_rng(1))
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def test_nothing_to_plant_in_changes_nothing() -> None:
    scores, responders = make()
    none = replace(responders, usable=np.zeros(len(scores), dtype=bool))
    assert np.isnan(planted_aurocs(Rows(scores), 0, ranked(scores, none), none, np.random.default_rng(0))).all()
    empty = replace(responders, labels=np.zeros((0, 5), dtype=np.int8), usable=np.zeros(0, dtype=bool))
    nothing = np.zeros((0, 5), dtype=np.float32)
    found = planted_aurocs(Rows(nothing), 0, ranked(nothing, empty), empty, np.random.default_rng(0))
    assert found.shape == (len(DELTAS), 0)
