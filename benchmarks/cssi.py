"""
Tables of the paper on networks per cell state, rebuilt, and the cost of making such networks.

    python benchmarks/cssi.py             # tables from 100 seeds, about fifteen minutes
    python benchmarks/cssi.py --seeds 10
    python benchmarks/cssi.py --cost 15   # 15 states x 2,000 genes x 20,000 cells against scipy, about a minute
"""

from __future__ import annotations

import argparse
import logging
import time
import tracemalloc
from typing import Literal

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import chi2, spearmanr

import scepsis as sps
from scepsis.stats._auroc import mann_whitney
from scepsis.stats._top_pairs import top_pairs

#: States, cells of each, and the paper's F1 (mean, standard deviation over 10 seeds) of all cells and of the maximum.
PAPER = [
    (2, 100, (0.850, 0.053), (0.957, 0.050)),
    (4, 100, (0.657, 0.100), (0.921, 0.071)),
    (6, 100, (0.486, 0.100), (0.900, 0.069)),
    (8, 125, (0.550, 0.089), (0.967, 0.029)),
    (10, 100, (0.514, 0.083), (0.932, 0.049)),
    (12, 125, (0.527, 0.041), (0.942, 0.027)),
]
POOLED_AUROC = (0.974, 0.926, 0.826, 0.848, 0.771, 0.776)


def recovered(adata: ad.AnnData, key: str, k: int | None = None) -> tuple[float, float, float]:
    """F1 at K (as many as there are true edges when not given), AUROC, and true edges found, of a simulation."""
    matrix = sps.get.edge_matrix(adata, key).reindex(index=adata.var_names, columns=adata.var_names)
    sources = adata.var_names[adata.var["is_regulator"]]
    targets = adata.var_names[adata.var["is_target"]]
    scores = np.abs(matrix.loc[sources, targets].to_numpy()).astype(np.float64)
    network = adata.uns["simulate_cssi"]["network"]
    truth = np.zeros(scores.shape, dtype=bool)
    truth[sources.get_indexer(network["source"]), targets.get_indexer(network["target"])] = True
    top = top_pairs(scores.ravel(), truth.ravel(), [k or int(truth.sum())])
    return float(top.f1[0]), mann_whitney(scores[truth], scores[~truth]), float(top.true_positives[0])


def synthetic(n_states: int, size: int, seed: int) -> dict[str, float]:
    """One simulation of the synthetic design."""
    adata = sps.datasets.simulate_cssi(n_states=n_states, cells_per_state=size, rng=seed * 100 + n_states)
    sps.tl.correlation_edges(adata)
    sps.tl.cssi(adata, groupby="cell_state", min_cells=5)
    (pooled, pooled_area, _), (cssi, area, _) = recovered(adata, "spearman"), recovered(adata, "cssi")
    return {"pooled": pooled, "cssi": cssi, "pooled_auroc": pooled_area, "cssi_auroc": area}


def table_a(n_seeds: int) -> pd.DataFrame:
    """Table of A24(a): every cell beside the paper's, with the distance in standard errors of their difference."""
    rows = []
    for (n_states, size, *paper), paper_area in zip(PAPER, POOLED_AUROC, strict=True):
        found = pd.DataFrame([synthetic(n_states, size, seed) for seed in range(n_seeds)])
        row: dict[str, float] = {"states": n_states, "cells": n_states * size}
        for name, (mean, sd) in zip(("pooled", "cssi"), paper, strict=True):
            error = np.sqrt(sd**2 / 10 + found[name].var(ddof=1) / n_seeds)
            row |= {name: found[name].mean(), f"{name}_sd": found[name].std(ddof=1), f"{name}_paper": mean}
            row[f"{name}_z"] = (found[name].mean() - mean) / error
        row["ratio"] = row["cssi"] / row["pooled"]
        row |= {"pooled_auroc": found["pooled_auroc"].mean(), "pooled_auroc_paper": paper_area}
        rows.append(row | {"cssi_auroc": found["cssi_auroc"].mean()})
    return pd.DataFrame(rows)


