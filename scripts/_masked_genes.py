"""Training of small Geneformer-layout models on a CPU: rank-value encoding, masked genes, and what a loss is worth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from _training import batches, fit
from scipy import sparse
from transformers import BertConfig, BertForMaskedLM

from scepsis.models._rank_value import rank_value_encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from _training import Recipe


PAD, MASK, FIRST_GENE = 0, 1, 2
Cells = list[np.ndarray]


def nonzero_medians(counts: sparse.csr_matrix, *, totals: np.ndarray | None = None) -> np.ndarray:
    """Median count per 10,000 over the cells in which a gene is detected, to six digits; 1 for a gene never seen."""
    totals = np.asarray(counts.sum(axis=1)).ravel() if totals is None else totals
    columns = sparse.csc_matrix(sparse.diags(1e4 / np.maximum(totals, 1)) @ counts)
    columns.eliminate_zeros()
    spans = zip(columns.indptr[:-1], columns.indptr[1:], strict=True)
    return np.array([float(f"{np.median(columns.data[a:b]):.6g}") if b > a else 1.0 for a, b in spans])


def encode(counts: sparse.csr_matrix, medians: np.ndarray, max_tokens: int) -> Cells:
    """Rank-value encoding with a compact vocabulary: gene j is token ``j + 2``."""
    tokens = np.arange(counts.shape[1]) + FIRST_GENE
    by_token = np.concatenate([np.ones(FIRST_GENE), medians])
    return rank_value_encode(counts, tokens, by_token, max_tokens)


def dithered(counts: sparse.csr_matrix, rng: np.random.Generator) -> sparse.csr_matrix:
    """
    Replace every count c by a draw from Gamma(c).

    Genes of one count stand in a fixed order, that of their medians, so a masked gene can be read off its neighbours
    without any knowledge of the cell. The draw closes that shortcut.
    """
    return sparse.csr_matrix((rng.standard_gamma(counts.data), counts.indices, counts.indptr), shape=counts.shape)


def new_model(n_genes: int, recipe: Recipe, seed: int) -> BertForMaskedLM:
    """Draw the weights of an untrained model, without touching torch's global generator."""
    config = BertConfig(
        vocab_size=n_genes + FIRST_GENE,
        hidden_size=recipe.width,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        intermediate_size=recipe.feed_forward,
        hidden_act="relu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=recipe.max_positions,
        pad_token_id=PAD,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BertForMaskedLM(config)


def train(model: BertForMaskedLM, copies: Sequence[Cells], recipe: Recipe, seed: int, *, say: str = "") -> int:
    """Train in place on dithered copies of the same cells, one copy per pass in turn; give the number of steps."""
    rng = np.random.default_rng(seed)
    n_tokens = model.config.vocab_size

    def one_pass(cells: Cells) -> Iterator[torch.Tensor]:
        for batch in batches(cells, recipe.batch_size, rng):
            tokens, positions = sampled(batch, recipe.longest, rng)
            ids, targets = corrupt(tokens, recipe, n_tokens, rng)
            yield masked_loss(model, ids, targets, positions)

    return fit(model, one_pass, copies, recipe, say=say)


def sampled(cells: Cells, longest: int | None, rng: np.random.Generator) -> tuple[Cells, torch.Tensor | None]:
    """Draw genes of cells that are too long; those that stay keep the positions that they had in the whole cell."""
    if longest is None or all(len(cell) <= longest for cell in cells):
        return cells, None
    kept = [
        np.sort(rng.permutation(len(cell))[:longest]) if len(cell) > longest else np.arange(len(cell)) for cell in cells
    ]
    tokens = [cell[places] for cell, places in zip(cells, kept, strict=True)]
    return tokens, torch.from_numpy(padded(kept))


def padded(cells: Cells, fill: int = PAD) -> np.ndarray:
    result = np.full((len(cells), max(map(len, cells))), fill, dtype=np.int64)
    for row, cell in zip(result, cells, strict=True):
        row[: len(cell)] = cell
    return result


def corrupt(cells: Cells, recipe: Recipe, n_tokens: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Give token ids with some genes hidden, and the hidden genes (-100 elsewhere)."""
    ids = padded(cells)
    chosen = (rng.random(ids.shape) < recipe.masked) & (ids >= FIRST_GENE)
    targets = np.where(chosen, ids, -100)
    kind = rng.random(ids.shape)
    ids[chosen & (kind < recipe.replaced[0])] = MASK
    at_random = chosen & (kind >= recipe.replaced[0]) & (kind < sum(recipe.replaced[:2]))
    ids[at_random] = rng.integers(FIRST_GENE, n_tokens, size=int(at_random.sum()))
    return torch.from_numpy(ids), torch.from_numpy(targets)


def masked_loss(
    model: BertForMaskedLM, ids: torch.Tensor, targets: torch.Tensor, positions: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy at the hidden genes only; the head is not run elsewhere."""
    hidden = model.bert(input_ids=ids, attention_mask=(ids != PAD).long(), position_ids=positions).last_hidden_state
    where = targets >= 0
    return torch.nn.functional.cross_entropy(model.cls(hidden[where]), targets[where])


def held_out_loss(model: BertForMaskedLM, cells: Cells, masks: list[np.ndarray], *, size: int = 64) -> float:
    """Nats per hidden gene, every one of them replaced by <mask>."""
    total, n = 0.0, 0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(cells), size):
            ids = padded(cells[start : start + size])
            targets = np.full_like(ids, -100)
            for row, positions in enumerate(masks[start : start + size]):
                targets[row, positions] = ids[row, positions]
                ids[row, positions] = MASK
            count = int((targets >= 0).sum())
            total += count * float(masked_loss(model, torch.from_numpy(ids), torch.from_numpy(targets)))
            n += count
    return total / n


def baseline_losses(training: Cells, cells: Cells, masks: list[np.ndarray], n_tokens: int) -> dict[str, float]:
    """
    Losses that need no model of the cell.

    ``unigram`` knows how often a gene is a token, ``rank`` where it stands, ``excluded`` that a gene which is visible
    cannot be the hidden one, ``neighbours`` which gene stands to the left and which to the right.
    """
    n_bins = 30
    unigram = np.bincount(np.concatenate(training), minlength=n_tokens)[FIRST_GENE:] + 0.5
    by_rank = np.full((n_bins, n_tokens), 0.5)
    after = np.zeros((n_tokens + 1, n_tokens + 1))  # the last index stands for the ends of a cell
    for cell in training:
        np.add.at(by_rank, (_rank_bins(len(cell), n_bins), cell), 1)
        path = np.concatenate([[n_tokens], cell, [n_tokens]])
        np.add.at(after, (path[:-1], path[1:]), 1)
    share = unigram / unigram.sum()
    by_rank = by_rank[:, FIRST_GENE:] / by_rank[:, FIRST_GENE:].sum(axis=1, keepdims=True)
    to_right = after[:, FIRST_GENE:n_tokens] + 10 * share
    to_left = after.T[:, FIRST_GENE:n_tokens] + 10 * share
    sums = dict.fromkeys(["unigram", "rank", "unigram, excluded", "rank, excluded", "neighbours"], 0.0)
    n = 0
    for cell, positions in zip(cells, masks, strict=True):
        hidden = np.zeros(len(cell), dtype=bool)
        hidden[positions] = True
        absent = np.ones(n_tokens - FIRST_GENE)
        absent[cell[~hidden] - FIRST_GENE] = 0
        bins = _rank_bins(len(cell), n_bins)
        path = np.concatenate([[n_tokens], cell, [n_tokens]])
        for position in positions:
            gene = cell[position] - FIRST_GENE
            left, right = path[position], path[position + 2]
            # a hidden neighbour says nothing
            known_left = position == 0 or not hidden[position - 1]
            known_right = position == len(cell) - 1 or not hidden[position + 1]
            pair = (
                share * (to_right[left] / share if known_left else 1) * (to_left[right] / share if known_right else 1)
            )
            n += 1
            for name, weights in (
                ("unigram", share),
                ("rank", by_rank[bins[position]]),
                ("unigram, excluded", share * absent),
                ("rank, excluded", by_rank[bins[position]] * absent),
                ("neighbours", pair),
            ):
                sums[name] -= np.log(weights[gene] / weights.sum())
    return {name: value / n for name, value in sums.items()}


def _rank_bins(length: int, n_bins: int) -> np.ndarray:
    return np.minimum(np.arange(length) * n_bins // max(length, 1), n_bins - 1)


def save(model: BertForMaskedLM, folder: Path, gene_ids: Sequence[str], medians: np.ndarray) -> None:
    """Write a checkpoint in the published layout, dictionaries as JSON beside the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokens = {"<pad>": PAD, "<mask>": MASK} | {gene: FIRST_GENE + j for j, gene in enumerate(gene_ids)}
    levels = {gene: float(level) for gene, level in zip(gene_ids, medians, strict=True)}
    for name, content in (("token_dictionary", tokens), ("gene_median_dictionary", levels)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=0) + "\n")
