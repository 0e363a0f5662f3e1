from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pytest

import scepsis as sps
from scepsis._core._edge_slots import read_edges, recorded_mask
from scepsis._core._scratch import place_edges, scratch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_values_are_shared_and_nothing_else_is(screen: ad.AnnData, untouched: Callable) -> None:
    screen.layers["counts"] = screen.X
    screen.uns["mine"], screen.varm["mine"] = {"a": 1}, np.ones((60, 2))
    with untouched(screen):
        other = scratch(screen, uns=["mine", "absent"], varm=["mine"])
        assert other.X is screen.X
        assert other.layers["counts"] is screen.layers["counts"]
        other.obs["new"], other.var["new"], other.uns["new"] = 1, 2, 3
    assert other.uns["mine"] == {"a": 1}
    assert list(scratch(screen).uns) == []
    assert list(scratch(screen).varm) == []


def test_placed_edges_keep_their_record_among_the_genes_that_are_left(screen: ad.AnnData) -> None:
    sps.pp.select_cells(screen, n_cells=50)
    sps.tl.correlation_edges(screen)
    edges = read_edges(screen, "spearman")
    genes = np.arange(60) % 2 == 0
    other = scratch(screen)
    sps.pp.select_cells(other, n_cells=20)  # another choice of cells beside it
    assert place_edges(other, "mine", edges, genes, recorded_mask(screen, edges.params, "obs")) == 30
    found = read_edges(other, "mine")
    np.testing.assert_array_equal(found.genes, np.flatnonzero(genes))
    np.testing.assert_array_equal(found.values, edges.values[np.ix_(genes, genes)])
    assert found.params["cells_hash"] == edges.params["cells_hash"]
    cells = recorded_mask(other, found.params, "obs")
    np.testing.assert_array_equal(cells, screen.obs["edge_cells"])
    np.testing.assert_array_equal(recorded_mask(other, found.params, "var"), genes)


def test_backed_data_is_refused(screen: ad.AnnData, tmp_path: Path) -> None:
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    with pytest.raises(ValueError, match="to_memory"):
        scratch(backed)
    backed.file.close()
