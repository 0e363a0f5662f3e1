"""What the package needs to know about a model: enough for extraction and interventions, written once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch
    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis.models._interventions import Intervention


@dataclass(frozen=True)
class Vocabulary:
    """Genes that a model can read."""

    #: Gene id -> token id, genes only.
    tokens: Mapping[str, int]
    #: Special token -> token id.
    special: Mapping[str, int]
    #: What the gene ids are.
    kind: Literal["ensembl", "symbol"]
    #: Superseded gene id -> id in `tokens`.
    mapping: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """Fingerprint of the genes and their token ids."""
        digest = blake2b(digest_size=16)
        for name, token in sorted(self.tokens.items()):
            digest.update(f"{name}\x1f{token}\x1e".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Tokens:
    """One cell as a model reads it, special tokens left out."""

    #: Gene tokens, in the model's own order.
    ids: NDArray[np.int32]
    #: Expression of each token, for families that carry it beside the gene.
    values: NDArray[np.float32] | None = None
    #: Whether the cell has more genes than the model takes, so that some are left out.
    cut: bool = False


@dataclass(frozen=True)
class Batch:
    """
    Cells as a model takes them.

    Where attention does not depend on the order of tokens (every family that is not causal), a cell's genes may stand
    in any order, their ranks beside them; genes come first, specials last.
    """

    #: Cells x tokens, padded on the right.
    ids: torch.Tensor
    #: Rank of every token, as the model's position.
    positions: torch.Tensor
    #: Tokens that attention may look at, per cell, specials included.
    n_tokens: list[int]
    #: Cells x tokens, expression, for families that carry it.
    values: torch.Tensor | None = None
    #: Where in a row the first gene stands; 0 unless the model is causal and begins with a special token.
    offset: int = 0

    @property
    def mask(self) -> torch.Tensor:
        """Cells x tokens, 1 where there is a token."""
        import torch

        ends = place(np.array(self.n_tokens), self.ids.device)
        return (torch.arange(self.ids.shape[1], device=self.ids.device)[None] < ends[:, None]).long()


@dataclass(frozen=True)
class Seams:
    """The modules of one layer where attention and MLP can be read or changed."""

    #: Linear maps of hidden states; :meth:`AttentionModel.heads` makes heads of what `query` and `key` give.
    query: torch.nn.Module
    key: torch.nn.Module
    value: torch.nn.Module
    #: Takes the heads' contexts, in the same layout, back to the residual stream.
    output: torch.nn.Module
    #: Last map of the MLP, before its sum with the residual stream; None where a family has none of its own.
    mlp: torch.nn.Module | None
    #: The whole layer, which takes hidden states as its first argument and gives them back, alone or first in a tuple.
    #: Without it a model is always run from its first layer.
    block: torch.nn.Module | None = None


@runtime_checkable
class AttentionModel(Protocol):
    """
    A transformer over genes.

    Every family behind :func:`scepsis.models.load` offers this, and nothing else is asked of it: extraction
    hooks the modules that `seams` names and runs `forward`. A family that can read cells in more than one way may
    say in a dictionary `encoding` which it was; it is recorded with the edges.
    """

    family: str
    name: str
    #: The network itself; its weights may be drawn anew.
    network: torch.nn.Module
    #: blake2b of configuration and weights.
    fingerprint: str
    vocabulary: Vocabulary
    n_layers: int
    n_heads: int
    head_size: int
    #: Gene tokens per cell, at most.
    max_genes: int
    #: Whether a token sees only tokens at or before its own rank.
    causal: bool
    #: Whether a cell is embedded by its ``<cls>`` token; by the mean over its gene tokens otherwise.
    cls_pooling: bool

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def tokenize(
        self, counts: sparse.csr_matrix, tokens: NDArray[np.integer[Any]], seeds: NDArray[np.uint64]
    ) -> list[Tokens]:
        """
        Encode cells x genes raw counts.

        `tokens` is the token id of every gene, -1 for none; `seeds` is one number per cell, for whatever a family
        draws, so that a cell's tokens do not depend on the cells around it.
        """
        ...

    def batch(self, cells: Sequence[Tokens], orders: Sequence[NDArray[np.integer[Any]]]) -> Batch:
        """Put cells together, the tokens of each in the order given (a permutation of the model's own)."""
        ...

    def forward(self, batch: Batch) -> torch.Tensor:
        """Hidden states after the last layer, cells x tokens x width, in evaluation mode without gradients."""
        ...

    def heads(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Queries and keys as attention multiplies them, cells x heads x tokens x head size.

        From the outputs of the layer's query and key maps: heads split, rotated where the family rotates, shared
        key heads repeated. Their product is divided by the root of the head size.
        """
        ...

    def seams(self, layer: int) -> Seams:
        """Modules of a layer, 0-based."""
        ...

    def intervene(self, intervention: Intervention) -> AbstractContextManager[None]:
        """Change what the model computes while a block of code runs. Every family is given this; none writes it."""
        ...


def place(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Put an array on a device: to a GPU from pinned memory, without waiting for what the GPU is at."""
    import torch

    held = torch.from_numpy(values)
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held.to(device)


def split_heads(projected: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Cells x tokens x (heads x head size) to cells x heads x tokens x head size."""
    n_cells, n_tokens, width = projected.shape
    return projected.view(n_cells, n_tokens, n_heads, width // n_heads).transpose(1, 2)
