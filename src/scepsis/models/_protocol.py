"""What the package needs to know about a model: enough for extraction and interventions, written once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from scipy import sparse


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
class Batch:
    """Cells as a model takes them. Tokens of a cell may stand in any order: their ranks travel beside them."""

    #: Cells x tokens, padded on the right.
    ids: torch.Tensor
    #: Rank of every token, as the model's position.
    positions: torch.Tensor
    #: Tokens that attention may look at, per cell, specials included.
    n_tokens: list[int]

    @property
    def mask(self) -> torch.Tensor:
        """Cells x tokens, 1 where there is a token."""
        import torch

        ends = torch.tensor(self.n_tokens, device=self.ids.device)
        return (torch.arange(self.ids.shape[1], device=self.ids.device)[None] < ends[:, None]).long()


@dataclass(frozen=True)
class Seams:
    """The modules of one layer where attention and MLP can be read or changed."""

    #: Linear maps whose outputs are cells x tokens x (heads x head size), heads contiguous.
    query: torch.nn.Module
    key: torch.nn.Module
    value: torch.nn.Module
    #: Takes the heads' contexts, in the same layout, back to the residual stream.
    output: torch.nn.Module
    #: Last map of the MLP.
    mlp: torch.nn.Module


@runtime_checkable
class AttentionModel(Protocol):
    """
    A transformer over genes.

    Every family behind :func:`scepsis.models.load` offers this, and nothing else is asked of it: extraction
    hooks the modules that `seams` names and runs `forward`.
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

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def tokenize(self, counts: sparse.csr_matrix, tokens: NDArray[np.integer[Any]]) -> list[NDArray[np.int32]]:
        """Gene tokens of every cell, in the model's own order, without specials."""
        ...

    def batch(self, cells: Sequence[NDArray[np.int32]], ranks: Sequence[NDArray[np.integer[Any]]]) -> Batch:
        """Put cells together; `ranks` is where each token stands in the order of `tokenize`; specials go last."""
        ...

    def forward(self, batch: Batch) -> torch.Tensor:
        """Hidden states after the last layer, cells x tokens x width, in evaluation mode without gradients."""
        ...

    def seams(self, layer: int) -> Seams:
        """Modules of a layer, 0-based."""
        ...
