"""
What interventions cost: a battery of conditions, random sets of heads, and games among layers.

    python benchmarks/interventions.py                  # everything, about five minutes on 2 cores
    python benchmarks/interventions.py --only battery   # or: prefix, null, game

`battery`: 13 conditions with their fidelity (`scepsis.tl.ablate_heads`) against one extraction of all layers
(`scepsis.tl.attention_edges`), the small Geneformer's shape, 64 cells of 512 tokens. `prefix`: what it takes to run a
batch from its last layer instead of its first. `null`: a head against all others below the last layer of 12 x 12, by
the sequential test on cells that a pilot asked for, against one extraction for every other head over all cells, where
both come to the same decision. `game`: every coalition of six layers, against a whole pass for each. All times are of
the processor, all cores together.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from attention import N_PANEL, N_VOCABULARY, make_cells, make_checkpoint
from sklearn.metrics import roc_auc_score
from toy_heads import N_GROUPS, N_HEADS, N_LAYERS, N_PERTURBED, PLANTED, listed, plant, store_effects
from toy_heads import make_checkpoint as make_toy
from toy_heads import make_screen as make_toy_screen
from transformers.utils.logging import disable_progress_bar

import scepsis as sps
from scepsis.models._prefix import cached_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS = 512
#: Doses that a model of 24 heads has room for.
CONDITIONS = (
    "top_1", "top_2", "top_5", "top_10", "composite_5", "composite_10", "layer_4", "bottom_5", "bottom_10",
    "random_5", "random_10", "entropy_5", "entropy_10",
)  # fmt: skip
QUIET = {"show_progress_bar": False}


def seconds(run: Callable[[], object]) -> float:
    """Seconds of all cores together: what else the machine does counts for little."""
    start = time.process_time()
    run()
    return time.process_time() - start


def make_screen(n_cells: int, n_perturbed: int = 40) -> ad.AnnData:
    """Cells of 0.6 to 1 times 512 tokens; the panel's genes come first, and the first of them are perturbed."""
    counts, panel = make_cells(n_cells, TOKENS)
    order = np.concatenate([panel, np.setdiff1d(np.arange(N_VOCABULARY), panel)])
    var = pd.DataFrame({"ensembl_id": [f"ENSG{gene:011d}" for gene in order]}, index=[f"G{gene}" for gene in order])
    adata = ad.AnnData(counts[:, order], obs=pd.DataFrame(index=[f"c{cell}" for cell in range(n_cells)]), var=var)
    adata.obs["edge_cells"], adata.var["edge_panel"] = True, np.arange(N_VOCABULARY) < N_PANEL
    rng = np.random.default_rng(1)
    store_effects(adata, rng.random((n_perturbed, N_VOCABULARY)) < 0.05)
    return adata


def reference(adata: ad.AnnData) -> pd.DataFrame:
    """Thirty regulators with twenty targets each, drawn."""
    rng = np.random.default_rng(2)
    names = adata.var_names.to_numpy()[:N_PANEL]
    pairs = [(names[i], names[j]) for i in range(30) for j in rng.choice(np.arange(30, N_PANEL), 20, replace=False)]
    return pd.DataFrame(pairs, columns=["source", "target"])


def battery(folder: Path, repetitions: int, n_cells: int, compared: list[int]) -> None:
    make_checkpoint(folder / "model", TOKENS)
    model, adata = sps.models.load(folder / "model"), make_screen(n_cells)
    ranking = seconds(lambda: sps.tl.rank_heads(adata, model, reference=reference(adata), **QUIET))
    print(f"battery: ranking of heads {ranking:.1f} s", flush=True)
    base = min(seconds(lambda: sps.tl.attention_edges(adata, model, **QUIET)) for _ in range(repetitions))
    print(f"  one extraction, all layers: {base:.1f} s", flush=True)
    ask: dict[str, Any] = {"conditions": CONDITIONS, "n_cells": n_cells, "n_random": 1} | QUIET
    for n_fidelity in compared:
        run = partial(sps.tl.ablate_heads, adata, model, n_fidelity=n_fidelity, **ask)
        value = min(seconds(run) for _ in range(repetitions))
        told = adata.uns["head_ablation"]["results"]
        print(f"  {told['condition'].nunique()} conditions, fidelity on {n_fidelity} cells: {value:.1f} s, "
              f"{value / base:.1f}x ({(told['status'] == 'ok').sum()} rows with a result)", flush=True)  # fmt: skip


