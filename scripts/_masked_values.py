"""Training of small scGPT-layout models on a CPU: values in bins, some of them hidden, and what a loss is worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from _training import batches, fit
from torch import nn

from scepsis.models._binning import bin_values
from scepsis.models._scgpt_network import ScGPTNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from _training import Recipe
    from scipy import sparse

N_BINS = 51
UNIT = N_BINS / 2
MAX_SEQ_LEN = 1200
#: What stands for a hidden value, and for a place without a gene.
HIDDEN, PAD_VALUE = -1.0, -2.0
#: Special tokens in the order in which they follow the genes.
SPECIAL = ("<pad>", "<cls>", "<eoc>")


@dataclass(frozen=True)
class Cell:
    """Detected genes of a cell, as columns of the counts, and the bins of their values."""

    genes: np.ndarray
    bins: np.ndarray

    def __len__(self) -> int:
        return len(self.genes)


Cells = list[Cell]


def binned(counts: sparse.csr_matrix, rng: np.random.Generator) -> Cells:
    """Bin every cell; counts that are equal fall into any of the bins between them, drawn anew with every call."""
    spans = zip(counts.indptr[:-1], counts.indptr[1:], strict=True)
    return [Cell(counts.indices[a:b], bin_values(counts.data[a:b].astype(float), N_BINS, rng)) for a, b in spans]


class MaskedValues(nn.Module):
    """The encoder, and the head that gives the bin of a hidden value."""

    def __init__(self, n_genes: int, recipe: Recipe) -> None:
        super().__init__()
        self.n_genes = n_genes
        self.encoder = ScGPTNetwork(
            n_tokens=n_genes + len(SPECIAL),
            width=recipe.width,
            n_heads=recipe.n_heads,
            mlp_width=recipe.feed_forward,
            n_layers=recipe.n_layers,
            batch_norm=False,
        )
        self.decoder = _Head(recipe.width)

    def forward(self, cells: Cells, hidden: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted and true bins where `hidden`, which has a bool for every gene of every cell."""
        lengths = [len(cell) + 1 for cell in cells]
        shape = len(cells), max(lengths)
        ids, values = np.full(shape, self.n_genes + SPECIAL.index("<pad>")), np.full(shape, PAD_VALUE, np.float32)
        truth = np.full(shape, np.nan, np.float32)
        for row, (cell, chosen) in enumerate(zip(cells, hidden, strict=True)):
            ids[row, : len(cell)] = cell.genes
            values[row, : len(cell)] = np.where(chosen, HIDDEN, cell.bins)
            truth[row, : len(cell)] = np.where(chosen, cell.bins, np.nan)
            ids[row, len(cell)], values[row, len(cell)] = self.n_genes + SPECIAL.index("<cls>"), 0.0
        states = self.encoder(torch.from_numpy(ids), torch.from_numpy(values), lengths)
        target = torch.from_numpy(truth)
        where = torch.isfinite(target)
        return self.decoder(states[where]), target[where]


class _Head(nn.Module):
    """Trained in units of half the range of bins from its middle, and saved so that it gives bins."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 1)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return (1 + self.fc(states).squeeze(-1)) * UNIT

    def in_bins(self) -> dict[str, torch.Tensor]:
        """Weights of a head without units: bins are what its last map gives."""
        weights = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        weights["fc.4.weight"] *= UNIT
        weights["fc.4.bias"] = (weights["fc.4.bias"] + 1) * UNIT
        return weights


def new_model(n_genes: int, recipe: Recipe, seed: int) -> MaskedValues:
    """Draw the weights of an untrained model, without touching torch's global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MaskedValues(n_genes, recipe).eval()


def train(model: MaskedValues, copies: Sequence[Cells], recipe: Recipe, seed: int, *, say: str = "") -> int:
    """Train in place on copies of the same cells, their ties drawn anew; give the number of steps."""
    rng = np.random.default_rng(seed)

    def one_pass(cells: Cells) -> Iterator[torch.Tensor]:
        for batch in batches(cells, recipe.batch_size, rng):
            seen = [sampled(cell, recipe.longest, rng) for cell in batch]
            hidden = [rng.random(len(cell)) < recipe.masked for cell in seen]
            predicted, truth = model(seen, hidden)
            yield nn.functional.mse_loss(predicted, truth) / UNIT**2

    return fit(model, one_pass, copies, recipe, say=say)


def sampled(cell: Cell, longest: int | None, rng: np.random.Generator) -> Cell:
    """Draw genes of a cell that is too long."""
    if longest is None or len(cell) <= longest:
        return cell
    kept = rng.permutation(len(cell))[:longest]
    return Cell(cell.genes[kept], cell.bins[kept])


