from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import scepsis as sps
from scepsis._core._edge_slots import recorded_mask, stale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Untouched = Callable[[ad.AnnData], Any]


def _logged(adata: ad.AnnData) -> np.ndarray:
    counts = adata.X.toarray().astype(np.float64)
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)


def _check(adata: ad.AnnData, expected: np.ndarray, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(adata.var["mean"], expected.mean(axis=0), rtol=rtol)
    np.testing.assert_allclose(adata.var["variance"], expected.var(axis=0, ddof=0), rtol=rtol)
    np.testing.assert_array_equal(adata.var["detection_rate"], (expected > 0).mean(axis=0))


def test_features_are_numpys_over_the_chosen_cells(screen: ad.AnnData) -> None:
    sps.pp.select_cells(screen, n_cells=90)
    sps.pp.gene_features(screen)
    cells = screen.obs["edge_cells"].to_numpy()
    _check(screen, _logged(screen)[cells])
    params = screen.uns["gene_features"]["params"]
    assert (params["cells"], params["n_cells"], params["genes"], params["n_genes"]) == ("edge_cells", 90, "", 60)
    assert params["lognormalized_on_reading"] is True
    np.testing.assert_array_equal(recorded_mask(screen, params, "obs"), cells)


def test_all_cells_without_a_choice(screen: ad.AnnData) -> None:
    sps.pp.gene_features(screen)
    _check(screen, _logged(screen))


@pytest.mark.parametrize("storage", [sparse.csc_matrix, lambda x: x.toarray()])
def test_any_storage(make_screen: Callable[..., ad.AnnData], storage: Any) -> None:
    adata = make_screen(storage=storage)
    sps.pp.gene_features(adata)
    _check(adata, _logged(make_screen()))


def test_stored_values_are_used(screen: ad.AnnData) -> None:
    screen.layers["lognorm"] = sparse.csr_matrix(2 * _logged(screen))
    screen.layers["mine"] = 3 * _logged(screen)
    sps.pp.gene_features(screen)
    _check(screen, 2 * _logged(screen))
    sps.pp.gene_features(screen, layer="mine")
    _check(screen, 3 * _logged(screen))
    assert screen.uns["gene_features"]["params"]["values"] == "adata.layers['mine']"


def test_a_mask_given_as_an_array_can_be_found_again(screen: ad.AnnData) -> None:
    mask = np.random.default_rng(1).random(280) < 0.5
    sps.pp.gene_features(screen, mask_obs=mask)
    _check(screen, _logged(screen)[mask])
    np.testing.assert_array_equal(screen.obs["gene_features_cells"], mask)
    params = screen.uns["gene_features"]["params"]
    assert stale(screen, params) == []
    assert stale(screen[mask].copy(), params) == []
    assert stale(screen[:100].copy(), params) == ["cells"]


def test_empty_cells_and_genes(screen: ad.AnnData) -> None:
    counts = screen.X.toarray()
    counts[:5] = 0
    counts[:, 7] = 0
    screen.X = sparse.csr_matrix(counts)
    sps.pp.gene_features(screen)
    with np.errstate(invalid="ignore"):
        _check(screen, np.nan_to_num(_logged(screen)))
    assert screen.var[["mean", "variance", "detection_rate"]].iloc[7].eq(0).all()


def test_one_cell_has_no_variance(screen: ad.AnnData) -> None:
    sps.pp.gene_features(screen, mask_obs=np.arange(280) == 11)
    assert (screen.var["variance"] == 0).all()


def test_wrong_input_is_refused(screen: ad.AnnData, untouched: Untouched) -> None:
    screen.layers["raw"] = screen.X.copy()
    screen.layers["scaled"] = screen.X.toarray() - 1.5
    screen.layers["holes"] = np.where(screen.X.toarray() > 4, np.nan, screen.X.toarray())
    with untouched(screen):
        for layer, message in (("raw", "whole numbers only"), ("scaled", "negative values"), ("holes", "NaN")):
            with pytest.raises(ValueError, match=message):
                sps.pp.gene_features(screen, layer=layer)
        with pytest.raises(KeyError, match="'absent'"):
            sps.pp.gene_features(screen, layer="absent")
        with pytest.raises(TypeError, match="must be boolean"):
            sps.pp.gene_features(screen, mask_obs="n_umis_total")
        with pytest.raises(ValueError, match="chooses nothing"):
            sps.pp.gene_features(screen, mask_obs=np.zeros(280, dtype=bool))


def test_views_files_and_copies(screen: ad.AnnData, untouched: Untouched, tmp_path: Path) -> None:
    view = screen[100:]
    with untouched(screen), pytest.warns(UserWarning, match="is a view"):
        sps.pp.gene_features(view)
    _check(view, _logged(screen)[100:])
    with untouched(screen):
        copy = sps.pp.gene_features(screen, copy=True)
    _check(copy, _logged(screen))
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    sps.pp.gene_features(backed, mask_obs=np.arange(280) % 3 == 0)
    _check(backed, _logged(screen)[::3])
    backed.file.close()


def test_it_survives_writing(screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    sps.pp.gene_features(screen, mask_obs=np.arange(280) < 50)
    for back in roundtrips(screen):
        _check(back, _logged(screen)[:50])
        assert stale(back, back.uns["gene_features"]["params"]) == []


@pytest.mark.real_data
def test_real_values(data_dir: Path) -> None:
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")[:100].copy()
    sps.pp.lognormalize(adata, totals="n_umis_total")
    sps.pp.gene_features(adata)
    _check(adata, adata.layers["lognorm"].toarray().astype(np.float64))
