from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import LogNorm, Normalize
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes


@pytest.fixture
def with_edges() -> ad.AnnData:
    """100 genes: asymmetric positive edges with a strong key effect, and signed ones."""
    rng = np.random.default_rng(0)
    adata = ad.AnnData(np.ones((3, 100), dtype=np.float32))
    adata.var_names = [f"G{index}" for index in range(100)]
    edges = np.exp(rng.normal(-5, 0.2, (100, 100)) + rng.normal(0, 0.8, 100)).astype(np.float32)
    edges[rng.random((100, 100)) < 0.05] = np.nan
    np.fill_diagonal(edges, np.nan)
    adata.varp["attention"] = edges
    adata.varp["spearman"] = rng.normal(0, 0.2, (100, 100)).astype(np.float32)
    adata.varp["listed"] = sparse.csr_matrix(np.eye(100, k=1, dtype=np.float32)[:, :])
    return adata


def shown(ax: Axes) -> tuple[np.ndarray, list[str], list[str]]:
    rows = [label.get_text() for label in ax.get_yticklabels()]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    return np.ma.filled(ax.images[0].get_array(), np.nan), rows, columns


def test_sources_are_rows_and_targets_columns(with_edges: ad.AnnData) -> None:
    genes = ["G7", "G3", "G50"]
    ax = sps.pl.attention_edges(with_edges, genes=genes)
    values, rows, columns = shown(ax)
    assert rows == columns == genes
    index = with_edges.var_names.get_indexer(genes)
    np.testing.assert_array_equal(values, with_edges.varp["attention"][np.ix_(index, index)])
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("source gene", "target gene")


def test_a_spread_of_genes_is_shown_strongest_target_first(with_edges: ad.AnnData) -> None:
    ax = sps.pl.attention_edges(with_edges, max_genes=30)
    values, rows, _ = shown(ax)
    assert values.shape == (30, 30)
    incoming = dict(zip(with_edges.var_names, np.nanmean(with_edges.varp["attention"], axis=0), strict=True))
    means = [incoming[name] for name in rows]
    assert means == sorted(means, reverse=True)
    assert means[0] == max(incoming.values())
    assert means[-1] == min(incoming.values())
    assert "30 of 100 genes" in ax.get_title()
    assert "of" not in sps.pl.attention_edges(with_edges, max_genes=100).get_title()


def test_colours_are_logarithmic_or_symmetric_and_robust(with_edges: ad.AnnData) -> None:
    norm = sps.pl.attention_edges(with_edges, max_genes=100).images[0].norm
    known = with_edges.varp["attention"][np.isfinite(with_edges.varp["attention"])]
    assert isinstance(norm, LogNorm)
    np.testing.assert_allclose([norm.vmin, norm.vmax], np.percentile(known, [1, 99]), rtol=1e-5)
    signed = sps.pl.attention_edges(with_edges, key="spearman").images[0]
    assert type(signed.norm) is Normalize
    assert signed.norm.vmin == -signed.norm.vmax


def test_never_evaluated_is_grey(with_edges: ad.AnnData) -> None:
    image = sps.pl.attention_edges(with_edges, max_genes=100).images[0]
    assert np.isnan(shown(image.axes)[0]).sum() == np.isnan(with_edges.varp["attention"]).sum()
    red, green, blue, _ = image.cmap(np.ma.masked_invalid([np.nan]))[0]
    assert red == green == blue


def test_sparse_and_constant_edges_are_drawn(with_edges: ad.AnnData) -> None:
    ax = sps.pl.attention_edges(with_edges, key="listed", max_genes=100)
    assert np.nansum(shown(ax)[0]) == 99


def test_scale_on_record_names_the_colours(with_edges: ad.AnnData) -> None:
    with_edges.uns["attention"] = {"params": {"scale": "uniform_fold", "cells_hash": ""}, "edges_keys": ["attention"]}
    ax = sps.pl.attention_edges(with_edges)
    assert "tokens" in ax.images[0].colorbar.ax.get_ylabel()


def test_labels_do_not_overlap(with_edges: ad.AnnData) -> None:
    _, small = plt.subplots(figsize=(4, 4))
    for ax in (sps.pl.attention_edges(with_edges, max_genes=100), sps.pl.attention_edges(with_edges, ax=small)):
        ax.figure.canvas.draw()
        boxes = sorted((label.get_window_extent() for label in ax.get_yticklabels()), key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


def test_bad_input(with_edges: ad.AnnData, untouched: Callable[[ad.AnnData], object]) -> None:
    with untouched(with_edges):
        with pytest.raises(KeyError, match=r"scepsis\.tl\.attention_edges"):
            sps.pl.attention_edges(with_edges, key="nothing")
        with pytest.raises(KeyError, match="'NOPE'"):
            sps.pl.attention_edges(with_edges, genes=["G1", "NOPE"])
        with pytest.raises(ValueError, match="max_genes"):
            sps.pl.attention_edges(with_edges, max_genes=1)
