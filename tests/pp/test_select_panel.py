from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Untouched = Callable[[ad.AnnData], Any]


def _ranked(logged: ad.AnnData, n_top_genes: int) -> set[str]:
    """Genes of highest dispersion by scanpy, in the order of ``var`` where bins of one gene tie."""
    sc.pp.highly_variable_genes(logged, flavor="seurat", n_top_genes=n_top_genes)
    order = logged.var["dispersions_norm"].sort_values(ascending=False, kind="stable")
    return set(order.index[:n_top_genes])


def _logged(adata: ad.AnnData, cells: np.ndarray | None = None) -> ad.AnnData:
    matrix = adata.X if cells is None else adata.X[cells]
    copy = ad.AnnData(X=matrix.astype(np.float64), var=adata.var[[]].copy())
    sc.pp.normalize_total(copy, target_sum=1e4)
    sc.pp.log1p(copy)
    return copy


def _scanpy(adata: ad.AnnData, n_top_genes: int, cells: np.ndarray | None = None) -> set[str]:
    return _ranked(_logged(adata, cells), n_top_genes)


def _panel(adata: ad.AnnData) -> set[str]:
    return set(adata.var_names[adata.var["edge_panel"]])


@pytest.mark.parametrize("n_top_genes", [5, 17, 40])
def test_genes_are_scanpys(make_screen: Callable[..., ad.AnnData], n_top_genes: int) -> None:
    adata = make_screen(n_genes=200)
    sps.pp.select_cells(adata, n_cells=100)
    sps.pp.select_panel(adata, n_top_genes=n_top_genes)
    assert adata.var["edge_panel"].dtype == bool
    assert _panel(adata) == _scanpy(adata, n_top_genes, adata.obs["edge_cells"].to_numpy())
    logged = _logged(adata, adata.obs["edge_cells"].to_numpy())
    sc.pp.highly_variable_genes(logged, flavor="seurat", n_top_genes=n_top_genes)
    assert _panel(adata) == set(logged.var_names[logged.var["highly_variable"]])
    params = adata.uns["select_panel"]["params"]
    assert params["n_genes"] == n_top_genes
    assert params["cells"] == "edge_cells"
    assert params["n_cells"] == 100


def test_without_chosen_cells_all_are_ranked_on(screen: ad.AnnData) -> None:
    sps.pp.select_panel(screen, n_top_genes=10)
    assert _panel(screen) == _scanpy(screen, 10)


def test_a_mask_given_as_an_array_is_kept(screen: ad.AnnData) -> None:
    mask = np.arange(280) < 140
    sps.pp.select_panel(screen, n_top_genes=10, mask_obs=mask)
    assert _panel(screen) == _scanpy(screen, 10, mask)
    np.testing.assert_array_equal(screen.obs["select_panel_cells"], mask)
    assert screen.uns["select_panel"]["params"]["cells"] == "select_panel_cells"


def test_stored_log_values_are_used(screen: ad.AnnData) -> None:
    sps.pp.lognormalize(screen, totals="n_umis_total")
    sps.pp.select_panel(screen, n_top_genes=10)
    by_layer = _panel(screen)
    copy = ad.AnnData(X=screen.layers["lognorm"].astype(np.float64), var=screen.var[[]].copy())
    assert by_layer == _ranked(copy, 10)


def test_a_model_limits_the_panel_to_its_genes(screen: ad.AnnData, make_model: Callable[..., Any]) -> None:
    known = {f"ENSG{index:011d}": index for index in range(0, 60, 2)}
    sps.pp.select_panel(screen, make_model(known), n_top_genes=12)
    everything = screen.copy()
    sps.pp.select_panel(everything, n_top_genes=60)
    assert len(_panel(screen)) == 12
    assert {int(gene[1:]) % 2 for gene in _panel(screen)} == {0}
    # the first twelve known genes of the ranking over all genes
    for n in range(12, 61):
        ranked = {gene for gene in _scanpy(screen, n) if int(gene[1:]) % 2 == 0}
        if len(ranked) == 12:
            break
    assert _panel(screen) == ranked
    assert screen.uns["select_panel"]["params"]["model"] == "stand-in"


