from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._core._gene_sets import read_gene_sets


@pytest.fixture
def adata() -> ad.AnnData:
    names = [f"G{index}" for index in range(8)]
    return ad.AnnData(np.zeros((1, 8)), var=pd.DataFrame({"symbol": [f"s{index}" for index in range(8)]}, index=names))


SETS = {"a": ["G0", "G1", "G1", "G2"], "b": ["G2", "G1"], "c": ["G5", "elsewhere"], "d": ["G3", "G6"]}


def test_pairs_are_those_that_share_a_set_each_once(adata: ad.AnnData) -> None:
    panel = np.array([0, 1, 2, 3, 5, 6])
    found = read_gene_sets(adata, SETS, panel)
    pairs = {(panel[i], panel[j]) for i, j in zip(*np.nonzero(found.listed), strict=True)}
    assert pairs == {(0, 1), (0, 2), (1, 2), (3, 6)}
    assert found.candidate.sum() == 15
    assert found.counts == {"n_rows": 10, "n_sets": 3, "n_largest": 3, "n_in_panel": 4, "n_listed": 4}


def test_a_frame_and_a_column_of_symbols_say_the_same(adata: ad.AnnData) -> None:
    rows = [(name, gene.replace("G", "s")) for name, genes in SETS.items() for gene in genes]
    frame = pd.DataFrame(rows, columns=["source", "target"])
    found = read_gene_sets(adata, frame, np.arange(8), gene_symbols="symbol")
    assert found.hash == read_gene_sets(adata, SETS, np.arange(8)).hash


def test_what_cannot_be_read_is_told(adata: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="gene_symbols='symbol'"):
        read_gene_sets(adata, {"a": ["s0", "s1"]}, np.arange(8))
    assert not read_gene_sets(adata, {"a": ["G0"], "b": ["G1"]}, np.arange(8)).listed.any()
    with pytest.raises(KeyError, match="'source'"):
        read_gene_sets(adata, pd.DataFrame({"set": ["a"], "target": ["G0"]}), np.arange(8))
    with pytest.raises(TypeError, match="of strings"):
        read_gene_sets(adata, {"a": "G0"}, np.arange(8))
