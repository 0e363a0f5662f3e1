"""
Train the checkpoint that ships with the package, and its two controls.

    python scripts/train_demo.py                            # train and write src/scepsis/models/_demo
    python scripts/train_demo.py --gates --seeds 0 1 2 3 4  # train, write nothing, print what the gates are made of

Training cells are control cells of the demo's own world (the same genes, programmes, states and network) drawn with
another seed, so the model has seen no cell of the demo and no perturbed cell at all. A run on one core takes about
four minutes per seed. Results agree across machines to rounding, not byte for byte.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from _masked_genes import (
    PAD,
    Recipe,
    baseline_losses,
    dithered,
    encode,
    fixed_masks,
    held_out_loss,
    new_model,
    nonzero_medians,
    padded,
    permuted_within_depth,
    save,
    train,
)
from scipy import sparse, stats

from scepsis.datasets._demo import DEMO
from scepsis.datasets._simulate_screen import simulate_screen

if TYPE_CHECKING:
    from _masked_genes import Cells
    from anndata import AnnData
    from transformers import BertForMaskedLM

OUT = Path(__file__).parents[1] / "src" / "scepsis" / "models" / "_demo"
N_TRAINING, N_HELD_OUT = 5400, 600
#: Cells for training come from this seed onwards; the demo's own from 0.
CELLS_SEED = 1000
COEXPRESSED = 0.15


@dataclass(frozen=True)
class Run:
    """Models of one seed, and the cells that they are measured on."""

    models: dict[str, BertForMaskedLM]
    gene_ids: list[str]
    medians: np.ndarray
    training: Cells
    training_dithered: Cells
    held_out: Cells
    held_out_dithered: Cells
    held_out_permuted: Cells


def unseen_controls(seed: int) -> AnnData:
    """Control cells of the world that `seed` makes."""
    knobs = dict(DEMO) | {
        "n_controls": N_TRAINING + N_HELD_OUT,
        "cells_per_perturbation": 0,
        "rng": seed,
        "cells_rng": CELLS_SEED + seed,
    }
    return simulate_screen(**knobs)


def run(seed: int, recipe: Recipe) -> Run:
    """Train on real and on gene-permuted cells, from the same first weights."""
    adata = unseen_controls(seed)
    counts = sparse.csr_matrix(adata.X, dtype=np.float64)
    rng = np.random.default_rng(seed)
    training, held_out = counts[:N_TRAINING], counts[N_TRAINING:]
    medians = nonzero_medians(training)
    models = {"untrained": new_model(adata.n_vars, recipe, seed)}
    for name, cells in (("trained", training), ("permuted", permuted_within_depth(training, rng))):
        models[name] = new_model(adata.n_vars, recipe, seed)
        copies = [encode(dithered(cells, rng), medians, recipe.max_positions) for _ in range(recipe.n_dithered)]
        started = time.process_time()
        n_steps = train(models[name], copies, recipe, seed, say=f"seed {seed}, {name}")
        print(f"seed {seed}, {name}: {n_steps} steps in {time.process_time() - started:.0f} CPU-seconds", flush=True)

    def tokens(cells: sparse.csr_matrix) -> Cells:
        return encode(cells, medians, recipe.max_positions)

    return Run(
        models=models,
        gene_ids=adata.var["ensembl_id"].tolist(),
        medians=medians,
        training=tokens(training),
        training_dithered=tokens(dithered(training, rng)),
        held_out=tokens(held_out),
        held_out_dithered=tokens(dithered(held_out, rng)),
        held_out_permuted=tokens(permuted_within_depth(held_out, rng, n_bins=10)),
    )


def losses(result: Run) -> dict[str, float]:
    """Losses on held-out cells, plain, dithered and permuted."""
    n_tokens = len(result.gene_ids) + 2
    measured = {}
    for kind, cells, training in (
        ("", result.held_out, result.training),
        (" (dithered)", result.held_out_dithered, result.training_dithered),
        (" (permuted)", result.held_out_permuted, None),
    ):
        masks = fixed_masks(cells, 0)
        for name, model in result.models.items():
            measured[f"loss {name}{kind}"] = held_out_loss(model, cells, masks)
        if training is not None:
            for name, value in baseline_losses(training, cells, masks, n_tokens).items():
                measured[f"loss of {name}{kind}"] = value
    measured["permuted - real loss"] = measured["loss trained (permuted)"] - measured["loss trained"]
    return measured


def attention_maps(model: BertForMaskedLM, cells: Cells, n_genes: int) -> list[dict[str, np.ndarray]]:
    """
    Per layer, mean over heads and cells of attention from query gene to key gene, on three scales.

    ``p`` as it is, ``n*p`` times the cell's tokens, ``centred`` as logarithms without the cell's row and column means.
    """
    maps = [
        {name: np.zeros((n_genes, n_genes)) for name in ("p", "n*p", "centred")}
        for _ in range(model.config.num_hidden_layers)
    ]
    seen = np.zeros((n_genes, n_genes))
    model.set_attn_implementation("eager")
    for start in range(0, len(cells), 32):
        batch = cells[start : start + 32]
        ids = torch.from_numpy(padded(batch))
        with torch.no_grad():
            layers = model.bert(ids, attention_mask=(ids != PAD).long(), output_attentions=True).attentions
        for row, cell in enumerate(batch):
            n = len(cell)
            block = np.ix_(cell - 2, cell - 2)
            seen[block] += 1
            for sums, attention in zip(maps, layers, strict=True):
                p = attention[row, :, :n, :n].double().numpy()
                mean = p.mean(axis=0)
                log = np.log(p).mean(axis=0)
                sums["p"][block] += mean
                sums["n*p"][block] += n * mean
                sums["centred"][block] += log - log.mean(axis=0) - log.mean(axis=1, keepdims=True) + log.mean()
    model.set_attn_implementation("sdpa")
    with np.errstate(invalid="ignore"):
        return [{name: total / seen for name, total in sums.items()} for sums in maps]


def two_way_residual(values: np.ndarray) -> np.ndarray:
    """What is left after row and column means; NaN entries take no part."""
    residual = values.copy()
    for _ in range(20):
        residual -= np.nanmean(residual, axis=1, keepdims=True)
        residual -= np.nanmean(residual, axis=0, keepdims=True)
    return residual


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    n = int(positive.sum())
    return float((stats.rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def attention_measures(result: Run, seed: int) -> dict[str, float]:
    """How attention over the demo's own control cells relates to co-expression, and to the network."""
    adata = simulate_screen(**(dict(DEMO) | {"rng": seed}))
    adata = adata[adata.obs["perturbation"] == "non-targeting"]
    counts = adata.X.toarray()
    coexpression = stats.spearmanr(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)).statistic
    cells = encode(sparse.csr_matrix(counts), result.medians, 256)
    n_regulators = int(adata.var["is_regulator"].sum())
    network = adata.varp["regulation"][:n_regulators] != 0
    off = ~np.eye(adata.n_vars, dtype=bool)
    measured = {"share of pairs with rho > .15": float((coexpression[off] > COEXPRESSED).mean())}
    for name, model in result.models.items():
        for layer, maps in enumerate(attention_maps(model, cells, adata.n_vars)):
            where = f"{name} L{layer}"
            for scale in ("p", "n*p", "centred"):
                values = np.where(off, maps[scale], np.nan)
                residual = two_way_residual(values)
                use = np.isfinite(residual)
                measured[f"rho {scale} {where}"] = float(stats.spearmanr(residual[use], coexpression[use]).statistic)
                if scale == "centred":
                    measured[f"auroc {where}"] = auroc(values[use], coexpression[use] > COEXPRESSED)
                    tf = use[:n_regulators]
                    measured[f"network {where}"] = auroc(values[:n_regulators][tf], network[tf])
                if scale == "n*p":
                    key = np.broadcast_to(np.nanmean(values, axis=0), values.shape)[use]
                    measured[f"key share {where}"] = float(key.var() / values[use].var())
    return measured


def table(measures: dict[int, dict[str, float]]) -> str:
    """One row per measure, one column per seed."""
    seeds = list(measures)
    lines = ["| measure | " + " | ".join(f"seed {seed}" for seed in seeds) + " |", "|---|" + "---|" * len(seeds)]
    lines += [
        f"| {name} | " + " | ".join(f"{measures[seed][name]:.3f}" for seed in seeds) + " |"
        for name in measures[seeds[0]]
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="the first one is shipped")
    parser.add_argument("--gates", action="store_true", help="measure instead of writing")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the shipped checkpoints")
    parser.add_argument("--passes", type=int, default=Recipe.n_passes)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(n_passes=arguments.passes)
    measures = {}
    for seed in arguments.seeds:
        result = run(seed, recipe)
        if not arguments.gates:
            for name, model in result.models.items():
                save(model, arguments.out / name, result.gene_ids, result.medians)
            break
        measures[seed] = losses(result) | attention_measures(result, seed)
        print(table(measures), flush=True)


if __name__ == "__main__":
    main()