NULLS = ("size_matched", "shuffled", "random", "genes")


def nulls(n_states: int, seed: int, n_null: int = 10, size: int = 100) -> dict[str, float]:
    """AUROC of all pairs of a simulation: all cells together, states, and the mean of each null."""
    adata = sps.datasets.simulate_cssi(n_states=n_states, cells_per_state=size, rng=seed * 100 + n_states)
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_null(
        adata, adata.uns["simulate_cssi"]["network"], nulls=NULLS, n_null=n_null, min_targets=1, rng=seed,
        show_progress_bar=False,
    )  # fmt: skip
    table = adata.uns["cssi_null"]["nulls"].set_index("null")
    return {"pooled": table["pooled"].iloc[0], "states": table["observed"].iloc[0]} | table["null_mean"].to_dict()


def table_b(n_seeds: int) -> pd.DataFrame:
    """Null stress of A24(b): for every number of states, means over seeds of what strata that mean nothing reach."""
    rows = []
    for n_states in range(2, 21):
        found = pd.DataFrame([nulls(n_states, seed) for seed in range(n_seeds)])
        above = sum(found[name].mean() > found["pooled"].mean() for name in NULLS)
        rows.append({"n_states": n_states} | found.mean().to_dict() | {"nulls_above_pooled": above})
    return pd.DataFrame(rows)


def table_c(n_seeds: int) -> pd.DataFrame:
    """Structured design: true edges found of 22 at K of 25, 100 and 200, and AUROC by number of cells."""
    rows = []
    for n_cells in (200, 500, 1000, 2000, 3000, 5000):
        found = []
        for seed in range(n_seeds):
            adata = sps.datasets.simulate_cssi(design="types", n_cells=n_cells, rng=seed)
            sps.tl.correlation_edges(adata)
            sps.tl.cssi(adata, groupby="cell_state", min_cells=20)
            one: dict[str, float] = {}
            for name, key in (("pooled", "spearman"), ("cssi", "cssi")):
                for k in (25, 100, 200):
                    _, one[f"{name}_auroc"], one[f"{name}_{k}"] = recovered(adata, key, k)
            found.append(one)
        rows.append({"cells": n_cells} | pd.DataFrame(found).mean().to_dict())
    return pd.DataFrame(rows)


#: Held-out F1 of all cells and of the chosen aggregate in the paper, over 10 seeds, and states and cells of each.
HELD_OUT = [
    (2, 100, np.nan, np.nan),
    (4, 100, 0.460, 0.667),
    (6, 100, 0.303, 0.663),
    (8, 125, 0.320, 0.667),
    (10, 100, 0.203, 0.650),
    (12, 125, 0.227, 0.667),
]
#: Aggregations of correlations that the paper chooses among.
VARIANTS = ("max", "mean", "range", "std", "deviation", "weighted_deviation")


