"""What encoders and decoders over rank-value encoded cells share: their dictionaries, their tokens, their padding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from scepsis._core._hashing import hash_files
from scepsis.models._dictionaries import find_dictionary, read_dictionary
from scepsis.models._intervene import Intervenable
from scepsis.models._pretrained import find_weights, resolve_device, resolve_dtype
from scepsis.models._protocol import Batch, Tokens, Vocabulary, place
from scepsis.models._rank_value import rank_value_encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray
    from scipy import sparse


class RankValueModel(Intervenable, ABC):
    """
    A transformer of transformers over rank-value encoded cells.

    A family says how its network is read, how a cell's tokens stand in a row, and where its modules are.
    """

    family: str
    causal: bool
    cls_pooling = False
    #: Special tokens that may open and close a cell; the first that the vocabulary has is used.
    opening: ClassVar[tuple[str, ...]]
    closing: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        network: torch.nn.Module,
        vocabulary: Vocabulary,
        medians: NDArray[np.float64],
        *,
        name: str,
        fingerprint: str,
        head: torch.nn.Module | None = None,
    ) -> None:
        self.network: Any = network.eval().requires_grad_(requires_grad=False)
        self.vocabulary = vocabulary
        self.medians = medians
        self.name = name
        self.fingerprint = fingerprint
        #: Logits over token ids from hidden states; None when the checkpoint has no language-model head.
        self.head = head
        config: Any = self.network.config
        self.n_layers = int(config.num_hidden_layers)
        self.n_heads = int(config.num_attention_heads)
        self.head_size = int(getattr(config, "head_dim", None) or config.hidden_size // self.n_heads)
        special = vocabulary.special
        #: Token ids that stand before and after the genes.
        self.before = [special[token] for token in self.opening if token in special][:1]
        self.after = [special[token] for token in self.closing if token in special][:1]
        self.max_genes = int(config.max_position_embeddings) - len(self.before) - len(self.after)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        name: str,
        token_dictionary: str | Path | Mapping[str, int] | None = None,
        gene_medians: str | Path | Mapping[str, float] | None = None,
        ensembl_mapping: str | Path | Mapping[str, str] | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Self:
        """Read a checkpoint folder; see :func:`scepsis.models.load`."""
        tokens = (
            find_dictionary(folder, "token_dictionary", "token_dictionary")
            if token_dictionary is None
            else read_dictionary(token_dictionary)
        )
        medians = (
            find_dictionary(folder, "gene_median_dictionary", "gene_medians")
            if gene_medians is None
            else read_dictionary(gene_medians)
        )
        mapping = {} if ensembl_mapping is None else read_dictionary(ensembl_mapping)
        size = int(read_dictionary(folder / "config.json")["vocab_size"])
        cls.check_tokens(tokens)
        _check_size(tokens, size, folder)
        vocabulary = _vocabulary(tokens, mapping)
        placed = resolve_device(device)
        weights = find_weights(folder)
        network = cls.read_network(folder, resolve_dtype(dtype)).to(placed)
        return cls(
            network,
            vocabulary,
            _medians(vocabulary, medians, size),
            name=name,
            fingerprint=hash_files([folder / "config.json", weights]),
            head=cls.read_head(network, folder),
        )

    @classmethod
    def check_tokens(cls, tokens: Mapping[str, Any]) -> None:
        """Raise where a token dictionary cannot be this family's."""
        if "<pad>" not in tokens:
            msg = f"The token dictionary has no `<pad>`, so it is not that of a {cls.family} checkpoint."
            raise ValueError(msg)

    @staticmethod
    @abstractmethod
    def read_network(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
        """Read the network, without the heads that attention does not need."""

    @staticmethod
    @abstractmethod
    def read_head(network: torch.nn.Module, folder: Path) -> torch.nn.Module | None:
        """Read what makes logits of hidden states, if the checkpoint has it."""

    @abstractmethod
    def layout(
        self, genes: NDArray[np.int32], order: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids of one cell as they stand in a row, specials among them, and the position of each."""

    @property
    def device(self) -> torch.device:
        device: torch.device = self.network.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.network.dtype
        return dtype

    def tokenize(
        self, counts: sparse.csr_matrix, tokens: NDArray[np.integer[Any]], seeds: NDArray[np.uint64]
    ) -> list[Tokens]:
        """Rank-value encode cells; nothing is drawn. See :func:`scepsis.models._rank_value.rank_value_encode`."""
        del seeds
        most = self.max_genes
        # One more than fits, to tell a cell that was cut from one that fits exactly.
        encoded = rank_value_encode(counts, tokens, self.medians, most + 1)
        return [Tokens(ids[:most], cut=len(ids) > most) for ids in encoded]

    def batch(self, cells: Sequence[Tokens], orders: Sequence[NDArray[np.integer[Any]]]) -> Batch:
        """Pad cells into one block."""
        rows = [self.layout(cell.ids, order) for cell, order in zip(cells, orders, strict=True)]
        n_tokens = [len(row) for row, _ in rows]
        ids = np.full((len(rows), max(n_tokens)), self.vocabulary.special["<pad>"], dtype=np.int64)
        positions = np.zeros_like(ids)
        for index, (tokens, at) in enumerate(rows):
            ids[index, : len(tokens)] = tokens
            positions[index, : len(tokens)] = at
        return Batch(
            place(ids, self.device),
            place(positions, self.device),
            n_tokens,
            offset=len(self.before) if self.causal else 0,
        )

    @torch.no_grad()
    def forward(self, batch: Batch) -> torch.Tensor:
        """Run the network."""
        hidden: torch.Tensor = self.network(
            input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask
        ).last_hidden_state
        return hidden


def _is_special(token: str) -> bool:
    return token.startswith("<") and token.endswith(">")


def _vocabulary(tokens: Mapping[str, Any], mapping: Mapping[str, str]) -> Vocabulary:
    ids = {gene: int(token) for gene, token in tokens.items() if not _is_special(gene)}
    if len(set(ids.values())) < len(ids):
        msg = "The token dictionary gives one token id to several genes."
        raise ValueError(msg)
    return Vocabulary(
        tokens=ids,
        special={name: int(token) for name, token in tokens.items() if _is_special(name)},
        kind="ensembl",
        mapping={old.upper(): new for old, new in mapping.items() if new in ids},
    )


def _check_size(tokens: Mapping[str, Any], size: int, folder: Path) -> None:
    highest = max(int(token) for token in tokens.values())
    if len(tokens) != size or highest >= size:
        msg = (
            f"The token dictionary has {len(tokens)} entries (highest id {highest}), but the checkpoint in "
            f"{str(folder)!r} has a vocabulary of {size}: they belong to different models. Pass the "
            "dictionary of this checkpoint as `token_dictionary=`, and its medians as `gene_medians=`."
        )
        raise ValueError(msg)


def _medians(vocabulary: Vocabulary, medians: Mapping[str, Any], size: int) -> NDArray[np.float64]:
    missing = [gene for gene in vocabulary.tokens if gene not in medians]
    if missing:
        msg = (
            f"The median dictionary lacks {len(missing)} of the {len(vocabulary.tokens)} genes of the vocabulary "
            f"(for example {missing[0]!r}); pass the one of this checkpoint as `gene_medians=`."
        )
        raise ValueError(msg)
    result = np.full(size, np.nan)
    for gene, token in vocabulary.tokens.items():
        result[token] = float(medians[gene])
    values = result[list(vocabulary.tokens.values())]
    if not (np.isfinite(values).all() and (values > 0).all()):
        msg = "The median dictionary holds medians that are not positive numbers."
        raise ValueError(msg)
    return result
