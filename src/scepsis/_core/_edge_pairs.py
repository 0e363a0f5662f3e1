"""Pairs of genes of a panel, with what edges say of every pair and what features say of every gene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_sets import gather_edges, panel_of
from scepsis._core._gene_table import gene_features, require_same_cells
from scepsis._core._screen_pairs import oriented

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._types import BoolArray, EdgesLike, FloatArray, IntArray


@dataclass(frozen=True)
class EdgePairs:
    """Ordered pairs of two different genes that all sets of edges have (complete cases)."""

    #: Sets of edges asked for, without companions.
    sets: list[EdgeSet]
    #: Positions of the panel's genes in ``adata.var``.
    genes: IntArray
    #: Genes x genes: pairs with an edge in every set, and with features of both genes.
    mask: BoolArray
    #: Variance, mean and detection rate, genes x 3.
    features: FloatArray
    same_cells: bool

    def values(self, one: EdgeSet, *, signed: bool = False) -> FloatArray:
        """What a set says of every pair, genes x genes: magnitudes of signed edges, unless `signed`."""
        plain = replace(one, edges=replace(one.edges, params=one.params | {"signed": False})) if signed else one
        return oriented(plain, self.genes, self.genes)

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {one.name: one.params for one in self.sets}


def read_edge_pairs(adata: AnnData, edges: EdgesLike, *, allow_different_cells: bool = False) -> EdgePairs:
    """Read what a regression of edges on gene features is made from; raises what the readers of both raise."""
    found = gather_edges(adata, edges, companions=False)
    same = require_same_cells(adata, found.sets, features=True, allow=allow_different_cells)
    features = gene_features(adata)
    genes = panel_of(adata, found.sets)
    features = features[genes]
    known: BoolArray = np.asarray(np.isfinite(features).all(axis=1))
    mask: BoolArray = known[:, None] & known[None, :] & ~np.eye(len(genes), dtype=bool)
    for one in found.sets:
        mask &= ~np.isnan(oriented(one, genes, genes))
    return EdgePairs(found.sets, genes, mask, features, same)
