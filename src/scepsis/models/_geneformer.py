"""The Geneformer family: BERT encoders over rank-value encoded cells, both generations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis.models._language_head import read_masked_head
from scepsis.models._pretrained import read_network
from scepsis.models._protocol import Seams, split_heads
from scepsis.models._rank_value_model import RankValueModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from scepsis.models._protocol import Batch


class Geneformer(RankValueModel):
    """A Geneformer encoder behind the protocol of :class:`~scepsis.models.AttentionModel`."""

    family = "geneformer"
    causal = False
    #: The first generation has neither, the second both.
    opening = ("<cls>",)
    closing = ("<eos>",)

    @classmethod
    def check_tokens(cls, tokens: Mapping[str, Any]) -> None:
        super().check_tokens(tokens)
        if ("<cls>" in tokens) != ("<eos>" in tokens):
            msg = "The token dictionary has only one of `<cls>` and `<eos>`; the second generation has both."
            raise ValueError(msg)

    @staticmethod
    def read_network(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
        from transformers import BertModel

        return read_network(BertModel, folder, dtype, add_pooling_layer=False)

    @staticmethod
    def read_head(network: torch.nn.Module, folder: Path) -> torch.nn.Module | None:
        return read_masked_head(network, folder)

    def layout(
        self, genes: NDArray[np.int32], order: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Genes first, in the order given and with their ranks, then the specials with the positions of their own."""
        n_before = len(self.before)
        ends = [*range(n_before), *range(n_before + len(genes), n_before + len(genes) + len(self.after))]
        return (
            np.concatenate([genes[order], self.before, self.after]).astype(np.int64),
            np.concatenate([order + n_before, ends]).astype(np.int64),
        )

    def heads(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Split heads; BERT adds its positions to the embeddings, so nothing is rotated."""
        del layer, batch
        return split_heads(query, self.n_heads), split_heads(key, self.n_heads)

    def seams(self, layer: int) -> Seams:
        """Linear maps of one BERT layer."""
        block = self.network.encoder.layer[layer]
        attention = block.attention
        return Seams(
            query=attention.self.query,
            key=attention.self.key,
            value=attention.self.value,
            output=attention.output.dense,
            mlp=block.output.dense,
            block=block,
        )
