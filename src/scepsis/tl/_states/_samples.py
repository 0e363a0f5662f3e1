"""Nested samples of cells: of any composition, of a fixed one, or of more and more types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import IntArray

Composition = Literal["random", "fixed", "varied"]


@dataclass(frozen=True)
class Sample:
    """Cells of one point of a curve."""

    #: Rows of the data, ascending.
    rows: IntArray
    #: Cells asked for.
    n_cells: int
    n_types: int
    #: Shannon entropy of the types, in nats; NaN without types.
    entropy: float


def sample(rows: IntArray, types: IntArray | None, chosen: IntArray, n_cells: int) -> Sample:
    """Describe a sample; `types` of all of `rows`, `chosen` are positions among them."""
    chosen = np.sort(chosen)
    if types is None:
        return Sample(rows[chosen], n_cells, 0, np.nan)
    counts = np.bincount(types[chosen][types[chosen] >= 0])
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return Sample(rows[chosen], n_cells, len(shares), float(-(shares * np.log(shares)).sum()))


def growing(
    rows: IntArray, types: IntArray | None, sizes: list[int], rng: np.random.Generator, *, fixed: bool
) -> list[Sample]:
    """Each sample holds the smaller ones; with `fixed`, every one has the types in the proportions of all cells."""
    order = rng.permutation(len(rows))
    if not fixed or types is None:
        return [sample(rows, types, order[:n], n) for n in sizes if n <= len(rows)]
    # Cells take turns so that every prefix has the proportions of the whole, as nearly as whole cells can.
    turn = np.empty(len(rows))
    for one in np.unique(types):
        of_type = order[types[order] == one]
        turn[of_type] = (np.arange(len(of_type)) + 0.5) / len(of_type)
    fair = order[np.argsort(turn[order], kind="stable")]
    return [sample(rows, types, fair[:n], n) for n in sizes if n <= len(rows)]


def more_types(
    rows: IntArray, types: IntArray, n_cells: int, rng: np.random.Generator
) -> tuple[list[Sample], list[int]]:
    """As many cells of 1, 2, ... types, in equal parts; and the numbers of types for which there are too few cells."""
    kinds = rng.permutation(np.unique(types[types >= 0]))
    order = rng.permutation(len(rows))
    samples, missing = [], []
    for n_types in range(1, len(kinds) + 1):
        sizes = np.diff(np.round(np.linspace(0, n_cells, n_types + 1)).astype(int))
        members = [order[types[order] == kind] for kind in kinds[:n_types]]
        if any(len(one) < size for one, size in zip(members, sizes, strict=True)):
            missing.append(n_types)
            continue
        chosen = np.concatenate([one[:size] for one, size in zip(members, sizes, strict=True)])
        samples.append(sample(rows, types, chosen, n_cells))
    return samples, missing
