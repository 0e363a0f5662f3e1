"""Layers of a model that was never trained: what each of them knows is planted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad
    from numpy.typing import NDArray

N_LAYERS = 8


def _pairs(names: NDArray[Any], source: NDArray[Any], target: NDArray[Any]) -> pd.DataFrame:
    return pd.DataFrame({"source": names[source], "target": names[target]})


def _make_layers(
    store_edges: Callable[..., None], *, signal: float = 1.5, confound: float = 0.6, along: float = 0.0, seed: int = 0
) -> tuple[ad.AnnData, dict[str, Any]]:
    """
    Simulated cells, and layers whose edges are made of their genes.

    The logarithm of an edge is noise, plus `confound` times the height of both genes' means, plus `along` times the
    pair's absolute correlation, plus `signal`, falling to 0 over the layers, where two genes belong to one of many
    small ``complexes``, and plus `signal`, rising from 0, where the source regulates the target (``regulation``).
    ``abundant``: two sets of highly expressed genes, of which no edge knows; ``coexpressed``: the most correlated
    pairs.
    """
    adata = sps.datasets.simulate_screen(
        n_genes=160, n_regulators=24, n_other=4, n_controls=400, cells_per_perturbation=0, rng=seed
    )
    sps.pp.select_cells(adata)
    adata.var["edge_panel"] = True
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    rng = np.random.default_rng(seed)
    names, n = adata.var_names.to_numpy(dtype=object), adata.n_vars
    members = rng.permutation(n)[: 4 * (n // 5)].reshape(-1, 4)
    complexes = {f"complex{index}": list(names[own]) for index, own in enumerate(members)}
    together = np.zeros((n, n), dtype=bool)
    for own in members:
        together[np.ix_(own, own)] = True
    regulates = adata.varp["regulation"] != 0
    height = np.argsort(np.argsort(adata.var["mean"].to_numpy())) / n - 0.5
    spearman = np.abs(np.nan_to_num(adata.varp["spearman"]))
    for layer in range(N_LAYERS):
        late = layer / (N_LAYERS - 1)
        edges = rng.normal(size=(n, n)) + 4 * confound * (height[:, None] + height) + along * spearman
        edges += signal * (1 - late) * together + signal * late * regulates
        store_edges(adata, f"attention_L{layer}", np.exp(edges), method="attention", scale="probability")
    top = np.argsort(adata.var["mean"].to_numpy())[-30:]
    first, second = np.nonzero(np.triu(spearman > np.quantile(spearman, 0.98), 1))
    references = {
        "complexes": complexes,
        "regulation": adata.uns["simulate_screen"]["network"][["source", "target"]],
        "abundant": {"one": list(names[rng.permutation(top)[:18]]), "two": list(names[rng.permutation(top)[:18]])},
        "coexpressed": _pairs(names, np.append(first, second), np.append(second, first)),
    }
    return adata, references


@pytest.fixture
def make_layers(store_edges: Callable[..., None]) -> Callable[..., tuple[ad.AnnData, dict[str, Any]]]:
    """Maker of data with planted layers, and references: ``make_layers(signal=, confound=, along=, seed=)``."""

    def make(**options: Any) -> tuple[ad.AnnData, dict[str, Any]]:
        return _make_layers(store_edges, **options)

    return make


@pytest.fixture(scope="session")
def n_layers() -> int:
    """How many layers there are."""
    return N_LAYERS
