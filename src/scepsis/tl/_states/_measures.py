"""What gives a network for a set of cells: correlation, attention, or a function of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import sparse

from scepsis._core._groups import Groups
from scepsis._core._match import tokens_for
from scepsis._core._panel_values import panel_values
from scepsis._core._resolve import Choice
from scepsis._core._values import lognorm
from scepsis.tl._shared._request import Maps, resolve_layer_rule
from scepsis.tl._shared._run import Run, owned_panel, source_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anndata import AnnData

    from scepsis._core._match import Match
    from scepsis._core._types import FloatArray, IntArray
    from scepsis._core._values import Values
    from scepsis.models import AttentionModel


class Measure(Protocol):
    """Gives networks among the genes of a panel."""

    #: Positions of the panel's genes in ``adata.var``.
    genes: IntArray
    #: Whether networks are scored by their absolute values.
    signed: bool
    #: What they are, for the record.
    scale: str

    def within(self, members: Sequence[IntArray]) -> Networks:
        """Networks of several sets of cells (rows of `adata`, ascending), none of which share a cell."""

    def record(self) -> dict[str, Any]:
        """What else is on record."""


class Networks(Protocol):
    """Networks of sets of cells, each made when it is asked for, or all of them in one pass."""

    def each(self, part: int | None = None) -> Iterator[FloatArray]:
        """One after the other; of a part (a layer of a model), or as a whole."""

    def pooled(self, part: int | None = None, of: Sequence[int] | None = None) -> FloatArray:
        """That of all of these cells together, or of the cells of some of the sets (by their numbers)."""


@dataclass
class ValueMeasure:
    """Something computed from log-normalised values, which are held sparse."""

    values: Values
    genes: IntArray
    #: Chosen cells, and their values among the panel.
    cells: IntArray
    matrix: sparse.csr_matrix
    #: Networks of several sets of rows of `matrix`.
    compute: Callable[[sparse.csr_matrix, Sequence[IntArray]], Iterator[FloatArray]]
    signed: bool = True
    scale: str = "correlation"
    #: Cells of a set that a gene must be seen in to have edges there.
    min_detected: int = 1

    @classmethod
    def of(
        cls,
        adata: AnnData,
        layer: str | None,
        cells: Choice,
        genes: Choice,
        compute: Callable[[sparse.csr_matrix, Sequence[IntArray]], Iterator[FloatArray]],
        scale: str,
        min_detected: int,
    ) -> ValueMeasure:
        values = lognorm(adata, layer)
        matrix = sparse.vstack(list(panel_values(values, cells.index, genes.index)), format="csr")
        matrix.eliminate_zeros()
        return cls(values, genes.index, cells.index, matrix, compute, scale=scale, min_detected=min_detected)

    def within(self, members: Sequence[IntArray]) -> Networks:
        return _ValueNetworks(self, [np.searchsorted(self.cells, rows) for rows in members])

    def record(self) -> dict[str, Any]:
        return {
            "values": self.values.slot,
            "lognormalized_on_reading": self.values.totals is not None,
            "min_detected": self.min_detected,
            "layer_rule": "single",
        }


@dataclass
class _ValueNetworks:
    measure: ValueMeasure
    members: list[IntArray]

    def each(self, part: int | None = None) -> Iterator[FloatArray]:
        return self._made(self.members)

    def pooled(self, part: int | None = None, of: Sequence[int] | None = None) -> FloatArray:
        chosen = self.members if of is None else [self.members[number] for number in of]
        return next(self._made([np.sort(np.concatenate(chosen))]))

    def _made(self, members: list[IntArray]) -> Iterator[FloatArray]:
        measure = self.measure
        for rows, network in zip(members, measure.compute(measure.matrix, members), strict=True):
            if measure.min_detected > 1:
                unseen = measure.matrix[rows].getnnz(axis=0) < measure.min_detected
                network[unseen] = np.nan
                network[:, unseen] = np.nan
            yield network


def correlation_of(method: Any) -> Callable[[sparse.csr_matrix, Sequence[IntArray]], Iterator[FloatArray]]:
    """Correlations of sets of cells."""
    from scepsis.edges._correlation import correlations_within

    return lambda matrix, members: correlations_within(matrix, members, method)


def own_score(
    function: Callable[[FloatArray], Any],
) -> Callable[[sparse.csr_matrix, Sequence[IntArray]], Iterator[FloatArray]]:
    """What a user's function says of the values (cells x genes) of sets of cells."""

    def compute(matrix: sparse.csr_matrix, members: Sequence[IntArray]) -> Iterator[FloatArray]:
        for rows in members:
            given = np.asarray(function(matrix[rows].toarray()))
            n_genes = matrix.shape[1]
            if given.shape != (n_genes, n_genes) or given.dtype.kind not in "fiub":
                msg = (
                    f"`score` must give a numeric array of genes x genes, ({n_genes}, {n_genes}) here, for the values "
                    f"of a stratum; it gave {given.dtype} of shape {given.shape}."
                )
                raise ValueError(msg)
            network = given.astype(np.float32)
            np.fill_diagonal(network, np.nan)
            yield network

    return compute


