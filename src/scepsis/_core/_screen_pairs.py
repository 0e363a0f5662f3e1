"""Perturbations x candidate genes of a screen, with what edges and gene features say of every pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_sets import gather_edges, panel_of
from scepsis._core._gene_table import feature_params, gene_features, require_same_cells
from scepsis._core._screen import read_screen, saw_perturbed_cells

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._screen import Screen
    from scepsis._core._types import BoolArray, Direction, EdgesLike, FloatArray, IntArray


@dataclass(frozen=True)
class ScreenPairs:
    """Pairs of a perturbation and a candidate, all scored by all sets of edges (complete cases)."""

    screen: Screen
    #: Sets of edges asked for, without companions.
    sets: list[EdgeSet]
    #: Positions of the candidates in ``adata.var``.
    genes: IntArray
    #: Perturbations x candidates: 1 responds, 0 does not, -1 takes no part.
    labels: IntArray
    #: Variance, mean and detection rate of each candidate, candidates x 3.
    features: FloatArray
    #: Names of sets that have seen perturbed cells, and whether the features have.
    leaks: dict[str, bool]
    features_leak: bool
    direction: Direction

    def scores(self, one: EdgeSet) -> FloatArray:
        """What a set of edges says of every pair, by absolute value where it is signed; perturbations x candidates."""
        return oriented(one, self.screen.gene, self.genes, self.direction)

    def counted(self, *, min_positives: int, min_candidates: int) -> BoolArray:
        """Perturbations with enough responders, not all of them responding, among enough candidates."""
        n_pos, n = (self.labels == 1).sum(axis=1), (self.labels >= 0).sum(axis=1)
        enough: BoolArray = (n_pos >= min_positives) & (n >= min_candidates) & (n_pos < n)
        return enough

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {one.name: one.params for one in self.sets}


def read_pairs(
    adata: AnnData,
    edges: EdgesLike,
    *,
    effects: str = "perturbation",
    direction: Direction = "source",
    allow_different_cells: bool = False,
) -> ScreenPairs:
    """
    Read what a comparison of edges with gene features is made from.

    Raises what the readers of edges, effects and features raise; a pair without a label, a feature or a score in any
    of the sets takes no part in any comparison.
    """
    found = gather_edges(adata, edges, companions=False)
    require_same_cells(adata, found.sets, features=True, allow=allow_different_cells)
    features = gene_features(adata)
    panel = panel_of(adata, found.sets)
    screen = read_screen(adata, effects, panel)
    labels = np.where(screen.scorable[:, None], screen.labels, np.int8(-1))
    labels[:, np.isnan(features[panel]).any(axis=1)] = -1
    for one in found.sets:
        labels[np.isnan(oriented(one, screen.gene, panel, direction))] = -1
    return ScreenPairs(
        screen=screen,
        sets=found.sets,
        genes=panel,
        labels=labels,
        features=features[panel],
        leaks={one.name: saw_perturbed_cells(adata, one.params, screen) for one in found.sets},
        features_leak=saw_perturbed_cells(adata, feature_params(adata), screen),
        direction=direction,
    )


def oriented(one: EdgeSet, sources: IntArray, targets: IntArray, direction: Direction = "source") -> FloatArray:
    """
    Scores of pairs of genes, by their positions in ``adata.var`` (-1 for none), sources x targets.

    NaN where the set has no edge; magnitudes where it is signed. ``source`` reads the edge from the source, ``target``
    that to it, ``mean`` and ``max`` both.
    """
    if direction in {"mean", "max"}:
        forward, backward = (oriented(one, sources, targets, way) for way in ("source", "target"))
        return np.maximum(forward, backward) if direction == "max" else (forward + backward) / 2
    values = one.edges.values if direction == "source" else one.edges.values.T
    place = np.full(max(int(part.max(initial=-1)) for part in (one.edges.genes, sources, targets)) + 2, -1)
    place[one.edges.genes] = np.arange(len(one.edges.genes))
    rows, columns = place[sources], place[targets]
    everything = np.array_equal(rows, np.arange(len(values))) and np.array_equal(columns, rows)
    scores: FloatArray = (values if everything else values[np.ix_(rows, columns)]).astype(np.float64)
    scores[rows < 0] = np.nan
    scores[:, columns < 0] = np.nan
    return np.abs(scores, out=scores) if one.is_signed else scores
