"""The shipped files, read with transformers alone, and encoded by a loop that shares no code with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy import stats
from transformers import BertForMaskedLM

import scepsis as sps
from scepsis.datasets._demo import DEMO

if TYPE_CHECKING:
    from anndata import AnnData

KINDS = ("trained", "untrained", "permuted")
FOLDER = Path(sps.__file__).parent / "models" / "_demo"
#: Cells in which states, programmes and regulators vary more than in the demo; two thirds of the training cells.
WIDE = {"state_frac": 0.6, "state_sd": 2.0, "u_sd": 1.2, "program_sd": 1.2}
UNSEEN = 77


def controls(n_cells: int, **knobs: float) -> AnnData:
    sizes = {"n_controls": n_cells, "cells_per_perturbation": 0}
    return sps.datasets.simulate_screen(**(dict(DEMO) | knobs | sizes | {"cells_rng": UNSEEN}))


def dictionary(kind: str, stem: str) -> dict[str, Any]:
    return json.loads((FOLDER / kind / f"{stem}.json").read_text())


def encode(counts: np.ndarray, genes: list[str]) -> list[list[int]]:
    """Genes of every cell by count over median, highest first, then by token."""
    tokens, medians = dictionary("trained", "token_dictionary"), dictionary("trained", "gene_median_dictionary")
    return [
        [
            token
            for _, token in sorted(
                (-count / medians[gene], tokens[gene]) for count, gene in zip(cell, genes, strict=True) if count
            )
        ]
        for cell in counts.tolist()
    ]


def permuted(counts: np.ndarray, *, size: int = 20) -> np.ndarray:
    """Every gene over groups of cells of similar depth, independently."""
    rng = np.random.default_rng(0)
    result = counts.copy()
    order = np.argsort(counts.sum(axis=1))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        result[rows] = rng.permuted(counts[rows], axis=0)
    return result


def loss(model: BertForMaskedLM, cells: list[list[int]]) -> float:
    """Nats per hidden gene with 15 % of each cell's genes hidden."""
    rng = np.random.default_rng(0)
    parts = []
    for cell in cells:
        ids = torch.tensor([cell])
        hidden = torch.from_numpy(rng.permutation(len(cell))[: round(0.15 * len(cell))])
        targets = torch.full_like(ids, -100)
        targets[0, hidden] = ids[0, hidden]
        ids[0, hidden] = 1
        with torch.no_grad():
            parts.append((len(hidden), float(model(input_ids=ids, labels=targets).loss)))
    return float(np.average([part for _, part in parts], weights=[n for n, _ in parts]))


@pytest.fixture(scope="module")
def models() -> dict[str, BertForMaskedLM]:
    return {kind: BertForMaskedLM.from_pretrained(FOLDER / kind, attn_implementation="eager") for kind in KINDS}


@pytest.fixture(scope="module")
def wide() -> AnnData:
    return controls(240, **WIDE)


