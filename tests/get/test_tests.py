from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def test_rows_are_those_asked_for_and_a_copy(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_units=8)
    score(adata, n_boot=50)
    stored = adata.uns["tests"]
    pd.testing.assert_frame_equal(sps.get.tests(adata), stored)
    found = sps.get.tests(adata, analysis="A04", edges=["spearman"], status=["ok", "not_run"], role="confirmatory")
    assert found["name"].tolist() == [
        f"vs_{name}" for name in ("variance", "mean", "detection_rate", "de_frequency", "position", "coverage")
    ]
    assert set(found["edges"]) == {"spearman"}
    assert len(sps.get.tests(adata, reference="", effects="perturbation", key="perturbation_auroc")) == len(stored)
    found["status"] = "mine"
    assert "mine" not in set(adata.uns["tests"]["status"])


def test_bad_input(make_audit: Callable[..., ad.AnnData], score: Callable[..., Any]) -> None:
    adata = make_audit(n_units=8)
    with pytest.raises(KeyError, match="nothing has been tested"):
        sps.get.tests(adata)
    score(adata, n_boot=50)
    with pytest.raises(ValueError, match="`analysis` has no value 'A99'; there are: 'A01', 'A02'"):
        sps.get.tests(adata, analysis=["A01", "A99"])
    with pytest.raises(ValueError, match="`edges` has no value 'mine'; there are: 'attention', 'spearman'"):
        sps.get.tests(adata, edges="mine")
    with pytest.raises(ValueError, match="`status` has no value 'fine'"):
        sps.get.tests(adata, status="fine")
    assert sps.get.tests(adata, analysis="A09").empty
