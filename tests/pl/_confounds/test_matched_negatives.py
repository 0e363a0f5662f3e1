from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def test_numbers_are_those_stored(against_alike: Callable[..., ad.AnnData]) -> None:
    adata = against_alike()
    ax = sps.pl.matched_negatives(adata)
    rows = {label.get_text(): y for label, y in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert list(rows) == ["attention", "twin", "variance", "mean_product"]
    stored = adata.uns["matched_negatives"]["summary"]
    for name, y in rows.items():
        own = stored[stored["predictor"] == name].set_index("statistic").loc[["balanced", "matched", "pooled"]]
        lines = [line for line in ax.lines if abs(np.mean(line.get_ydata()) - y) < 0.3 and y in rows.values()]
        lines = [line for line in lines if list(line.get_ydata()) != [0, 1]]
        points = sorted((line for line in lines if len(line.get_xdata()) == 1), key=lambda line: line.get_ydata()[0])
        bars = sorted((line for line in lines if len(line.get_xdata()) == 2), key=lambda line: line.get_ydata()[0])
        if name == "twin":
            assert points == bars == []
            continue
        np.testing.assert_allclose([line.get_xdata()[0] for line in points], own["auroc"])
        expected = own[["ci_low", "ci_high"]].dropna()
        np.testing.assert_allclose(np.array([line.get_xdata() for line in bars]).reshape(-1, 2), expected)
    yardstick = next(line for line in ax.lines if line.get_label() == "product of means, matched")
    assert yardstick.get_xdata()[0] == 0.58
    (band,) = ax.patches
    assert band.get_x() == pytest.approx(0.48)
    assert band.get_width() == pytest.approx(0.04)
    texts = [text.get_text() for text in ax.texts]
    assert "0.63  (n = 1,234)" in texts
    assert "not run" in texts


def test_without_the_product_of_means_there_is_no_line(against_alike: Callable[..., ad.AnnData]) -> None:
    adata = against_alike()
    entry = adata.uns["matched_negatives"]
    entry["summary"] = entry["summary"].query("predictor != 'mean_product'")
    labels = [text.get_text() for text in sps.pl.matched_negatives(adata).get_legend().get_texts()]
    assert "product of means, matched" not in labels


def test_axes_are_taken_and_nothing_is_stored(
    against_alike: Callable[..., ad.AnnData], untouched: Callable[..., object]
) -> None:
    adata = against_alike()
    _, ax = plt.subplots()
    with untouched(adata):
        assert sps.pl.matched_negatives(adata, ax=ax) is ax
    with pytest.raises(KeyError, match=r"Call `scepsis\.tl\.matched_negatives\(adata, reference\)` first"):
        sps.pl.matched_negatives(adata, key="other")
