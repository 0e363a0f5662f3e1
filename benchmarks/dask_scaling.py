"""
Reading attention past one process and past memory: what a second worker brings, and what more cells cost in memory.

    python benchmarks/dask_scaling.py            # everything, about half an hour on 2 cores
    python benchmarks/dask_scaling.py --quick    # few cells, for a look
    python benchmarks/dask_scaling.py --only memory --sizes 20000    # a part

Scaling: the same chunks over one and over two workers of one thread each, every worker held to a core of its own, in
turn; the smallest time of the repetitions counts, and efficiency is ``t(1) / (2 t(2))``. Memory: a process at its
peak, libraries and model included, reading only the first layer; cells come from a file, backed or as a dask array.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

N_VOCABULARY, N_PANEL = 8000, 2000
#: Genes of the cells that memory is measured on: so few that 500 cells hold every pair. Networks are stored sparse, and
#: grow with cells for as long as new pairs turn up.
N_SEEN = 1000
#: Cells that a worker takes at a time.
CHUNK = 256


def write_cells(path: Path, n_cells: int, length: int, n_genes: int = N_VOCABULARY) -> None:
    """Cells of `length` genes each, drawn from the first `n_genes`, as the panel is; in a file by rows."""
    rng = np.random.default_rng(0)
    parts = []
    for start in range(0, n_cells, 500):
        n = min(500, n_cells - start)
        genes = rng.random((n, n_genes)).argpartition(length, axis=1)[:, :length]
        data = rng.integers(1, 500, n * length).astype(np.float32)
        shape = (n, N_VOCABULARY)
        parts.append(sparse.csr_matrix((data, genes.ravel(), np.arange(n + 1) * length), shape=shape))
    counts = sparse.vstack(parts, format="csr")
    counts.sort_indices()
    var = pd.DataFrame(index=[f"ENSG{number:011d}" for number in range(N_VOCABULARY)])
    var["edge_panel"] = np.isin(np.arange(N_VOCABULARY), rng.choice(n_genes, min(N_PANEL, n_genes), replace=False))
    obs = pd.DataFrame({"edge_cells": np.ones(n_cells, bool)}, index=[f"cell{number}" for number in range(n_cells)])
    ad.AnnData(counts, obs=obs, var=var).write_h5ad(path)


def open_cells(path: Path, way: str, chunk: int = CHUNK) -> ad.AnnData:
    """Backed, or with counts as a dask array over the file and all else in memory."""
    backed = ad.read_h5ad(path, backed="r")
    if way == "backed":
        return backed
    from anndata.experimental import read_elem_lazy

    obs, var = backed.obs.copy(), backed.var.copy()
    backed.file.close()
    return ad.AnnData(read_elem_lazy(h5py.File(path)["X"], chunks=(chunk, -1)), obs=obs, var=var)


def run(adata: ad.AnnData, model: object, layers: object) -> None:
    import scepsis as sps

    sps.tl.attention_edges(adata, model, layers=layers, copy=False, show_progress_bar=False)


def scaling(folder: Path, n_cells: int, repetitions: int) -> None:
    from distributed import Client, LocalCluster

    from scepsis.models import load

    path = folder / "cells.h5ad"
    write_cells(path, n_cells, 512)
    model = load(make_model(folder / "model512", 512))
    best: dict[int, float] = {}
    for _ in range(repetitions):
        for n_workers in (1, 2):
            options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None}
            with LocalCluster(**options, local_directory=str(folder)) as cluster, Client(cluster) as client:
                for core, worker in enumerate(client.scheduler_info()["workers"]):
                    client.run(os.sched_setaffinity, 0, {sorted(os.sched_getaffinity(0))[core]}, workers=[worker])
                # Every worker loads the model and compiles before the clock starts.
                run(open_cells(path, "dask", 4)[: 8 * n_workers].copy(), model, None)
                adata = open_cells(path, "dask")
                start = time.perf_counter()
                run(adata, model, None)
                best[n_workers] = min(best.get(n_workers, np.inf), time.perf_counter() - start)
    print(f"| workers (1 thread each) | seconds, {n_cells} cells of 512 tokens, 6 layers | efficiency |")
    print("|---|---|---|")
    for n_workers, seconds in best.items():
        print(f"| {n_workers} | {seconds:.1f} | {best[1] / (n_workers * seconds):.0%} |")


def make_model(folder: Path, positions: int) -> Path:
    """Random weights in the shape and layout of the first generation's small Geneformer."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=N_VOCABULARY + 2,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=positions,
        hidden_act="relu",
        layer_norm_eps=1e-12,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    genes = [f"ENSG{number:011d}" for number in range(N_VOCABULARY)]
    tokens = {"<pad>": 0, "<mask>": 1} | {gene: number + 2 for number, gene in enumerate(genes)}
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    (folder / "gene_median_dictionary.json").write_text(json.dumps(dict.fromkeys(genes, 1.0)))
    return folder


def peak(folder: Path, path: Path, way: str) -> tuple[float, float, float]:
    """Resident memory of this process with the model loaded, and at its peak, in MiB; seconds."""
    from scepsis.models import load

    model = load(folder)
    adata = open_cells(path, way, 500)
    run(adata[:8].to_memory(), model, 0)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    start = time.perf_counter()
    run(adata, model, 0)
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter() - start


def memory(folder: Path, sizes: Sequence[int]) -> None:
    model = make_model(folder / "model256", 256)
    print("| cells of 256 tokens | read | resident before, MiB | at the peak | seconds |")
    print("|---|---|---|---|---|")
    for n_cells in sizes:
        path = folder / f"{n_cells}.h5ad"
        write_cells(path, n_cells, 256, N_SEEN)
        for way in ("backed", "dask"):
            with ProcessPoolExecutor(1, mp_context=mp.get_context("spawn")) as pool:
                before, most, seconds = pool.submit(peak, model, path, way).result()
            print(f"| {n_cells:,} | {way} | {before:.0f} | {most:.0f} | {seconds:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few cells")
    parser.add_argument("--only", choices=["scaling", "memory"])
    parser.add_argument("--cells", type=int, help="cells for scaling")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", help="cells for memory")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "memory":
            n_cells = args.cells or (2 * CHUNK if args.quick else 8 * CHUNK)
            scaling(Path(folder), n_cells, 1 if args.quick else args.repeats)
        if args.only != "scaling":
            memory(Path(folder), args.sizes or ((100, 400) if args.quick else (500, 2000, 20_000)))


if __name__ == "__main__":
    main()