@dataclass
class AttentionMeasure:
    """Attention of a model, read in one pass for all sets of cells."""

    adata: AnnData
    model: AttentionModel
    maps: Maps
    match: Match
    genes: IntArray
    rows: tuple[int, ...]
    seed: int
    show: bool = False
    signed: bool = False
    scale: str = "probability"
    #: What the latest pass puts on record.
    said: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        adata: AnnData,
        model: AttentionModel,
        layers: int | Sequence[int] | None,
        genes: Choice,
        *,
        sources: Sequence[str] | None,
        seed: int,
        show: bool,
    ) -> AttentionMeasure:
        match = tokens_for(adata, model)
        panel = owned_panel(match, genes)
        rows = source_positions(adata, panel, sources)
        return cls(adata, model, Maps.of(model, layers, None), match, panel, rows, seed, show)

    def run(self, members: Sequence[IntArray]) -> Run:
        """The pass over these sets of cells."""
        from scepsis.edges._accumulate import Plan

        codes = np.full(self.adata.n_obs, -1)
        for code, rows in enumerate(members):
            codes[rows] = code
        plan = Plan(len(self.genes), self.maps.layers, (), ("probability",), len(members), self.rows)
        groups = Groups(codes, tuple(map(str, range(len(members)))))
        cells = Choice(codes >= 0, None)
        return Run(self.adata, self.model, cells, groups, self.match, self.genes, plan, self.seed)

    def within(self, members: Sequence[IntArray]) -> Networks:
        run = self.run(members)
        sums = run.extract(show=self.show)
        self.said = run.record(sums)
        return _AttentionNetworks(sums, len(members))

    def record(self) -> dict[str, Any]:
        return self.said | {"layer_rule": resolve_layer_rule(self.adata, self.model, self.maps, None)}


@dataclass
class _AttentionNetworks:
    sums: Any
    n_sets: int

    def each(self, part: int | None = None) -> Iterator[FloatArray]:
        return (self.sums.mean(part, 0, code) for code in range(self.n_sets))

    def pooled(self, part: int | None = None, of: Sequence[int] | None = None) -> FloatArray:
        if of is None:
            matrix: FloatArray = self.sums.mean(part, 0)
            return matrix
        total, count = 0.0, 0
        for code in of:
            n_cells = self.sums.pair_counts(code)
            total = total + np.nan_to_num(self.sums.mean(part, 0, code).astype(np.float64)) * n_cells
            count = count + n_cells
        together: FloatArray = np.divide(
            total, count, out=np.full(np.shape(count), np.nan), where=np.asarray(count) > 0
        )
        np.fill_diagonal(together, np.nan)
        return together.astype(np.float32)
