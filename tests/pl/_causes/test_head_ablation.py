from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps


def _ablated() -> ad.AnnData:
    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    table = pd.DataFrame(
        {
            "condition": ["top_5", "uniform_top_5", "mlp_8", "top_50", "top_5"],
            "kind": ["heads", "uniform", "mlp", "heads", "heads"],
            "readout": ["attention_L5"] * 4 + ["attention_L3"],
            "difference": [-0.03, -0.001, 0.0, np.nan, -0.5],
            "ci_low": [-0.05, -0.01, 0.0, np.nan, -0.6],
            "ci_high": [-0.01, 0.01, 0.0, np.nan, -0.4],
            "p_value": [0.001, 0.6, np.nan, np.nan, 0.01],
            "margin": 0.005,
            "hidden_max": [0.08, 0.004, 0.2, np.nan, 0.1],
            "n_null": [3, 0, 0, 0, 0],
            "is_evidence": pd.array([True, False, False, False, True], dtype="boolean"),
            "status": ["ok", "ok", "structurally_null", "not_applicable", "ok"],
        }
    )
    null = pd.DataFrame(
        {"condition": "top_5", "readout": "attention_L5", "draw": range(3), "difference": [-0.004, 0.001, 0.002]}
    )
    adata.uns["head_ablation"] = {"params": {}, "results": table, "null": null}
    return adata


def test_rows_markers_and_what_is_grey() -> None:
    ax = sps.pl.head_ablation(_ablated())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["top_5", "uniform_top_5", "mlp_8"]
    markers = {line.get_marker(): line for line in ax.lines if line.get_marker() not in {"None", ""}}
    assert markers["o"].get_xydata().tolist() == [[-0.03, 0.0]]
    assert markers["o"].get_markerfacecolor() != "white", "evidence is filled"
    assert markers["s"].get_markerfacecolor() == "white"
    assert markers["x"].get_xydata().tolist() == [[0.0, 2.0]]
    texts = [text.get_text() for text in ax.texts]
    assert "cannot reach this readout" in texts
    assert "1 condition does not exist in this model" in texts
    assert {"0.001", "0.60", "0.080", "0.004"} <= set(texts)
    (dots,) = (item for item in ax.collections if len(item.get_offsets()) == 3)
    np.testing.assert_allclose(dots.get_offsets()[:, 0], [-0.004, 0.001, 0.002])


@pytest.mark.parametrize("kind", ["heads", "uniform", "mean", "layer", "mlp", "given"])
def test_every_kind_that_is_drawn_is_in_the_legend(kind: str) -> None:
    adata = _ablated()
    adata.uns["head_ablation"]["results"]["kind"] = kind
    ax = sps.pl.head_ablation(adata)
    drawn = {line.get_marker() for line in ax.lines if line.get_marker() not in {"None", "", "x"}}
    shown = {
        handle.get_marker()
        for handle, text in zip(ax.get_legend().legend_handles, ax.get_legend().get_texts(), strict=True)
        if text.get_text() not in {"no evidence", "random sets of heads"}
    }
    assert drawn == shown


def test_other_readout_and_none() -> None:
    adata = _ablated()
    ax = sps.pl.head_ablation(adata, readout="attention_L3")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["top_5"]
    with pytest.raises(KeyError, match="has no readout 'last'; there are: 'attention_L5', 'attention_L3'"):
        sps.pl.head_ablation(adata, readout="last")
    with pytest.raises(KeyError, match=r"tl\.ablate_heads"):
        sps.pl.head_ablation(adata, key="other")
