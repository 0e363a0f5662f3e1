"""Proof, once for every network, that the modules that a family names are those that it computes with."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from scepsis.models._protocol import Tokens

if TYPE_CHECKING:
    import torch

    from scepsis.models._protocol import AttentionModel, Batch, Seams

#: Genes of the cells that are run: of different length, so that one is padded.
_GENES = (9, 5)
#: How far contexts may be off, relative to the largest.
_TOLERANCE = {"torch.float64": 1e-6, "torch.float32": 1e-3}
_HALF_PRECISION = 5e-2
#: By network, the ways of reading it that were proven.
_PROVEN: WeakKeyDictionary[torch.nn.Module, set[tuple[object, ...]]] = WeakKeyDictionary()
#: Modules of a layer that have to run.
_NAMES = ("query", "key", "value", "output", "mlp")


def prove(model: AttentionModel) -> None:
    """
    Run two cells of a few genes, and compare every layer's contexts with those that its seams give.

    Every seam has to run once per pass. Queries and keys as `heads` gives them, masked as the protocol says, together
    with the values have to give what each head hands to the output map, and a head's queries have to stand where its
    contexts do. A reading of a network that is proven is not proven again.

    Raises
    ------
    RuntimeError
        Which module of which layer is not what it is said to be.
    """
    seams = [model.seams(layer) for layer in range(model.n_layers)]
    reading = (type(model), *(id(getattr(one, name)) for one in seams for name in _NAMES))
    if reading in _PROVEN.setdefault(model.network, set()):
        return
    batch = _cells(model)
    seen: dict[tuple[int, str], list[torch.Tensor]] = {}
    with ExitStack() as stack:
        for layer, one in enumerate(seams):
            _listen(one, layer, seen, stack)
        model.forward(batch)
    for layer, one in enumerate(seams):
        _require_once(model, one, layer, seen)
        query, key, value, context = (seen[layer, name][0] for name in ("query", "key", "value", "output"))
        _require_layout(model, layer, query, key, batch)
        _require_contexts(model, layer, model.heads(layer, query, key, batch), value, context, batch)
    _PROVEN[model.network].add(reading)


def _cells(model: AttentionModel) -> Batch:
    """Two cells of the vocabulary's first genes, the second shorter."""
    ids = np.array(sorted(model.vocabulary.tokens.values()), dtype=np.int32)
    sizes = [min(n, len(ids), model.max_genes) for n in _GENES]
    cells = [Tokens(ids[:n], np.arange(n, 0, -1, dtype=np.float32)) for n in sizes]
    return model.batch(cells, [np.arange(n) for n in sizes])


def _listen(seams: Seams, layer: int, seen: dict[tuple[int, str], list[torch.Tensor]], stack: ExitStack) -> None:
    """Note what goes into the output map, and what comes out of the others."""

    def hear(name: str, tensor: torch.Tensor) -> None:
        seen.setdefault((layer, name), []).append(tensor.detach())

    for name in ("query", "key", "value", "mlp"):
        module: torch.nn.Module | None = getattr(seams, name)
        if module is not None:
            hook = module.register_forward_hook(lambda _m, _a, output, name=name: hear(name, output))
            stack.callback(hook.remove)
    hook = seams.output.register_forward_pre_hook(lambda _m, args: hear("output", args[0]))
    stack.callback(hook.remove)


def _require_once(
    model: AttentionModel, seams: Seams, layer: int, seen: dict[tuple[int, str], list[torch.Tensor]]
) -> None:
    for name in _NAMES:
        n = len(seen.get((layer, name), []))
        if n != 1 and getattr(seams, name) is not None:
            msg = (
                f"The module that {model.name!r} names as `{name}` of layer {layer} runs {n} times in a forward pass, "
                "not once: an intervention there would do "
                + ("nothing." if n == 0 else "more than was asked, since other layers share it.")
            )
            raise RuntimeError(msg)


def _require_layout(model: AttentionModel, layer: int, query: torch.Tensor, key: torch.Tensor, batch: Batch) -> None:
    """Where the queries of a head are 0, that head's are and no other's."""
    whole, _ = model.heads(layer, query, key, batch)
    for head in range(model.n_heads):
        columns = slice(head * model.head_size, (head + 1) * model.head_size)
        without = query.clone()
        without[..., columns] = 0.0
        left, _ = model.heads(layer, without, key, batch)
        others = [other for other in range(model.n_heads) if other != head]
        if left[:, head].any() or not left[:, others].equal(whole[:, others]):
            msg = (
                f"Queries of head {head} in layer {layer} of {model.name!r} are not numbers {columns.start} to "
                f"{columns.stop - 1} of what its query map gives, or are moved where they are 0: this family's heads "
                "cannot be changed one by one."
            )
            raise RuntimeError(msg)


def _require_contexts(
    model: AttentionModel,
    layer: int,
    heads: tuple[torch.Tensor, torch.Tensor],
    value: torch.Tensor,
    context: torch.Tensor,
    batch: Batch,
) -> None:
    import torch

    precision = torch.promote_types(context.dtype, torch.float32)
    tolerance = _TOLERANCE.get(str(model.dtype), _HALF_PRECISION)
    for row, n in enumerate(batch.n_tokens):
        query, key = (part[row, :, :n].to(precision) for part in heads)
        scores = query @ key.transpose(-1, -2) * model.head_size**-0.5
        if model.causal:
            hidden = torch.ones(n, n, dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        own = value[row, :n].view(n, -1, model.head_size).transpose(0, 1).to(precision)
        own = own.repeat_interleave(model.n_heads // len(own), dim=0)
        expected = (scores.softmax(-1) @ own).transpose(0, 1).reshape(n, -1)
        actual: Any = context[row, :n].to(precision)
        off = float((expected - actual).abs().max() / actual.abs().max().clamp_min(1e-12))
        if not off <= tolerance:
            msg = (
                f"Heads of layer {layer} of {model.name!r} are not where its seams say: contexts made from them are "
                f"off by {off:.2g} of what the output map receives (allowed {tolerance:.2g})."
            )
            raise RuntimeError(msg)
