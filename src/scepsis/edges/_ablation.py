"""Attention at some layers of the same cells under one intervention after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from scepsis.edges._accumulate import Plan
from scepsis.edges._attention import Extraction, to_batch
from scepsis.edges._fidelity import Comparison, States
from scepsis.edges._panel import panel_attention
from scepsis.models._prefix import cached_prefix
from scepsis.models._protocol import place
from scepsis.models._reach import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import FloatArray, IntArray
    from scepsis.edges._attention import _Target
    from scepsis.edges._cells import Cell
    from scepsis.edges._fidelity import Fidelity
    from scepsis.models import AttentionModel, Batch, Intervention

    _Add = Callable[[int, _Target, torch.Tensor, torch.Tensor, torch.Tensor | None], None]


@dataclass(frozen=True)
class _Run:
    """A batch, and what was read of it before memory ran out."""

    batch: Batch
    cells: Sequence[Cell]
    targets: Sequence[_Target | None]
    done: set[tuple[int, int]]


class Ablation(Extraction):
    """
    Reads attention at some layers without an intervention, head by head, and under each of several.

    Under an intervention a batch is run from the lowest layer that is touched to the highest that is read, and not at
    all where nothing that is read can be reached. Cells that are compared (:meth:`compare`) are run to their end: in
    the same passes, their hidden states and logits are held against those without the intervention.

    Where an intervention touches heads of a layer that is read, their maps are left out of its mean, and `without`
    leaves them out of the mean that it is compared with: what an intervention does *behind* a map says nothing of it.

    Parameters
    ----------
    model, tokens, panel, batch_size
        As for :class:`~scepsis.edges._attention.Extraction`.
    layers
        Layers that are read.
    sources
        Positions in the panel of the genes whose rows are read.
    interventions
        What is done, one after the other.
    """

    what = "attention under interventions"

    def __init__(
        self,
        model: AttentionModel,
        *,
        tokens: IntArray,
        panel: IntArray,
        layers: Sequence[int],
        sources: Sequence[int],
        interventions: Sequence[Intervention],
        batch_size: int | None = None,
    ) -> None:
        heads = tuple((layer, head) for layer in sorted(layers) for head in range(model.n_heads))
        plan = Plan(len(panel), tuple(sorted(layers)), heads, sources=tuple(sources))
        super().__init__(model, tokens=tokens, panel=panel, plan=plan, batch_size=batch_size)
        self.interventions = list(interventions)
        shape = (len(self.interventions), len(plan.layers), plan.n_sources * plan.n_genes)
        #: Sums of the mean over the heads that are left alone.
        self.treated = torch.zeros(shape, dtype=torch.float64, device=model.device)
        self._kept = [
            {layer: place(np.array(kept_heads(one, layer, model.n_heads)), model.device) for layer in plan.layers}
            for one in self.interventions
        ]
        self._comparison: Comparison | None = None
        self._compares = False

    def compare(
        self, counts: sparse.csr_matrix, seeds: NDArray[np.uint64], on_cells: Callable[[int], object] = int
    ) -> None:
        """Add a block of cells, and compare their hidden states and logits with and without each intervention too."""
        if self._comparison is None:
            self._comparison = Comparison(self.model, len(self.interventions))
        self._compares = True
        try:
            self.add(counts, np.zeros(counts.shape[0], dtype=np.int64), seeds, on_cells)
        finally:
            self._compares = False

    @property
    def fidelity(self) -> list[Fidelity]:
        """What each intervention moves in the cells that were compared; none where none were."""
        return [] if self._comparison is None else self._comparison.results()

    @torch.no_grad()
    def _run(self, cells: Sequence[Cell], done: set[tuple[int, int]]) -> None:
        batch = to_batch(self.model, cells)
        run = _Run(batch, cells, self._targets(batch, cells), done)
        found = []
        with cached_prefix(self.model, *{one.lowest for one in self.interventions}):
            intact = self._observe(run, self._add, self.plan.layers)
            for number, one in enumerate(self.interventions):
                layers = [layer for layer in self.plan.layers if reach(one, layer) != "no"]
                if intact is None and not layers:
                    continue
                with self.model.intervene(one):
                    states = self._treat(number, run, layers, None if intact is None else (one.lowest, intact))
                if intact is not None and states is not None and self._comparison is not None:
                    found.append(self._comparison.distances(intact, states))
        # Where memory runs out in a batch, none of it was added.
        if intact is not None and self._comparison is not None:
            self._comparison.add(cells, intact, found)

    def _observe(
        self, run: _Run, add: _Add, layers: Sequence[int], below: tuple[int, States] | None = None
    ) -> States | None:
        """Read some layers of a batch; where states are compared, run it to its end and watch them."""
        if not self._compares:
            self._read(run.batch, run.cells, run.targets, add, run.done, layers=layers)
            return None

        def whole() -> torch.Tensor:
            if not layers:
                return self.model.forward(run.batch)
            ends: list[torch.Tensor] = []
            self._read(run.batch, run.cells, run.targets, add, run.done, layers=layers, on_end=ends.append)
            return ends[-1]

        return States.of(self.model, run.batch, whole, below=below)

    def _treat(self, number: int, run: _Run, layers: Sequence[int], below: tuple[int, States] | None) -> States | None:
        """Observe a batch under an intervention; what is done is told apart from other runs by the layer's number."""
        offset = (number + 1) * self.model.n_layers
        own = {(layer - offset, cell) for layer, cell in run.done if 0 <= layer - offset < self.model.n_layers}
        try:
            return self._observe(replace(run, done=own), partial(self._add_treated, number), layers, below)
        finally:
            run.done.update((layer + offset, cell) for layer, cell in own)

    def _add_treated(
        self,
        number: int,
        layer: int,
        target: _Target,
        query: torch.Tensor,
        key: torch.Tensor,
        log_sum: torch.Tensor | None,
    ) -> None:
        heads = self._kept[number][layer]
        weights = panel_attention(
            query[heads],
            key[heads],
            target.n_tokens,
            rows=target.rows,
            columns=target.columns,
            log_sum=None if log_sum is None else log_sum[heads],
            causal=self.model.causal,
            scratch=self._scratch,
        )
        self._watch(layer, weights)
        block = weights.double().reshape(-1)
        sums = self.treated[number, self.plan.layers.index(layer)]
        if target.pairs is None:
            sums += block
        else:
            sums.index_add_(0, target.pairs, block)

    @property
    def n_cells(self) -> FloatArray:
        """Cells behind each pair, sources x genes."""
        counts: FloatArray = self.sums.n_cells.sum(dim=0).cpu().numpy()
        return counts

    def untouched(self, layer: int, without: Intervention | None = None) -> FloatArray:
        """Sum over cells of the mean over heads without any intervention, those that `without` touches left out."""
        kept = kept_heads(without, layer, self.model.n_heads)
        maps = [self.plan.heads.index((layer, head)) for head in kept]
        sums: FloatArray = self.sums.sums[0, 0, maps].mean(dim=0).view(self._shape).cpu().numpy()
        return sums

    def under(self, number: int, layer: int) -> FloatArray:
        """Sum over cells of the mean over heads that an intervention leaves alone, under it."""
        if reach(self.interventions[number], layer) == "no":
            return self.untouched(layer, self.interventions[number])
        sums: FloatArray = self.treated[number, self.plan.layers.index(layer)].view(self._shape).cpu().numpy()
        return sums

    @property
    def _shape(self) -> tuple[int, int]:
        return self.plan.n_sources, self.plan.n_genes


def kept_heads(intervention: Intervention | None, layer: int, n_heads: int) -> list[int]:
    """Heads of a layer that an intervention does not name; all of them where it names none, or all."""
    named = set() if intervention is None else {head for at, head in intervention.heads if at == layer}
    return [head for head in range(n_heads) if head not in named] or list(range(n_heads))
