"""From hidden states to logits over tokens: read beside the network, and run only where logits are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from scepsis.models._pretrained import find_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scepsis.models._protocol import AttentionModel

_TRANSFORM = "cls.predictions.transform"


class LanguageHead(nn.Module):
    """Logits of all tokens: `states` made of the last hidden ones, and one linear map of these."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        #: Tokens x width; that of the embedding of the network itself, where the checkpoint has no other.
        self.weight, self.bias = weight, bias

    def states(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the linear map is given, for hidden states of any number of tokens: these themselves."""
        return hidden

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.states(hidden), self.weight, self.bias)


class MaskedHead(LanguageHead):
    """BERT's head: a dense layer, its activation and normalisation, and similarity to the embeddings of tokens."""

    def __init__(self, width: int, activation: Any, eps: float, weight: nn.Parameter, bias: torch.Tensor) -> None:
        super().__init__(weight, nn.Parameter(bias))
        self.dense, self.norm, self.activation = nn.Linear(width, width), nn.LayerNorm(width, eps=eps), activation

    def states(self, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(self.activation(self.dense(hidden)))
        return result


def read_masked_head(network: Any, folder: Path) -> MaskedHead | None:
    """The head of a checkpoint of BERT, where and as precise as its network; None where the checkpoint has none."""
    from transformers.activations import ACT2FN

    held = _read(folder, "cls.predictions.")
    names = [f"{_TRANSFORM}.{part}" for part in ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")]
    bias = held.get("cls.predictions.bias", held.get("cls.predictions.decoder.bias"))
    if bias is None or not set(names) <= set(held):
        return None
    config, embedding = network.config, network.embeddings.word_embeddings.weight
    own = held.get("cls.predictions.decoder.weight")
    decoder = embedding if own is None or config.tie_word_embeddings else nn.Parameter(own.to(embedding))
    activation = ACT2FN[config.hidden_act] if isinstance(config.hidden_act, str) else config.hidden_act
    head = MaskedHead(config.hidden_size, activation, config.layer_norm_eps, decoder, bias.to(embedding))
    state = dict(zip(("dense.weight", "dense.bias", "norm.weight", "norm.bias"), map(held.get, names), strict=True))
    head.load_state_dict(state, strict=False)
    return head.to(embedding).eval().requires_grad_(requires_grad=False)


def read_linear_head(network: Any, folder: Path) -> LanguageHead | None:
    """The head of a checkpoint of a decoder, likewise: one map, that of the embeddings where both are tied."""
    embedding = network.get_input_embeddings().weight
    own = _read(folder, "lm_head.").get("lm_head.weight")
    if own is None and not network.config.tie_word_embeddings:
        return None
    tied = own is None or network.config.tie_word_embeddings
    head = LanguageHead(embedding if tied else nn.Parameter(own.to(embedding)))  # type: ignore[union-attr]
    return head.eval().requires_grad_(requires_grad=False)


def language_head(model: AttentionModel) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What makes logits over token ids of a model's last hidden states; None for a model without."""
    head: Callable[[torch.Tensor], torch.Tensor] | None = getattr(model, "head", None)
    return head


def condensed(head: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    r"""
    Numbers, for hidden states, whose inner products are those of the logits of a head, and few of them.

    Where logits are :math:`W h + b` for states `h`, let :math:`(W, b) = Q R`. The columns of `Q` are orthonormal, so
    that lengths and angles of :math:`R (h, 1)`, as many numbers as `h` has and one more, are those of the logits of
    all tokens. In double precision: what `W` as a product would round is nothing beside what rounds `h`. A head of
    another kind, which only a family that was registered can have, gives its logits themselves.
    """
    if not isinstance(head, LanguageHead | nn.Linear):
        return head
    states = head.states if isinstance(head, LanguageHead) else nn.Identity()
    columns = [head.weight.double()] + ([] if head.bias is None else [head.bias.double()[:, None]])
    factor = torch.linalg.qr(torch.cat(columns, 1), mode="r").R
    width = head.weight.shape[1]
    weight, bias = factor[:, :width].contiguous(), None if head.bias is None else factor[:, width].contiguous()

    def apply(hidden: torch.Tensor) -> torch.Tensor:
        return functional.linear(states(hidden).double(), weight, bias)

    return apply


def _read(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint whose name begins so."""
    path = find_weights(folder)
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
