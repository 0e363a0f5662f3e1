"""Likeness of what two genes take from a cell: their contexts, which is attention applied to values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from scepsis.edges._accumulate import AttentionSums, Plan
from scepsis.edges._attention import Extraction, to_batch
from scepsis.edges._readers import from_outputs
from scepsis.models._protocol import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray, Variant
    from scepsis.edges._cells import Cell


@dataclass(frozen=True)
class ContextPlan(Plan):
    """What is summed over contexts: one map per layer for pairs of genes, or one context per layer and gene."""

    variant: Variant = "cosine"
    #: Whether the mean context of the cell's genes is taken away first.
    center: bool = False
    n_heads: int = 1
    head_size: int = 1

    @property
    def width(self) -> int:
        """Numbers summed per gene: its row of pairs, or its context."""
        return self.n_heads * self.head_size if self.variant == "centroid" else self.n_genes

    @property
    def n_bytes(self) -> int:
        return self.n_genes * (8 * self.n_maps * self.width + 4 * self.n_genes)

    def new_sums(self, device: torch.device | str = "cpu") -> ContextSums:
        return ContextSums(self, device)


class ContextSums(AttentionSums):
    """Sums over the cells in which both genes of a pair are tokens; which of them sees the other does not matter."""

    plan: ContextPlan

    def __init__(self, plan: ContextPlan, device: torch.device | str = "cpu") -> None:
        super().__init__(plan, device)
        if plan.variant == "centroid":
            self.sums = torch.zeros(1, 1, plan.n_maps, plan.n_genes * plan.width, dtype=torch.float64, device=device)

    def note(self, cells: Sequence[Cell], n_without_tokens: int, *, causal: bool) -> None:
        del causal
        super().note(cells, n_without_tokens, causal=False)

    def mean(self, index: int | None, scale: int = 0, group: int | None = None) -> FloatArray:
        """
        Edges, genes x genes, single precision; their mean over layers without `index`.

        NaN on the diagonal, where no cell is, and where a context has no length.
        """
        if self.plan.variant != "centroid":
            return super().mean(index, scale, group)
        layers = range(self.plan.n_maps) if index is None else [index]
        result: FloatArray = np.mean([self._centroid_cosine(layer) for layer in layers], axis=0, dtype=np.float32)
        np.fill_diagonal(result, np.nan)
        return result

    def _centroid_cosine(self, index: int) -> FloatArray:
        # A mean points where its sum points: no division, and a gene without cells has no length.
        contexts = self.sums[0, 0, index].view(self.plan.n_genes, self.plan.n_heads, self.plan.head_size)
        return likeness(contexts, "cosine").float().cpu().numpy()


class ContextExtraction(Extraction):
    """Sums over the contexts of a panel's genes; arguments and use are those of attention's."""

    plan: ContextPlan
    what = "context"

    @torch.no_grad()
    def _run(self, cells: Sequence[Cell], done: set[tuple[int, int]]) -> None:
        batch = to_batch(self.model, cells)

        def on_layer(layer: int, contexts: torch.Tensor) -> None:
            for cell, context in zip(cells, contexts, strict=True):
                if (layer, id(cell)) not in done:
                    self._add_contexts(layer, cell, context[batch.offset : batch.offset + len(cell)])
                    done.add((layer, id(cell)))

        from_outputs(self.model, batch, self.plan.layers, on_layer)

    def _add_contexts(self, layer: int, cell: Cell, context: torch.Tensor) -> None:
        """`context` is that of the cell's genes, in their order in the batch."""
        plan, device = self.plan, context.device
        precise = context.to(torch.promote_types(context.dtype, torch.float32))
        self._watch(layer, precise)
        if plan.center:
            precise = precise - precise.mean(0)
        at, genes = place(cell.at, device), place(cell.genes, device)
        own, index = precise[at], plan.layers.index(layer)
        if plan.variant == "centroid":
            self.sums.sums[0, 0, index].view(plan.n_genes, -1).index_add_(0, genes, own.double())
        else:
            block = likeness(own.view(len(own), plan.n_heads, plan.head_size), plan.variant)
            flat = (genes[:, None] * plan.n_genes + genes).view(-1)
            self.sums.add(0, 0, [index], flat, block[None])


def likeness(contexts: torch.Tensor, variant: Literal["cosine", "dot"]) -> torch.Tensor:
    """
    Cosine or dot product between contexts (genes x heads x size) of every two genes, averaged over heads.

    The cosine is NaN for a gene whose context has no length in some head.
    """
    if variant == "cosine":
        # Dividing by the largest entry first keeps squares of small numbers from vanishing.
        contexts = contexts / contexts.abs().amax(-1, keepdim=True)
        contexts = contexts / contexts.norm(dim=-1, keepdim=True)
    flat = contexts.flatten(1)
    products = flat @ flat.T / contexts.shape[1]
    return products.clamp_(-1, 1) if variant == "cosine" else products
