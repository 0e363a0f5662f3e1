"""The Geneformer family: BERT encoders over rank-value encoded cells, both generations."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scepsis._core._hashing import hash_files
from scepsis.models._dictionaries import find_dictionary, read_dictionary, refuse_lfs_pointer
from scepsis.models._protocol import Batch, Seams, Tokens, Vocabulary, split_heads
from scepsis.models._rank_value import rank_value_encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

_SPECIAL = ("<pad>", "<mask>", "<cls>", "<eos>")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class Geneformer:
    """A Geneformer encoder behind the protocol of :class:`~scepsis.models.AttentionModel`."""

    family = "geneformer"
    causal = False

    def __init__(
        self,
        encoder: torch.nn.Module,
        vocabulary: Vocabulary,
        medians: NDArray[np.float64],
        *,
        name: str,
        fingerprint: str,
    ) -> None:
        self.network: Any = encoder.eval().requires_grad_(requires_grad=False)
        self.vocabulary = vocabulary
        self.medians = medians
        self.name = name
        self.fingerprint = fingerprint
        config: Any = self.network.config
        self.n_layers = int(config.num_hidden_layers)
        self.n_heads = int(config.num_attention_heads)
        self.head_size = int(config.hidden_size) // self.n_heads
        #: Special tokens before and after the genes: none in the first generation, one each in the second.
        self.n_before, self.n_after = (1, 1) if "<cls>" in vocabulary.special else (0, 0)
        self.max_genes = int(config.max_position_embeddings) - self.n_before - self.n_after

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
        return [Tokens(ids) for ids in rank_value_encode(counts, tokens, self.medians, self.max_genes)]

    def batch(self, cells: Sequence[Tokens], orders: Sequence[NDArray[np.integer[Any]]]) -> Batch:
        """Pad cells into one block, genes first in the order given, then the specials with their own positions."""
        n_tokens = [len(cell.ids) + self.n_before + self.n_after for cell in cells]
        shape = (len(cells), max(n_tokens))
        ids = np.full(shape, self.vocabulary.special["<pad>"], dtype=np.int64)
        positions = np.zeros(shape, dtype=np.int64)
        for row, (cell, order) in enumerate(zip(cells, orders, strict=True)):
            n = len(cell.ids)
            ids[row, :n] = cell.ids[order]
            positions[row, :n] = order + self.n_before
            if self.n_before:
                ids[row, n : n + 2] = self.vocabulary.special["<cls>"], self.vocabulary.special["<eos>"]
                positions[row, n : n + 2] = 0, n + 1
        return Batch(torch.from_numpy(ids).to(self.device), torch.from_numpy(positions).to(self.device), n_tokens)

    @torch.no_grad()
    def forward(self, batch: Batch) -> torch.Tensor:
        """Run the encoder."""
        hidden: torch.Tensor = self.network(
            input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask
        ).last_hidden_state
        return hidden

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
        )


def load_geneformer(
    folder: Path,
    config: Mapping[str, Any],
    *,
    token_dictionary: str | Path | Mapping[str, int] | None,
    gene_medians: str | Path | Mapping[str, float] | None,
    ensembl_mapping: str | Path | Mapping[str, str] | None,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    name: str,
) -> Geneformer:
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
    vocabulary = _vocabulary(tokens, {} if ensembl_mapping is None else read_dictionary(ensembl_mapping))
    _check_vocabulary(tokens, config, folder)
    weights = _weights(folder)
    encoder = _encoder(folder).to(device=_device(device), dtype=_dtype(dtype))
    return Geneformer(
        encoder,
        vocabulary,
        _medians(vocabulary, medians, int(config["vocab_size"])),
        name=name,
        fingerprint=hash_files([folder / "config.json", weights]),
    )


def _vocabulary(tokens: Mapping[str, Any], mapping: Mapping[str, str]) -> Vocabulary:
    if "<pad>" not in tokens:
        msg = "The token dictionary has no `<pad>`, so it is not Geneformer's."
        raise ValueError(msg)
    if ("<cls>" in tokens) != ("<eos>" in tokens):
        msg = "The token dictionary has only one of `<cls>` and `<eos>`; the second generation has both."
        raise ValueError(msg)
    ids = {gene: int(token) for gene, token in tokens.items() if gene not in _SPECIAL}
    if len(set(ids.values())) < len(ids):
        msg = "The token dictionary gives one token id to several genes."
        raise ValueError(msg)
    return Vocabulary(
        tokens=ids,
        special={name: int(tokens[name]) for name in _SPECIAL if name in tokens},
        kind="ensembl",
        mapping={old.upper(): new for old, new in mapping.items() if new in ids},
    )


def _check_vocabulary(tokens: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> None:
    size = int(config["vocab_size"])
    highest = max(int(token) for token in tokens.values())
    if len(tokens) != size or highest >= size:
        msg = (
            f"The token dictionary has {len(tokens)} entries (highest id {highest}), but the checkpoint in "
            f"{str(folder)!r} has a vocabulary of {size}: they belong to different model generations. Pass the "
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


def _weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            refuse_lfs_pointer(folder / name)
            return folder / name
    msg = f"{str(folder)!r} holds no weights: neither {_WEIGHTS[0]!r} nor {_WEIGHTS[1]!r}."
    raise FileNotFoundError(msg)


def _encoder(folder: Path) -> torch.nn.Module:
    from transformers import BertModel

    try:
        with _quiet():
            encoder, report = BertModel.from_pretrained(
                folder,
                add_pooling_layer=False,
                attn_implementation="sdpa",
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # safetensors, pickle and torch each raise their own kinds
        msg = f"The weights in {str(folder)!r} cannot be read: {error}"
        raise ValueError(msg) from error
    # BERT's own buffer of positions; some old checkpoints have it, none needs it.
    missing = [key for key in report["missing_keys"] if not key.endswith("position_ids")]
    if missing or report.get("mismatched_keys"):
        names = sorted(missing) or sorted(str(key) for key in report["mismatched_keys"])
        msg = (
            f"The weights in {str(folder)!r} do not fill the architecture of its `config.json`: "
            f"{len(names)} tensors are missing or of another shape, for example {names[0]!r}."
        )
        raise ValueError(msg)
    result: torch.nn.Module = encoder
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loader from listing, as unexpected, the heads that attention does not need."""
    from transformers.utils import logging as hf_logging

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def _device(device: str | torch.device | None) -> torch.device:
    result = torch.device("cpu" if device is None else device)
    if result.type == "cuda" and not torch.cuda.is_available():
        msg = f"`device={str(device)!r}` was asked for, but this machine has no usable GPU. Leave `device` out."
        raise ValueError(msg)
    return result


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    if dtype is None:
        return torch.float32
    result = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(result, torch.dtype) or not result.is_floating_point:
        msg = f"`dtype` takes a floating point type such as 'float32' or 'bfloat16', not {dtype!r}."
        raise ValueError(msg)
    return result
