"""The scGPT family: encoders over genes and their binned values, in the published layout."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from scepsis._core._hashing import hash_files
from scepsis._core._validate import require_positive
from scepsis.models._binning import bin_values
from scepsis.models._by_token import sum_by_token
from scepsis.models._intervene import Intervenable
from scepsis.models._pretrained import resolve_device, resolve_dtype
from scepsis.models._protocol import Batch, Seams, Tokens, place, split_heads
from scepsis.models._scgpt_files import ARGS, WEIGHTS, read_args, read_network, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy import sparse

    from scepsis.models._protocol import Vocabulary
    from scepsis.models._scgpt_files import Args
    from scepsis.models._scgpt_network import ScGPTNetwork


class ScGPT(Intervenable):
    """
    An scGPT encoder :cite:p:`cui2024` behind the protocol of :class:`~scepsis.models.AttentionModel`.

    Genes have no positions. Their order in :meth:`tokenize` is that of expression, highest first, so that a gene's
    rank means what it means in the other families; the network does not see it.
    """

    family = "scgpt"
    causal = False
    cls_pooling = True

    def __init__(
        self,
        network: ScGPTNetwork,
        vocabulary: Vocabulary,
        args: Args,
        *,
        include_zero_genes: bool,
        cls_value: float,
        name: str,
        fingerprint: str,
    ) -> None:
        self.network: Any = network.eval().requires_grad_(requires_grad=False)
        self.vocabulary = vocabulary
        self.name = name
        self.fingerprint = fingerprint
        self.n_layers = args.n_layers
        self.n_heads = args.n_heads
        self.head_size = args.width // args.n_heads
        self.n_bins = args.n_bins
        self.pad_token = args.pad_token
        #: One place is taken by `<cls>`.
        self.max_genes = args.max_seq_len - 1
        self.include_zero_genes = include_zero_genes
        self.cls_value = cls_value
        #: How cells are read, for the record.
        self.encoding = {
            "n_bins": args.n_bins,
            "max_seq_len": args.max_seq_len,
            "include_zero_genes": include_zero_genes,
            "cls_value": cls_value,
        }

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        name: str,
        include_zero_genes: bool = False,
        cls_value: float = 0.0,
        max_seq_len: int | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> ScGPT:
        """Read a checkpoint folder; see :func:`scepsis.models.load`."""
        if not np.isfinite(cls_value):
            msg = f"`cls_value` must be a number, not {cls_value!r}."
            raise ValueError(msg)
        if max_seq_len is not None:
            require_positive(max_seq_len, argument="max_seq_len", minimum=2)
        placed, precision = resolve_device(device), resolve_dtype(dtype)
        args = read_args(folder, max_seq_len)
        vocabulary = read_vocabulary(folder, args.pad_token)
        network = read_network(folder, args, len(vocabulary.tokens) + len(vocabulary.special))
        # The same weights that read cells in another way are, to whatever compares results, another model.
        reading = f"{hash_files([folder / ARGS, folder / WEIGHTS])}\x1f{include_zero_genes}\x1f{float(cls_value)}"
        return cls(
            network.to(device=placed, dtype=precision),
            vocabulary,
            args,
            include_zero_genes=include_zero_genes,
            cls_value=float(cls_value),
            name=name,
            fingerprint=blake2b(f"{reading}\x1f{args.max_seq_len}".encode(), digest_size=16).hexdigest(),
        )

    @property
    def device(self) -> torch.device:
        device: torch.device = self.network.encoder.embedding.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.network.encoder.embedding.weight.dtype
        return dtype

    def tokenize(
        self, counts: sparse.csr_matrix, tokens: NDArray[np.integer[Any]], seeds: NDArray[np.uint64]
    ) -> list[Tokens]:
        """
        Bin every cell's values, and draw genes where there are more than the model takes.

        Values are binned over all genes of the vocabulary before any are drawn. A cell's seed decides its ties and
        its sample; neither depends on the cells around it, nor on the order of genes in the matrix.
        """
        ids, summed = sum_by_token(counts, tokens)
        bounds = zip(summed.indptr[:-1], summed.indptr[1:], seeds, strict=True)
        return [
            self._read(ids, summed.indices[start:stop], summed.data[start:stop], np.random.default_rng(int(seed)))
            for start, stop, seed in bounds
        ]

    def _read(
        self,
        ids: NDArray[np.integer[Any]],
        detected: NDArray[np.integer[Any]],
        values: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> Tokens:
        binned = bin_values(values, self.n_bins, generator)
        present = detected
        if self.include_zero_genes:
            present, expressed, detected_bins = np.arange(len(ids)), values, binned
            values, binned = np.zeros(len(ids)), np.zeros(len(ids))
            values[detected], binned[detected] = expressed, detected_bins
        order = np.argsort(-values, kind="stable")
        cut = len(present) > self.max_genes
        if cut:
            order = order[np.sort(generator.choice(len(present), self.max_genes, replace=False))]
        return Tokens(ids[present[order]].astype(np.int32), binned[order].astype(np.float32), cut=cut)

    def batch(self, cells: Sequence[Tokens], orders: Sequence[NDArray[np.integer[Any]]]) -> Batch:
        """Pad cells into one block, genes first in the order given, then `<cls>`."""
        n_tokens = [len(cell.ids) + 1 for cell in cells]
        shape = (len(cells), max(n_tokens))
        ids = np.full(shape, self.vocabulary.special[self.pad_token], dtype=np.int64)
        values = np.zeros(shape, dtype=np.float32)
        for row, (cell, order) in enumerate(zip(cells, orders, strict=True)):
            if cell.values is None:
                msg = f"{self.name!r} reads genes with their values; make cells by `tokenize`."
                raise ValueError(msg)
            n = len(cell.ids)
            ids[row, :n], values[row, :n] = cell.ids[order], cell.values[order]
            ids[row, n], values[row, n] = self.vocabulary.special["<cls>"], self.cls_value
        placed = place(ids, self.device)
        return Batch(placed, torch.zeros_like(placed), n_tokens, place(values, self.device))

    @torch.no_grad()
    def forward(self, batch: Batch) -> torch.Tensor:
        """Run the encoder."""
        hidden: torch.Tensor = self.network(batch.ids, batch.values, batch.n_tokens)
        return hidden

    def heads(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Split heads; genes have no positions, so nothing is rotated."""
        del layer, batch
        return split_heads(query, self.n_heads), split_heads(key, self.n_heads)

    def seams(self, layer: int) -> Seams:
        """Linear maps of one layer."""
        block = self.network.transformer_encoder.layers[layer]
        attention = block.self_attn
        return Seams(attention.query, attention.key, attention.value, attention.out_proj, block.linear2, block)
