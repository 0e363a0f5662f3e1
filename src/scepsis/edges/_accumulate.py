"""Sums over cells that add up: across batches, files and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scepsis.models._protocol import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scepsis._core._types import FloatArray, Head, IntArray, Scale
    from scepsis.edges._cells import Cell


@dataclass(frozen=True)
class Plan:
    """What is summed: one map per layer (mean over its heads), or one per head asked for."""

    n_genes: int
    layers: tuple[int, ...]
    heads: tuple[Head, ...] = ()
    scales: tuple[Scale, ...] = ("probability",)
    n_groups: int = 1
    #: Positions in the panel of the genes whose rows are kept, ascending; all of them when empty.
    sources: tuple[int, ...] = ()

    @property
    def n_maps(self) -> int:
        return len(self.heads) or len(self.layers)

    @property
    def n_sources(self) -> int:
        return len(self.sources) or self.n_genes

    def maps_of(self, layer: int) -> tuple[list[int], list[int]]:
        """Maps that a layer goes into, and the head that each takes (0, the mean, without heads)."""
        if not self.heads:
            return [self.layers.index(layer)], [0]
        wanted = [(index, head) for index, (at, head) in enumerate(self.heads) if at == layer]
        return [index for index, _ in wanted], [head for _, head in wanted]

    def row_of_gene(self) -> IntArray:
        """Row of every gene of the panel among the sources, -1 for none."""
        rows = np.full(self.n_genes, -1)
        rows[list(self.sources) or slice(None)] = np.arange(self.n_sources)
        return rows

    @property
    def n_bytes(self) -> int:
        """Memory of the sums and the pair counts."""
        return self.n_groups * self.n_sources * self.n_genes * (8 * self.n_maps * len(self.scales) + 4)

    def new_sums(self, device: torch.device | str = "cpu") -> AttentionSums:
        """Sums over no cells."""
        return AttentionSums(self, device)


class AttentionSums:
    """
    Sums of attention over the cells in which a pair was evaluated, and how many those are.

    Double precision, so that the order of cells moves a mean by less than 1e-6 of its size.
    """

    def __init__(self, plan: Plan, device: torch.device | str = "cpu") -> None:
        self.plan = plan
        shape = (plan.n_groups, len(plan.scales), plan.n_maps, plan.n_sources * plan.n_genes)
        self.sums = torch.zeros(shape, dtype=torch.float64, device=device)
        #: Single precision counts exactly up to 16 million cells.
        self.n_cells = torch.zeros(plan.n_groups, plan.n_sources, plan.n_genes, dtype=torch.float32, device=device)
        self.rank_sum = np.zeros(plan.n_genes)
        self.rank_n = np.zeros(plan.n_genes, dtype=np.int64)
        #: Cells without tokens, cells cut at the model's length, and tokens.
        self.totals = np.zeros(3, dtype=np.int64)

    def note(self, cells: Sequence[Cell], n_without_tokens: int, *, causal: bool) -> None:
        """Everything about a block of cells that does not depend on attention: pairs, ranks, lengths."""
        self.totals += n_without_tokens, sum(cell.tokens.cut for cell in cells), sum(map(len, cells))
        for cell in cells:
            self.rank_sum[cell.genes] += cell.ranks
            self.rank_n[cell.genes] += 1
        if causal:
            self._count_visible(cells)
        else:
            self._count_together(cells)

    def _count_together(self, cells: Sequence[Cell]) -> None:
        sources = list(self.plan.sources) or slice(None)
        for group in {cell.group for cell in cells}:
            members = [cell for cell in cells if cell.group == group]
            present = np.zeros((len(members), self.plan.n_genes), dtype=np.float32)
            for row, cell in enumerate(members):
                present[row, cell.genes] = 1.0
            block = place(present, self.n_cells.device)
            self.n_cells[group].addmm_(block[:, sources].T, block)

    def _count_visible(self, cells: Sequence[Cell]) -> None:
        """Pairs that a causal mask hides never enter the counts."""
        row_of_gene = self.plan.row_of_gene()
        for cell in cells:
            here = np.flatnonzero(row_of_gene[cell.genes] >= 0)
            visible = (cell.ranks[None] <= cell.ranks[here, None]).astype(np.float32)
            flat = row_of_gene[cell.genes[here]][:, None] * self.plan.n_genes + cell.genes
            counts = self.n_cells[cell.group].view(-1)
            counts.index_add_(0, place(flat.ravel(), counts.device), place(visible.ravel(), counts.device))

    def add(
        self, group: int, scale: int, maps: Sequence[int], pairs: torch.Tensor | None, blocks: torch.Tensor
    ) -> None:
        """
        Add one cell's blocks (maps x rows x columns) at the flat positions of their pairs, or at all of them.

        No position occurs twice in `pairs`, so no two additions of one call meet: the result is the same in every
        run, on a GPU too.
        """
        for index, block in zip(maps, blocks.reshape(len(maps), -1), strict=True):
            sums = self.sums[group, scale, index]
            if pairs is None:
                sums += block
            else:
                sums.index_add_(0, pairs, block.double())

    def merge(self, other: AttentionSums) -> None:
        """Add the sums of other cells."""
        if other.plan != self.plan:
            msg = "Sums made for different genes, layers, heads, scales or groups do not add up."
            raise ValueError(msg)
        self.sums += other.sums.to(self.sums.device)
        self.n_cells += other.n_cells.to(self.n_cells.device)
        self.rank_sum += other.rank_sum
        self.rank_n += other.rank_n
        self.totals += other.totals

    def pair_counts(self, group: int | None = None) -> IntArray:
        """Cells behind each pair, of one group or of all; genes x genes, 0 in rows that were not kept."""
        counts = self.n_cells.sum(dim=0) if group is None else self.n_cells[group]
        return self._spread(counts.cpu().numpy().astype(np.int32), 0)

    def mean(self, index: int | None, scale: int, group: int | None = None) -> FloatArray:
        """
        Mean over the cells of each pair, genes x genes, single precision; over all maps without `index`.

        NaN on the diagonal, where no cell is, and in rows that were not kept.
        """
        groups = slice(None) if group is None else slice(group, group + 1)
        maps = slice(None) if index is None else slice(index, index + 1)
        chosen = self.sums[groups, scale, maps]
        counts = self.n_cells[groups].sum(dim=0).double() * chosen.shape[1]
        # Where no cell is, 0 / 0 is the NaN that is meant.
        means = (chosen.sum(dim=(0, 1)).view_as(counts) / counts).float().cpu().numpy()
        result = self._spread(means, np.nan)
        np.fill_diagonal(result, np.nan)
        return result

    def mean_rank(self) -> FloatArray:
        """Mean 0-based rank of every gene's token over the cells that have it; NaN for a gene that is never a token."""
        result = np.full(self.plan.n_genes, np.nan, dtype=np.float32)
        np.divide(self.rank_sum, self.rank_n, out=result, where=self.rank_n > 0, casting="same_kind")
        return result

    def _spread(self, rows: NDArray[Any], fill: float) -> NDArray[Any]:
        if not self.plan.sources:
            return rows
        result = np.full((self.plan.n_genes, self.plan.n_genes), fill, dtype=rows.dtype)
        result[list(self.plan.sources)] = rows
        return result
