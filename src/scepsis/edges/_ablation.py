"""Attention at some layers of the same cells under one intervention after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from scepsis.edges._accumulate import Plan
from scepsis.edges._attention import Extraction, to_batch
from scepsis.edges._panel import panel_attention
from scepsis.models._prefix import cached_prefix
from scepsis.models._protocol import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray, IntArray
    from scepsis.edges._attention import _Target
    from scepsis.edges._cells import Cell
    from scepsis.models import AttentionModel, Batch, Intervention


class Ablation(Extraction):
    """
    Reads attention at some layers without an intervention, head by head, and under each of several.

    Layers below the lowest one that is touched are not run again for interventions that begin at the same layer.

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

    @torch.no_grad()
    def _run(self, cells: Sequence[Cell], done: set[tuple[int, int]]) -> None:
        batch = to_batch(self.model, cells)
        targets = self._targets(batch, cells)
        # Runs that begin at one layer share what lies below it, the one without an intervention those of the most.
        groups: dict[int, list[int]] = {}
        for number, one in enumerate(self.interventions):
            groups.setdefault(one.lowest, []).append(number)
        is_first = True
        for lowest, numbers in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            with cached_prefix(self.model, lowest):
                if is_first:
                    self._read(batch, cells, targets, self._add, done)
                for number in numbers:
                    self._treat(number, self.interventions[number], batch, cells, targets, done)
            is_first = False

    def _treat(
        self,
        number: int,
        intervention: Intervention,
        batch: Batch,
        cells: Sequence[Cell],
        targets: Sequence[_Target | None],
        done: set[tuple[int, int]],
    ) -> None:
        """Read a batch under an intervention; what is done is told apart from other runs by the layer's number."""
        offset = (number + 1) * self.model.n_layers
        own = {(layer - offset, cell) for layer, cell in done if 0 <= layer - offset < self.model.n_layers}

        def add(
            layer: int, target: _Target, query: torch.Tensor, key: torch.Tensor, log_sum: torch.Tensor | None
        ) -> None:
            self._add_treated(number, layer, target, query, key, log_sum)

        try:
            with self.model.intervene(intervention):
                self._read(batch, cells, targets, add, own)
        finally:
            done |= {(layer + offset, cell) for layer, cell in own}

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
        sums: FloatArray = self.treated[number, self.plan.layers.index(layer)].view(self._shape).cpu().numpy()
        return sums

    @property
    def _shape(self) -> tuple[int, int]:
        return self.plan.n_sources, self.plan.n_genes


def kept_heads(intervention: Intervention | None, layer: int, n_heads: int) -> list[int]:
    """Heads of a layer that an intervention does not name; all of them where it names none, or all."""
    named = set() if intervention is None else {head for at, head in intervention.heads if at == layer}
    return [head for head in range(n_heads) if head not in named] or list(range(n_heads))
