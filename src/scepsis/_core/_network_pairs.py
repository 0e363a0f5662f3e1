"""Pairs of genes that a reference could list, all scored by all sets of edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_sets import gather_edges, panel_of
from scepsis._core._gene_table import FEATURES, require_same_cells
from scepsis._core._network import read_network

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._network import Network, Universe
    from scepsis._core._types import BoolArray, EdgesLike, FloatArray, IntArray


@dataclass(frozen=True)
class NetworkPairs:
    """Sources x targets that every set of edges scores (complete cases), and which of them the reference lists."""

    network: Network
    #: Sets asked for first, companions after them; all of them narrow the pairs.
    sets: list[EdgeSet]
    #: Companions of attention that are not there.
    missing: list[str]
    #: Whether everything with a record is from the same cells.
    same_cells: bool
    #: Rows of the network that are kept: of "regulators" those with enough listed targets among the pairs.
    kept: IntArray
    listed: BoolArray
    candidate: BoolArray

    @property
    def sources(self) -> IntArray:
        """Positions in ``adata.var``."""
        return self.network.sources[self.kept]

    @property
    def targets(self) -> IntArray:
        """Positions in ``adata.var``."""
        return self.network.targets

    @property
    def known_mode(self) -> BoolArray | None:
        """Listed pairs whose direction of regulation is known; None where the reference does not tell."""
        known = self.network.known_mode
        return None if known is None else known[self.kept] & self.listed

    def scores(self, one: EdgeSet) -> FloatArray:
        """What a set of edges says of every pair; NaN outside the pairs."""
        scores = self.network.scores(one)[self.kept]
        scores[~self.candidate] = np.nan
        return scores

    @property
    def counts(self) -> dict[str, int]:
        """Rows of the reference on their way to the positives that are scored, and what these stand among."""
        return self.network.counts | {
            "n_sources": len(self.kept),
            "n_evaluated": int(self.listed.sum()),
            "n_targets": int(self.listed.any(axis=0).sum()),
            "n_negatives": int(self.candidate.sum() - self.listed.sum()),
        }

    def frame(self) -> pd.DataFrame:
        """The same as a frame, in the order of the steps."""
        counts = self.counts
        return pd.DataFrame({"step": STEPS, "n": [counts[step] for step in STEPS]}).astype(
            {"step": object, "n": np.int64}
        )

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {one.name: one.params for one in self.sets}

    def edges_record(self) -> dict[str, Any]:
        """What the edges are, one entry for each set."""
        return {
            "edges": [one.name for one in self.sets],
            "edges_kind": [one.kind for one in self.sets],
            "edges_slot": [one.slot for one in self.sets],
            "edges_signed": [one.is_signed for one in self.sets],
            "edges_cells_hash": [one.cells_hash for one in self.sets],
            "edges_genes_hash": [str(one.params.get("genes_hash", "")) for one in self.sets],
        }


STEPS = [
    "n_rows", "n_unique", "n_non_self", "n_in_panel", "n_listed", "n_evaluated", "n_sources", "n_targets",
    "n_negatives",
]  # fmt: skip


def read_network_pairs(
    adata: AnnData,
    reference: Any,
    edges: EdgesLike,
    *,
    universe: Universe = "regulators",
    min_targets: int = 3,
    gene_symbols: str | None = None,
    companions: bool = False,
    allow_different_cells: bool = False,
) -> NetworkPairs:
    """
    Lay a reference over the genes of the edges, and keep the pairs that all sets have.

    Raises what the readers of edges and references raise, and `TypeError` for a reference that is no frame.
    """
    require_frame(reference)
    found = gather_edges(adata, edges, companions=companions)
    features = all(name in adata.var for name in FEATURES)
    same = require_same_cells(adata, found.sets, features=features, allow=allow_different_cells)
    panel = panel_of(adata, found.sets)
    pairs = lay_over(
        adata, reference, found.sets, panel, universe=universe, min_targets=min_targets, gene_symbols=gene_symbols
    )
    return replace(pairs, missing=found.missing, same_cells=same)


def require_frame(reference: Any) -> None:
    """Raise `TypeError` for a reference that is no frame."""
    if not isinstance(reference, pd.DataFrame):
        msg = (
            f"`reference` must be a frame with the columns 'source' and 'target', not {type(reference).__name__}. "
            "Read a file with `pandas.read_csv` first."
        )
        raise TypeError(msg)


def lay_over(
    adata: AnnData,
    reference: pd.DataFrame,
    sets: list[EdgeSet],
    panel: IntArray,
    *,
    universe: Universe,
    min_targets: int,
    gene_symbols: str | None,
) -> NetworkPairs:
    """Pairs of a panel that all sets have, and which of them the reference lists."""
    network = read_network(
        adata, reference, panel, universe=universe, min_targets=min_targets, gene_symbols=gene_symbols
    )
    candidate = network.candidate.copy()
    for one in sets:
        candidate &= ~np.isnan(network.scores(one))
    listed = network.listed & candidate
    kept = np.arange(len(listed))
    if universe == "regulators":
        kept = np.flatnonzero(listed.sum(axis=1) >= min_targets)
    return NetworkPairs(
        network, sets, missing=[], same_cells=True, kept=kept, listed=listed[kept], candidate=candidate[kept]
    )
