from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scepsis._core._values import cell_totals, counts, lognorm, lognormalized

if TYPE_CHECKING:
    from collections.abc import Callable


def _dense(values: Any, adata: ad.AnnData) -> np.ndarray:
    return np.vstack([block.toarray() for _, block in values.blocks(np.arange(adata.n_obs), size=17)])


def _scanpy(adata: ad.AnnData) -> np.ndarray:
    copy = ad.AnnData(X=adata.X.astype(np.float64).copy())
    sc.pp.normalize_total(copy, target_sum=1e4)
    sc.pp.log1p(copy)
    return copy.X.toarray()


def test_counts_come_from_the_layer_then_from_x(screen: ad.AnnData) -> None:
    assert counts(screen).slot == "adata.X"
    screen.layers["counts"] = screen.X.copy()
    screen.X = screen.X * 0.5
    assert counts(screen).slot == "adata.layers['counts']"
    np.testing.assert_array_equal(_dense(counts(screen), screen), screen.layers["counts"].toarray())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (np.log1p, "holds fractions.*log-transformed.*layers\\['counts'\\]"),
        (lambda x: x - x.mean(axis=0), "negative.*scaled"),
        (lambda x: np.where(x > 5, np.nan, x), "NaN or infinite"),
        (lambda x: np.where(x > 5, np.inf, x), "NaN or infinite"),
    ],
)
def test_what_is_no_count_is_refused(
    screen: ad.AnnData, spoil: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    screen.X = sparse.csr_matrix(spoil(screen.X.toarray()).astype(np.float32))
    with pytest.raises(ValueError, match=message):
        _dense(counts(screen), screen)


def test_nothing_to_read_is_said(screen: ad.AnnData) -> None:
    empty = ad.AnnData(obs=screen.obs, var=screen.var)
    with pytest.raises(ValueError, match="raw counts are needed"):
        counts(empty)


def test_log_values_computed_on_reading_are_scanpys(screen: ad.AnnData) -> None:
    values = lognorm(screen)
    assert values.slot == "adata.X"
    np.testing.assert_allclose(_dense(values, screen), _scanpy(screen), rtol=1e-12)
    rows, columns = np.array([1, 5, 200]), np.array([0, 7, 59])
    found = values.dense(rows, columns)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _scanpy(screen)[np.ix_(rows, columns)], rtol=1e-6)
    assert values.dense(rows[:0], columns).shape == (0, 3)


def test_log_values_are_looked_for_in_order(screen: ad.AnnData) -> None:
    logged = sparse.csr_matrix(_scanpy(screen))
    screen.layers["mine"] = logged
    assert lognorm(screen, "mine").slot == "adata.layers['mine']"
    by_x = ad.AnnData(X=logged, uns={"log1p": {"base": None}})
    assert lognorm(by_x).slot == "adata.X"
    np.testing.assert_array_equal(_dense(lognorm(by_x), by_x), logged.toarray())
    by_x.layers["lognorm"] = logged
    assert lognorm(by_x).slot == "adata.layers['lognorm']"
    with pytest.raises(KeyError, match=r"'absent'.*'lognorm'"):
        lognorm(by_x, "absent")
    other_base = ad.AnnData(X=logged, uns={"log1p": {"base": 2}})
    with pytest.raises(ValueError, match=r"base 2.*natural"):
        lognorm(other_base)


def test_log_values_without_a_record_are_refused_with_the_ways_out(screen: ad.AnnData) -> None:
    bare = ad.AnnData(X=sparse.csr_matrix(_scanpy(screen)))
    with pytest.raises(ValueError, match=r"fractions.*neither `adata.layers\['lognorm'\]`.*Pass `layer=`"):
        lognorm(bare)


def test_counts_and_scaled_values_do_not_pass_for_log_values(screen: ad.AnnData) -> None:
    screen.layers["raw"] = screen.X.copy()
    screen.layers["scaled"] = screen.X.toarray() - 1.5
    for layer, message in (("raw", "whole numbers only"), ("scaled", "negative values")):
        with pytest.raises(ValueError, match=message):
            list(lognorm(screen, layer).log_blocks(np.arange(screen.n_obs)))
    screen.layers["holes"] = np.full(screen.shape, np.nan)
    with pytest.raises(ValueError, match="NaN"):
        list(lognorm(screen, "holes").blocks(np.arange(3)))
    assert len(list(lognorm(screen).log_blocks(np.arange(screen.n_obs)))) == 1


def test_empty_cells_stay_empty() -> None:
    block = sparse.csr_matrix(np.array([[0, 0], [1, 3]], dtype=np.float32))
    found = lognormalized(block, np.array([0.0, 4.0])).toarray()
    np.testing.assert_allclose(found, [[0, 0], [np.log1p(2500), np.log1p(7500)]])


def test_totals_of_cells(screen: ad.AnnData) -> None:
    np.testing.assert_array_equal(cell_totals(counts(screen), screen.n_obs), screen.X.toarray().sum(axis=1))
