"""Edges over a reference network with what is planted in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def _make_network(
    *,
    n_regulators: int = 12,
    n_genes: int = 120,
    n_edges: int = 150,
    signal: float = 0.0,
    key: float = 0.0,
    row: float = 0.0,
    seed: int = 0,
) -> tuple[ad.AnnData, pd.DataFrame]:
    """
    Cells x genes with ``varp["edges"]``, and a reference whose degrees are heavy-tailed on both sides.

    Edges, of which none is negative, are the exponential of noise plus `signal` on listed pairs, plus `key` times a
    target's popularity, plus `row` times a regulator's own value.
    """
    rng = np.random.default_rng(seed)
    names = [f"G{index}" for index in range(n_genes)]
    popular = rng.pareto(1.5, n_genes) + 0.1
    weight = np.outer(rng.pareto(2, n_regulators) + 0.3, popular)
    weight[np.arange(n_regulators), np.arange(n_regulators)] = 0
    order = np.argsort(rng.random(weight.shape).ravel() ** (1 / np.maximum(weight.ravel(), 1e-9)))
    listed = np.zeros(weight.shape, dtype=bool)
    listed.ravel()[order[-n_edges:]] = True
    edges = rng.normal(size=(n_genes, n_genes)) + key * np.log(popular) + row * rng.normal(size=(n_genes, 1))
    edges[:n_regulators] += signal * listed
    np.fill_diagonal(edges, np.nan)
    counts = rng.poisson(0.5, size=(60, n_genes)).astype(np.float32)
    var = pd.DataFrame({"mean": counts.mean(axis=0), "variance": counts.var(axis=0)}, index=names)
    var["detection_rate"] = (counts > 0).mean(axis=0)
    obs = pd.DataFrame({"edge_cells": np.arange(60) < 50}, index=[f"c{index}" for index in range(60)])
    adata = ad.AnnData(X=counts, obs=obs, var=var)
    adata.varp["edges"] = np.exp(edges).astype(np.float32)
    source, target = np.nonzero(listed)
    frame = pd.DataFrame({"source": [names[i] for i in source], "target": [names[i] for i in target]})
    return adata, frame


@pytest.fixture
def make_network() -> Callable[..., tuple[ad.AnnData, pd.DataFrame]]:
    """Maker of data and a reference: ``make_network(n_regulators=, n_edges=, signal=, key=, row=, seed=)``."""
    return _make_network
