"""Training in the layout of scGPT, on counts with programmes that are planted, and permuted away."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import _masked_values as masked_values
import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from _training import Recipe, fixed_masks, permuted_within_depth
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

N_GENES, N_PROGRAMS = 40, 4
RECIPE = Recipe(n_layers=2, n_heads=2, width=32, feed_forward=32, n_passes=25, n_dithered=5, learning_rate=6e-3)
SYMBOLS = [f"G{number}" for number in range(N_GENES)]
PROGRAM = np.arange(N_GENES) % N_PROGRAMS


def counts_of(n_cells: int, seed: int) -> sparse.csr_matrix:
    """Genes of one programme rise and fall together; genes differ in level, cells in depth."""
    rng = np.random.default_rng(seed)
    level = np.exp(np.linspace(0.5, 2, N_GENES))
    activity = rng.normal(0, 1, (n_cells, N_PROGRAMS))[:, PROGRAM]
    depth = np.exp(rng.normal(0, 0.3, (n_cells, 1)))
    return sparse.csr_matrix(rng.poisson(level * depth * np.exp(activity)).astype(float))


@pytest.fixture(scope="module")
def trained() -> masked_values.MaskedValues:
    rng = np.random.default_rng(0)
    copies = [masked_values.binned(counts_of(480, 0), rng) for _ in range(RECIPE.n_dithered)]
    model = masked_values.new_model(N_GENES, RECIPE, 0)
    n_steps = masked_values.train(model, copies, RECIPE, 0)
    assert n_steps == 15 * RECIPE.n_passes
    return model


def test_training_learns_what_goes_together_and_nothing_where_nothing_does(trained: Any) -> None:
    rng = np.random.default_rng(1)
    training = [masked_values.binned(counts_of(480, 0), rng)]
    losses = {}
    counts = counts_of(200, 5)
    for kind, own in (("real", counts), ("permuted", permuted_within_depth(counts, rng))):
        cells = masked_values.binned(own, rng)
        masks = fixed_masks(cells, 0)
        losses[kind] = masked_values.baseline_losses(training, cells, masks, N_GENES)
        losses[kind] |= {"trained": masked_values.held_out_loss(trained, cells, masks)}
        untrained = masked_values.new_model(N_GENES, RECIPE, 0)
        losses[kind] |= {"untrained": masked_values.held_out_loss(untrained, cells, masks)}
    assert losses["real"]["trained"] < 0.75 * min(losses["real"]["gene"], losses["real"]["gene, depth"])
    assert losses["permuted"]["trained"] > 0.95 * losses["permuted"]["gene, depth"]
    assert losses["real"]["gene"] < losses["real"]["mean"] < 1.05 * losses["real"]["untrained"]


def test_baselines_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    training, cells = (masked_values.binned(counts_of(60, seed), rng) for seed in (0, 1))
    masks = fixed_masks(cells, 0)
    seen: dict[int, list[tuple[float, float]]] = {}
    for cell in training:
        for gene, bin_ in zip(cell.genes, cell.bins, strict=True):
            seen.setdefault(int(gene), []).append((np.log(len(cell)), bin_))
    by_gene, by_depth = [], []
    for cell, mask in zip(cells, masks, strict=True):
        for place in mask:
            depth, bins = np.array(seen[int(cell.genes[place])]).T
            slope, intercept = np.polyfit(depth, bins, 1) if len(bins) >= 10 else (0, bins.mean())
            by_gene.append((bins.mean() - cell.bins[place]) ** 2)
            by_depth.append((intercept + slope * np.log(len(cell)) - cell.bins[place]) ** 2)
    found = masked_values.baseline_losses([training], cells, masks, N_GENES)
    assert found["gene"] == pytest.approx(np.mean(by_gene))
    assert found["gene, depth"] == pytest.approx(np.mean(by_depth))


def test_long_cells_are_sampled_and_short_ones_left() -> None:
    cell = masked_values.binned(counts_of(1, 0), np.random.default_rng(0))[0]
    some = masked_values.sampled(cell, 9, np.random.default_rng(0))
    of = dict(zip(cell.genes, cell.bins, strict=True))
    assert len(some) == len(set(some.genes)) == 9
    assert [of[gene] for gene in some.genes] == some.bins.tolist()
    assert masked_values.sampled(cell, len(cell), np.random.default_rng(0)) is cell


def test_the_folder_is_read_as_a_published_one(trained: Any, tmp_path: Path) -> None:
    vocabulary = {name: number for number, name in enumerate(["OTHER", *reversed(SYMBOLS), "ANOTHER"])}
    masked_values.save(trained, tmp_path, SYMBOLS, vocabulary, RECIPE)
    model: Any = sps.models.load(tmp_path)
    assert (model.family, model.n_layers, model.n_heads) == ("scgpt", 2, 2)
    assert json.loads((tmp_path / "vocab.json").read_text())["<pad>"] == N_GENES + 2
    # the same hidden states as the model that was trained, of cells that the package read
    tokens = np.array([vocabulary[symbol] for symbol in SYMBOLS])
    cells = model.tokenize(counts_of(5, 9), tokens, np.arange(5, dtype=np.uint64))
    batch = model.batch(cells, [np.arange(len(cell.ids)) for cell in cells])
    compact = np.full(N_GENES + 5, -1)
    compact[tokens], compact[-3:] = np.arange(N_GENES), N_GENES + np.arange(3)
    ids = torch.from_numpy(compact[batch.ids.numpy()])
    with torch.no_grad():
        expected = trained.encoder(ids, batch.values, batch.n_tokens)
    for found, wanted, n in zip(model.forward(batch), expected, batch.n_tokens, strict=True):
        torch.testing.assert_close(found[:n], wanted[:n])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_attention_is_extracted_as_the_saved_weights_have_it(trained: Any, tmp_path: Path) -> None:
    masked_values.save(trained, tmp_path, SYMBOLS, dict(zip(SYMBOLS, range(N_GENES), strict=True)), RECIPE)
    adata = ad.AnnData(counts_of(1, 5), var=pd.DataFrame(index=SYMBOLS))
    sps.tl.attention_edges(adata, sps.models.load(tmp_path), layers=[0], show_progress_bar=False, rng=4)
    edges = sps.get.edge_matrix(adata, "attention")
    assert edges.columns.tolist() == [SYMBOLS[gene] for gene in adata.X.indices]
    # equal counts fall into bins by chance, and bins move attention by little: the same cell, its ties drawn anew
    saved = torch.load(tmp_path / "best_model.pt", weights_only=True)
    drawn = [_first_attention(saved, masked_values.binned(adata.X, np.random.default_rng(k))[0]) for k in range(50)]
    off = ~np.eye(len(edges), dtype=bool)
    low, high = np.min(drawn, axis=0)[off], np.max(drawn, axis=0)[off]
    found = edges.to_numpy()[off]
    assert ((low - 1e-6 <= found) & (found <= high + 1e-6)).mean() > 0.9
    assert np.corrcoef(found, np.mean(drawn, axis=0)[off])[0, 1] > 0.95


def _first_attention(saved: dict[str, torch.Tensor], cell: masked_values.Cell) -> np.ndarray:
    """Mean over heads of the first layer's attention between genes, written out."""
    functional = torch.nn.functional
    ids, values = torch.tensor([*cell.genes, N_GENES + 1]), torch.tensor([*cell.bins, 0.0]).float()[:, None]

    def norm(states: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(states, (RECIPE.width,), saved[f"{name}.weight"], saved[f"{name}.bias"])

    def linear(states: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(states, saved[f"{name}.weight"], saved[f"{name}.bias"])

    of_genes = norm(saved["encoder.embedding.weight"][ids], "encoder.enc_norm")
    of_values = linear(torch.relu(linear(values, "value_encoder.linear1")), "value_encoder.linear2")
    states = of_genes + norm(of_values, "value_encoder.norm")
    query, key, _ = linear(states, "transformer_encoder.layers.0.self_attn.Wqkv").chunk(3, dim=1)
    heads = zip(query.chunk(RECIPE.n_heads, dim=1), key.chunk(RECIPE.n_heads, dim=1), strict=True)
    attention = [torch.softmax(q @ k.T / q.shape[1] ** 0.5, dim=1) for q, k in heads]
    return torch.stack(attention).mean(dim=0)[:-1, :-1].numpy()


def test_the_same_seed_trains_the_same_model() -> None:
    recipe = replace(RECIPE, n_passes=1)
    copies = [masked_values.binned(counts_of(40, 0), np.random.default_rng(0))]
    first, second = (masked_values.new_model(N_GENES, recipe, 3) for _ in range(2))
    for model in (first, second):
        masked_values.train(model, copies, recipe, 3)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
