"""
Train a small checkpoint on real cells, in the layout of a published Geneformer (first generation) or scGPT.

    python scripts/train_on_cells.py OUT --data DIR      # DIR defaults to SCEPSIS_DATA; one to five CPU-minutes
    python scripts/train_on_cells.py OUT --family scgpt --cells scmixology

The cells are the control cells of the Papalexi screen with a confident guide call, or the five lung cancer lines of
scMixology. Of the screen all genes are taken that the published vocabulary has; the weights are then spread over that
vocabulary, so that the folder is read, tokenised and hooked like a published one. Of the lines the 2,000 most variable
genes within batches are taken that both published vocabularies have, and they are the vocabulary: a model has no token
for a gene that it has never seen.

What is printed at the end is the loss on cells that were held out, before and after, beside what needs no model, and
the same for cells whose genes were permuted at similar depth: what a model loses there is what it knows of
co-expression. These are honest nulls, not good models: minutes on a thousand cells teach mostly which genes are
expressed how much.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _masked_genes as masked_genes
import _masked_values as masked_values
import anndata as ad
import numpy as np
import pandas as pd
import torch
from _training import Recipe, fixed_masks, permuted_within_depth
from scipy import sparse
from transformers import BertForMaskedLM

if TYPE_CHECKING:
    from collections.abc import Mapping

SCREEN = "screens/papalexi_eccite_thp1_299genes.h5ad"
LINES = "cells/scmixology_lung_lines_5batches.h5ad"
N_TOP_GENES = 2000
N_HELD_OUT = 200
RECIPES = {
    ("geneformer", "papalexi"): Recipe(n_dithered=20, n_passes=100, max_positions=2048),
    ("geneformer", "scmixology"): Recipe(n_layers=3, n_dithered=10, n_passes=30, max_positions=2048, longest=256),
    ("scgpt", "papalexi"): Recipe(n_layers=3, feed_forward=64, n_dithered=20, n_passes=20),
    ("scgpt", "scmixology"): Recipe(n_layers=3, feed_forward=64, n_dithered=10, n_passes=70, longest=128),
}
#: Logit of a gene that the compact model never saw.
NEVER = -20.0


@dataclass(frozen=True)
class Vocabularies:
    """Published vocabularies: token ids by Ensembl id, and by symbol."""

    geneformer: dict[str, int]
    scgpt: dict[str, int]
    medians: dict[str, float]
    #: A symbol of the second by the Ensembl id.
    symbols: dict[str, str]

    @classmethod
    def read(cls, data: Path) -> Vocabularies:
        tokens, medians, names = (
            json.loads((data / "geneformer" / f"{name}.json").read_text())
            for name in ("token_dictionary", "gene_median_dictionary", "gene_name_id_dict")
        )
        scgpt = json.loads((data / "scgpt" / "default_gene_vocab.json").read_text())
        symbols = {ensembl: symbol for symbol, ensembl in names.items() if symbol in scgpt}
        return cls(tokens, scgpt, medians, symbols)


@dataclass(frozen=True)
class Corpus:
    """Cells x genes of one vocabulary, in the order of its tokens."""

    counts: sparse.csr_matrix
    genes: list[str]
    #: Whether these are all genes that cells and vocabulary have in common.
    complete: bool


def papalexi(data: Path, family: str, known: Vocabularies) -> Corpus:
    """Control cells with a confident guide call, all genes."""
    adata = ad.read_h5ad(data / SCREEN)
    strict = (adata.obs["gRNA_frac"] >= 0.8) & (adata.obs["gRNA_umi"] >= 3)
    controls = adata[(strict & (adata.obs["perturbation"] == "non-targeting")).to_numpy()]
    names = controls.var["ensembl_id"] if family == "geneformer" else controls.var_names
    return in_order(controls.X, list(names), getattr(known, family), complete=True)


def scmixology(data: Path, family: str, known: Vocabularies) -> Corpus:
    """All cells, the genes that are most variable within batches of those that both vocabularies have."""
    import scanpy as sc

    adata = ad.read_h5ad(data / LINES)
    both = adata[:, [name in known.geneformer and name in known.symbols for name in adata.var_names]].copy()
    normalised = sc.pp.log1p(sc.pp.normalize_total(both, copy=True), copy=True)
    sc.pp.highly_variable_genes(normalised, n_top_genes=N_TOP_GENES, batch_key="batch")
    top = both[:, normalised.var["highly_variable"].to_numpy()]
    names = list(top.var_names) if family == "geneformer" else [known.symbols[name] for name in top.var_names]
    return in_order(top.X, names, getattr(known, family), complete=False)


def in_order(counts: Any, names: list[str], tokens: Mapping[str, int], *, complete: bool) -> Corpus:
    position = {name: index for index, name in enumerate(names)}
    genes = sorted((name for name in names if name in tokens), key=lambda name: tokens[name])
    columns = [position[gene] for gene in genes]
    return Corpus(sparse.csr_matrix(counts, dtype=np.float64)[:, columns], genes, complete)


def spread(model: BertForMaskedLM, token_ids: np.ndarray, size: int) -> BertForMaskedLM:
    """Put the rows of a compact vocabulary where the published one has them; all other genes are empty rows."""
    config = type(model.config).from_dict(model.config.to_dict() | {"vocab_size": size})
    wide = BertForMaskedLM(config)
    compact = model.state_dict()
    rows = torch.from_numpy(np.concatenate([np.arange(masked_genes.FIRST_GENE), token_ids]))
    content = {}
    for name, tensor in wide.state_dict().items():
        if tensor.shape == compact[name].shape:
            content[name] = compact[name]
        else:
            content[name] = torch.full_like(tensor, NEVER if tensor.ndim == 1 else 0.0)
            content[name][rows] = compact[name]
    wide.load_state_dict(content)
    return wide.eval()


@dataclass(frozen=True)
class Cells:
    """Cells that train, in copies, and cells that were held out, as they are and with every gene permuted."""

    training: list[Any]
    held_out: dict[str, Any]
    masks: dict[str, list[np.ndarray]]


class GeneformerTrainer:
    """Rank-value encoded cells, genes hidden."""

    unit = "nats per hidden gene"

    def __init__(self, corpus: Corpus, recipe: Recipe, known: Vocabularies) -> None:
        self.corpus, self.recipe, self.known = corpus, recipe, known
        self.levels = np.array([known.medians[gene] for gene in corpus.genes])

    def copy(self, counts: sparse.csr_matrix, rng: np.random.Generator) -> masked_genes.Cells:
        return self.cells(masked_genes.dithered(counts, rng), rng)

    def cells(self, counts: sparse.csr_matrix, rng: np.random.Generator) -> masked_genes.Cells:
        del rng  # nothing is drawn
        return masked_genes.encode(counts, self.levels, self.recipe.max_positions)

    new_model = staticmethod(masked_genes.new_model)
    train = staticmethod(masked_genes.train)
    loss = staticmethod(masked_genes.held_out_loss)

    def baselines(self, cells: Cells, kind: str) -> dict[str, float]:
        n_tokens = len(self.corpus.genes) + masked_genes.FIRST_GENE
        return masked_genes.baseline_losses(cells.training[0], cells.held_out[kind], cells.masks[kind], n_tokens)

    def save(self, model: BertForMaskedLM, out: Path) -> None:
        if not self.corpus.complete:
            masked_genes.save(model, out, self.corpus.genes, self.levels)
            return
        tokens = self.known.geneformer
        wide = spread(model, np.array([tokens[gene] for gene in self.corpus.genes]), len(tokens))
        wide.save_pretrained(out)
        (out / "generation_config.json").unlink(missing_ok=True)
        for name, content in (("token_dictionary", tokens), ("gene_median_dictionary", self.known.medians)):
            (out / f"{name}.json").write_text(json.dumps(content) + "\n")


class ScGPTTrainer:
    """Genes with binned values, values hidden."""

    unit = "squared bins per hidden value"

    def __init__(self, corpus: Corpus, recipe: Recipe, known: Vocabularies) -> None:
        self.corpus, self.recipe, self.known = corpus, recipe, known

    def copy(self, counts: sparse.csr_matrix, rng: np.random.Generator) -> masked_values.Cells:
        return self.cells(counts, rng)

    def cells(self, counts: sparse.csr_matrix, rng: np.random.Generator) -> masked_values.Cells:
        return masked_values.binned(counts, rng)

    new_model = staticmethod(masked_values.new_model)
    train = staticmethod(masked_values.train)
    loss = staticmethod(masked_values.held_out_loss)

    def baselines(self, cells: Cells, kind: str) -> dict[str, float]:
        n_genes = len(self.corpus.genes)
        return masked_values.baseline_losses(cells.training, cells.held_out[kind], cells.masks[kind], n_genes)

    def save(self, model: masked_values.MaskedValues, out: Path) -> None:
        own = {gene: number for number, gene in enumerate(self.corpus.genes)}
        vocabulary = self.known.scgpt if self.corpus.complete else own
        masked_values.save(model, out, self.corpus.genes, vocabulary, self.recipe)


TRAINERS = {"geneformer": GeneformerTrainer, "scgpt": ScGPTTrainer}
CORPORA = {"papalexi": papalexi, "scmixology": scmixology}


def divide(trainer: GeneformerTrainer | ScGPTTrainer, seed: int) -> Cells:
    """Hold some cells out, encode both parts, and choose what is hidden when a loss is measured."""
    rng = np.random.default_rng(seed)
    counts = trainer.corpus.counts
    order = rng.permutation(counts.shape[0])
    training, held_out = counts[order[N_HELD_OUT:]], counts[order[:N_HELD_OUT]]
    copies = [trainer.copy(training, rng) for _ in range(trainer.recipe.n_dithered)]
    unseen = {"real": held_out, "permuted": permuted_within_depth(held_out, rng, n_bins=10)}
    cells = {kind: [cell for cell in trainer.cells(own, rng) if len(cell)] for kind, own in unseen.items()}
    return Cells(copies, cells, {kind: fixed_masks(own, seed) for kind, own in cells.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write the checkpoint to")
    parser.add_argument("--family", choices=TRAINERS, default="geneformer")
    parser.add_argument("--cells", choices=CORPORA, default="papalexi")
    parser.add_argument("--data", type=Path, default=os.environ.get("SCEPSIS_DATA"), help="folder with the real data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--passes", type=int, help="over the training cells")
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the data by --data or SCEPSIS_DATA")
    torch.set_num_threads(1)
    recipe = RECIPES[args.family, args.cells]
    recipe = replace(recipe, n_passes=args.passes or recipe.n_passes)

    known = Vocabularies.read(Path(args.data))
    corpus = CORPORA[args.cells](Path(args.data), args.family, known)
    trainer = TRAINERS[args.family](corpus, recipe, known)
    n_known = len(getattr(known, args.family))
    print(f"{corpus.counts.shape[0]} cells, {len(corpus.genes)} genes of the vocabulary of {n_known}", flush=True)
    cells = divide(trainer, args.seed)
    model = trainer.new_model(len(corpus.genes), recipe, args.seed)
    losses = {kind: {"untrained": trainer.loss(model, own, cells.masks[kind])} for kind, own in cells.held_out.items()}
    started = time.process_time()
    n_steps = trainer.train(model, cells.training, recipe, args.seed, say=f"{args.family}, {args.cells}")
    print(f"{n_steps} steps in {time.process_time() - started:.0f} CPU-seconds")
    for kind, own in cells.held_out.items():
        losses[kind] |= {"trained": trainer.loss(model, own, cells.masks[kind])} | trainer.baselines(cells, kind)
    print(f"held-out cells, {trainer.unit}:\n{pd.DataFrame(losses).T.round(3).to_string()}")
    trainer.save(model, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
