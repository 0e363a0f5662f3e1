from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from scepsis.stats._row_scores import EdgeRows, FrequencyRows, GeneRows, complete_cases


def _edges() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    np.fill_diagonal(values, np.nan)
    return values, np.array([2, -1, 5]), np.array([0, 1, -1, 5])


@pytest.mark.parametrize("direction", ["source", "target", "mean", "max"])
@pytest.mark.parametrize("absolute", [False, True])
def test_edges_are_read_in_the_direction_asked_for(direction: str, absolute: bool) -> None:
    values, sources, targets = _edges()
    found = EdgeRows(values, sources, targets, direction, absolute).rows(slice(0, 3))
    weigh = abs if absolute else float
    for g, source in enumerate(sources):
        for t, target in enumerate(targets):
            if source < 0 or target < 0 or source == target:
                assert np.isnan(found[g, t])
                continue
            out, back = weigh(values[source, target]), weigh(values[target, source])
            expected = {"source": out, "target": back, "mean": (out + back) / 2, "max": max(out, back)}[direction]
            assert found[g, t] == pytest.approx(expected, rel=1e-6)


def test_both_directions_need_both_edges() -> None:
    values = np.array([[np.nan, 1.0], [np.nan, np.nan]], dtype=np.float32)
    for direction in ("mean", "max"):
        assert np.isnan(EdgeRows(values, np.array([0]), np.array([1]), direction).rows(slice(0, 1))).all()


def test_reading_rows_leaves_the_edges_alone() -> None:
    values, _, _ = _edges()
    before = values.copy()
    EdgeRows(values, np.array([1, -1]), np.arange(6), absolute=True).rows(slice(0, 2))
    np.testing.assert_array_equal(values, before)


def test_counts_become_scores() -> None:
    rows = EdgeRows(np.array([[0, 7], [3, 0]], dtype=np.int32), np.array([0, -1]), np.array([0, 1])).rows(slice(0, 2))
    np.testing.assert_array_equal(rows, [[0, 7], [np.nan, np.nan]])


def test_gene_scores_are_the_same_in_every_row() -> None:
    rows = GeneRows(np.array([1.0, np.nan]), 5).rows(slice(3, 9))
    np.testing.assert_array_equal(rows, [[1, np.nan], [1, np.nan]])


def test_frequency_leaves_out_all_perturbations_of_the_same_gene() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(-1, 2, size=(8, 15)).astype(np.int8)
    labels[:, 0] = -1
    labels[1:, 1] = -1
    group = np.array([0, 1, 2, 2, 3, 4, 2, 5])
    found = np.vstack([FrequencyRows(labels, group).rows(slice(start, start + 3)) for start in (0, 3, 6)])
    for g in range(8):
        for t in range(15):
            others = [labels[h, t] for h in range(8) if group[h] != group[g] and labels[h, t] >= 0]
            expected = np.mean(others) if others else np.nan
            np.testing.assert_allclose(found[g, t], expected, atol=1e-7)


def test_frequencies_are_tied_exactly_when_they_are_equal() -> None:
    counts = np.array([(k, n) for n in range(1, 300) for k in range(n + 1)])
    exact = {Fraction(int(k), int(n)) for k, n in counts}
    assert len(np.unique(counts[:, 0].astype(np.float32) / counts[:, 1].astype(np.float32))) == len(exact)
    assert np.float32(2047 / 2048) != np.float32(2046 / 2047)


def test_equal_frequencies_are_tied() -> None:
    # 1/2 from 2 of 4 and from 3 of 6
    labels = np.array([[1, 1], [1, 1], [0, 1], [0, 0], [-1, 0], [-1, 0], [-1, -1]], dtype=np.int8)
    found = FrequencyRows(labels, np.arange(7)).rows(slice(6, 7))
    assert found[0, 0] == found[0, 1] == 0.5


def test_complete_cases_ignore_scores_that_do_not_narrow() -> None:
    values, sources, targets = _edges()
    scores = [EdgeRows(values, sources, targets), GeneRows(np.array([np.nan, 1, 1, 1]), 3)]
    blocks = [one.rows(slice(0, 3)) for one in scores]
    labelled = np.array([[True, True, True, False]] * 3)
    found = complete_cases(scores, blocks, labelled)
    np.testing.assert_array_equal(found, [[True, True, False, False], [False] * 4, [True, True, False, False]])
    assert labelled.sum() == 9
