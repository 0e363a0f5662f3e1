"""What the training of small models on a CPU has in common, whatever their family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence, Sized

Cell = TypeVar("Cell", bound="Sized")
Copy = TypeVar("Copy", bound="Sized")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained."""

    n_layers: int = 2
    n_heads: int = 4
    width: int = 64
    feed_forward: int = 128
    max_positions: int = 256
    batch_size: int = 32
    n_passes: int = 10
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    #: Share of a cell's genes to be predicted, and what stands in their place: <mask>, a random gene, themselves.
    masked: float = 0.30
    replaced: tuple[float, float, float] = (0.50, 0.25, 0.25)
    #: Copies of the training cells with every count drawn anew from a Gamma of that shape; 0 trains on plain counts.
    n_dithered: int = 4
    #: Genes of a cell that a step sees, drawn anew each time; None shows it whole.
    longest: int | None = None


def permuted_within_depth(
    counts: sparse.csr_matrix, rng: np.random.Generator, *, n_bins: int = 20
) -> sparse.csr_matrix:
    """Permute every gene over the cells of similar depth: what is left is depth and the genes' own distributions."""
    dense = counts.toarray()
    order = np.argsort(dense.sum(axis=1), kind="stable")
    for cells in np.array_split(order, n_bins):
        dense[cells] = rng.permuted(dense[cells], axis=0)
    return sparse.csr_matrix(dense)


def fixed_masks(cells: Sequence[Sized], seed: int, *, share: float = 0.15) -> list[np.ndarray]:
    """Positions that are hidden when a loss is measured: the same for every model."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(len(cell))[: max(1, round(share * len(cell)))] for cell in cells]


def fit(
    model: torch.nn.Module,
    one_pass: Callable[[Copy], Iterable[torch.Tensor]],
    copies: Sequence[Copy],
    recipe: Recipe,
    *,
    say: str = "",
) -> int:
    """Follow the losses that `one_pass` yields over a copy of the cells, one copy per pass in turn; count the steps."""
    n_steps = recipe.n_passes * -(-len(copies[0]) // recipe.batch_size)
    optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), lr=recipe.learning_rate)
    warm = max(1, round(recipe.warmup * n_steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max(0.0, (n_steps - step) / (n_steps - warm)))
    )
    model.train()
    step, running = 0, 0.0
    for number in range(recipe.n_passes):
        for loss in one_pass(copies[number % len(copies)]):
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()
            step, running = step + 1, 0.98 * running + 0.02 * float(loss.detach())
        if say:
            print(f"{say}: pass {number + 1}, step {step}, loss {running / (1 - 0.98**step):.3f}", flush=True)
    model.eval()
    return step


def _groups(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights of maps and embeddings decay; biases and those of normalisation do not."""
    parameters = list(model.parameters())
    return [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]


def batches(cells: Sequence[Cell], size: int, rng: np.random.Generator) -> Iterator[list[Cell]]:
    """Cells of similar length together, batches in random order."""
    jitter = rng.normal(0.0, 5.0, len(cells))
    order = np.argsort(np.array([len(cell) for cell in cells]) + jitter, kind="stable")
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    for position in rng.permutation(len(chunks)):
        yield [cells[index] for index in chunks[position]]
