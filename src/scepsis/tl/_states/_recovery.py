"""How well networks recover a reference: what the tools that compare networks of cell states have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_sets import EdgeSet
from scepsis._core._edge_slots import EdgeArray
from scepsis._core._network import read_network
from scepsis.stats._auroc import mann_whitney
from scepsis.stats._top_pairs import top_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._network import Network, Universe
    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._top_pairs import TopPairs


@dataclass(frozen=True)
class Recovery:
    """Scores networks among the genes of a panel against a reference."""

    network: Network
    #: Positions in ``adata.var`` of the genes that networks are among.
    genes: IntArray
    signed: bool

    @classmethod
    def of(
        cls,
        adata: AnnData,
        reference: pd.DataFrame,
        genes: IntArray,
        *,
        signed: bool,
        universe: Universe,
        min_targets: int,
        gene_symbols: str | None,
    ) -> Recovery:
        network = read_network(
            adata, reference, genes, universe=universe, min_targets=min_targets, gene_symbols=gene_symbols
        )
        return cls(network, genes, signed)

    @property
    def status(self) -> str:
        """Whether there is anything to find, and anything else."""
        if not self.network.listed.any():
            return "no_positives"
        return "ok" if (self.network.candidate & ~self.network.listed).any() else "no_negatives"

    def scores(self, values: FloatArray) -> FloatArray:
        """What a network says of every pair, sources x targets; NaN where nothing, and outside the candidates."""
        edges = EdgeArray(values, self.genes, {"signed": self.signed})
        return self.network.scores(EdgeSet("", "edges", edges, ""))

    def auroc(self, scores: FloatArray, valid: BoolArray | None = None) -> float:
        """AUROC of all pairs that have a score and are `valid`, in one ranking."""
        here = ~np.isnan(scores) if valid is None else valid & ~np.isnan(scores)
        listed = self.network.listed
        return mann_whitney(scores[here & listed], scores[here & ~listed])

    def by_source(self, scores: FloatArray, valid: BoolArray) -> FloatArray:
        """AUROC of every source alone; NaN for one without both classes."""
        from scepsis.stats._auroc import auroc, placements

        area: FloatArray = auroc(placements(scores, self.network.listed, valid))
        return area

    def average_precision(self, scores: FloatArray, valid: BoolArray | None = None) -> float:
        """Average precision of all pairs."""
        from scepsis.stats._auroc import placements
        from scepsis.stats._precision import average_precision

        here = self.network.candidate if valid is None else valid
        placed = placements(scores.reshape(1, -1), self.network.listed.reshape(1, -1), here.reshape(1, -1))
        return float(average_precision(placed)[0])

    def top(self, scores: FloatArray, ks: Sequence[int]) -> TopPairs:
        """The top of the ranking; recall is about all listed pairs."""
        here = self.network.candidate
        return top_pairs(scores[here], self.network.listed[here], ks)

    @property
    def n_listed(self) -> int:
        return int(self.network.listed.sum())

    def record(self, reference_name: str, universe: str, min_targets: int) -> dict[str, Any]:
        """What is on record of the reference."""
        return {
            "reference": reference_name,
            "universe": universe,
            "min_targets": min_targets,
            "reference_hash": self.network.hash,
            "reference_counts": self.network.counts,
        }