def held_out(
    n_states: int, size: int, seed: int, score: Literal["pearson", "spearman"] = "pearson"
) -> dict[str, float]:
    """
    Choose an aggregation on one half of the cells and score it on the other, of one simulation.

    F1 is that of the 40 strongest of all 1,225 pairs. There are 20 edges, so that at best half of the 40 are true:
    precision 1/2, recall 1, and F1 at most 2/3.
    """
    adata = sps.datasets.simulate_cssi(design="held_out", n_states=n_states, cells_per_state=size, rng=seed)
    network = adata.uns["simulate_cssi"]["network"]
    places = (adata.var_names.get_indexer(network[end]) for end in ("source", "target"))
    truth = np.zeros((adata.n_vars, adata.n_vars), dtype=bool)
    truth[tuple(places)] = True
    upper = np.triu_indices(adata.n_vars, 1)
    # cells come state after state
    first = np.concatenate([np.random.default_rng([seed, k]).permutation(size) < size // 2 for k in range(n_states)])
    halves = []
    for mask in (first, ~first):
        sps.tl.correlation_edges(adata, method=score, mask_obs=mask)
        found = {"pooled": adata.varp[score]}
        for how in VARIANTS:
            sps.tl.cssi(adata, groupby="cell_state", score=score, aggregation=how, min_cells=5, mask_obs=mask)
            found[how] = adata.varp["cssi"]
        halves.append(
            {how: float(top_pairs(np.abs(one[upper]), truth[upper], [40]).f1[0]) for how, one in found.items()}
        )
    best = max(VARIANTS, key=lambda how: halves[0][how])
    return {"pooled": halves[1]["pooled"], "cssi": halves[1][best], "chose_max": float(best == "max")}


def table_e(n_seeds: int) -> pd.DataFrame:
    """Table of A24(e): held-out F1 beside the paper's."""
    rows = []
    for n_states, size, paper_pooled, paper_cssi in HELD_OUT:
        found = pd.DataFrame([held_out(n_states, size, seed) for seed in range(n_seeds)])
        means, sds = found.mean(), found.std(ddof=1)
        rows.append(
            {
                "states": n_states, "cells": n_states * size, "pooled_paper": paper_pooled, "pooled": means["pooled"],
                "pooled_sd": sds["pooled"], "cssi_paper": paper_cssi, "cssi": means["cssi"], "cssi_sd": sds["cssi"],
                "ratio": means["cssi"] / means["pooled"], "chose_max": means["chose_max"],
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def cost(n_strata: list[int], n_cells: int = 20_000, n_genes: int = 2000, repeats: int = 2) -> pd.DataFrame:
    """Time against a loop of scipy's, the two in turns, and memory beyond the networks themselves."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.exp(rng.normal(-1.6, 1.0, n_genes)), (n_cells, n_genes)).astype(np.float32)
    adata = ad.AnnData(sparse.csr_matrix(np.log1p(counts)), uns={"log1p": {"base": None}})
    rows = []
    for k in n_strata:
        adata.obs["state"] = pd.Categorical((np.arange(n_cells) % k).astype(str))
        ours, theirs = [], []
        dense = np.log1p(counts)
        for _ in range(repeats):
            start = time.perf_counter()
            sps.tl.cssi(adata, groupby="state", memory_limit=1 << 40)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            for code in range(k):
                spearmanr(dense[np.arange(n_cells) % k == code])
            theirs.append(time.perf_counter() - start)
        del dense
        tracemalloc.start()
        sps.tl.cssi(adata, groupby="state", memory_limit=1 << 40)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        networks = (k + 2) * 4 * n_genes**2
        rows.append(
            {
                "strata": k, "non-zero": float((counts > 0).mean()), "ours_s": min(ours),
                "scipy_s": min(theirs), "ratio": min(theirs) / min(ours), "peak_MB": peak / 1e6,
                "networks_MB": networks / 1e6, "beyond_MB": (peak - networks) / 1e6,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--cost", type=int, nargs="+", metavar="STATES")
    options = parser.parse_args()
    logging.getLogger("scepsis").setLevel(logging.ERROR)
    if options.cost:
        print(cost(options.cost).round(2).to_markdown(index=False))
        return
    table = table_a(options.seeds)
    print(table.round(3).to_markdown(index=False))
    distances = table[["pooled_z", "cssi_z"]].to_numpy().ravel()
    statistic = float((distances**2).sum())
    print(f"\nchi-square {statistic:.1f} on {len(distances)} cells, p = {chi2.sf(statistic, len(distances)):.2g}\n")
    print(f"{table_b(max(options.seeds // 10, 2)).round(3).to_markdown(index=False)}\n")
    print(table_c(max(options.seeds // 5, 2)).round(3).to_markdown(index=False))
    print(f"\n{table_e(options.seeds).round(3).to_markdown(index=False)}")


if __name__ == "__main__":
    main()
