"""
Cost of explaining edges by gene features, and of taking that away.

    python benchmarks/residual.py            # 200 and 2,000 genes, about three minutes
    python benchmarks/residual.py --quick    # 200 genes

Prints rows of markdown, in CPU seconds of one thread. The kernels are set beside the usual way: a design written out
for scikit-learn's `cross_val_predict`, and trees as large as the paper's. All edges are synthetic: a line in gene
features, a bend, and noise.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_predict

import scepsis as sps
from scepsis._core._edge_slots import provenance
from scepsis._core._resolve import Choice
from scepsis.stats._boosted import Trees, boosted
from scepsis.stats._node_effects import node_effects
from scepsis.stats._residual import Pairs, gene_blocks, ols, pair_folds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def cpu(call: Callable[[], object], repeats: int = 3) -> float:
    """Smallest CPU time of a few calls."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def make_pairs(n_genes: int) -> tuple[Pairs, NDArray]:
    """Complete pairs, and edges of which about half is explained."""
    rng = np.random.default_rng(0)
    mask = ~np.eye(n_genes, dtype=bool)
    pairs = Pairs.of(mask, rng.normal(size=(n_genes, 3)))
    line = pairs.features[:, :1] + pairs.features[:, 1]
    return pairs, line + np.abs(pairs.features[:, 2]) + 1.5 * rng.normal(size=mask.shape)


def kernels(n_genes: int) -> None:
    """OLS, node effects and trees on one matrix."""
    pairs, values = make_pairs(n_genes)
    blocks, folds = gene_blocks(n_genes, np.random.default_rng(1)), pair_folds(pairs.mask, 5, np.random.default_rng(1))
    size = f"{n_genes:,} genes"
    ours = cpu(lambda: ols([values], pairs, folds))
    source, target = np.nonzero(pairs.mask)
    design = np.hstack([pairs.features[source, :2], pairs.features[target]])
    usual = cpu(
        lambda: cross_val_predict(LinearRegression(), design, values[pairs.mask], cv=KFold(5, shuffle=True)), repeats=1
    )
    print(f"| OLS, five folds of pairs, {size} | {usual:.2f} | {ours:.3f} | {usual / ours:.0f}x |")
    ours = cpu(lambda: ols([values], pairs, blocks))
    print(f"| OLS, seven blocks, {size} | - | {ours:.3f} | - |")
    ours = cpu(lambda: node_effects([values], pairs.mask))
    refit = cpu(lambda: node_effects([values], pairs.mask & (np.arange(n_genes) != 1)), repeats=1)
    print(f"| node effects, own pair left out, {size}; with pairs missing | - | {ours:.3f}; {refit:.2f} | - |")
    paper = Trees(n_trees=200, learning_rate=0.1, max_leaf_nodes=31)
    for split, name in ((blocks, "seven blocks"), (folds, "five folds of pairs")):
        ours, usual = (
            cpu(lambda s=split, t=trees: boosted([values], pairs, s, trees=t, seed=0, name="x"), repeats=1)
            for trees in (Trees(), paper)
        )
        print(f"| trees, {name}, {size} (against 200 of 31 leaves) | {usual:.2f} | {ours:.2f} | {usual / ours:.1f}x |")


def make_data(n_genes: int, n_sets: int) -> tuple[ad.AnnData, pd.DataFrame, list[str]]:
    """Several sets of edges with records, and a network of 40 regulators."""
    rng = np.random.default_rng(0)
    names = [f"G{index}" for index in range(n_genes)]
    height = rng.normal(size=n_genes)
    var = pd.DataFrame({"edge_panel": True, "mean": height, "variance": rng.normal(size=n_genes)}, index=names)
    var["detection_rate"] = height + 0.1 * rng.normal(size=n_genes)
    obs = pd.DataFrame({"edge_cells": True}, index=[f"c{index}" for index in range(50)])
    adata = ad.AnnData(X=np.zeros((50, n_genes), dtype=np.float32), obs=obs, var=var)
    chosen = Choice(np.ones(50, dtype=bool), "edge_cells"), Choice(np.ones(n_genes, dtype=bool), "edge_panel")
    record = provenance(adata, *chosen, cells_name="", genes_name="")
    adata.uns["gene_features"] = {"params": record}
    keys = [f"edges{index}" for index in range(n_sets)]
    for key in keys:
        values = (rng.normal(size=(n_genes, n_genes)) + height).astype(np.float32)
        np.fill_diagonal(values, np.nan)
        adata.varp[key] = values
        adata.uns[key] = {"params": record | {"signed": False, "layer_rule": "single"}, "edges_keys": [key]}
    rows = [(f"G{i}", f"G{j}") for i in range(40) for j in rng.permutation(n_genes)[: n_genes // 20] if i != j]
    return adata, pd.DataFrame(rows, columns=["source", "target"]), keys


def tool(n_genes: int, n_sets: int) -> None:
    """The whole of `residualize_edges`, per set of edges."""
    adata, network, keys = make_data(n_genes, n_sets)
    for pair_folds_too in (False, True):
        options = {"n_seeds": 1, "n_boot": 200, "pair_folds": pair_folds_too}
        sps.tl.residualize_edges(adata, edges=keys[0], reference=network, residualizers="node", **options)  # warm
        took = cpu(lambda o=options: sps.tl.residualize_edges(adata, edges=keys, reference=network, **o), repeats=1)
        folds = "with" if pair_folds_too else "without"
        what = f"residualize_edges, {n_sets} sets, one seed, {folds} folds of pairs, {n_genes:,} genes"
        print(f"| {what}: per set | - | {took / n_sets:.2f} | - |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--quick", action="store_true", help="200 genes alone")
    quick = parser.parse_args().quick
    print("| what | usual | here | ratio |\n|---|---|---|---|")
    kernels(200)
    tool(200, 8)
    if not quick:
        kernels(2000)


if __name__ == "__main__":
    main()
