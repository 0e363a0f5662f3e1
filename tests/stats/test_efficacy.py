from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scepsis.stats._efficacy import OwnExpression


@pytest.mark.parametrize("block", [7, 400])
@pytest.mark.parametrize("complement", [False, True])
def test_sums_are_those_of_a_loop(block: int, complement: bool) -> None:
    rng = np.random.default_rng(0)
    n_cells, gene = 400, np.array([0, 0, 1, 2])
    values = np.log1p(rng.poisson([2.0, 0.3, 0.0], (n_cells, 3)).astype(float))
    has = rng.random((n_cells, 4)) < 0.15
    if complement:
        has[:, 3] = has[:, 2]
    control = np.ones(n_cells, dtype=bool) if complement else ~has.any(axis=1)
    own = OwnExpression(gene, control)
    for start in range(0, n_cells, block):
        rows = np.arange(start, min(start + block, n_cells))
        cell, guide = np.nonzero(has[rows])
        own.add(rows, values[rows], cell, guide)
    found = own.result(has.sum(axis=0), 5, np.arange(4) if complement else None)
    for one in range(4):
        inside = values[has[:, one], gene[one]]
        outside = values[~has[:, one] if complement else control, gene[one]]
        assert (found.n_cells[one], found.n_control[one]) == (len(inside), len(outside))
        expected = len(inside) * (outside > 0).mean()
        assert found.testable[one] == (expected >= 5)
        if not outside.any():
            assert np.isnan(found.remaining[one])
            continue
        assert found.remaining[one] == pytest.approx(np.expm1(inside).mean() / np.expm1(outside).mean())
        assert found.p_value[one] == pytest.approx(stats.ttest_ind(inside, outside).pvalue)


def test_a_guide_in_no_cell_has_no_numbers() -> None:
    own = OwnExpression(np.array([0]), np.ones(10, dtype=bool))
    own.add(np.arange(10), np.ones((10, 1)), np.array([], dtype=int), np.array([], dtype=int))
    found = own.result(np.array([0]), 5)
    assert np.isnan(found.remaining[0])
    assert np.isnan(found.p_value[0])
    assert not found.testable[0]
