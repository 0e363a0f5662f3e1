"""
Train a small checkpoint on the control cells of a real screen, in the layout of a first-generation Geneformer.

    python scripts/train_on_screen.py OUT --data DIR      # DIR defaults to SCEPSIS_DATA; three to four CPU-minutes

The cells are the control cells of the Papalexi screen with a confident guide call. Training knows only the genes of
that screen; the weights are then spread over the full published vocabulary, so that the folder is read, tokenised
and hooked like a published one. It is an honest null, not a good model: a couple of hundred genes hold little
co-expression, and what such a model learns is mostly which genes stand where.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from _masked_genes import FIRST_GENE, Recipe, dithered, encode, fixed_masks, held_out_loss, new_model, train
from scipy import sparse
from transformers import BertForMaskedLM

SCREEN = "screens/papalexi_eccite_thp1_299genes.h5ad"
RECIPE = replace(Recipe(), n_dithered=20, n_passes=100, max_positions=2048)
N_HELD_OUT = 200
#: Logit of a gene that the compact model never saw.
NEVER = -20.0


def control_counts(path: Path, genes: list[str]) -> sparse.csr_matrix:
    """Counts of confident control cells, genes in the order given."""
    adata = ad.read_h5ad(path)
    strict = (adata.obs["gRNA_frac"] >= 0.8) & (adata.obs["gRNA_umi"] >= 3)
    controls = adata[(strict & (adata.obs["perturbation"] == "non-targeting")).to_numpy()]
    position = {gene: index for index, gene in enumerate(controls.var["ensembl_id"])}
    return sparse.csr_matrix(controls.X, dtype=np.float64)[:, [position[gene] for gene in genes]]


def spread(model: BertForMaskedLM, token_ids: np.ndarray, size: int) -> BertForMaskedLM:
    """Put the rows of a compact vocabulary where the published one has them; all other genes are empty rows."""
    config = type(model.config).from_dict(model.config.to_dict() | {"vocab_size": size})
    wide = BertForMaskedLM(config)
    compact = model.state_dict()
    rows = torch.from_numpy(np.concatenate([np.arange(FIRST_GENE), token_ids]))
    content = {}
    for name, tensor in wide.state_dict().items():
        if tensor.shape == compact[name].shape:
            content[name] = compact[name]
        else:
            content[name] = torch.full_like(tensor, NEVER if tensor.ndim == 1 else 0.0)
            content[name][rows] = compact[name]
    wide.load_state_dict(content)
    return wide.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write the checkpoint to")
    parser.add_argument("--data", type=Path, default=os.environ.get("SCEPSIS_DATA"), help="folder with the real data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--passes", type=int, default=RECIPE.n_passes)
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the data by --data or SCEPSIS_DATA")
    torch.set_num_threads(1)
    recipe = replace(RECIPE, n_passes=args.passes)

    token_file, median_file = (
        args.data / "geneformer" / f"{name}.json" for name in ("token_dictionary", "gene_median_dictionary")
    )
    tokens, medians = json.loads(token_file.read_text()), json.loads(median_file.read_text())
    measured = ad.read_h5ad(args.data / SCREEN, backed="r").var["ensembl_id"]
    genes = sorted((gene for gene in measured if gene in tokens), key=tokens.get)
    counts = control_counts(args.data / SCREEN, genes)
    levels = np.array([medians[gene] for gene in genes])
    print(f"{counts.shape[0]} control cells, {len(genes)} genes of the vocabulary of {len(tokens)}", flush=True)

    rng = np.random.default_rng(args.seed)
    order = rng.permutation(counts.shape[0])
    training, held_out = counts[order[N_HELD_OUT:]], counts[order[:N_HELD_OUT]]
    copies = [encode(dithered(training, rng), levels, recipe.max_positions) for _ in range(recipe.n_dithered)]
    cells = [cell for cell in encode(held_out, levels, recipe.max_positions) if len(cell)]
    masks = fixed_masks(cells, args.seed)
    model = new_model(len(genes), recipe, args.seed)
    before, started = held_out_loss(model, cells, masks), time.process_time()
    n_steps = train(model, copies, recipe, args.seed, say="screen")
    print(
        f"{n_steps} steps in {time.process_time() - started:.0f} CPU-seconds; "
        f"held-out loss {before:.3f} before, {held_out_loss(model, cells, masks):.3f} after"
    )
    wide = spread(model, np.array([tokens[gene] for gene in genes]), len(tokens))
    wide.save_pretrained(args.out)
    (args.out / "generation_config.json").unlink(missing_ok=True)
    for source in (token_file, median_file):
        (args.out / source.name).write_text(source.read_text())
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