def held_out_loss(model: MaskedValues, cells: Cells, masks: Sequence[np.ndarray], *, size: int = 32) -> float:
    """Mean squared error per hidden value, in bins."""
    total, n = 0.0, 0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(cells), size):
            some = cells[start : start + size]
            hidden = [
                np.isin(np.arange(len(cell)), mask)
                for cell, mask in zip(some, masks[start : start + size], strict=True)
            ]
            predicted, truth = model(some, hidden)
            total += float(((predicted - truth) ** 2).double().sum())
            n += len(truth)
    return total / n


def baseline_losses(
    training: Sequence[Cells], cells: Cells, masks: Sequence[np.ndarray], n_genes: int
) -> dict[str, float]:
    """
    Losses that need no model of the cell.

    ``mean`` predicts the mean bin of the whole training data, ``gene`` that of the gene, and ``gene, depth`` adds to
    it what the number of detected genes says, by a least-squares line of the gene's own.
    """
    every = [cell for copy in training for cell in copy]
    genes = np.concatenate([cell.genes for cell in every])
    bins = np.concatenate([cell.bins for cell in every])
    depth = np.repeat(np.log([len(cell) for cell in every]), [len(cell) for cell in every])

    def mean_of(values: np.ndarray) -> np.ndarray:
        return np.bincount(genes, values, minlength=n_genes) / np.maximum(n, 1)

    n = np.bincount(genes, minlength=n_genes)
    overall, centre = bins.mean(), mean_of(depth)
    mean = np.where(n > 0, mean_of(bins), overall)
    spread = mean_of(depth**2) - centre**2
    slope = (mean_of(depth * bins) - centre * mean_of(bins)) / np.maximum(spread, 1e-6)
    slope[n < 10 * len(training)] = 0  # too few cells for a line

    sums, count = dict.fromkeys(["mean", "gene", "gene, depth"], 0.0), 0
    for cell, mask in zip(cells, masks, strict=True):
        hidden = cell.genes[mask]
        line = mean[hidden] + slope[hidden] * (np.log(len(cell)) - centre[hidden])
        for name, predicted in (("mean", overall), ("gene", mean[hidden]), ("gene, depth", line)):
            sums[name] += float(((predicted - cell.bins[mask]) ** 2).sum())
        count += len(mask)
    return {name: value / count for name, value in sums.items()}


def published(model: MaskedValues, ids: np.ndarray, n_tokens: int, special: Sequence[int]) -> dict[str, torch.Tensor]:
    """Weights as published checkpoints name them, gene `j` of the model at row ``ids[j]`` of the embedding."""
    weights = {}
    for name, tensor in model.encoder.state_dict().items():
        first, found, last = name.partition(".self_attn.query.")
        if found:  # the three projections of attention stand there as one matrix
            parts = (
                model.encoder.state_dict()[f"{first}.self_attn.{part}.{last}"] for part in ("query", "key", "value")
            )
            weights[f"{first}.self_attn.Wqkv.{last}"] = torch.cat(list(parts))
        elif not name.endswith((".key.weight", ".key.bias", ".value.weight", ".value.bias")):
            weights[name] = tensor.clone()
    compact = weights["encoder.embedding.weight"]
    wide = torch.zeros(n_tokens, compact.shape[1])
    wide[torch.from_numpy(np.concatenate([ids, special]))] = compact
    weights["encoder.embedding.weight"] = wide
    return weights | {f"decoder.{name}": tensor for name, tensor in model.decoder.in_bins().items()}


def save(
    model: MaskedValues, folder: Path, genes: Sequence[str], vocabulary: Mapping[str, int], recipe: Recipe
) -> None:
    """
    Write the three files of a published checkpoint.

    `vocabulary` has all genes that the folder knows, numbered from 0 on; special tokens follow them. Genes that the
    model was not trained on have empty rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = dict(vocabulary) | {name: len(vocabulary) + number for number, name in enumerate(SPECIAL)}
    ids = np.array([tokens[gene] for gene in genes])
    weights = published(model, ids, len(tokens), [tokens[name] for name in SPECIAL])
    args = {
        "embsize": recipe.width,
        "nheads": recipe.n_heads,
        "d_hid": recipe.feed_forward,
        "nlayers": recipe.n_layers,
        "dropout": 0.0,
        "pad_token": "<pad>",
        "pad_value": int(PAD_VALUE),
        "mask_value": int(HIDDEN),
        "mask_ratio": recipe.masked,
        "n_bins": N_BINS,
        "input_style": "binned",
        "input_emb_style": "continuous",
        "max_seq_len": MAX_SEQ_LEN,
        "fast_transformer": True,
        "MVC": False,
        "USE_GENERATIVE_TRAINING": False,
    }
    (folder / "args.json").write_text(json.dumps(args, indent=2) + "\n")
    (folder / "vocab.json").write_text(json.dumps(tokens, indent=0) + "\n")
    torch.save(weights, folder / "best_model.pt")
