from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Untouched = Callable[[ad.AnnData], Any]


def _scanpy(adata: ad.AnnData) -> np.ndarray:
    copy = ad.AnnData(X=adata.X.astype(np.float64).copy())
    sc.pp.normalize_total(copy, target_sum=1e4)
    sc.pp.log1p(copy)
    return copy.X.toarray()


@pytest.mark.parametrize("storage", [sparse.csr_matrix, sparse.csc_matrix, lambda x: x.toarray()])
def test_values_are_scanpys(make_screen: Callable[..., ad.AnnData], storage: Any) -> None:
    adata = make_screen(storage=storage)
    expected = _scanpy(make_screen())
    sps.pp.lognormalize(adata)
    layer = adata.layers["lognorm"]
    assert isinstance(layer, sparse.csr_matrix)
    assert layer.dtype == np.float32
    np.testing.assert_allclose(layer.toarray(), expected, rtol=1e-6)
    assert adata.uns["lognormalize"]["params"]["counts"] == "adata.X"
    assert "totals" not in adata.uns["lognormalize"]["params"]


def test_totals_of_the_whole_transcriptome(screen: ad.AnnData) -> None:
    sps.pp.lognormalize(screen, totals="n_umis_total")
    expected = np.log1p(screen.X.toarray() / screen.obs["n_umis_total"].to_numpy()[:, None] * 1e4)
    np.testing.assert_allclose(screen.layers["lognorm"].toarray(), expected, rtol=1e-5)
    assert screen.uns["lognormalize"]["params"]["totals"] == "n_umis_total"


def test_counts_are_taken_from_their_layer(screen: ad.AnnData) -> None:
    expected = _scanpy(screen)
    screen.layers["counts"] = screen.X.copy()
    screen.X = screen.X * np.float32(0.3)
    sps.pp.lognormalize(screen)
    np.testing.assert_allclose(screen.layers["lognorm"].toarray(), expected, rtol=1e-6)


def test_empty_cells_and_genes_stay_empty(screen: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    counts = screen.X.toarray()
    counts[[3, 7]] = 0
    counts[:, 5] = 0
    screen.X = sparse.csr_matrix(counts)
    with caplog.at_level(logging.INFO):
        sps.pp.lognormalize(screen)
    layer = screen.layers["lognorm"].toarray()
    assert np.isfinite(layer).all()
    assert not layer[[3, 7]].any()
    assert not layer[:, 5].any()
    assert "2 cells have no counts" in caplog.text


def test_copy_leaves_the_original_alone(screen: ad.AnnData, untouched: Untouched) -> None:
    with untouched(screen):
        other = sps.pp.lognormalize(screen, copy=True)
    assert other is not None
    assert "lognorm" in other.layers
    assert sps.pp.lognormalize(screen) is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (np.log1p, r"holds fractions.*raw counts are needed.*layers\['counts'\]"),
        (lambda x: (x - x.mean(axis=0)) / x.std(axis=0).clip(0.1), r"negative values.*scaled"),
        (lambda x: -x, r"negative values"),
        (lambda x: np.where(x > 4, np.nan, x), r"NaN or infinite"),
    ],
    ids=["log", "scaled", "negative", "NaN"],
)
def test_what_is_no_count_is_refused(
    screen: ad.AnnData, untouched: Untouched, spoil: Callable[[Any], Any], message: str
) -> None:
    screen.X = spoil(screen.X.toarray()).astype(np.float32)
    with untouched(screen), pytest.raises(ValueError, match=message):
        sps.pp.lognormalize(screen)


def test_totals_that_cannot_be_are_refused(screen: ad.AnnData, untouched: Untouched) -> None:
    screen.obs["log_total"] = np.log(screen.obs["n_umis_total"])
    screen.obs["holes"] = screen.obs["n_umis_total"].where(np.arange(280) > 3)
    screen.obs["minus"] = -screen.obs["n_umis_total"]
    with untouched(screen):
        with pytest.raises(KeyError, match=r"'n_umi_total'.*Did you mean 'n_umis_total'"):
            sps.pp.lognormalize(screen, totals="n_umi_total")
        with pytest.raises(ValueError, match=r"below the sum over the genes.*in 280 of 280 cells"):
            sps.pp.lognormalize(screen, totals="log_total")
        with pytest.raises(ValueError, match="missing, infinite or negative in 4 cells"):
            sps.pp.lognormalize(screen, totals="holes")
        with pytest.raises(ValueError, match="in 280 cells: totals are counts"):
            sps.pp.lognormalize(screen, totals="minus")
        with pytest.raises(TypeError, match="must hold numbers, not category"):
            sps.pp.lognormalize(screen, totals="batch")


def test_a_few_totals_below_the_sum_are_warned_about(screen: ad.AnnData) -> None:
    screen.obs.iloc[:5, screen.obs.columns.get_loc("n_umis_total")] = 1.0
    with pytest.warns(UserWarning, match="in 5 of 280 cells"):
        sps.pp.lognormalize(screen, totals="n_umis_total")


def test_a_view_becomes_a_copy(screen: ad.AnnData, untouched: Untouched) -> None:
    view = screen[:50]
    with untouched(screen), pytest.warns(UserWarning, match="is a view"):
        sps.pp.lognormalize(view)
    np.testing.assert_allclose(view.layers["lognorm"].toarray(), _scanpy(screen[:50]), rtol=1e-6)


def test_backed_counts(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    sps.pp.lognormalize(backed)
    np.testing.assert_allclose(backed.layers["lognorm"].toarray(), _scanpy(screen), rtol=1e-6)
    backed.file.close()


def test_it_survives_writing(screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    sps.pp.lognormalize(screen, totals="n_umis_total")
    for back in roundtrips(screen):
        np.testing.assert_array_equal(back.layers["lognorm"].toarray(), screen.layers["lognorm"].toarray())
        assert back.uns["lognormalize"]["params"]["totals"] == "n_umis_total"


@pytest.mark.real_data
def test_a_real_screen_with_totals_of_its_own(data_dir: Path) -> None:
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")[:100].copy()
    sps.pp.lognormalize(adata, totals="n_umis_total")
    share = np.expm1(adata.layers["lognorm"].toarray().astype(np.float64)).sum(axis=1) / 1e4
    expected = adata.X.toarray().sum(axis=1) / adata.obs["n_umis_total"].to_numpy()
    np.testing.assert_allclose(share, expected, rtol=1e-5)