def test_one_gene_per_token(screen: ad.AnnData, make_model: Callable[..., Any]) -> None:
    known = {f"ENSG{index:011d}": index for index in range(30)}
    mapping = {f"ENSG{index:011d}": f"ENSG{index - 30:011d}" for index in range(30, 60)}
    sps.pp.select_panel(screen, make_model(known, mapping=mapping), n_top_genes=60)
    assert _panel(screen) == {f"G{index}" for index in range(30)}


def test_forced_genes_come_on_top(screen: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    sps.pp.select_cells(screen)
    sps.pp.select_panel(screen, n_top_genes=10)
    ranked = _panel(screen)
    forced = [gene for gene in screen.var_names if gene not in ranked][:4]
    with caplog.at_level(logging.WARNING):
        sps.pp.select_panel(screen, n_top_genes=10, force=[*forced, "NOPE"])
    assert _panel(screen) == ranked | set(forced)
    assert screen.uns["select_panel"]["params"]["n_forced"] == 4
    assert "'NOPE'" in caplog.text


def test_perturbed_genes_are_forced_by_word(screen: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    sps.pp.select_cells(screen)
    with caplog.at_level(logging.WARNING):
        sps.pp.select_panel(screen, n_top_genes=1)
    outside = {"G0", "G1", "G2"} - _panel(screen)
    params = screen.uns["select_panel"]["params"]
    assert params["n_perturbed"] == 3
    assert params["n_perturbed_outside"] == len(outside) > 0
    assert f"{len(outside)} perturbed genes are outside the panel" in caplog.text
    sps.pp.select_panel(screen, n_top_genes=1, force="perturbed")
    assert {"G0", "G1", "G2"} <= _panel(screen)
    assert screen.uns["select_panel"]["params"]["n_perturbed_outside"] == 0
    assert screen.uns["select_panel"]["params"]["force"] == "perturbed"


def test_of_cells_with_several_perturbations_every_perturbed_gene_is_forced(
    make_screen: Callable[..., ad.AnnData],
) -> None:
    """Every perturbed cell has G5 too, so that no label names a gene alone."""
    adata = make_screen(n_genes=60, perturbed=("G1", "G2"))
    label = adata.obs.pop("perturbation").astype(str)
    guides = pd.DataFrame({f"{gene}_g1": label == gene for gene in ("G1", "G2")}, index=adata.obs_names)
    guides["G5_g1"], guides["non-targeting_1"] = label != "non-targeting", label == "non-targeting"
    sps.pp.assign_perturbations(adata, guides.astype(int) * 40, max_targets=None)
    sps.pp.select_cells(adata)
    sps.pp.select_panel(adata, n_top_genes=3, force="perturbed")
    assert {"G1", "G2", "G5"} <= _panel(adata)
    assert len(_panel(adata)) <= 6
    assert adata.uns["select_panel"]["params"]["n_perturbed"] == 3


def test_perturbed_genes_by_symbol(screen: ad.AnnData) -> None:
    screen.var["symbol"] = screen.var_names
    screen.var_names = screen.var["ensembl_id"].to_numpy()
    sps.pp.select_cells(screen)
    sps.pp.select_panel(screen, n_top_genes=5, force="perturbed", gene_symbols="symbol")
    assert screen.var["edge_panel"].iloc[:3].all()
    with pytest.warns(UserWarning, match="gene_symbols="):
        sps.pp.select_panel(screen, n_top_genes=5)


def test_forced_genes_without_a_token_stay_out(
    screen: ad.AnnData, make_model: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    sps.pp.select_cells(screen)
    model = make_model({f"ENSG{index:011d}": index for index in range(1, 60)})
    with caplog.at_level(logging.WARNING):
        sps.pp.select_panel(screen, model, n_top_genes=5, force="perturbed")
    assert "G0" not in _panel(screen)
    assert {"G1", "G2"} <= _panel(screen)
    assert "1 forced genes have no token of their own and stay out: 'G0'" in caplog.text
    assert screen.uns["select_panel"]["params"]["n_perturbed_outside"] == 1


def test_genes_never_seen_are_not_ranked(screen: ad.AnnData) -> None:
    counts = screen.X.toarray()
    counts[:, 40:50] = 0
    screen.X = sparse.csr_matrix(counts)
    sps.pp.select_panel(screen, n_top_genes=60)
    assert _panel(screen) == {f"G{index}" for index in range(60) if not 40 <= index < 50}
    sps.pp.select_panel(screen, n_top_genes=5, force=["G45"])
    assert "G45" in _panel(screen)


def test_control_cells_alone_have_no_perturbed_genes(screen: ad.AnnData) -> None:
    sps.pp.select_cells(screen)
    controls = screen[screen.obs["edge_cells"]].copy()
    sps.pp.select_panel(controls, n_top_genes=5)
    assert controls.uns["select_panel"]["params"]["n_perturbed"] == 0


def test_wrong_input_is_refused(screen: ad.AnnData, untouched: Untouched, make_model: Callable[..., Any]) -> None:
    screen.layers["scaled"] = screen.X.toarray() - 1.5
    screen.layers["nothing"] = sparse.csr_matrix((280, 60), dtype=np.float32)
    with untouched(screen):
        with pytest.raises(ValueError, match="n_top_genes"):
            sps.pp.select_panel(screen, n_top_genes=0)
        with pytest.raises(KeyError, match=r"force='perturbed'.*select_cells\(adata, groupby"):
            sps.pp.select_panel(screen, force="perturbed")
        with pytest.raises(ValueError, match="not 'all'"):
            sps.pp.select_panel(screen, force="all")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"None of the genes in `force` \('X1'\) is in `adata.var_names`"):
            sps.pp.select_panel(screen, force=["X1"])
        with pytest.raises(ValueError, match="look like gene symbols"):
            sps.pp.select_panel(screen, make_model({f"ENSMUSG{index:011d}": index for index in range(60)}))
        with pytest.raises(ValueError, match="negative values"):
            sps.pp.select_panel(screen, layer="scaled")
        with pytest.raises(ValueError, match="fewer than two expressed genes"):
            sps.pp.select_panel(screen, layer="nothing")
        with pytest.raises(KeyError, match="'absent'"):
            sps.pp.select_panel(screen, layer="absent")
        with pytest.raises(KeyError, match="'absent'"):
            sps.pp.select_panel(screen, mask_obs="absent")
    screen.X = np.log1p(screen.X.toarray())
    with untouched(screen), pytest.raises(ValueError, match=r"fractions.*uns\['log1p'\]"):
        sps.pp.select_panel(screen)


def test_views_and_files(screen: ad.AnnData, untouched: Untouched, tmp_path: Path) -> None:
    expected = _scanpy(screen, 9)
    view = screen[:, :]
    with untouched(screen), pytest.warns(UserWarning, match="is a view"):
        sps.pp.select_panel(view, n_top_genes=9)
    assert _panel(view) == expected
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    sps.pp.select_panel(backed, n_top_genes=9)
    assert _panel(backed) == expected
    backed.file.close()


def test_it_survives_writing(screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    sps.pp.select_cells(screen)
    sps.pp.select_panel(screen, n_top_genes=10, force=["G3"])
    for back in roundtrips(screen):
        pd.testing.assert_series_equal(back.var["edge_panel"], screen.var["edge_panel"])
        assert back.uns["select_panel"]["params"]["genes_hash"] == screen.uns["select_panel"]["params"]["genes_hash"]
