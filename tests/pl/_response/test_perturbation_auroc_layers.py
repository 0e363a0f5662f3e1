from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest

import scepsis as sps
from scepsis.pl._style import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

LAYERS = {f"attention_L{layer}": ("edges", 0.5 + 0.01 * layer) for layer in (10, 2, 0, 1)}
FLAT = {
    "attention": ("edges", 0.58),
    "spearman": ("edges", 0.68),
    "variance": ("baseline", 0.82),
    "mean": ("baseline", 0.819),
    "detection_rate": ("baseline", 0.818),
    "position": ("baseline", np.nan),
}


def test_curve_is_the_stored_means_by_layer(scored: Callable[..., ad.AnnData]) -> None:
    adata = scored(LAYERS | FLAT)
    ax = sps.pl.perturbation_auroc_layers(adata)
    summary = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")
    (container,) = ax.containers
    line, _, (bars,) = container
    expected = summary.loc[[f"attention_L{layer}" for layer in (0, 1, 2, 10)]]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 10])
    np.testing.assert_allclose(line.get_ydata(), expected["auroc"])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, expected[["ci_low", "ci_high"]])
    assert container.get_label() == "attention (n = 31)"
    assert ax.get_xlabel() == "layer"
    assert ax.get_xticks().tolist() == [0, 1, 2, 10]


def test_what_has_no_layer_is_a_horizontal_line_with_its_name(scored: Callable[..., ad.AnnData]) -> None:
    adata = scored(LAYERS | FLAT)
    ax = sps.pl.perturbation_auroc_layers(adata)
    summary = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")
    drawn = {text.get_text(): text for text in ax.texts}
    names = [name for name in FLAT if name != "position"]
    assert set(drawn) == {f"{name} {summary.loc[name, 'auroc']:.2f}" for name in names}
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_label() != "chance"]
    flat = {float(line.get_ydata()[0]): line for line in lines if np.ptp(line.get_ydata()) == 0}
    for name in names:
        line = flat[float(summary.loc[name, "auroc"])]
        assert line.get_color() == KINDS[FLAT[name][0]].colour
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in flat.values()}) >= 3


def test_names_do_not_overlap(scored: Callable[..., ad.AnnData]) -> None:
    ax = sps.pl.perturbation_auroc_layers(scored(LAYERS | FLAT))
    ax.figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


def test_twin_with_random_weights_is_a_second_curve(scored: Callable[..., ad.AnnData]) -> None:
    twin = {f"attention_randomized_L{layer}": ("edges", 0.5) for layer in range(3)}
    adata = scored(LAYERS | twin | FLAT)
    ax = sps.pl.perturbation_auroc_layers(adata)
    assert {str(container.get_label()) for container in ax.containers} == {
        "attention (n = 31)",
        "attention_randomized (n = 31)",
    }
    colours = {str(container.get_label()): container[0].get_color() for container in ax.containers}
    assert colours["attention_randomized (n = 31)"] == KINDS["control"].colour
    places = [np.asarray(container[0].get_xdata()) for container in ax.containers]
    np.testing.assert_array_equal(np.round(places[0]), [0, 1, 2, 10])
    assert (np.abs(places[0][:3] - places[1]) > 0.01).all()
    assert len(sps.pl.perturbation_auroc_layers(adata, edges="attention").containers) == 1
    assert len(plt.get_fignums()) == 2


def test_two_scales_differ_in_line_and_marker(scored: Callable[..., ad.AnnData]) -> None:
    scales = {
        f"attention_{scale}_L{layer}": ("scale", 0.5) for scale in ("uniform_fold", "centered") for layer in (0, 1)
    }
    one, other = (container[0] for container in sps.pl.perturbation_auroc_layers(scored(scales)).containers)
    assert one.get_color() == other.get_color()
    assert one.get_linestyle() != other.get_linestyle()
    assert one.get_markerfacecolor() != other.get_markerfacecolor()


def test_no_layers_names_the_call(scored: Callable[..., ad.AnnData]) -> None:
    with pytest.raises(KeyError, match="no layer is scored"):
        sps.pl.perturbation_auroc_layers(scored(FLAT))
    with pytest.raises(KeyError, match="no layer of 'other'"):
        sps.pl.perturbation_auroc_layers(scored(LAYERS | FLAT), edges=["attention", "other"])
    with pytest.raises(KeyError, match=r"scepsis\.tl\.perturbation_auroc"):
        sps.pl.perturbation_auroc_layers(ad.AnnData(np.ones((2, 2), dtype=np.float32)))


def test_axes_are_taken_and_nothing_is_stored(
    scored: Callable[..., ad.AnnData], untouched: Callable[[ad.AnnData], object]
) -> None:
    adata = scored(LAYERS | FLAT)
    _, ax = plt.subplots()
    with untouched(adata):
        assert sps.pl.perturbation_auroc_layers(adata, ax=ax) is ax
