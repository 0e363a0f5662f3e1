from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest

import scepsis as sps
from scepsis.pl._style import INK, KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes


def rows(ax: Axes) -> dict[str, float]:
    """Height of every predictor, from the tick labels."""
    return {label.get_text(): height for label, height in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}


def dots(ax: Axes, height: float) -> np.ndarray:
    """AUROCs drawn as dots in a row."""
    points = np.concatenate([np.asarray(collection.get_offsets()) for collection in ax.collections])
    return np.sort(points[np.abs(points[:, 1] - height) < 0.31, 0])


def test_dots_means_and_intervals_are_those_stored(scored: Callable[..., ad.AnnData]) -> None:
    adata = scored()
    ax = sps.pl.perturbation_auroc(adata)
    result = adata.uns["perturbation_auroc"]
    texts = {text.get_text() for text in ax.texts}
    for row in result["summary"].itertuples():
        height = rows(ax)[row.predictor]
        own = result["per_perturbation"].query("predictor == @row.predictor")["auroc"].dropna()
        np.testing.assert_allclose(dots(ax, height), np.sort(own), rtol=1e-6)
        lines = [line for line in ax.lines if np.allclose(line.get_ydata(), height) and len(line.get_ydata()) > 0]
        if not np.isfinite(row.auroc):
            assert lines == []
            continue
        mean, interval = sorted(lines, key=lambda line: len(line.get_xdata()))
        np.testing.assert_allclose(mean.get_xdata(), [row.auroc])
        assert mean.get_marker() == KINDS[row.kind].marker
        assert mean.get_color() == KINDS[row.kind].colour
        np.testing.assert_allclose(interval.get_xdata(), [row.ci_low, row.ci_high])
        assert f"{row.auroc:.2f}  (n = {row.n_units})" in texts
    assert "not run" in texts


def test_order_is_edges_first_and_baselines_last_with_chance_drawn(scored: Callable[..., ad.AnnData]) -> None:
    ax = sps.pl.perturbation_auroc(scored())
    summary = scored().uns["perturbation_auroc"]["summary"].set_index("predictor")
    kinds = [summary.loc[name, "kind"] for name, _ in sorted(rows(ax).items(), key=lambda item: item[1])]
    assert kinds == sorted(kinds, key=list(KINDS).index)
    assert ax.yaxis_inverted()
    chance = [line for line in ax.lines if line.get_label() == "chance"]
    assert [line.get_xdata()[0] for line in chance] == [0.5]
    assert chance[0].get_color() == INK
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [*(look.label for look in KINDS.values()), "95 % interval of the mean", "chance"]


def test_a_perturbation_stands_at_the_same_height_in_every_row(scored: Callable[..., ad.AnnData]) -> None:
    ax = sps.pl.perturbation_auroc(scored(), predictors=["variance", "mean"])
    first, second = (np.asarray(collection.get_offsets())[:, 1] for collection in ax.collections)
    np.testing.assert_allclose(np.diff(first - second), 0, atol=1e-9)
    assert list(rows(ax)) == ["variance", "mean"]


def test_fewer_than_six_perturbations_have_no_interval(scored: Callable[..., ad.AnnData]) -> None:
    ax = sps.pl.perturbation_auroc(scored(n_units=4))
    assert all(len(line.get_xdata()) == 1 for line in ax.lines if line.get_label() != "chance")
    assert "95 % interval of the mean" not in [text.get_text() for text in ax.get_legend().get_texts()]


def test_flagged_perturbations_are_hollow(scored: Callable[..., ad.AnnData]) -> None:
    adata = scored()
    units = adata.uns["perturbation_auroc"]["per_perturbation"]
    units.loc[[0, 1], "status"] = "constant_score"
    ax = sps.pl.perturbation_auroc(adata, predictors=["attention"])
    hollow = [collection for collection in ax.collections if collection.get_facecolors().size == 0]
    assert [len(collection.get_offsets()) for collection in hollow] == [2]
    assert "flagged, see status" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert sum(len(collection.get_offsets()) for collection in ax.collections) == 31


def test_axes_are_taken_and_nothing_is_stored(
    scored: Callable[..., ad.AnnData], untouched: Callable[[ad.AnnData], object]
) -> None:
    adata = scored()
    _, ax = plt.subplots()
    with untouched(adata):
        assert sps.pl.perturbation_auroc(adata, ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_result_read_back_from_disk_is_drawn_alike(scored: Callable[..., ad.AnnData], roundtrips: Callable) -> None:
    adata = scored()
    before = rows(sps.pl.perturbation_auroc(adata))
    for back in roundtrips(adata):
        assert rows(sps.pl.perturbation_auroc(back)) == before


def test_modality_of_mudata(scored: Callable[..., ad.AnnData]) -> None:
    ax = sps.pl.perturbation_auroc(SimpleNamespace(mod={"rna": scored()}), mod="rna")
    assert "variance" in rows(ax)


def test_missing_result_names_the_call(scored: Callable[..., ad.AnnData]) -> None:
    with pytest.raises(KeyError, match=r"scepsis\.tl\.perturbation_auroc"):
        sps.pl.perturbation_auroc(ad.AnnData(np.ones((2, 2), dtype=np.float32)))
    adata = scored()
    del adata.uns["perturbation_auroc"]["summary"]
    with pytest.raises(KeyError, match=r"\['summary'\]"):
        sps.pl.perturbation_auroc(adata)
    adata.uns["other"] = 3
    with pytest.raises(KeyError, match="no result of this package"):
        sps.pl.perturbation_auroc(adata, key="other")


def test_unknown_predictor_is_named(scored: Callable[..., ad.AnnData]) -> None:
    with pytest.raises(KeyError, match="nonsense"):
        sps.pl.perturbation_auroc(scored(), predictors=["nonsense"])
