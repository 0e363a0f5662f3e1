"""A game among components of a model: every coalition is played by every cell, neighbours from where they part."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from scepsis.edges._attention import overflow
from scepsis.edges._cells import Batches
from scepsis.edges._embedding import pool
from scepsis.edges._resume import Resumable
from scepsis.models._interventions import Intervention
from scepsis.models._protocol import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scepsis._core._types import BoolArray, FloatArray, Head, IntArray
    from scepsis.models import AttentionModel, Batch

Kind = Literal["heads", "mlps"]
Ablation = Literal["zero", "uniform"]


@dataclass(frozen=True)
class Component:
    """A part of a model that works, or does not."""

    label: str
    layer: int
    #: Its heads; none for an MLP.
    heads: tuple[Head, ...] = ()
    #: Number of the head where it is a single one, else -1.
    head: int = -1


def layers_of(model: AttentionModel, kind: Kind, layers: Sequence[int]) -> tuple[Component, ...]:
    """The heads of each layer, or its MLP; lowest layers first."""
    if kind == "mlps":
        return tuple(Component(f"L{layer}", layer) for layer in layers)
    heads = range(model.n_heads)
    return tuple(Component(f"L{layer}", layer, tuple((layer, head) for head in heads)) for layer in layers)


def heads_of(heads: Sequence[Head]) -> tuple[Component, ...]:
    """Heads, each a component, in the order given: that of their layers."""
    return tuple(Component(f"L{layer}H{head}", layer, ((layer, head),), head) for layer, head in heads)


@dataclass(frozen=True)
class Ablated:
    """Components, and what becomes of one that does not work."""

    components: tuple[Component, ...]
    ablation: Ablation = "zero"

    def of(self, absent: BoolArray, lowest: int = 0) -> Intervention | None:
        """What takes the `absent` components out, as far as they are in layers from `lowest` up; None for nothing."""
        chosen = [one for one, gone in zip(self.components, absent, strict=True) if gone and one.layer >= lowest]
        if not chosen:
            return None
        if not chosen[0].heads:
            return Intervention.zero_mlps([one.layer for one in chosen])
        heads = [head for one in chosen for head in one.heads]
        return Intervention.zero_heads(heads) if self.ablation == "zero" else Intervention.uniform_heads(heads)

    @property
    def everything(self) -> Intervention | None:
        return self.of(np.ones(len(self.components), dtype=bool))

    @property
    def layers(self) -> list[int]:
        """Layers with a component, ascending."""
        return sorted({one.layer for one in self.components})


@dataclass(frozen=True)
class Example:
    """A cell, and, where the effect is that of a deletion, the rank of the gene and the genes that count."""

    row: int
    tokens: Tokens
    gone: int | None = None
    #: Token ids.
    targets: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.tokens.ids)


def play(
    model: AttentionModel,
    examples: Sequence[Example],
    members: BoolArray,
    ablated: Ablated,
    *,
    batch_size: int | None = None,
    on_cells: Callable[[int], object] = int,
) -> FloatArray:
    """
    Worth of every coalition in every cell, coalitions x cells, less that of nobody.

    Coalitions are run in the order of their lowest layers, so that one that differs from the last only above some
    layer starts there.

    Parameters
    ----------
    model
        A model behind the protocol.
    examples
        Cells; `row` is the column of the result.
    members
        Coalitions x components.
    ablated
        The components, lowest layers first.
    batch_size
        Cells per forward pass.
    on_cells
        Told of coalitions times cells that are done.
    """
    values = np.full((len(members), len(examples)), np.nan)
    # The last key of a sort is the first that counts: the lowest component.
    order = np.lexsort(members.T[::-1])
    steps = first_differing(members[order], ablated)

    def run(cells: Sequence[Example]) -> None:
        readout = (_Embedding if cells[0].gone is None else _Deletion)(model, cells, ablated)
        columns = [cell.row for cell in cells]
        for at, lowest in zip(order, steps, strict=True):
            found = readout.read(~members[at], int(lowest))
            if model.dtype == torch.float16 and not np.isfinite(found).all():
                raise overflow(model, "effect")
            values[at, columns] = found
            on_cells(len(cells))

    for _ in Batches(batch_size, model.device).run(examples, run):
        continue
    nobody = ~members.any(axis=1)
    values -= values[nobody]
    return values


def first_differing(members: BoolArray, ablated: Ablated) -> IntArray:
    """Lowest layer in which each of some coalitions, in order, differs from the one before; 0 for the first."""
    layers = np.array([one.layer for one in ablated.components])
    changed = members[1:] != members[:-1]
    lowest = np.where(changed, layers, layers.max() + 1).min(axis=1)
    return np.concatenate([[0], lowest])


def share_of_layers(members: BoolArray, ablated: Ablated, n_layers: int) -> float:
    """Layers that are run to play some coalitions, as a share of running every layer for each."""
    order = np.lexsort(members.T[::-1])
    return float(1 - first_differing(members[order], ablated).sum() / (n_layers * len(members)))


class _Embedding:
    """How far a cell's vector has moved from where nobody works to where all do, as a share of its length there."""

    def __init__(self, model: AttentionModel, cells: Sequence[Example], ablated: Ablated) -> None:
        self.model = model
        self.ablated = ablated
        self.runs = Resumable(model, _batch(model, [cell.tokens for cell in cells]), ablated.layers)
        n = len(ablated.components)
        whole, self.origin = (self._vectors(np.full(n, absent), 0) for absent in (False, True))
        way = whole - self.origin
        length = np.linalg.norm(way, axis=1, keepdims=True) * np.linalg.norm(whole, axis=1, keepdims=True)
        self.way = np.divide(way, length, out=np.zeros_like(way), where=length > 0)

    def read(self, absent: BoolArray, lowest: int) -> FloatArray:
        return np.asarray(((self._vectors(absent, lowest) - self.origin) * self.way).sum(axis=1))

    def _vectors(self, absent: BoolArray, lowest: int) -> FloatArray:
        hidden = self.runs.run(partial(self.ablated.of, absent), lowest)
        vectors: FloatArray = pool(self.model, hidden, self.runs.batch).double().cpu().numpy()
        return vectors


