from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps


def test_lines_and_bands_are_the_stored_ones() -> None:
    adata = ad.AnnData(np.zeros((2, 2)))
    along = np.linspace(0.01, 0.6, 20)
    bins = pd.concat(
        [
            pd.DataFrame(
                {"edges": name, "coexpression": along, "low": level - 0.2, "median": level + along / 5, "high": 0.9}
            )
            for name, level in (("attention", 0.5), ("twin", 0.4))
        ]
    )
    rows = [(name, against, 0.25) for name in ("attention", "twin") for against in ("spearman", "mean_product")]
    adata.uns["attention_vs_coexpression"] = {
        "params": {"versus": "spearman"},
        "bins": bins,
        "summary": pd.DataFrame(rows, columns=["edges", "against", "rho"]),
    }
    ax = sps.pl.attention_vs_coexpression(adata)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 20]
    for line, (_, own) in zip(lines, bins.groupby("edges", sort=False), strict=True):
        np.testing.assert_allclose(line.get_ydata(), own["median"])
        np.testing.assert_allclose(line.get_xdata(), own["coexpression"])
    assert len(ax.collections) == 2
    assert ax.get_legend().get_texts()[0].get_text() == "attention  (ρ 0.25; with means 0.25)"
    with pytest.raises(KeyError, match="attention_vs_coexpression"):
        sps.pl.attention_vs_coexpression(adata, key="other")
