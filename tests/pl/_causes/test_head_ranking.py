from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps


def _ranked() -> ad.AnnData:
    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    auroc = np.array([0.4, 0.7, np.nan, 0.6, 0.55, 0.5])
    table = pd.DataFrame(
        {
            "layer": [3, 3, 3, 5, 5, 5],
            "head": [0, 1, 2, 0, 1, 2],
            "reference_auroc": auroc,
            "entropy": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "rank_reference": [5, 1, 0, 2, 3, 4],
            "rank_entropy": [1, 2, 3, 4, 5, 6],
            "rank_reference_half_0": [5, 1, 0, 4, 2, 3],
            "rank_reference_half_1": [5, 2, 0, 1, 3, 4],
        }
    )
    adata.uns["head_ranking"] = {"params": {}, "heads": table}
    return adata


def test_map_and_marks_are_the_table() -> None:
    ax = sps.pl.head_ranking(_ranked(), n_marked=2)
    grid = ax.images[0].get_array()
    np.testing.assert_allclose(np.ma.filled(grid, np.nan), [[0.4, 0.7, np.nan], [0.6, 0.55, 0.5]])
    norm = ax.images[0].norm
    assert (norm.vmin + norm.vmax) / 2 == pytest.approx(0.5)
    marks = {(int(t.get_position()[0]), int(t.get_position()[1])): t.get_text() for t in ax.texts}
    assert marks == {(1, 0): "1·", (0, 1): "2"}, "the second is not among the first two of half 0"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["L3", "L5"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["H0", "H1", "H2"]


def test_other_values_and_none() -> None:
    adata = _ranked()
    ax = sps.pl.head_ranking(adata, value="entropy", n_marked=9)
    assert sorted(t.get_text() for t in ax.texts) == ["1", "2", "3"], "no more than half, and no halves of entropy"
    with pytest.raises(KeyError, match="has no 'concentration'"):
        sps.pl.head_ranking(adata, value="concentration")
    with pytest.raises(ValueError, match="`value` takes one of"):
        sps.pl.head_ranking(adata, value="trrust")
    with pytest.raises(KeyError, match=r"tl\.rank_heads"):
        sps.pl.head_ranking(adata, key="other")
