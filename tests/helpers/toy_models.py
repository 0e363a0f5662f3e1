"""A model whose truth is known: one head carries the edges, whatever they are read from."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from scepsis.models import Batch, Seams, Tokens, Vocabulary
from scepsis.models._intervene import Intervenable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Numbers of the residual stream that mean nothing.
_NOISE = 8


class _Layer(nn.Module):
    def __init__(self, width: int, n_heads: int, size: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value = (nn.Linear(width, n_heads * size, bias=False) for _ in range(3))
        self.output = nn.Linear(n_heads * size, width, bias=False)
        self.up, self.down = nn.Linear(width, _NOISE, bias=False), nn.Linear(_NOISE, width, bias=False)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        parts = (
            project(hidden).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        context = scaled_dot_product_attention(*parts, attn_mask=mask).transpose(1, 2).flatten(2)
        hidden = hidden + self.output(context)
        return hidden + self.down(self.up(hidden).relu())


class _Network(nn.Module):
    def __init__(self, n_genes: int, n_layers: int, n_heads: int) -> None:
        super().__init__()
        width = 2 * n_genes + _NOISE
        self.embedding = nn.Embedding(n_genes + 2, width)
        self.layers = nn.ModuleList(_Layer(width, n_heads, n_genes) for _ in range(n_layers))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(ids)
        for layer in self.layers:
            hidden = layer(hidden, mask[:, None, None])
        return hidden


class PlantedModel(Intervenable):
    """
    An encoder over detected genes, ordered by their counts.

    The residual stream is which gene a token is, which regulators it has found, and noise. In `carrier`, a
    (layer, head), every gene looks at its regulators and writes down which they are. Heads of all layers above look
    from a gene to those that have written it down, so that attention there goes from regulators to targets. Deleting
    a regulator shifts its targets, and at a masked gene the head of the model (`head`) gives logits to the targets of
    whatever regulators were found in the cell. All other heads, and the MLPs, move noise around, a little of which
    all heads above `carrier` see.
    """

    family, causal, cls_pooling, max_genes = "planted", False, False, 512

    def __init__(self, network: _Network, regulates: NDArray[np.bool_], carrier: tuple[int, int]) -> None:
        self.network = network.eval().requires_grad_(requires_grad=False)
        n_genes = len(regulates)
        #: Sources x targets.
        self.regulates = regulates
        self.carrier = carrier
        self.name, self.family = "planted", "planted"
        self.fingerprint = blake2b(regulates.tobytes() + repr(carrier).encode(), digest_size=16).hexdigest()
        genes = {f"ENSG{index:011d}": index for index in range(n_genes)}
        self.vocabulary = Vocabulary(genes, {"<pad>": n_genes, "<mask>": n_genes + 1}, "ensembl")
        self.n_layers, self.n_heads, self.head_size = len(network.layers), network.layers[0].n_heads, n_genes
        self.device, self.dtype = network.embedding.weight.device, network.embedding.weight.dtype
        self.head = nn.Linear(2 * n_genes + _NOISE, n_genes + 2, bias=False)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[:n_genes, n_genes : 2 * n_genes] = 4.0 * torch.from_numpy(regulates.T).float()

    def tokenize(self, counts: sparse.csr_matrix, tokens: NDArray[Any], seeds: NDArray[Any]) -> list[Tokens]:
        del seeds
        cells = []
        for start, stop in zip(counts.indptr[:-1], counts.indptr[1:], strict=True):
            ids, values = tokens[counts.indices[start:stop]], counts.data[start:stop]
            kept = [i for i in np.argsort(-values, kind="stable") if ids[i] >= 0 and values[i] > 0]
            cells.append(Tokens(ids[kept].astype(np.int32)))
        return cells

    def batch(self, cells: Sequence[Tokens], orders: Sequence[NDArray[Any]]) -> Batch:
        n_tokens = [len(order) for order in orders]
        ids = torch.full((len(cells), max(n_tokens)), self.vocabulary.special["<pad>"])
        positions = torch.zeros_like(ids)
        for row, (cell, order) in enumerate(zip(cells, orders, strict=True)):
            ids[row, : len(order)] = torch.from_numpy(cell.ids[order].astype(np.int64))
            positions[row, : len(order)] = torch.from_numpy(np.asarray(order))
        return Batch(ids, positions, n_tokens)

    @torch.no_grad()
    def forward(self, batch: Batch) -> torch.Tensor:
        return self.network(batch.ids, batch.mask.bool())

    def heads(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        del layer, batch
        return tuple(part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (query, key))

    def seams(self, layer: int) -> Seams:
        block = self.network.layers[layer]
        return Seams(block.query, block.key, block.value, block.output, mlp=block.down, block=block)


def planted_model(
    *,
    n_layers: int = 12,
    n_heads: int = 12,
    n_genes: int = 24,
    carrier: tuple[int, int] = (5, 7),
    n_regulators: int = 6,
    noise: float = 0.3,
    seed: int = 0,
) -> PlantedModel:
    """The first `n_regulators` genes regulate three others each, and no gene has two regulators."""
    rng = np.random.default_rng(seed)
    regulates = np.zeros((n_genes, n_genes), dtype=bool)
    targets = rng.permutation(np.arange(n_regulators, n_genes))[: 3 * n_regulators].reshape(n_regulators, 3)
    regulates[np.arange(n_regulators)[:, None], targets] = True
    network = _Network(n_genes, n_layers, n_heads)
    generator = torch.Generator().manual_seed(seed)
    identity, found = slice(0, n_genes), slice(n_genes, 2 * n_genes)
    rest = slice(2 * n_genes, 2 * n_genes + _NOISE)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    with torch.no_grad():
        network.embedding.weight.zero_()
        network.embedding.weight[:n_genes, identity] = torch.eye(n_genes)
        network.embedding.weight[: n_genes + 2, rest] = 0.3 * draw(n_genes + 2, _NOISE)
        for number, layer in enumerate(network.layers):
            for parameter in layer.parameters():
                parameter.zero_()
            layer.up.weight[:, rest] = draw(_NOISE, _NOISE) / _NOISE
            layer.down.weight[rest] = draw(_NOISE, _NOISE) / _NOISE
            for head in range(n_heads):
                _fill(layer, number, head, slice(head * n_genes, (head + 1) * n_genes), carrier, draw, noise)
        own = slice(carrier[1] * n_genes, (carrier[1] + 1) * n_genes)
        layer = network.layers[carrier[0]]
        layer.query.weight[own, identity] = 9.0 * n_genes**0.5 * torch.from_numpy(regulates).float()
        layer.key.weight[own, identity] = torch.eye(n_genes)
        layer.value.weight[own, identity] = torch.eye(n_genes)
        layer.output.weight[found, own] = torch.eye(n_genes)
    return PlantedModel(network, regulates, carrier)


def _fill(layer: _Layer, number: int, head: int, own: slice, carrier: tuple[int, int], draw: Any, noise: float) -> None:
    """Weights of one head: noise in and noise out, and above the carrier a look at who has written what down."""
    n_genes = own.stop - own.start
    rest = slice(2 * n_genes, 2 * n_genes + _NOISE)
    drawn = [draw(n_genes, _NOISE) for _ in range(3)] + [draw(_NOISE, n_genes)]
    if (number, head) == carrier:
        return
    for project, weights in zip((layer.query, layer.key, layer.value), drawn, strict=False):
        project.weight[own, rest] = noise * weights
    layer.output.weight[rest, own] = 0.05 * drawn[3] / n_genes**0.5
    if number > carrier[0]:
        layer.query.weight[own, :n_genes] = 3.0 * n_genes**0.5 * torch.eye(n_genes)
        layer.key.weight[own, n_genes : 2 * n_genes] = torch.eye(n_genes)


def planted_cells(model: PlantedModel, n_cells: int = 40, *, seed: int = 0) -> ad.AnnData:
    """Counts of as many genes as the model knows, each detected in most cells, in no order that tells anything."""
    rng = np.random.default_rng(seed)
    n_genes = len(model.regulates)
    counts = rng.poisson(3.0, (n_cells, n_genes)) * (rng.random((n_cells, n_genes)) < 0.8)
    adata = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.var_names = list(model.vocabulary.tokens)
    adata.obs_names = [f"cell{index}" for index in range(n_cells)]
    return adata
