from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.text import Text

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def test_curves_lines_and_slopes_are_the_stored_ones(on_layers: Callable[..., ad.AnnData]) -> None:
    adata = on_layers()
    adata.uns["characterize_layers"]["trends"].loc[2, "slope_low"] = -0.01
    ax = sps.pl.characterize_layers_trend(adata)
    profile = adata.uns["characterize_layers"]["profile"]
    for name, container in zip(["net", "sets"], ax.containers, strict=True):
        own = profile[(profile["reference"] == name) & (profile["curve"] == "attention")]
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_ydata(), own["auroc"])
        np.testing.assert_allclose([bar[:, 1] for bar in bars.get_segments()], own[["ci_low", "ci_high"]])
    flat = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata()) == 2]
    expected = profile[(profile["edges"] == "spearman") & profile["auroc"].notna()]["auroc"]
    np.testing.assert_allclose(sorted(flat), sorted([*expected, 0.5]))
    assert [text.get_text() for text in ax.texts][:2] == ["net  +0.020 *", "sets  +0.020"]


def test_names_do_not_overlap(on_layers: Callable[..., ad.AnnData]) -> None:
    adata = on_layers()
    profile = adata.uns["characterize_layers"]["profile"]
    profile.loc[profile["auroc"].notna(), "auroc"] = 0.6
    ax = sps.pl.characterize_layers_trend(adata)
    ax.figure.canvas.draw()
    heights = [Text.get_window_extent(text) for text in ax.texts[:2]]  # without the line that leads there
    assert not heights[0].overlaps(heights[1])


def test_what_is_not_there_is_told(on_layers: Callable[..., ad.AnnData]) -> None:
    with pytest.raises(KeyError, match="no layers of 'other'"):
        sps.pl.characterize_layers_trend(on_layers(), edges="other")
    one = sps.pl.characterize_layers_trend(on_layers(1), edges="attention_randomized")
    assert one.get_xlabel() == "layer of attention_randomized"


def test_a_reference_without_intervals_is_pale_and_says_why(on_layers: Callable[..., ad.AnnData]) -> None:
    adata = on_layers()
    profile = adata.uns["characterize_layers"]["profile"]
    profile.loc[profile["reference"] == "sets", "status"] = "too_few_units"
    ax = sps.pl.characterize_layers_trend(adata)
    assert [text.get_text() for text in ax.texts][:2] == ["net  +0.020 *", "sets, too few units"]
    assert [container[0].get_alpha() for container in ax.containers] == [None, 0.35]
