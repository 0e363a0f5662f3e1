from __future__ import annotations

import numpy as np
import pytest
from compiled_trees import MAX_BINS, binned, boost, boosted_scores
from sklearn.ensemble import HistGradientBoostingClassifier

from scepsis.stats import _learners


def _ours(table: np.ndarray, y: np.ndarray, tested: np.ndarray) -> np.ndarray:
    parts = [binned(*columns) for columns in zip(table.T, tested.T, strict=True)]
    return boost(np.stack([part[0] for part in parts]), y, np.stack([part[1] for part in parts]))


def _sklearn(table: np.ndarray, y: np.ndarray, tested: np.ndarray) -> np.ndarray:
    model = HistGradientBoostingClassifier(max_iter=50, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False)
    return model.fit(table, y).decision_function(tested)


def _table(seed: int, n: int, *, decimals: int | None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = np.column_stack([rng.normal(size=(80, 3))[rng.integers(80, size=n)], rng.normal(size=n)])
    table = table if decimals is None else np.round(table, decimals)
    odds = 2 * np.sin(2 * table[:, 0]) + table[:, 1] * table[:, 3] - 1.5
    return table, rng.random(n) < 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("n", [2000, 7000])
def test_predictions_are_those_of_sklearn(n: int) -> None:
    table, y = _table(0, n, decimals=1)
    tested, _ = _table(1, 500, decimals=2)
    np.testing.assert_allclose(_ours(table, y, tested), _sklearn(table, y, tested), rtol=0, atol=1e-9)


def test_predictions_with_more_values_than_bins() -> None:
    """Releases of scikit-learn place quantiles a little differently."""
    table, y = _table(2, 5000, decimals=None)
    tested, _ = _table(3, 500, decimals=None)
    ours, theirs = _ours(table, y, tested), _sklearn(table, y, tested)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.98


@pytest.mark.parametrize("n", [3, 39, 45, 90, 300])
def test_small_tables(n: int) -> None:
    table, y = _table(4, n, decimals=1)
    y[:2] = False, True
    ours, theirs = _ours(table, y, table), _sklearn(table, y, table)
    assert np.mean(np.abs(ours - theirs) < 1e-9) > 0.9  # splits that gain the same may be taken in another order
    if n < 40:
        np.testing.assert_allclose(ours, np.log(y.mean() / (1 - y.mean())))  # too few rows for a split


def test_one_class_almost_pure_and_separable() -> None:
    x = np.arange(400.0)[:, None]
    found = _ours(x, x[:, 0] >= 200, x)
    assert found[:200].max() < -3 < 3 < found[200:].min()
    np.testing.assert_allclose(found, _sklearn(x, x[:, 0] >= 200, x), rtol=0, atol=1e-6)


def test_bins_hold_equal_parts_and_keep_order() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    bins, same = binned(values, values)
    np.testing.assert_array_equal(bins, same)
    counts = np.bincount(bins)
    assert len(counts) == MAX_BINS
    assert counts.max() - counts.min() <= 2
    assert (np.diff(bins[np.argsort(values)].astype(int)) >= 0).all()


def test_each_of_few_values_has_a_bin_and_others_go_to_the_nearest() -> None:
    bins, tested = binned(np.array([3.0, 1.0, 3.0, 7.0]), np.array([-9.0, 1.9, 2.1, 5.0, 99.0]))
    assert bins.tolist() == [1, 0, 1, 2]
    assert tested.tolist() == [0, 0, 1, 1, 2]
    assert binned(np.full(5, 2.0), np.array([0.0]))[0].tolist() == [0] * 5


def test_constant_columns_change_nothing() -> None:
    table, y = _table(5, 1000, decimals=1)
    more = np.column_stack([table, np.ones(1000)])
    np.testing.assert_array_equal(_ours(table, y, table), _ours(more, y, more))


@pytest.mark.parametrize("alone", [True, False])
def test_scores_of_held_out_pairs_are_those_of_the_package(*, alone: bool) -> None:
    rng = np.random.default_rng(6)
    data = _learners.Pairs((rng.random((100, 40)) < 0.2).astype(np.int8), rng.normal(size=(40, 3)), np.arange(100))
    column = rng.normal(size=(1, len(data.rows))) + data.positive
    held_out = data.unit >= 80
    parts = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    ours = boosted_scores(data, [column], *parts, alone=alone)
    theirs = _learners.boosted_scores(data, [column], *parts, alone=alone)
    assert ours.shape == (1 + alone, held_out.sum())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
