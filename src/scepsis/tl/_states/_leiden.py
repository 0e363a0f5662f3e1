"""Strata without labels: clusters of a neighbour graph on an embedding of the cells."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from scepsis._core._groups import Groups
from scepsis._core._keys import embedding
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.models import AttentionModel

#: Resolutions among which a number of clusters is looked for, and how often.
LOWEST, HIGHEST, STEPS = 1e-3, 20.0, 30
#: Cells from which on neighbours are looked for approximately, as scanpy does it.
MANY = 8192


def choose_embedding(adata: AnnData, use_rep: str | None, model: AttentionModel | None, cells: BoolArray) -> str:
    """Name of the embedding: `use_rep`, else that of the model, else the only one of a model's family."""
    name = use_rep
    if name is None:
        families = ("geneformer", "scgpt") if model is None else (model.family,)
        found = [embedding(family) for family in families if embedding(family) in adata.obsm]
        if len(found) != 1:
            msg = (
                "Without `groupby`, strata are clusters of an embedding, and `use_rep` does not say which. "
                f"`adata.obsm` has: {listing(adata.obsm)}. Call `scepsis.pp.embed_cells(adata, model)`, or pass "
                "`use_rep='X_pca'` or `groupby=`."
            )
            raise ValueError(msg)
        name = found[0]
    if name not in adata.obsm:
        msg = f"`adata.obsm[{name!r}]` does not exist; there are: {listing(adata.obsm)}."
        raise KeyError(msg)
    if not np.isfinite(np.asarray(adata.obsm[name], dtype=np.float64)[cells]).all():
        msg = (
            f"`adata.obsm[{name!r}]` is not finite for some of the chosen cells (a cell without tokens has no "
            "embedding). Leave them out: `mask_obs=numpy.isfinite(adata.obsm[...]).all(axis=1)`."
        )
        raise ValueError(msg)
    if find_spec("igraph") is None:
        msg = "Clustering needs igraph: `pip install 'scepsis[leiden]'`, or pass `groupby=`."
        raise ImportError(msg)
    return name


class Clustering:
    """
    Leiden clusters at any resolution, of one neighbour graph.

    Parameters
    ----------
    values
        Cells x dimensions.
    n_neighbors
        Neighbours of each cell in the graph.
    seed
        Of the neighbour search and of Leiden.
    """

    def __init__(self, values: FloatArray, *, n_neighbors: int, seed: int) -> None:
        import scanpy as sc
        from anndata import AnnData

        self.seed = seed
        self._tried: dict[float, IntArray] = {}
        self.graph = AnnData(obsm={"embedding": np.asarray(values)})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sc.pp.neighbors(
                self.graph,
                n_neighbors=min(n_neighbors, self.graph.n_obs - 1),
                use_rep="embedding",
                random_state=seed % 2**31,
                transformer=_Search(len(values), n_neighbors, seed % 2**31) if len(values) >= MANY else None,
            )

    def codes(self, resolution: float) -> IntArray:
        """Cluster of every cell, the largest one 0."""
        import scanpy as sc

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sc.tl.leiden(
                self.graph,
                resolution=resolution,
                flavor="igraph",
                n_iterations=2,
                directed=False,
                random_state=self.seed % 2**31,
            )
        codes: IntArray = self.graph.obs["leiden"].cat.codes.to_numpy().astype(np.int64)
        return codes

    def with_clusters(self, n_clusters: int) -> tuple[float, IntArray] | None:
        """A resolution that gives so many clusters, found by bisection, and the clusters; None when none was met."""
        low, high = LOWEST, HIGHEST
        for _ in range(STEPS):
            resolution = float(np.sqrt(low * high))
            if resolution not in self._tried:
                self._tried[resolution] = self.codes(resolution)
            codes = self._tried[resolution]
            found = int(codes.max()) + 1
            if found == n_clusters:
                return resolution, codes
            low, high = (resolution, high) if found < n_clusters else (low, resolution)
        return None

    def groups(self, resolution: float, cells: BoolArray) -> Groups:
        """Clusters of the chosen cells, called ``"0"`` and on."""
        return as_groups(self.codes(resolution), cells)


class _Search:
    """
    Scanpy's approximate search, with its settings.

    From 0.7 on pynndescent gives a sparse array, and scanpy asks for what only a sparse matrix has.
    """

    def __init__(self, n_cells: int, n_neighbors: int, seed: int) -> None:
        from pynndescent import PyNNDescentTransformer

        self.inner = PyNNDescentTransformer(
            n_neighbors=n_neighbors,
            metric="euclidean",
            random_state=seed,
            n_jobs=1,
            n_trees=min(64, 5 + round(n_cells**0.5 / 20)),
            n_iters=max(5, round(np.log2(n_cells))),
        )

    def get_params(self) -> dict[str, Any]:
        found: dict[str, Any] = self.inner.get_params()
        return found

    def fit_transform(self, values: FloatArray) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.inner.fit_transform(values))


def as_groups(codes: IntArray, cells: BoolArray) -> Groups:
    """Groups of all cells from the codes of the chosen ones."""
    spread = np.full(len(cells), -1)
    spread[cells] = codes
    return Groups(spread, tuple(map(str, range(int(codes.max()) + 1))))
