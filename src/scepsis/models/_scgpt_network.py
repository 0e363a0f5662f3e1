"""The scGPT encoder in plain torch, with queries, keys and values as maps of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from scepsis.models._protocol import place, split_heads

#: Values above this are cut, by the published value encoder.
_MAX_VALUE = 512.0
_BATCH_NORM_EPS = 6.1e-5


class ScGPTNetwork(nn.Module):
    """
    Genes and their binned values in, hidden states out.

    Parts are named as in published checkpoints, but for the three projections of attention, which stand there as one
    matrix. Evaluation only: there is no dropout.
    """

    def __init__(
        self, *, n_tokens: int, width: int, n_heads: int, mlp_width: int, n_layers: int, batch_norm: bool
    ) -> None:
        super().__init__()
        self.encoder = _GeneEncoder(n_tokens, width)
        self.value_encoder = _ValueEncoder(width)
        #: Fine-tuned checkpoints may normalise the sum of both; the statistics are those of training.
        self.bn = nn.BatchNorm1d(width, eps=_BATCH_NORM_EPS) if batch_norm else None
        self.transformer_encoder = _Layers(n_layers, width, n_heads, mlp_width)

    def forward(self, ids: torch.Tensor, values: torch.Tensor, n_tokens: list[int]) -> torch.Tensor:
        """Hidden states of cells x tokens; of each cell the first `n_tokens` can be looked at."""
        hidden: torch.Tensor = self.encoder(ids) + self.value_encoder(values)
        if self.bn is not None:
            hidden = self.bn(hidden.flatten(0, 1)).view_as(hidden)
        mask = _mask(n_tokens, hidden)
        for layer in self.transformer_encoder.layers:
            hidden = layer(hidden, mask)
        return hidden


class _GeneEncoder(nn.Module):
    def __init__(self, n_tokens: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, width)
        self.enc_norm = nn.LayerNorm(width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.enc_norm(self.embedding(ids))
        return result


class _ValueEncoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(1, width)
        self.linear2 = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        cut = values.unsqueeze(-1).clamp(max=_MAX_VALUE).to(self.linear1.weight.dtype)
        result: torch.Tensor = self.norm(self.linear2(functional.relu(self.linear1(cut))))
        return result


class _Layers(nn.Module):
    def __init__(self, n_layers: int, width: int, n_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, n_heads, mlp_width) for _ in range(n_layers))


class _Layer(nn.Module):
    """Post-norm: each half is added to what came in, and the sum is normalised."""

    def __init__(self, width: int, n_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width, n_heads)
        self.linear1 = nn.Linear(width, mlp_width)
        self.linear2 = nn.Linear(mlp_width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        hidden = self.norm1(hidden + self.self_attn(hidden, mask))
        result: torch.Tensor = self.norm2(hidden + self.linear2(functional.relu(self.linear1(hidden))))
        return result


class _Attention(nn.Module):
    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        query, key, value = (
            split_heads(project(hidden), self.n_heads) for project in (self.query, self.key, self.value)
        )
        context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        result: torch.Tensor = self.out_proj(context.transpose(1, 2).flatten(2))
        return result


def _mask(n_tokens: list[int], hidden: torch.Tensor) -> torch.Tensor | None:
    """What is added to scores: minus infinity for padded keys. None without padding, for the fastest kernels."""
    n_cells, longest = hidden.shape[:2]
    if min(n_tokens) == longest:
        return None
    padded = torch.arange(longest, device=hidden.device)[None] >= place(np.array(n_tokens), hidden.device)[:, None]
    mask = hidden.new_zeros(n_cells, 1, 1, longest)
    return mask.masked_fill_(padded[:, None, None], float("-inf"))
