"""Cells laid out for extraction: which tokens are of the panel, where they stand, who is batched with whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Sized

    from scepsis._core._types import IntArray
    from scepsis.models import Tokens

CellT = TypeVar("CellT", bound="Sized")
#: Tokens per batch when no batch size is given: enough to fill the matrix kernels of a CPU.
_TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class Cell:
    """One cell, its tokens in the order in which the model will get them."""

    tokens: Tokens
    #: The order: positions in the model's own order, which are the ranks.
    order: IntArray
    #: Where in that order the panel's genes stand; their positions in the panel, ascending.
    at: IntArray
    genes: IntArray
    group: int

    def __len__(self) -> int:
        return len(self.order)

    @property
    def ranks(self) -> IntArray:
        """Rank of each of the panel's genes."""
        return self.order[self.at]


def arrange(tokens: Tokens, place: IntArray, group: int, *, causal: bool) -> Cell:
    """
    Lay out one cell; `place` is the position in the panel by token id, -1 for none.

    Where attention does not depend on order, genes of the panel come first, sorted: what is read is then one
    contiguous block, and adding it up goes through memory in order. A causal model needs its own order.
    """
    genes = place[tokens.ids]
    found = np.flatnonzero(genes >= 0)
    found = found[np.argsort(genes[found])]
    if causal:
        return Cell(tokens, np.arange(len(genes)), found, genes[found], group)
    order = np.concatenate([found, np.flatnonzero(genes < 0)])
    return Cell(tokens, order, np.arange(len(found)), genes[found], group)


def batches(cells: Sequence[CellT], batch_size: int | None) -> Iterator[list[CellT]]:
    """Cells of like length together, so that little is padded."""
    waiting: list[CellT] = []
    for cell in sorted(cells, key=lambda cell: -len(cell)):
        most = batch_size or max(1, _TOKENS_PER_BATCH // len((waiting or [cell])[0]))
        if len(waiting) >= most:
            yield waiting
            waiting = []
        waiting.append(cell)
    if waiting:
        yield waiting


def run_halving(cells: Sequence[CellT], run: Callable[[Sequence[CellT]], object]) -> None:
    """Run cells together; where memory runs out, half of them at a time."""
    try:
        run(cells)
        return
    except torch.OutOfMemoryError:
        if len(cells) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(cells) // 2
    run_halving(cells[:half], run)
    run_halving(cells[half:], run)
