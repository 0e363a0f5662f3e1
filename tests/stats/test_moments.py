from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from scepsis.stats._moments import group_moments

if TYPE_CHECKING:
    from scepsis.stats._moments import Moments

N_CELLS, N_GENES = 500, 23


@pytest.fixture(scope="module")
def values() -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    return sparse.csr_matrix(np.log1p(rng.poisson(rng.gamma(1, 0.7, N_GENES), (N_CELLS, N_GENES))).astype(np.float32))


@pytest.fixture(scope="module")
def groups() -> list[np.ndarray]:
    """Seven groups that overlap, one of them of a single cell, one empty."""
    rng = np.random.default_rng(1)
    drawn = [np.sort(rng.choice(N_CELLS, size, replace=False)) for size in (200, 120, 90, 33, 7)]
    return [*drawn, np.array([4]), np.array([], dtype=int)]


def stream(matrix: sparse.csr_matrix, cuts: list[int]):
    edges = [0, *cuts, matrix.shape[0]]
    for start, stop in itertools.pairwise(edges):
        yield np.arange(start, stop), matrix[start:stop]


def compute(matrix: sparse.csr_matrix, groups: list[np.ndarray], cuts: list[int] | None = None) -> Moments:
    return group_moments(stream(matrix, cuts or []), groups, n_cells=matrix.shape[0], n_genes=matrix.shape[1])


def test_equal_numpy_on_the_dense_groups(values, groups) -> None:
    moments = compute(values, groups)
    dense = values.toarray().astype(np.float64)
    for index, cells in enumerate(groups[:-2]):
        mine = moments[index]
        assert mine.n == len(cells)
        np.testing.assert_array_equal(mine.n_expressing, (dense[cells] > 0).sum(axis=0))
        np.testing.assert_allclose(mine.mean, dense[cells].mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(mine.variance, dense[cells].var(axis=0, ddof=1), rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(mine.detection_rate, (dense[cells] > 0).mean(axis=0))


def test_one_cell_has_no_variance_and_none_has_no_mean(values, groups) -> None:
    moments = compute(values, groups)
    assert np.isnan(moments[5].variance).all()
    np.testing.assert_allclose(moments[5].mean, values.toarray()[4])
    assert moments[6].n == 0
    assert np.isnan(moments[6].mean).all()
    assert np.isnan(moments[6].detection_rate).all()


@pytest.mark.parametrize("seed", range(5))
def test_any_split_into_blocks_gives_the_same_bits(values, groups, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cuts = sorted(rng.choice(np.arange(1, N_CELLS), 17, replace=False).tolist())
    whole, pieces = compute(values, groups), compute(values, groups, cuts)
    for name in ("n", "n_expressing", "total", "squares"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))


def test_parts_add_up_and_can_be_taken_away(values, groups) -> None:
    whole = compute(values, groups)
    left = compute(values, [cells[cells < 200] for cells in groups])
    right = compute(values, [cells[cells >= 200] for cells in groups])
    both, back = left + right, whole - right
    for name in ("n", "n_expressing"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(both, name))
        np.testing.assert_array_equal(getattr(left, name), getattr(back, name))
    for name in ("total", "squares"):
        np.testing.assert_allclose(getattr(both, name), getattr(whole, name), rtol=1e-13)
        np.testing.assert_allclose(getattr(back, name), getattr(left, name), rtol=1e-11, atol=1e-12)


def test_nothing_is_left_of_a_gene_whose_cells_are_all_taken_away() -> None:
    column = sparse.csr_matrix(np.array([[0.1], [0.2], [0.7], [0.0], [0.0], [0.0]]))
    moments = compute(column, [np.arange(6), np.array([0, 2, 1])])
    left = moments[0] - moments[1]
    assert left.n == 3
    assert left.total[0] == 0
    assert left.variance[0] == 0


@pytest.mark.parametrize("value", [0.1, 1 / 3, 7.3, 1e-5])
@pytest.mark.parametrize("n_cells", [2, 50, 5000])
def test_a_constant_has_variance_zero_whatever_rounding_does(value: float, n_cells: int) -> None:
    constant = sparse.csr_matrix(np.full((n_cells, 1), value))
    assert compute(constant, [np.arange(n_cells)])[0].variance[0] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8])
def test_takes_any_number_type_and_explicit_zeros(dtype) -> None:
    matrix = sparse.csr_matrix(np.array([[1, 2], [3, 5]], dtype=dtype))
    matrix.data[1] = 0
    moments = compute(matrix, [np.arange(2)])[0]
    np.testing.assert_array_equal(moments.total, [4, 5])
    np.testing.assert_array_equal(moments.squares, [10, 25])
    np.testing.assert_array_equal(moments.n_expressing, [2, 1])


def test_cells_outside_every_group_do_not_count(values) -> None:
    moments = compute(values, [np.array([3, 8])])
    np.testing.assert_allclose(moments[0].total, values.toarray().astype(float)[[3, 8]].sum(axis=0))
