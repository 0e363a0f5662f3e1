from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.neighbors import KNeighborsTransformer

import scepsis as sps
from scepsis.tl._states import _leiden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

    Planted = Callable[..., tuple[ad.AnnData, pd.DataFrame]]
    Untouched = Callable[[ad.AnnData], Any]

QUIET: dict[str, Any] = {"show_progress_bar": False, "min_targets": 1}


def _embedded(adata: ad.AnnData) -> ad.AnnData:
    """States far apart in an embedding."""
    codes = adata.obs["cell_state"].cat.codes.to_numpy()
    rng = np.random.default_rng(0)
    adata.obsm["X_pca"] = rng.normal(size=(adata.n_obs, 8)) + 15 * np.eye(8)[codes]
    return adata


def test_scan_finds_the_states_and_agrees_with_cssi(planted: Planted) -> None:
    adata, network = planted()
    _embedded(adata)
    assert sps.tl.cssi_scan(adata, network, n_states=[6, 3, 600], use_rep="X_pca", n_null=10, **QUIET) is None
    table = adata.uns["cssi_scan"]["scan"].set_index("n_states")
    six = table.loc[6]
    assert (six["n_strata"], six["smallest"], six["n_cells"], six["status"]) == (6, 100, 600, "ok")
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_null(adata, network, nulls="shuffled", n_null=30, **QUIET)
    null = adata.uns["cssi_null"]["nulls"].iloc[0]
    assert six["auroc"] == pytest.approx(null["observed"], abs=1e-6)
    assert six["pooled"] == pytest.approx(null["pooled"], abs=1e-6)
    assert six["gain"] == six["auroc"] - six["pooled"] > 0
    assert six["null_mean"] == pytest.approx(null["null_mean"], abs=4 * null["null_sd"] / np.sqrt(10))
    assert (table.loc[600, "status"], table.loc[600, "reason"]) == ("not_run", "K_unreachable")
    assert np.isnan(table.loc[600, "auroc"])


def test_no_null_is_better_than_all_cells_together(planted: Planted) -> None:
    """For every number of states that can be reached, from an embedding that says nothing of them."""
    adata, network = planted(n_states=4, cells_per_state=150)
    adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(600, 2))
    sps.tl.cssi_scan(adata, network, n_states=range(5, 21, 3), use_rep="X_pca", n_null=8, min_cells=5, **QUIET)
    table = adata.uns["cssi_scan"]["scan"]
    reached = table[table["status"] == "ok"]
    assert len(reached) >= 4
    assert (reached["null_mean"] <= reached["pooled"]).all()
    assert (reached["auroc"] <= reached["pooled"] + 0.02).all()  # clusters that mean nothing gain nothing
    row = adata.uns["tests"].set_index("name").loc["scan/trend"]
    assert row["statistic"] == pytest.approx(spearmanr(reached["n_states"], reached["gain"]).statistic)
    assert (row["role"], row["n_units"]) == ("descriptive", len(reached))


def test_a_search_that_gives_an_array_is_understood(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many cells neighbours are looked for by pynndescent, which gives an array where scanpy reads a matrix."""
    pynndescent = pytest.importorskip("pynndescent")

    class Search(KNeighborsTransformer):
        def __init__(self, n_neighbors: int = 5, **settings: Any) -> None:
            super().__init__(n_neighbors=n_neighbors)

        def fit_transform(self, values: np.ndarray) -> sparse.csr_array:
            return sparse.csr_array(super().fit_transform(values))

    monkeypatch.setattr(pynndescent, "PyNNDescentTransformer", Search)
    monkeypatch.setattr(_leiden, "MANY", 500)
    adata, network = planted()
    _embedded(adata)
    sps.tl.cssi_scan(adata, network, n_states=[6], use_rep="X_pca", n_null=0, **QUIET)
    row = adata.uns["cssi_scan"]["scan"].iloc[0]
    assert (row["n_strata"], row["smallest"]) == (6, 100)


@pytest.mark.slow
def test_many_cells_can_be_clustered(planted: Planted) -> None:
    adata, network = planted(cells_per_state=1400)
    _embedded(adata)
    sps.tl.cssi_scan(adata, network, n_states=[6], use_rep="X_pca", n_null=0, **QUIET)
    row = adata.uns["cssi_scan"]["scan"].iloc[0]
    assert (row["n_strata"], row["smallest"]) == (6, 1400)


def test_genes_seen_in_few_cells_are_left_out(planted: Planted) -> None:
    adata, network = planted()
    _embedded(adata)
    sps.tl.cssi(adata, groupby="cell_state", min_detected=101)  # no gene is seen in more cells than there are
    assert np.isnan(sps.get.edge_matrix(adata, "cssi").to_numpy()).all()
    sps.tl.cssi_scan(adata, network, n_states=[6], use_rep="X_pca", n_null=0, min_detected=101, **QUIET)
    assert adata.uns["cssi_scan"]["params"]["min_detected"] == 101
    assert np.isnan(adata.uns["cssi_scan"]["scan"].loc[0, "auroc"])


@pytest.mark.filterwarnings("ignore:`adata` has 60 of")
def test_what_would_not_fit_is_refused(
    planted: Planted, screen: ad.AnnData, small_model: Any, untouched: Untouched
) -> None:
    adata, network = planted()
    _embedded(adata)
    with untouched(adata), pytest.raises(MemoryError, match=r"30 genes in 600 cells.*select_panel"):
        sps.tl.cssi_scan(adata, network, use_rep="X_pca", memory_limit=1000)
    screen.obsm["X_pca"] = np.random.default_rng(0).normal(size=(280, 3))
    edges = pd.DataFrame({"source": ["G0"], "target": ["G1"]})
    with untouched(screen), pytest.raises(MemoryError, match="x 20 groups"):
        sps.tl.cssi_scan(
            screen, edges, use_rep="X_pca", score="attention", model=small_model, memory_limit=1000, **QUIET
        )


def test_degenerate_and_wrong_input(planted: Planted, untouched: Untouched) -> None:
    adata, network = planted()
    with untouched(adata), pytest.raises(ValueError, match="use_rep"):
        sps.tl.cssi_scan(adata, network)
    _embedded(adata)
    with untouched(adata):
        for options, message in (
            ({"n_states": [1, 2]}, "n_states"),
            ({"n_states": []}, "n_states"),
            ({"aggregation": "best"}, "'best'"),
            ({"n_null": -1}, "n_null"),
        ):
            with pytest.raises(ValueError, match=message):
                sps.tl.cssi_scan(adata, network, use_rep="X_pca", **options)
    sps.tl.cssi_scan(adata, network, n_states=[6], use_rep="X_pca", n_null=0, min_cells=200, **QUIET)
    row = adata.uns["cssi_scan"]["scan"].iloc[0]
    assert (row["status"], row["reason"]) == ("too_few_units", "no cluster of 200 cells")
    assert adata.uns["tests"].set_index("name").loc["scan/trend", "status"] == "too_few_units"


def test_it_survives_writing(planted: Planted, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    adata, network = planted()
    _embedded(adata)
    sps.tl.cssi_scan(adata, network, n_states=[6], use_rep="X_pca", n_null=2, **QUIET)
    for back in roundtrips(adata):
        pd.testing.assert_frame_equal(back.uns["cssi_scan"]["scan"], adata.uns["cssi_scan"]["scan"], check_dtype=False)
