"""Whether an intervention did anything: how far it moves hidden states and logits, beside how far rounding does."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scepsis.models._language_head import condensed, language_head

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from scepsis._core._types import FloatArray
    from scepsis.edges._cells import Cell
    from scepsis.models import AttentionModel, Batch

#: Hidden states that are moved by more than this are materially so, after the paper.
MATERIAL = 0.02
#: Cells whose floor is measured.
_FLOOR_CELLS = 16


@dataclass(frozen=True)
class Fidelity:
    r"""
    Distances between two runs over the same cells.

    Of a cell, hidden states entering layer `l` are averaged over its tokens, and the distance is
    :math:`1 - \cos(\bar h_l, \bar h'_l)`; the logit distance is that of all logits at all tokens laid end to end.
    """

    #: Cells x (layers + 1), the longest cells of each block first: states that enter each layer, and those after the
    #: last. NaN for layers whose `block` the family does not name.
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


class Comparison:
    """
    Compares hidden states and logits of cells with and without each of several interventions.

    Whoever runs the cells gives it the states of every run (:meth:`States.of`), so that they are compared in the pass
    that something else is read in. Nothing of a batch is kept when it is done but its distances.

    The floor is measured on the first 16 cells, which are run twice more: in the same way, which on a deterministic
    device gives 0; and one by one, with their tokens in reverse order where a model's attention does not depend on
    it, so that the same numbers are added up in another order. What counts is the larger of both, in the cell where it
    is largest: what rounding does differs much between cells. In half precision it can exceed what an intervention
    does.
    """

    def __init__(self, model: AttentionModel, n_interventions: int) -> None:
        self.model = model
        head = language_head(model)
        self.condense = None if head is None else condensed(head)
        self._seen = [_Distances() for _ in range(n_interventions)]
        self._floor = _Distances()

    def distances(self, one: States, other: States) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of two runs of a batch: cells x (layers + 1), and cells, NaN without a head."""
        hidden = cosine_distance(one.pooled, other.pooled).cpu().numpy()
        if self.condense is None:
            return hidden, np.full(len(hidden), np.nan)
        logits = [
            cosine_distance(a.ravel(), b.ravel()).item()
            for a, b in zip(one.logits(self.condense), other.logits(self.condense), strict=True)
        ]
        return hidden, np.array(logits)

    def add(self, cells: Sequence[Cell], intact: States, found: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> None:
        """Take the distances of a batch, one pair of arrays for each intervention: all of them, when it is done."""
        if self._floor.n < _FLOOR_CELLS:
            self._floor.add(*self._rounding(cells, intact))
        for distances, one in zip(self._seen, found, strict=True):
            distances.add(*one)

    def results(self) -> list[Fidelity]:
        """One for each intervention."""
        if not self._floor.n:
            msg = "No cell has a gene of the model's vocabulary: there is nothing to compare."
            raise ValueError(msg)
        floor = self._floor.largest()
        return [Fidelity(*one.joined(), *floor) for one in self._seen]

    def _rounding(self, cells: Sequence[Cell], intact: States) -> tuple[NDArray[Any], NDArray[Any]]:
        """Distances of a batch from itself, run again and run otherwise: of each cell the larger ones."""
        model = self.model
        again = self.distances(intact, States.of(model, intact.batch))
        apart = []
        for row, cell in enumerate(cells):
            order = cell.order if model.causal else cell.order[::-1].copy()
            single = States.of(model, model.batch([cell.tokens], [order]))
            apart.append(self.distances(intact.alone(row, single.batch), single))
        hidden, logits = (np.concatenate(parts) for parts in zip(*apart, strict=True))
        return np.fmax(again[0], hidden), np.fmax(again[1], logits)


class _Distances:
    """Distances of cells, batch by batch."""

    def __init__(self) -> None:
        self.n = 0
        self.hidden: list[NDArray[Any]] = []
        self.logits: list[NDArray[Any]] = []

    def add(self, hidden: NDArray[Any], logits: NDArray[Any]) -> None:
        self.n += len(hidden)
        self.hidden.append(hidden)
        self.logits.append(logits)

    def joined(self) -> tuple[FloatArray, FloatArray]:
        return np.concatenate(self.hidden), np.concatenate(self.logits)

    def largest(self) -> tuple[FloatArray, float]:
        hidden, logits = self.joined()
        return hidden.max(0), float(logits.max())


class States:
    """What is compared of a batch: means by layer, and the last states, of which logits are made when needed."""

    def __init__(self, pooled: torch.Tensor, last: torch.Tensor, batch: Batch) -> None:
        #: Cells x (layers + 1) x width, double precision.
        self.pooled = pooled
        #: Cells x tokens x width.
        self.last = last
        self.batch = batch
        self._logits: list[torch.Tensor] = []

    @classmethod
    def of(
        cls,
        model: AttentionModel,
        batch: Batch,
        run: Callable[[], torch.Tensor] | None = None,
        *,
        below: tuple[int, States] | None = None,
    ) -> States:
        """
        Watch a batch while it runs.

        `run` gives the hidden states after the last layer; `below` is a layer, and what is known to be the same up to
        where it is entered.
        """
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
            last = model.forward(batch) if run is None else run()
        pool(model.n_layers, last)
        missing = torch.full_like(pooled[model.n_layers], float("nan"))
        return cls(torch.stack([pooled.get(at, missing) for at in range(model.n_layers + 1)], 1), last, batch)

    def logits(self, condense: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        """Of each cell, tokens x what stands for its logits; made once."""
        if not self._logits:
            with torch.no_grad():
                self._logits = [condense(self.last[row, :n]) for row, n in enumerate(self.batch.n_tokens)]
        return self._logits

    def alone(self, row: int, batch: Batch) -> States:
        """Of one cell, its tokens in the order that they have in a batch of their own."""
        n = batch.n_tokens[0]
        places = {token: index for index, token in enumerate(self.batch.ids[row, :n].tolist())}
        last = self.last[row, [places[token] for token in batch.ids[0, :n].tolist()]][None]
        return States(self.pooled[row : row + 1], last, batch)


@dataclass(frozen=True)
class _Entering:
    """Sees what enters a layer."""

    see: Callable[[int, torch.Tensor], None]
    layer: int
    #: So that what enters higher layers may be kept of a pass that this watches.
    reads_only = True

    def __call__(self, _module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.see(self.layer, args[0] if args else next(iter(kwargs.values())))


def cosine_distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """One less the cosine, over the last dimension: exactly 0 for what is equal, and without loss where it is small."""
    one, other = (part.double() / part.double().norm(dim=-1, keepdim=True).clamp_min(1e-300) for part in (one, other))
    return (one - other).square().sum(-1) / 2
