from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps


def _scanned() -> ad.AnnData:
    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    table = pd.DataFrame(
        {
            "n_states": [6, 2, 4, 8],
            "auroc": [0.9, 0.7, 0.8, np.nan],
            "pooled": [0.75, 0.75, 0.75, np.nan],
            "null_mean": [0.6, 0.65, 0.62, np.nan],
            "null_sd": [0.02, 0.03, 0.02, np.nan],
            "status": ["ok", "single_stratum", "ok", "not_run"],
        }
    )
    adata.uns["cssi_scan"] = {"params": {}, "scan": table}
    return adata


def test_curves_are_the_table() -> None:
    ax = sps.pl.cssi_scan(_scanned())
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["aggregate of states"].get_xydata().tolist() == [[2, 0.7], [4, 0.8], [6, 0.9]]
    assert lines["labels shuffled"].get_ydata().tolist() == [0.65, 0.62, 0.6]
    assert lines["all cells together"].get_ydata().tolist() == [0.75] * 3
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert hollow[0].get_xydata().tolist() == [[2, 0.7]]
    assert ax.get_xticks().tolist() == [2, 4, 6]


def test_without_nulls_or_a_result() -> None:
    adata = _scanned()
    adata.uns["cssi_scan"]["scan"] = adata.uns["cssi_scan"]["scan"].assign(null_mean=np.nan, null_sd=np.nan)
    assert not sps.pl.cssi_scan(adata).collections
    with pytest.raises(KeyError, match=r"tl\.cssi_scan"):
        sps.pl.cssi_scan(adata, key="other")
