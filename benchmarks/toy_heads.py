"""A model of 12 layers x 12 heads, with a head that carries what its last layer shows or without any, and a screen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pathlib import Path

N_GENES, N_GROUPS, N_LAYERS, N_HEADS, SIZE = 60, 8, 12, 12, 10
N_PERTURBED = 16
#: Layer and number of the head that is planted.
PLANTED = (4, 7)


def make_checkpoint(folder: Path, seed: int, sigma: float) -> Path:
    """Random weights of that shape in the first generation's layout, for genes ``ENSG00000000000`` and on."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=N_GENES + 2,
        hidden_size=N_HEADS * SIZE,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        intermediate_size=2 * SIZE,
        max_position_embeddings=N_GENES + 4,
        hidden_act="relu",
        layer_norm_eps=1e-12,
        initializer_range=sigma,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokens = {"<pad>": 0, "<mask>": 1} | {f"ENSG{gene:011d}": gene + 2 for gene in range(N_GENES)}
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    (folder / "gene_median_dictionary.json").write_text(json.dumps(dict.fromkeys(list(tokens)[2:], 1.0)))
    return folder


def listed(seed: int = 5) -> np.ndarray:
    """Groups x genes: the nine genes that each group of sources regulates."""
    rng = np.random.default_rng(seed)
    return np.stack([np.isin(np.arange(N_GENES), rng.choice(N_GENES, 9, replace=False)) for _ in range(N_GROUPS)])


def plant(model: Any) -> None:
    """
    Edit weights so that one head alone tells the last layer what a gene regulates.

    Tokens are one-hot; gene i belongs to group ``i % 8``. The planted head looks at the own group and writes its
    number beside the token; every head of the last layer looks for the targets of the number that it finds.
    """
    embeddings = model.network.embeddings
    for table in (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings):
        table.weight.zero_()
    for gene in range(N_GENES):
        embeddings.word_embeddings.weight[gene + 2, gene] = 1.0
    for layer in range(N_LAYERS):
        model.seams(layer).mlp.weight.zero_()
    layer, head = PLANTED
    own, seams = slice(head * SIZE, head * SIZE + N_GROUPS), model.seams(layer)
    for module, size in ((seams.query, 1.0), (seams.key, 1.0), (seams.value, 0.1)):
        module.weight[own] = 0.0
        for gene in range(N_GENES):
            module.weight[head * SIZE + gene % N_GROUPS, gene] = size
    seams.output.weight[:, own] = 0.0
    for number in range(N_GROUPS):
        seams.output.weight[N_GENES + number, head * SIZE + number] = 10.0
    last = model.seams(N_LAYERS - 1)
    last.query.weight.zero_()
    last.key.weight.zero_()
    for reader in range(N_HEADS):
        for number, targets in enumerate(listed()):
            last.query.weight[reader * SIZE + number, N_GENES + number] = 0.3
            for gene in np.flatnonzero(targets):
                last.key.weight[reader * SIZE + number, gene] = 0.3


def make_screen(n_cells: int, responds: np.ndarray, seed: int = 0) -> ad.AnnData:
    """Control cells, and perturbed genes ``G0`` on, whose responders are the rows of `responds`."""
    rng = np.random.default_rng(seed)
    names = [f"G{gene}" for gene in range(N_GENES)]
    counts = rng.poisson(3.0, size=(n_cells, N_GENES)).astype(np.float32)
    var = pd.DataFrame({"ensembl_id": [f"ENSG{gene:011d}" for gene in range(N_GENES)]}, index=names)
    adata = ad.AnnData(counts, obs=pd.DataFrame(index=[f"c{cell}" for cell in range(n_cells)]), var=var)
    adata.obs["edge_cells"], adata.var["edge_panel"] = True, True
    store_effects(adata, responds)
    return adata


def store_effects(adata: ad.AnnData, responds: np.ndarray) -> None:
    """Labels as `scepsis.tl.perturbation_effects` stores them; the first genes of the panel are perturbed."""
    names = list(adata.var_names[: len(responds)])
    adata.varm["perturbation_target"] = responds.T.astype(np.float32)
    adata.uns["perturbation_effects"] = {
        "params": {"groupby": "perturbation", "control": "non-targeting", "labels_hash": "labels"},
        "perturbations": pd.DataFrame({"perturbation": names, "gene": names, "status": "ok"}, dtype=object),
    }
