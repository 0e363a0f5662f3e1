from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats import _node_effects
from scepsis.stats._node_effects import node_effects


def _refitted(values: np.ndarray, mask: np.ndarray, pair: tuple[int, int]) -> float:
    """Residual of a pair under least squares over all others, with a design of indicators written out."""
    n = len(mask)
    others = mask.copy()
    others[pair] = False
    source, target = np.nonzero(others)
    design = np.zeros((len(source), 2 * n))
    design[np.arange(len(source)), source] = 1
    design[np.arange(len(source)), n + target] = 1
    effects, *_ = np.linalg.lstsq(design, values[source, target], rcond=None)
    return float(values[pair] - effects[pair[0]] - effects[n + pair[1]])


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_left_out_pair_is_what_a_second_fit_says(missing: float) -> None:
    rng = np.random.default_rng(0)
    n = 9
    mask = ~np.eye(n, dtype=bool) & (rng.random((n, n)) >= missing)
    values = rng.normal(size=(n, n)) + rng.normal(size=n) + 3 * rng.normal(size=(n, 1)) + 100
    (found,) = node_effects([np.where(mask, values, np.nan)], mask)
    pairs = [tuple(pair) for pair in np.argwhere(mask)]
    expected = [_refitted(values, mask, pair) for pair in pairs]
    np.testing.assert_allclose([found.residual[pair] for pair in pairs], expected, atol=1e-8)
    assert np.isnan(found.residual[~mask]).all()


def test_rows_of_a_few_sources_are_fitted_by_themselves() -> None:
    rng = np.random.default_rng(1)
    mask = np.zeros((12, 12), dtype=bool)
    mask[:3] = ~np.eye(12, dtype=bool)[:3]
    values = rng.normal(size=(12, 12))
    (found,) = node_effects([values], mask)
    for pair in map(tuple, np.argwhere(mask)[::5]):
        assert found.residual[pair] == pytest.approx(_refitted(values, mask, pair), abs=1e-8)


def test_closed_form_is_the_general_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    values, mask = rng.normal(size=(25, 25)) + rng.normal(size=25), ~np.eye(25, dtype=bool)
    (closed,) = node_effects([values], mask)
    monkeypatch.setattr(_node_effects, "_is_complete", lambda _: False)
    (general,) = node_effects([values], mask)
    np.testing.assert_allclose(closed.residual, general.residual, atol=1e-10)
    assert closed.r2_train == pytest.approx(general.r2_train, abs=1e-12)


def test_a_pair_that_nothing_else_tells_of_has_no_residual() -> None:
    """Source 0 has one pair, and two parts of the network are joined by a single pair."""
    mask = np.zeros((10, 10), dtype=bool)
    mask[1:4, 4:6] = mask[6:8, 8:10] = True
    mask[0, 4] = mask[1, 8] = True
    values = np.random.default_rng(3).normal(size=(10, 10))
    (found,) = node_effects([values], mask)
    assert np.isnan(found.residual[0, 4])
    assert np.isnan(found.residual[1, 8])
    inside = mask.copy()
    inside[0, 4] = inside[1, 8] = False
    for pair in map(tuple, np.argwhere(inside)):
        assert found.residual[pair] == pytest.approx(_refitted(values, mask, pair), abs=1e-8)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_additive_edges_leave_nothing(missing: float) -> None:
    rng = np.random.default_rng(4)
    mask = ~np.eye(30, dtype=bool) & (rng.random((30, 30)) >= missing)
    values = rng.normal(size=30) + rng.normal(size=(30, 1))
    (found,) = node_effects([values], mask)
    assert (found.residual[mask] == 0).all()
    assert found.r2_train == pytest.approx(1)


def test_no_pairs_leave_nothing_to_say() -> None:
    (found,) = node_effects([np.full((5, 5), np.nan)], np.zeros((5, 5), dtype=bool))
    assert np.isnan(found.residual).all()
