from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

import scepsis as sps


def _arrows(ax) -> list:
    return [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]


def test_strongest_edges_are_drawn_once() -> None:
    adata = sps.datasets.simulate_cssi(n_states=3, rng=1)
    sps.tl.cssi(adata, groupby="cell_state")
    ax = sps.pl.network(adata, group="state2", top=6)
    arrows = _arrows(ax)
    table = sps.get.edges(adata, "cssi", group="state2", top=12)
    names = {text.get_text() for text in ax.texts} - {""}
    assert len(arrows) == 6
    assert names == set(table["source"])
    assert ax.get_title() == "state2"
    genes = list(adata.var_names[:10])
    ax = sps.pl.network(adata, group="state2", genes=genes)
    assert {text.get_text() for text in ax.texts} - {""} == set(genes)


def test_directed_edges_have_arrows_and_negative_ones_dashes() -> None:
    adata = ad.AnnData(np.ones((2, 3), dtype=np.float32))
    adata.var_names = ["a", "b", "c"]
    weights = np.full((3, 3), np.nan, dtype=np.float32)
    weights[0, 1], weights[1, 2] = 2.0, -1.0
    adata.varp["mine"] = weights
    adata.uns["mine"] = {"params": {"cells_hash": "", "signed": True}, "edges_keys": ["mine"]}
    ax = sps.pl.network(adata, key="mine")
    patches = [arrow.arrow_patch for arrow in _arrows(ax)]
    assert [patch.get_linewidth() for patch in patches] == [3.0, pytest.approx(1.8)]
    assert patches[0].get_linestyle() == "-" != patches[1].get_linestyle()
    with pytest.raises(ValueError, match="no edge to draw"):
        sps.pl.network(adata, key="mine", genes=["a", "c"])
    with pytest.raises(KeyError, match="'other'"):
        sps.pl.network(adata, key="other")
