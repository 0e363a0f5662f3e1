"""A causal family: decoders in the layout of Llama over rank-value encoded cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis.models._language_head import read_linear_head
from scepsis.models._pretrained import read_network
from scepsis.models._protocol import Seams, split_heads
from scepsis.models._rank_value_model import RankValueModel

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from scepsis.models._protocol import Batch


class Decoder(RankValueModel):
    """
    A decoder behind the protocol of :class:`~scepsis.models.AttentionModel`.

    A gene sees the genes that are expressed more, relative to their usual level, and the special token before them.
    """

    family = "decoder"
    causal = True
    opening = ("<bos>", "<cls>")
    closing = ("<eos>",)

    @staticmethod
    def read_network(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
        from transformers import LlamaModel

        network: Any = read_network(LlamaModel, folder, dtype)
        # Cells are read whole, never continued token by token.
        network.config.use_cache = False
        result: torch.nn.Module = network
        return result

    @staticmethod
    def read_head(network: torch.nn.Module, folder: Path) -> torch.nn.Module | None:
        return read_linear_head(network, folder)

    def layout(
        self, genes: NDArray[np.int32], order: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens as they were ranked: under a causal mask their order is part of the cell."""
        if not np.array_equal(order, np.arange(len(genes))):
            msg = "A causal model takes the tokens of a cell in its own order."
            raise ValueError(msg)
        tokens = np.concatenate([self.before, genes, self.after]).astype(np.int64)
        return tokens, np.arange(len(tokens))

    def heads(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Split heads, rotate both by the network's own angles, and repeat keys that several heads share."""
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        del layer
        queries = split_heads(query, self.n_heads)
        keys = split_heads(key, key.shape[-1] // self.head_size)
        cosine, sine = self.network.rotary_emb(query, batch.positions)
        queries, keys = apply_rotary_pos_emb(queries, keys, cosine, sine)
        return queries, keys.repeat_interleave(self.n_heads // keys.shape[1], dim=1)

    def seams(self, layer: int) -> Seams:
        """Linear maps of one Llama layer."""
        block = self.network.layers[layer]
        attention = block.self_attn
        return Seams(
            query=attention.q_proj,
            key=attention.k_proj,
            value=attention.v_proj,
            output=attention.o_proj,
            mlp=block.mlp.down_proj,
            block=block,
        )
