"""Whether an intervention did anything: how far it moves hidden states and logits, beside how far rounding does."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scepsis.edges._cells import Batches
from scepsis.models._language_head import language_head
from scepsis.models._prefix import cached_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis._core._types import FloatArray, IntArray
    from scepsis.models import AttentionModel, Batch, Intervention, Tokens

#: Hidden states that are moved by more than this are materially so, after the paper.
MATERIAL = 0.02
#: Cells whose floor is measured.
_FLOOR_CELLS = 16
#: Tokens whose logits are made at a time.
_TOKENS_AT_ONCE = 512


@dataclass(frozen=True)
class Fidelity:
    r"""
    Distances between two runs over the same cells.

    Of a cell, hidden states entering layer `l` are averaged over its tokens, and the distance is
    :math:`1 - \cos(\bar h_l, \bar h'_l)`; the logit distance is that of all logits at all tokens laid end to end.
    """

    #: Cells x (layers + 1), in the order the cells came: states that enter each layer, and those after the last. NaN
    #: between layers whose `block` the family does not name.
    hidden: FloatArray
    #: By cell; NaN for a model without a language-model head.
    logits: FloatArray
    #: Largest distances that rounding alone makes in any cell: (layers + 1) and 1.
    floor_hidden: FloatArray
    floor_logits: float

    @property
    def by_layer(self) -> FloatArray:
        """Mean over cells of the distance of states entering each layer, and after the last."""
        result: FloatArray = self.hidden.mean(0)
        return result

    @property
    def maximum(self) -> float:
        return float(np.nanmax(self.by_layer))

    @property
    def maximum_at(self) -> int:
        """Layer that the states which are moved most enter; the number of layers stands for those after the last."""
        return int(np.nanargmax(self.by_layer))

    @property
    def logit(self) -> float:
        return float(self.logits.mean())

    def at(self, layer: int) -> float:
        """Distance of the states that attention of `layer` is made from."""
        return float(self.by_layer[layer])

    @property
    def applied(self) -> bool:
        """Whether anything moved at all."""
        return bool(self.maximum > 0)

    @property
    def material(self) -> bool:
        """Whether the largest distance, less what rounding makes, is above .02."""
        return bool(np.nanmax(self.by_layer - self.floor_hidden) > MATERIAL)

    def above_floor(self, layer: int) -> bool:
        """Whether what `layer` is made from was moved by more than rounding moves it."""
        return bool(self.at(layer) > self.floor_hidden[layer])


@dataclass(frozen=True)
class _Cell:
    index: int
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.tokens.ids)


def measure_fidelity(
    model: AttentionModel,
    blocks: Iterable[tuple[sparse.csr_matrix, NDArray[np.uint64]]],
    interventions: Sequence[Intervention],
    *,
    tokens: IntArray,
    batch_size: int | None = None,
    on_cells: Callable[[int], object] = int,
) -> list[Fidelity]:
    """
    Run cells intact and under each intervention, and compare; one result per intervention.

    Blocks are raw counts and one number per cell for whatever a family draws. Every batch is run once intact and once
    per intervention, from the lowest layer that any of them touches where the family names its `block`; layers below
    are not computed again. Nothing of a batch is kept when it is done but its distances.

    The floor is measured on the first 16 cells, which are run twice more: in the same way, which on a deterministic
    device gives 0; and one by one, with their tokens in reverse order where a model's attention does not depend on
    it, so that the same numbers are added up in another order. What counts is the larger of both, in the cell where it
    is largest: what rounding does differs much between cells. In half precision it can exceed what an intervention
    does.
    """
    batches = Batches(batch_size, model.device)
    seen = [_Distances() for _ in interventions]
    floor = _Distances()
    lowest = min((one.lowest for one in interventions), default=0)

    def run(cells: Sequence[_Cell]) -> None:
        batch = _batch(model, cells)
        found: list[tuple[NDArray[Any], NDArray[Any]]] = []
        with cached_prefix(model, lowest) if lowest else nullcontext():
            intact = _States.of(model, batch)
            for one in interventions:
                with model.intervene(one):
                    found.append(intact.distances(model, _States.of(model, batch, below=(one.lowest, intact))))
        index = [cell.index for cell in cells]
        if floor.n < _FLOOR_CELLS:
            floor.add(index, *_rounding(model, cells, batch, intact))
        # Where memory runs out in a batch, none of it was added.
        for distances, (hidden, logits) in zip(seen, found, strict=True):
            distances.add(index, hidden, logits)

    n = 0
    for counts, seeds in blocks:
        encoded = model.tokenize(counts, tokens, seeds)
        cells = [_Cell(n + index, one) for index, one in enumerate(encoded) if len(one.ids)]
        n += len(encoded)
        on_cells(len(encoded) - len(cells))
        for members in batches.run(cells, run):
            on_cells(len(members))
    if not floor.n:
        msg = "No cell has a gene of the model's vocabulary: there is nothing to compare."
        raise ValueError(msg)
    return [one.result(floor) for one in seen]


class _Distances:
    """Distances of cells, which come in any order."""

    def __init__(self) -> None:
        self.index: list[int] = []
        self.hidden: list[NDArray[Any]] = []
        self.logits: list[NDArray[Any]] = []

    @property
    def n(self) -> int:
        return len(self.index)

    def add(self, index: Sequence[int], hidden: NDArray[Any], logits: NDArray[Any]) -> None:
        self.index += index
        self.hidden.append(hidden)
        self.logits.append(logits)

    def largest(self) -> tuple[FloatArray, float]:
        return np.concatenate(self.hidden).max(0), float(np.concatenate(self.logits).max())

    def result(self, floor: _Distances) -> Fidelity:
        order = np.argsort(self.index)
        return Fidelity(np.concatenate(self.hidden)[order], np.concatenate(self.logits)[order], *floor.largest())


@dataclass(frozen=True)
class _States:
    """What is compared of a batch: means by layer, and the last states, of which logits are made when needed."""

    #: Cells x (layers + 1) x width, double precision.
    pooled: torch.Tensor
    #: Cells x tokens x width.
    last: torch.Tensor
    batch: Batch

    @classmethod
    def of(cls, model: AttentionModel, batch: Batch, *, below: tuple[int, _States] | None = None) -> _States:
        """Run a batch; `below` is a layer, and what is known to be the same up to where it is entered."""
        weights = batch.mask.double() / batch.mask.sum(1, keepdim=True)
        first = 0 if below is None else below[0] + 1
        pooled = {} if below is None else dict(enumerate(below[1].pooled.unbind(1)[:first]))

        def pool(layer: int, hidden: torch.Tensor) -> None:
            pooled[layer] = torch.einsum("ct,ctw->cw", weights, hidden.double())

        with ExitStack() as stack:
            for layer in range(first, model.n_layers):
                block = model.seams(layer).block
                if block is not None:
                    hook = _Entering(pool, layer)
                    stack.callback(block.register_forward_pre_hook(hook, with_kwargs=True).remove)
            last = model.forward(batch)
        pool(model.n_layers, last)
        missing = torch.full_like(pooled[model.n_layers], float("nan"))
        return cls(torch.stack([pooled.get(at, missing) for at in range(model.n_layers + 1)], 1), last, batch)

    def distances(self, model: AttentionModel, other: _States) -> tuple[NDArray[Any], NDArray[Any]]:
        """Cells x (layers + 1), and cells; NaN without a head."""
        hidden = cosine_distance(self.pooled, other.pooled).cpu().numpy()
        return hidden, self._logit_distances(model, other).cpu().numpy()

    def _logit_distances(self, model: AttentionModel, other: _States) -> torch.Tensor:
        head = language_head(model)
        result = torch.full((len(self.last),), float("nan"), dtype=torch.float64)
        for row, n in enumerate(self.batch.n_tokens if head else []):
            products = torch.zeros(3, dtype=torch.float64)
            same = True
            for start in range(0, n, _TOKENS_AT_ONCE):
                one, two = (
                    _logits(head, states.last[row, start : min(n, start + _TOKENS_AT_ONCE)]) for states in (self, other)
                )
                same = same and torch.equal(one, two)
                products += torch.stack([(one * two).sum(), one.square().sum(), two.square().sum()]).cpu()
            # From products a cosine of equal vectors is 1 but for rounding; equal vectors are 0 apart.
            result[row] = 0.0 if same else (1 - products[0] / (products[1] * products[2]).sqrt()).clamp_min(0)
        return result


@dataclass(frozen=True)
class _Entering:
    """Sees what enters a layer."""

    see: Callable[[int, torch.Tensor], None]
    layer: int
    #: So that what enters higher layers may be kept of a pass that this watches.
    reads_only = True

    def __call__(self, _module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.see(self.layer, args[0] if args else next(iter(kwargs.values())))


def _logits(head: Any, hidden: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = head(hidden).double()
    return logits


def cosine_distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """One less the cosine, over the last dimension: exactly 0 for what is equal, and without loss where it is small."""
    one, other = (part.double() / part.double().norm(dim=-1, keepdim=True).clamp_min(1e-300) for part in (one, other))
    return (one - other).square().sum(-1) / 2


def _batch(model: AttentionModel, cells: Sequence[_Cell], *, reverse: bool = False) -> Batch:
    orders = [np.arange(len(cell))[:: -1 if reverse else 1].copy() for cell in cells]
    return model.batch([cell.tokens for cell in cells], orders)


def _rounding(
    model: AttentionModel, cells: Sequence[_Cell], batch: Batch, intact: _States
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Distances of a batch from itself, run again and run otherwise: of each cell the larger ones."""
    again = intact.distances(model, _States.of(model, batch))
    apart = []
    for row, cell in enumerate(cells):
        single = _States.of(model, _batch(model, [cell], reverse=not model.causal))
        own = _States(intact.pooled[row : row + 1], _reordered(intact, row, single.batch), single.batch)
        apart.append(own.distances(model, single))
    hidden, logits = (np.concatenate(parts) for parts in zip(*apart, strict=True))
    return np.fmax(again[0], hidden), np.fmax(again[1], logits)


def _reordered(intact: _States, row: int, alone: Batch) -> torch.Tensor:
    """The last states of a cell, its tokens in the order that they have alone."""
    n = alone.n_tokens[0]
    places = {token: index for index, token in enumerate(intact.batch.ids[row, :n].tolist())}
    return intact.last[row, [places[token] for token in alone.ids[0, :n].tolist()]][None]
