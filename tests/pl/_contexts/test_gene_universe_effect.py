"""The plot of gene universes shows the stored means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pytest

import scepsis as sps
from scepsis._core._numbers import signed

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


@pytest.fixture
def adata(make_audit: Callable[..., ad.AnnData]) -> ad.AnnData:
    result = make_audit(n_units=30, companions=(), signal=1.0)
    sps.tl.gene_universe_effect(result, n_top_genes=120, n_boot=50)
    return result


def test_lines_are_the_stored_means(adata: ad.AnnData) -> None:
    found = adata.uns["gene_universe_effect"]["summary"]
    ax = sps.pl.gene_universe_effect(adata)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    drawn = {tuple(np.round(line.get_ydata(), 9)) for line in lines}
    expected = {tuple(np.round(rows["auroc"], 9)) for _, rows in found.groupby("predictor")}
    assert drawn == expected
    names = {text.get_text() for text in ax.texts}
    assert {"attention", "spearman", "variance", "mean", "detection rate"} <= names
    own = found[found["predictor"] == "attention"]
    assert {signed(value) for value in own["difference"]} <= names
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert all(f"n = {n}" in label for n, label in zip(own["n_units"], labels, strict=True))
    bold = {text.get_text() for text in ax.texts if text.get_fontweight() == "bold"}
    assert bold == {signed(row["difference"]) for _, row in own.iterrows() if row["ci_low"] > 0 or row["ci_high"] < 0}


def test_given_axes_and_what_is_missing(adata: ad.AnnData) -> None:
    _, given = plt.subplots()
    assert sps.pl.gene_universe_effect(adata, ax=given) is given
    with pytest.raises(KeyError, match="gene_universe_effect"):
        sps.pl.gene_universe_effect(adata, key="nothing")