@pytest.mark.parametrize("kind", KINDS)
def test_layout_is_the_published_one(kind: str) -> None:
    config = json.loads((FOLDER / kind / "config.json").read_text())
    expected = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "hidden_act": "relu",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "max_position_embeddings": 256,
        "vocab_size": 302,
        "pad_token_id": 0,
        "layer_norm_eps": 1e-12,
    }
    assert {name: config[name] for name in expected} == expected
    with safe_open(FOLDER / kind / "model.safetensors", "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert shapes["bert.embeddings.word_embeddings.weight"] == (302, 64)
    assert shapes["bert.embeddings.position_embeddings.weight"] == (256, 64)
    assert shapes["bert.encoder.layer.1.attention.self.query.weight"] == (64, 64)
    assert shapes["cls.predictions.bias"] == (302,)
    assert "cls.predictions.decoder.weight" not in shapes
    assert all(name.startswith(("bert.", "cls.predictions.")) for name in shapes)
    assert (FOLDER / kind / "model.safetensors").stat().st_size < 450_000


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_there_and_none_besides(kind: str) -> None:
    _, found = BertForMaskedLM.from_pretrained(FOLDER / kind, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_is_the_demo(kind: str) -> None:
    genes = sps.datasets.demo().var["ensembl_id"].tolist()
    tokens = dictionary(kind, "token_dictionary")
    assert tokens == {"<pad>": 0, "<mask>": 1} | {gene: 2 + j for j, gene in enumerate(genes)}
    medians = dictionary(kind, "gene_median_dictionary")
    assert list(medians) == genes
    assert min(medians.values()) > 0


def test_medians_are_those_of_such_cells() -> None:
    """Non-zero medians per 10,000, from other cells of the same mixture, gene by gene."""
    counts = np.concatenate([controls(300).X.toarray(), controls(600, **WIDE).X.toarray()])
    share = counts / counts.sum(axis=1, keepdims=True) * 1e4
    fresh = np.array([np.median(column[column > 0]) for column in share.T])
    shipped = np.array(list(dictionary("trained", "gene_median_dictionary").values()))
    assert np.median(np.abs(np.log(shipped / fresh))) < 0.05
    assert stats.spearmanr(shipped, fresh).statistic > 0.95


def test_training_was_worth_something(models: dict[str, BertForMaskedLM], wide: AnnData) -> None:
    """Losses on cells that no model saw: below the unigram, and lost when genes are permuted over the cells."""
    genes = wide.var["ensembl_id"].tolist()
    counts = wide.X.toarray()
    real, shuffled = encode(counts, genes), encode(permuted(counts), genes)
    share = np.bincount(np.concatenate(real), minlength=302)[2:] + 0.5
    unigram = -np.log(share / share.sum())[np.concatenate(real) - 2].mean()
    losses = {kind: loss(model, real) for kind, model in models.items()}
    without = {kind: loss(model, shuffled) for kind, model in models.items()}
    assert losses["trained"] < unigram - 0.35
    assert losses["trained"] < losses["permuted"] < losses["untrained"]
    assert without["trained"] - losses["trained"] > 0.25
    assert abs(without["permuted"] - losses["permuted"]) < 0.05
    assert abs(without["untrained"] - losses["untrained"]) < 0.02


def test_trained_model_reads_the_demo(models: dict[str, BertForMaskedLM]) -> None:
    """On cells like the demo's own it is better than knowing how common each gene is."""
    adata = controls(120)
    cells = encode(adata.X.toarray(), adata.var["ensembl_id"].tolist())
    share = np.bincount(np.concatenate(cells), minlength=302)[2:] + 0.5
    unigram = -np.log(share / share.sum())[np.concatenate(cells) - 2].mean()
    assert loss(models["trained"], cells) < unigram - 0.08


def test_attention_depends_on_coexpression_in_the_trained_model_only(
    models: dict[str, BertForMaskedLM], wide: AnnData
) -> None:
    """Two-way residual of n x attention against Spearman's rho, the better layer of each model."""
    counts = wide.X.toarray()
    cells = encode(counts, wide.var["ensembl_id"].tolist())
    rho = stats.spearmanr(controls(1500, **WIDE).X.toarray()).statistic
    found = {kind: max(follows(model, cells, rho)) for kind, model in models.items()}
    assert abs(found["untrained"]) < 0.04
    assert found["trained"] - found["permuted"] > 0.12


def follows(model: BertForMaskedLM, cells: list[list[int]], rho: np.ndarray) -> list[float]:
    n_genes = len(rho)
    sums, seen = np.zeros((2, n_genes, n_genes)), np.zeros((n_genes, n_genes))
    for cell in cells:
        with torch.no_grad():
            layers = model.bert(torch.tensor([cell]), output_attentions=True).attentions
        block = np.ix_(np.array(cell) - 2, np.array(cell) - 2)
        seen[block] += 1
        for layer, attention in enumerate(layers):
            sums[layer][block] += len(cell) * attention[0].mean(dim=0).numpy()
    use = (seen >= 3) & ~np.eye(n_genes, dtype=bool)
    row, column = np.nonzero(use)
    result = []
    for layer in sums:
        residual = (layer / np.maximum(seen, 1))[use]
        for _ in range(20):
            residual = residual - (np.bincount(row, residual, n_genes) / np.bincount(row, minlength=n_genes))[row]
            residual = (
                residual - (np.bincount(column, residual, n_genes) / np.bincount(column, minlength=n_genes))[column]
            )
        result.append(float(stats.spearmanr(residual, rho[use]).statistic))
    return result
