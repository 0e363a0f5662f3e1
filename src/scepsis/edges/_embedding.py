"""Cells as a model sees them: hidden states after the last layer, pooled over tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from scepsis.edges._attention import overflow
from scepsis.edges._cells import Batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import IntArray
    from scepsis.models import AttentionModel, Batch, Tokens


@dataclass(frozen=True)
class _Cell:
    #: Its row in the result.
    row: int
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.tokens.ids)


@dataclass(frozen=True)
class Embedding:
    """Vectors of cells, in the order of the data."""

    #: Cells x width, single precision; NaN for a cell without tokens. Without width when no cell has any.
    values: NDArray[np.float32]
    n_without_tokens: int
    n_truncated: int


def embed(
    model: AttentionModel,
    blocks: Iterable[tuple[IntArray, sparse.csr_matrix, NDArray[np.uint64]]],
    *,
    n_cells: int,
    tokens: IntArray,
    batch_size: int | None = None,
    on_cells: Callable[[int], object] = lambda _: None,
) -> Embedding:
    """
    Embed blocks of cells: rows in the result, raw counts, and a number per cell for whatever is drawn.

    Cells of like length in one block go through the model together, and come back to their own rows.
    """
    values = np.empty((n_cells, 0), dtype=np.float32)
    n_without = n_truncated = 0
    batches = Batches(batch_size, model.device)

    def run(cells: Sequence[_Cell]) -> None:
        nonlocal values
        batch = model.batch([cell.tokens for cell in cells], [np.arange(len(cell)) for cell in cells])
        pooled = pool(model, model.forward(batch), batch)
        if model.dtype == torch.float16 and not pooled.isfinite().all():
            raise overflow(model, "embedding")
        if not values.shape[1]:  # the first batch tells how wide the model is
            values = np.full((n_cells, pooled.shape[1]), np.nan, dtype=np.float32)
        values[[cell.row for cell in cells]] = pooled.cpu().numpy()

    for rows, counts, seeds in blocks:
        encoded = model.tokenize(counts, tokens, seeds)
        cells = [_Cell(int(row), one) for row, one in zip(rows, encoded, strict=True) if len(one.ids)]
        n_without += len(encoded) - len(cells)
        n_truncated += sum(one.cut for one in encoded)
        on_cells(len(encoded) - len(cells))
        for members in batches.run(cells, run):
            on_cells(len(members))
    return Embedding(values, n_without, n_truncated)


def pool(model: AttentionModel, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """One vector per cell, in single precision: that of ``<cls>``, or the mean over gene tokens, as the family does."""
    special = model.vocabulary.special
    if model.cls_pooling:
        chosen = batch.ids == special["<cls>"]
    else:
        specials = torch.tensor(list(special.values()), device=batch.ids.device)
        chosen = batch.mask.bool() & ~torch.isin(batch.ids, specials)
    picked = hidden.float().masked_fill(~chosen[..., None], 0.0)
    return picked.sum(1) / chosen.sum(1, keepdim=True)
