"""Sums over cells that add up: across batches, files and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray, Head, IntArray, Scale


@dataclass(frozen=True)
class Plan:
    """What is summed: one map per layer (mean over its heads), or one per head asked for."""

    n_genes: int
    layers: tuple[int, ...]
    heads: tuple[Head, ...] = ()
    scales: tuple[Scale, ...] = ("probability",)
    n_groups: int = 1

    @property
    def n_maps(self) -> int:
        return len(self.heads) or len(self.layers)

    def heads_of(self, layer: int) -> list[tuple[int, int]]:
        """Give ``(map, head)`` for the heads asked for in a layer."""
        return [(index, head) for index, (at, head) in enumerate(self.heads) if at == layer]

    @property
    def n_bytes(self) -> int:
        """Memory of the sums and the pair counts."""
        return self.n_groups * self.n_genes**2 * (8 * self.n_maps * len(self.scales) + 4)


class AttentionSums:
    """
    Sums of attention over the cells in which a pair was evaluated, and how many those are.

    Double precision, so that the order of cells moves a mean by less than 1e-6 of its size.
    """

    def __init__(self, plan: Plan, device: torch.device | str = "cpu") -> None:
        self.plan = plan
        n = plan.n_genes
        self.sums = torch.zeros(plan.n_groups, plan.n_maps, len(plan.scales), n * n, dtype=torch.float64, device=device)
        #: Single precision counts exactly up to 16 million cells.
        self.n_cells = torch.zeros(plan.n_groups, n, n, dtype=torch.float32, device=device)
        self.rank_sum = np.zeros(n)
        self.rank_n = np.zeros(n, dtype=np.int64)
        self.n_skipped = 0
        self.n_truncated = 0
        self.n_tokens = 0

    def count(self, genes: Sequence[IntArray], groups: IntArray) -> None:
        """Count the pairs that are tokens together, for a block of cells."""
        for group in np.unique(groups):
            members = [cell for cell, at in zip(genes, groups, strict=True) if at == group]
            present = np.zeros((len(members), self.plan.n_genes), dtype=np.float32)
            for row, cell in enumerate(members):
                present[row, cell] = 1.0
            block = torch.from_numpy(present).to(self.n_cells.device)
            self.n_cells[int(group)].addmm_(block.T, block)

    def add(self, group: int, index: int, scale: int, flat: torch.Tensor, block: torch.Tensor) -> None:
        """Add one cell's panel block at the flat positions of its gene pairs."""
        self.sums[group, index, scale].index_add_(0, flat, block.reshape(-1).double())

    def merge(self, other: AttentionSums) -> None:
        """Add the sums of other cells."""
        if other.plan != self.plan:
            msg = "Sums made for different genes, layers, heads, scales or groups do not add up."
            raise ValueError(msg)
        self.sums += other.sums.to(self.sums.device)
        self.n_cells += other.n_cells.to(self.n_cells.device)
        self.rank_sum += other.rank_sum
        self.rank_n += other.rank_n
        self.n_skipped += other.n_skipped
        self.n_truncated += other.n_truncated
        self.n_tokens += other.n_tokens

    def pair_counts(self, group: int | None = None) -> IntArray:
        """Cells behind each pair, of one group or of all."""
        counts = self.n_cells.sum(dim=0) if group is None else self.n_cells[group]
        return counts.cpu().numpy().astype(np.int32)

    def mean(self, index: int | None, scale: int, group: int | None = None) -> FloatArray:
        """Mean over the cells of each pair; over all maps without `index`; NaN on the diagonal and where no cell is."""
        sums = self.sums[:, :, scale] if index is None else self.sums[:, [index], scale]
        sums = sums if group is None else sums[[group]]
        total = sums.sum(dim=(0, 1)) / sums.shape[1]
        n = self.plan.n_genes
        counts = self.pair_counts(group)
        result = np.full((n, n), np.nan, dtype=np.float32)
        np.divide(total.view(n, n).cpu().numpy(), counts, out=result, where=counts > 0, casting="same_kind")
        np.fill_diagonal(result, np.nan)
        return result

    def mean_rank(self) -> FloatArray:
        """Mean 0-based rank of every gene's token over the cells that have it; NaN for a gene that is never a token."""
        result = np.full(self.plan.n_genes, np.nan, dtype=np.float32)
        np.divide(self.rank_sum, self.rank_n, out=result, where=self.rank_n > 0, casting="same_kind")
        return result
