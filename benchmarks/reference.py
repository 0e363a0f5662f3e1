"""
Cost of scoring edges on a reference network: resampled regulators, and networks of the same degrees.

    python benchmarks/reference.py            # about a minute
    python benchmarks/reference.py --quick    # a tenth of the size, for a look

Prints rows of markdown. The naive bootstrap copies the pairs of every regulator as often as it was drawn and ranks
them anew; its time for all replicates is extrapolated from a few, and its values on the same draws are compared.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy.stats import rankdata

import scepsis as sps
from scepsis.stats._bootstrap import draw_counts
from scepsis.stats._rewire import rewire
from scepsis.stats._win_matrix import WinMatrix, bootstrap_aurocs

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_BOOT = 10_000


def naive(scores: NDArray, positive: NDArray, weights: NDArray) -> float:
    """AUROC of copies of the rows of scores."""
    rows = np.repeat(np.arange(len(scores)), weights.astype(int))
    copied, label = scores[rows].ravel(), positive[rows].ravel()
    ranks = rankdata(copied)
    n_pos = int(label.sum())
    return (ranks[label].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * (len(label) - n_pos))


def bootstrap(n_clusters: int, n_targets: int, n_naive: int = 6) -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=(n_clusters, n_targets)), 3)
    positive = rng.random(scores.shape) < 0.028 * rng.gamma(0.5, 2, size=(n_clusters, 1))
    clusters = np.repeat(np.arange(n_clusters), n_targets)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        matrix = WinMatrix.of(scores.ravel(), positive.ravel(), clusters, n_clusters)
        found = bootstrap_aurocs([matrix], N_BOOT, np.random.default_rng(1))
        times.append(time.perf_counter() - start)
    draws = draw_counts(n_naive, n_clusters, np.random.default_rng(2))
    start = time.perf_counter()
    expected = [naive(scores, positive, draw) for draw in draws]
    each = (time.perf_counter() - start) / n_naive
    error = np.abs(matrix.auroc(draws) - expected).max()
    ratio = each * N_BOOT / min(times)
    print(
        f"| bootstrap over {n_clusters} regulators of a pooled AUROC, {scores.size:,} pairs, {N_BOOT:,} replicates "
        f"| naive resample | {min(times):.2f} s; naive {each * 1000:.0f} ms each, {ratio:,.0f}x | within {error:.0e}, "
        f"spread {np.std(found):.4f} |"
    )


def network(n_rows: int, n_columns: int, n_edges: int) -> tuple[NDArray, NDArray]:
    """Heavy-tailed degrees on both sides; row i is the gene of column i."""
    rng = np.random.default_rng(0)
    weight = np.outer(rng.pareto(1.2, n_rows) + 0.2, rng.pareto(1.5, n_columns) + 0.2)
    allowed = np.arange(n_rows)[:, None] != np.arange(n_columns)
    keys = np.where(allowed, rng.exponential(size=weight.shape) / weight, np.inf)
    listed = np.zeros(weight.shape, dtype=bool)
    listed.ravel()[np.argsort(keys.ravel())[:n_edges]] = True
    return listed, allowed


def nulls(n_rows: int, n_columns: int, n_edges: int) -> None:
    listed, allowed = network(n_rows, n_columns, n_edges)
    rewire(listed[:20, :100], allowed[:20, :100], 2, seed=0)  # compiles
    start, cpu = time.perf_counter(), time.process_time()
    found = rewire(listed, allowed, 200, seed=0)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    mixing = found.mixing
    print(
        f"| 200 networks of the degrees of one with {listed.sum():,} edges (largest degrees "
        f"{listed.sum(axis=1).max():,} and {listed.sum(axis=0).max():,}) | - | {wall:.2f} s ({cpu:.2f} s CPU), "
        f"{mixing.n_steps[-1]:,} steps each | mixed: {mixing.mixed}, overlap {mixing.overlap[-1]:.3f} |"
    )


def study(n_sets: int = 10) -> None:
    listed, _ = network(40, 200, 640)
    rng = np.random.default_rng(0)
    names = [f"G{index}" for index in range(200)]
    cells = pd.DataFrame({"edge_cells": True}, index=[f"c{index}" for index in range(2000)])
    var = pd.DataFrame({"mean": rng.random(200)}, index=names)
    adata = ad.AnnData(X=rng.poisson(1, (2000, 200)).astype(np.float32), obs=cells, var=var)
    for index in range(n_sets):
        adata.varp[f"edges{index}"] = rng.random((200, 200)).astype(np.float32)
    source, target = np.nonzero(listed)
    frame = pd.DataFrame({"source": [names[i] for i in source], "target": [names[i] for i in target]})
    times = []
    for _ in range(3):
        start = time.process_time()
        sps.tl.degree_null(
            adata, frame, edges=[f"edges{index}" for index in range(n_sets)], n_null=200, show_progress_bar=False
        )
        times.append(time.process_time() - start)
    print(f"| `degree_null(n_null=200)` of {n_sets} sets of edges, 40 x 200 genes | - | {min(times):.2f} s CPU | |")


def main() -> None:
    import warnings

    warnings.filterwarnings("ignore", message="There is no record of the cells")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print("| what | compared with | measured | equal, mixed |\n|---|---|---|---|")
    bootstrap(*((130, 430) if quick else (400, 1400)))
    nulls(*((250, 800, 840) if quick else (800, 2500, 8400)))
    study()


if __name__ == "__main__":
    main()
