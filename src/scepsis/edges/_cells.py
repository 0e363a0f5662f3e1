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
#: Tokens per batch when no batch size is given: enough to keep the matrix kernels of a device busy.
_TOKENS_PER_BATCH = {"cpu": 8192, "cuda": 131_072}


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


class Batches:
    """
    Runs cells in batches, and learns how many fit.

    Parameters
    ----------
    size
        Cells per batch; without it as many as make about `tokens`, or 8,192 on a CPU and 131,072 on a GPU.
    device
        Where batches are run.
    """

    def __init__(self, size: int | None, device: torch.device, *, tokens: int | None = None) -> None:
        self.size = size
        self.tokens = tokens or _TOKENS_PER_BATCH.get(device.type, _TOKENS_PER_BATCH["cuda"])

    def run(self, cells: Sequence[CellT], run: Callable[[Sequence[CellT]], object]) -> Iterator[Sequence[CellT]]:
        """Run all cells, those of like length together so that little is padded; yield each batch when it is done."""
        waiting = sorted(cells, key=lambda cell: -len(cell))
        while waiting:
            most = self.size or max(1, self.tokens // max(1, len(waiting[0])))
            members, waiting = waiting[:most], waiting[most:]
            self._halving(members, run)
            yield members

    def _halving(self, cells: Sequence[CellT], run: Callable[[Sequence[CellT]], object]) -> None:
        """Where memory runs out, take half of the cells, now and from then on."""
        try:
            run(cells)
            return
        except torch.OutOfMemoryError:
            if len(cells) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(cells) // 2
        self.size = half
        self._halving(cells[:half], run)
        self._halving(cells[half:], run)
