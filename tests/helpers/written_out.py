"""Forward passes written out, one cell at a time and head by head, with interventions as plain cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepsis.models import Batch


@dataclass(frozen=True)
class Change:
    """What is done to the model, as the oracle takes it."""

    zero: frozenset[tuple[int, int]] = frozenset()
    uniform: frozenset[tuple[int, int]] = frozenset()
    #: Head to the context that every token gets.
    fixed: Mapping[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    mlps: frozenset[int] = frozenset()
    attention: frozenset[int] = frozenset()


def blocks_of(model: Any) -> Any:
    """Layers of a network, and its embeddings are what goes into the first of them."""
    network = model.network
    return {
        "geneformer": lambda: network.encoder.layer,
        "decoder": lambda: network.layers,
        "scgpt": lambda: network.transformer_encoder.layers,
        "set_transformer": lambda: network.layers,
    }[model.family]()


@torch.no_grad()
def entering(model: Any, batch: Batch) -> torch.Tensor:
    """Hidden states that enter the first layer."""
    seen: list[torch.Tensor] = []
    first = blocks_of(model)[0]
    hook = first.register_forward_pre_hook(
        lambda _m, args, kwargs: seen.append([*args, *kwargs.values()][0]), with_kwargs=True
    )
    model.forward(batch)
    hook.remove()
    return seen[0]


def _rotated(heads: torch.Tensor, positions: torch.Tensor, base: float = 10_000.0) -> torch.Tensor:
    """Tokens x size, each pair (i, i + size / 2) turned as a complex number by position times its frequency."""
    half = heads.shape[-1] // 2
    angle = positions[:, None].double() * base ** (-torch.arange(half).double() / half)
    turned = torch.complex(heads[:, :half], heads[:, half:]) * torch.exp(1j * angle)
    return torch.cat([turned.real, turned.imag], -1)


def _norm(layer: Any, values: torch.Tensor) -> torch.Tensor:
    """Layer normalisation, or that by the root mean square."""
    weight = layer.weight.double()
    if not hasattr(layer, "bias"):
        return values / (values.square().mean(-1, keepdim=True) + layer.variance_epsilon).sqrt() * weight
    centred = values - values.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt() * weight + layer.bias.double()


def _linear(layer: Any, values: torch.Tensor) -> torch.Tensor:
    result = values @ layer.weight.double().T
    return result if layer.bias is None else result + layer.bias.double()


def _mlp(model: Any, block: Any, hidden: torch.Tensor) -> torch.Tensor:
    if model.family == "decoder":
        gate = _linear(block.mlp.gate_proj, hidden)
        return _linear(block.mlp.down_proj, gate * torch.sigmoid(gate) * _linear(block.mlp.up_proj, hidden))
    up, down = {
        "geneformer": lambda: (block.intermediate.dense, block.output.dense),
        "scgpt": lambda: (block.linear1, block.linear2),
        "set_transformer": lambda: (block.up, block.down),
    }[model.family]()
    return _linear(down, _linear(up, hidden).clamp(min=0))


def _norms(model: Any, block: Any) -> tuple[Any, Any]:
    return {
        "geneformer": lambda: (block.attention.output.LayerNorm, block.output.LayerNorm),
        "decoder": lambda: (block.input_layernorm, block.post_attention_layernorm),
        "scgpt": lambda: (block.norm1, block.norm2),
        "set_transformer": lambda: (block.norm_1, block.norm_2),
    }[model.family]()


def _attention(
    model: Any, layer: int, hidden: torch.Tensor, positions: torch.Tensor, change: Change
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the block adds, and its contexts."""
    seams, n, d = model.seams(layer), len(hidden), model.head_size
    query, key, value = (_linear(getattr(seams, name), hidden) for name in ("query", "key", "value"))
    shared = query.shape[1] // key.shape[1]
    contexts = torch.zeros(n, model.n_heads * d, dtype=torch.float64)
    for head in range(model.n_heads):
        own, other = slice(head * d, (head + 1) * d), slice(head // shared * d, (head // shared + 1) * d)
        q, k = query[:, own], key[:, other]
        if model.family == "decoder":
            q, k = _rotated(q, positions), _rotated(k, positions)
        for i in range(n):
            sees = range(i + 1) if model.causal else range(n)
            weights = torch.exp(torch.stack([q[i] @ k[j] for j in sees]) / np.sqrt(d))
            if (layer, head) in change.uniform:
                weights = torch.ones(len(sees), dtype=torch.float64)
            weights = weights / weights.sum()
            contexts[i, own] = sum(w * value[j, other] for w, j in zip(weights, sees, strict=True))
        if (layer, head) in change.zero:
            contexts[:, own] = 0
        if (layer, head) in change.fixed:
            contexts[:, own] = change.fixed[layer, head]
    added = _linear(seams.output, contexts)
    return added * (layer not in change.attention), contexts


@torch.no_grad()
def written_out(
    model: Any, batch: Batch, change: Change | None = None
) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
    """By cell, hidden states after the last layer and the contexts of every layer, in double precision."""
    change = change or Change()
    start = entering(model, batch)
    finals, contexts = [], []
    for row, n in enumerate(batch.n_tokens):
        hidden, own = start[row, :n].double(), []
        for layer, block in enumerate(blocks_of(model)):
            first, second = _norms(model, block)
            before = model.family == "decoder"
            seen = _norm(first, hidden) if before else hidden
            added, context = _attention(model, layer, seen, batch.positions[row, :n], change)
            hidden = hidden + added if before else _norm(first, hidden + added)
            more = _mlp(model, block, _norm(second, hidden) if before else hidden) * (layer not in change.mlps)
            hidden = hidden + more if before else _norm(second, hidden + more)
            own.append(context)
        finals.append(_norm(model.network.norm, hidden) if before else hidden)
        contexts.append(own)
    return finals, contexts