def prefix(folder: Path, repetitions: int, n_cells: int) -> None:
    n_cells = min(n_cells, 16)
    make_checkpoint(folder / "model", TOKENS)
    model, adata = sps.models.load(folder / "model"), make_screen(n_cells)
    tokens = np.array([model.vocabulary.tokens[gene] for gene in adata.var["ensembl_id"]])
    cells = model.tokenize(adata.X, tokens, np.zeros(n_cells, dtype=np.uint64))
    batch = model.batch(cells, [np.arange(len(cell.ids)) for cell in cells])
    whole = min(seconds(lambda: model.forward(batch)) for _ in range(3 * repetitions))
    print(f"prefix: {n_cells} cells, whole pass {1e3 * whole:.0f} ms ({1e3 * whole / model.n_layers:.1f} ms a layer)")
    for layer in range(1, model.n_layers):
        with cached_prefix(model, layer):
            model.forward(batch)
            from_there = min(seconds(lambda: model.forward(batch)) for _ in range(3 * repetitions))
        due = whole * (model.n_layers - layer) / model.n_layers
        print(f"  from layer {layer}: {1e3 * from_there:.0f} ms; its share of layers would be {1e3 * due:.0f} ms")


def mean_auroc(edges: np.ndarray, responds: np.ndarray) -> float:
    """Mean over perturbed genes; a gene is no candidate of its own."""
    scores = []
    for row, (values, positive) in enumerate(zip(edges, responds, strict=True)):
        others = np.arange(len(values)) != row
        scores.append(roc_auc_score(positive[others], values[others]))
    return float(np.mean(scores))


def null(folder: Path, n_cells: int) -> None:
    model = sps.models.load(make_toy(folder / "toy", 0, 0.01))
    with torch.no_grad():
        plant(model)
    rows = [gene % N_GROUPS for gene in range(N_PERTURBED)]
    adata = make_toy_screen(n_cells, listed()[rows])
    pairs = [(f"G{i}", f"G{j}") for i in range(24) for j in np.flatnonzero(listed()[i % N_GROUPS]) if i != j]
    network = pd.DataFrame(pairs, columns=["source", "target"])
    sps.tl.rank_heads(adata, model, reference=network, **QUIET)
    # Those of the last layer do nothing to what is read there.
    heads = [(layer, head) for layer in range(N_LAYERS - 1) for head in range(N_HEADS)]
    sources = list(adata.var_names[:N_PERTURBED])

    naive, took = {}, 0.0
    ask: dict[str, Any] = {"layers": [N_LAYERS - 1], "sources": sources, "key_added": "naive"} | QUIET
    for head in heads:
        start = time.process_time()
        with model.intervene(sps.models.Intervention.zero_heads([head])):
            sps.tl.attention_edges(adata, model, **ask)
        took += time.process_time() - start
        naive[head] = mean_auroc(sps.get.edge_matrix(adata, "naive").loc[sources].to_numpy(), listed()[rows])
    for head, what in ((PLANTED, "the planted head"), ((2, 3), "an irrelevant head")):
        lower = sum(value <= naive[head] for other, value in naive.items() if other != head)
        p = (1 + lower) / len(heads)
        chosen = {"one": sps.models.Intervention.zero_heads([head])}
        ask = {
            "conditions": chosen,
            "readouts": "last",
            "match": (),
            "n_random": len(heads) - 1,
            "n_fidelity": 2,
        } | QUIET
        own = seconds(lambda ask=ask: sps.tl.ablate_heads(adata, model, **ask))
        params = adata.uns["head_ablation"]["params"]
        row = adata.uns["head_ablation"]["results"].iloc[0]
        print(f"null, {what}: naive p = {p:.3g}, {len(heads)} passes over {n_cells} cells in {took:.1f} s; sequential "
              f"p = {row['p_random']:.3g}, {params['n_random_run']} heads on {params['n_cells_paired']} cells in "
              f"{own:.1f} s: {took / own:.1f}x")  # fmt: skip


def game(folder: Path, repetitions: int, n_cells: int) -> None:
    make_checkpoint(folder / "model", TOKENS)
    model, adata = sps.models.load(folder / "model"), make_screen(n_cells)
    ask = {"n_cells": n_cells} | QUIET
    own = min(seconds(lambda: sps.tl.mediation(adata, model, **ask)) for _ in range(repetitions))
    one = min(seconds(lambda: sps.pp.embed_cells(adata, model, **QUIET)) for _ in range(repetitions))
    params = adata.uns["mediation"]["params"]
    n = params["n_passes"]
    print(f"game: {n} coalitions of 6 layers, {n_cells} cells: {own:.1f} s; {n} whole passes would take {n * one:.1f} "
          f"s ({one:.2f} s each): {n * one / own:.2f}x; {params['share_of_layers']:.0%} of layers are run")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", nargs="+", default=["battery", "prefix", "null", "game"])
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--cells", type=int, default=64, help="cells of `battery` and `game`, at most 16 of `prefix`")
    parser.add_argument(
        "--compared", type=int, nargs="+", default=[1, 32, 64], help="cells with fidelity, of `battery`"
    )
    parser.add_argument("--null-cells", type=int, default=250)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    disable_progress_bar()
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            if name == "null":
                null(Path(folder), arguments.null_cells)
            else:
                own = partial(battery, compared=arguments.compared)
                run = {"battery": own, "prefix": prefix, "game": game}[name]
                run(Path(folder), arguments.repetitions, arguments.cells)


if __name__ == "__main__":
    main()