class _Deletion:
    """
    Mean shift of the targets' last hidden states when a gene is left out of the cell: 1 less the cosine.

    The other genes keep their ranks: were all of them to move up, every state would move with them, and no component
    would have passed anything on.
    """

    def __init__(self, model: AttentionModel, cells: Sequence[Example], ablated: Ablated) -> None:
        self.ablated = ablated
        whole = _batch(model, [cell.tokens for cell in cells])
        versions = [cell.tokens.ids for cell in cells], [np.delete(cell.tokens.ids, cell.gone or 0) for cell in cells]
        batches = whole, _without(model, cells, whole)
        self.runs = [Resumable(model, batch, ablated.layers) for batch in batches]
        #: Cell and place of every target, in either version.
        self.at = [_places(cells, some, batch.offset) for some, batch in zip(versions, batches, strict=True)]
        self.cell = self.at[0][0]
        self.n_targets = np.bincount(self.cell, minlength=len(cells))

    def read(self, absent: BoolArray, lowest: int) -> FloatArray:
        first, second = (
            runs.run(partial(self.ablated.of, absent), lowest)[rows, places].double()
            for runs, (rows, places) in zip(self.runs, self.at, strict=True)
        )
        shift = 1 - torch.nn.functional.cosine_similarity(first, second, dim=-1)
        return np.bincount(self.cell, weights=shift.cpu().numpy(), minlength=len(self.n_targets)) / self.n_targets


def _batch(model: AttentionModel, cells: Sequence[Tokens]) -> Batch:
    return model.batch(cells, [np.arange(len(one.ids)) for one in cells])


def _without(model: AttentionModel, cells: Sequence[Example], whole: Batch) -> Batch:
    """Cells without their gene, all else at the positions that it has with it."""
    left, positions = [], []
    for row, cell in enumerate(cells):
        gone, tokens = cell.gone or 0, cell.tokens
        values = None if tokens.values is None else np.delete(tokens.values, gone)
        left.append(Tokens(np.delete(tokens.ids, gone), values, cut=tokens.cut))
        positions.append(int(whole.positions[row, gone + whole.offset]))
    batch = _batch(model, left)
    at = torch.tensor(positions, device=batch.positions.device)
    return replace(batch, positions=batch.positions + (batch.positions >= at[:, None]))


def _places(cells: Sequence[Example], versions: Sequence[IntArray], offset: int) -> tuple[IntArray, IntArray]:
    rows, places = [], []
    for row, (cell, ids) in enumerate(zip(cells, versions, strict=True)):
        order = np.argsort(ids)
        found = order[np.searchsorted(ids, cell.targets, sorter=order)]
        rows.append(np.full(len(found), row))
        places.append(found + offset)
    return np.concatenate(rows), np.concatenate(places)
