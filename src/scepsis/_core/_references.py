"""Several references over the genes of the same edges, each in the universe that it could have listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from scepsis._core._edge_frames import SOURCE, TARGET
from scepsis._core._edge_sets import gather_edges, panel_of
from scepsis._core._gene_sets import read_gene_sets
from scepsis._core._gene_table import gene_features, require_same_cells
from scepsis._core._network import DIRECTED, MODE, listed_both_ways, read_network
from scepsis._core._screen_pairs import oriented
from scepsis._core._validate import listing, require_choice, require_key

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._network import Directed, Network
    from scepsis._core._types import BoolArray, EdgesLike, FloatArray, IntArray

ReferenceKind = Literal["directed", "undirected", "gene_sets"]
#: Share of pairs that are listed in both directions above which a reference has none.
_BOTH_WAYS = 0.5


@dataclass(frozen=True)
class Reference:
    """One reference, over pairs that all sets of edges have."""

    name: str
    kind: ReferenceKind
    network: Network
    #: Rows of the network that are kept: of regulators those with enough listed targets among the pairs.
    kept: IntArray
    listed: BoolArray
    candidate: BoolArray

    @property
    def dyadic(self) -> bool:
        return self.network.universe == "unordered"

    @property
    def sources(self) -> IntArray:
        """Rows, as positions in the panel's genes."""
        places: IntArray = np.searchsorted(self.network.targets, self.network.sources[self.kept])
        return places


@dataclass(frozen=True)
class References:
    """References over the genes of a panel, with the edges that are scored on them."""

    #: Sets asked for, then what they are compared with.
    sets: list[EdgeSet]
    references: list[Reference]
    #: Positions of the panel's genes in ``adata.var``, ascending.
    genes: IntArray
    #: Variance, mean and detection rate, genes x 3.
    features: FloatArray
    same_cells: bool

    def matrix(self, one: EdgeSet, *, signed: bool = False) -> FloatArray:
        """What a set says of every ordered pair, genes x genes: magnitudes of signed edges, unless `signed`."""
        plain = replace(one, edges=replace(one.edges, params=one.params | {"signed": False})) if signed else one
        return oriented(plain, self.genes, self.genes)

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {one.name: one.params for one in self.sets}


def read_references(
    adata: AnnData,
    references: Any,
    edges: EdgesLike,
    *,
    versus: str,
    kinds: Mapping[str, str] | None = None,
    universe: Directed = "regulators",
    ordered: bool = True,
    min_targets: int = 3,
    gene_symbols: str | None = None,
    allow_different_cells: bool = False,
    allow_none: bool = False,
) -> References:
    """
    Read edges, gene features and references; raises what the readers of each raise.

    Unless `ordered`, pairs of directed references count without their direction.
    """
    given = {} if references is None and allow_none else _named(references, kinds)
    sets = gather_edges(adata, edges, companions=False).sets
    if versus not in {one.name for one in sets}:
        sets = sets + gather_edges(adata, versus, companions=False).sets
    same = require_same_cells(adata, sets, features=True, allow=allow_different_cells)
    features = gene_features(adata)
    panel = panel_of(adata, sets)
    features = features[panel]
    known: BoolArray = np.asarray(np.isfinite(features).all(axis=1))
    valid = known[:, None] & known[None, :]
    for one in sets:
        valid &= ~np.isnan(oriented(one, panel, panel))
    found = []
    for name, reference in given.items():
        argument = f"references[{name!r}]"
        kind = (kinds or {}).get(name) or _kind(adata, reference, gene_symbols)
        if kind == "directed" and not ordered:
            kind = "undirected"
        if kind == "gene_sets":
            network = read_gene_sets(adata, reference, panel, gene_symbols=gene_symbols, argument=argument)
        else:
            network = read_network(
                adata, reference, panel, universe=universe if kind == "directed" else "unordered",
                min_targets=min_targets, gene_symbols=gene_symbols, argument=argument, allow_empty=True,
            )  # fmt: skip
        found.append(_over(name, kind, network, valid, min_targets))
    return References(sets, found, panel, features, same)


def _named(references: Any, kinds: Mapping[str, str] | None) -> dict[str, Any]:
    if not isinstance(references, Mapping) or not references:
        msg = (
            "`references` must be a dict from names to frames or gene sets, such as `{'trrust': frame}`, not "
            f"{type(references).__name__}{' without entries' if isinstance(references, Mapping) else ''}."
        )
        raise TypeError(msg)
    for name, one in references.items():
        require_key(name, argument="references")
        if not isinstance(one, pd.DataFrame | Mapping):
            msg = (
                f"`references[{name!r}]` must be a frame with the columns 'source' and 'target', or a mapping from "
                f"names of gene sets to genes, not {type(one).__name__}."
            )
            raise TypeError(msg)
    for name, kind in (kinds or {}).items():
        require_choice(kind, get_args(ReferenceKind), argument=f"kinds[{name!r}]")
    unknown = sorted(set(kinds or {}) - set(references))
    if unknown:
        msg = f"`kinds` names {listing(unknown)}, which `references` does not have: {listing(references)}."
        raise ValueError(msg)
    return dict(references)


def _kind(adata: AnnData, reference: Any, gene_symbols: str | None) -> ReferenceKind:
    """
    Say what a reference is, where the caller does not.

    A mapping, or a frame whose sources are no genes (but whose targets are), holds gene sets. A column ``directed``
    says whether pairs have a direction; without one, a frame that lists most of its pairs in both directions and tells
    no modes has none.
    """
    if isinstance(reference, Mapping):
        return "gene_sets"
    if not {SOURCE, TARGET} <= set(reference.columns):
        return "directed"  # whose reader says what is missing
    if DIRECTED in reference and not reference[DIRECTED].any():
        return "undirected"
    names = adata.var_names if gene_symbols is None else pd.Index(adata.var.get(gene_symbols, adata.var_names))
    source, target = (pd.Index(reference[side].dropna().unique().astype(str)) for side in (SOURCE, TARGET))
    if not source.isin(names).any() and target.isin(names).any():
        return "gene_sets"
    if DIRECTED in reference or MODE in reference:
        return "directed"
    n_both, n_pairs = listed_both_ways(reference)
    return "undirected" if n_both > _BOTH_WAYS * n_pairs else "directed"


def _over(name: str, kind: Any, network: Network, valid: BoolArray, min_targets: int) -> Reference:
    """Keep the pairs that all sets have; of regulators those with enough listed ones among them."""
    dyadic = network.universe == "unordered"
    possible = valid & valid.T if dyadic else valid[np.searchsorted(network.targets, network.sources)]
    candidate = network.candidate & possible
    listed = network.listed & candidate
    kept = np.arange(len(listed))
    if network.universe == "regulators":
        kept = np.flatnonzero(listed.sum(axis=1) >= min_targets)
    return Reference(name, kind, network, kept, listed[kept], candidate[kept])
