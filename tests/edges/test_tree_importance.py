"""Importances against scikit-learn called by hand, and on targets whose sources are known."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from scepsis.edges._tree_importance import tree_importance


def _values() -> np.ndarray:
    """Gene 4 is a switch of 0 and 1, gene 5 follows 2, the rest are noise."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 6))
    values[:, 4] = (values[:, 0] > 0) * (values[:, 1] > 0) * 2 + 0.1 * rng.normal(size=200)
    values[:, 5] = values[:, 2] ** 2 + 0.1 * rng.normal(size=200)
    return values.astype(np.float32)


def test_is_a_forest_per_target_of_the_other_sources() -> None:
    values, seeds = _values(), list(range(6))
    done: list[int] = []
    found = tree_importance(values, np.array([0, 1, 2]), seeds, n_trees=20, on_target=lambda: done.append(1))
    assert len(done) == 6
    for target in range(6):
        own = [one for one in (0, 1, 2) if one != target]
        forest = ExtraTreesRegressor(20, max_features="sqrt", random_state=target).fit(
            values[:, own], values[:, target]
        )
        np.testing.assert_allclose(found[own, target], forest.feature_importances_, atol=1e-6)
    assert np.isnan(found[3:]).all()
    assert np.isnan(np.diag(found)).all()


def test_finds_the_sources_of_a_switch() -> None:
    found = tree_importance(_values(), np.arange(6), list(range(6)), n_trees=50)
    assert set(np.argsort(np.nan_to_num(found[:4, 4]))[-2:]) == {0, 1}
    assert np.nanargmax(found[:4, 5]) == 2


def test_processes_and_other_targets_change_nothing() -> None:
    values = _values()
    one = tree_importance(values, np.arange(6), list(range(6)), n_trees=5)
    assert one.tobytes() == tree_importance(values, np.arange(6), list(range(6)), n_trees=5, n_jobs=2).tobytes()
    values[:, 3] = 1.0  # now neither a source nor a target
    without = tree_importance(values, np.array([0]), list(range(6)), n_trees=5)
    assert np.isnan(without[:, [0, 3]]).all()
    np.testing.assert_array_equal(without[0, [1, 2, 4, 5]], 1.0)
