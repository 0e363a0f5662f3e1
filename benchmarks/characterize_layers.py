"""
What each layer of a model knows of six references, against a loop of scikit-learn over layers and references.

    python benchmarks/characterize_layers.py            # about half a minute
    python benchmarks/characterize_layers.py --quick    # a fraction of the size, for a look

Prints rows of markdown. The references have the sizes of the paper's six: 175 regulated pairs (here directed), 1,675
and 2,747 interactions, and gene sets with about 25,000, 136,000 and 239,000 pairs. The loop computes AUROCs alone, on
scores that are laid out for it; its time is that of two of the layers, times half their number, and its AUROCs are
compared; both in CPU time, of one thread. The tool's time is all of it: reading, AUROCs with clustered intervals,
differences from correlation, trends, partial correlations, enrichment with permuted genes, planted signals, and the
registry.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis.stats._pair_space import Ranks, Standings

#: Sets of each pathway database, and genes in each.
PATHWAYS = {"kegg": (60, 29), "go": (260, 33), "reactome": (130, 62)}


def layers(n_genes: int, n_layers: int, seed: int = 0) -> ad.AnnData:
    """Attention and correlation of noise and a property of genes, with features of genes."""
    rng = np.random.default_rng(seed)
    height = rng.normal(size=n_genes)
    names = [f"G{index}" for index in range(n_genes)]
    var = pd.DataFrame({"mean": np.exp(height), "variance": np.exp(height) + 0.1}, index=names)
    var["detection_rate"] = 1 / (1 + np.exp(-height))
    adata = ad.AnnData(np.zeros((1, n_genes), dtype=np.float32), var=var)
    keys = [*(f"attention_L{layer}" for layer in range(n_layers)), "spearman"]
    for number, key in enumerate(keys):
        values = np.exp(rng.normal(size=(n_genes, n_genes)) + 0.05 * number * height)
        np.fill_diagonal(values, np.nan)
        adata.varp[key] = values.astype(np.float32)
    return adata


def pairs(names: list[str], n: int, rng: np.random.Generator) -> pd.DataFrame:
    ends = rng.integers(0, len(names), size=(2 * n, 2))
    frame = pd.DataFrame(ends, columns=["source", "target"]).drop_duplicates()
    frame = frame[frame["source"] != frame["target"]].head(n)
    return frame.map(names.__getitem__)


def references(names: list[str], scale: float, seed: int = 1) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    regulators = pairs(names, int(175 * scale), rng)
    regulators["source"] = rng.choice(names[:20], len(regulators))
    regulators = regulators[regulators["source"] != regulators["target"]].drop_duplicates()
    found: dict[str, object] = {"trrust": regulators}
    found |= {f"string{cut}": pairs(names, int(n * scale), rng) for cut, n in ((700, 2_747), (900, 1_675))}
    for name, (n_sets, size) in PATHWAYS.items():
        found[name] = {
            f"{name}{index}": rng.choice(names, max(int(size * scale), 3), replace=False) for index in range(n_sets)
        }
    return found


def loop(adata: ad.AnnData, given: dict[str, object], result: dict[str, pd.DataFrame], n_layers: int) -> None:
    """Time the loop and compare its AUROCs."""
    names, n = list(adata.var_names), adata.n_vars
    place = {name: index for index, name in enumerate(names)}
    upper = np.triu_indices(n, 1)
    profile = result["profile"].set_index(["reference", "edges"])["auroc"]
    spent, worst, shown = 0.0, 0.0, min(2, n_layers)
    laid_out: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {layer: [] for layer in range(shown)}
    for name, reference in given.items():
        listed = np.zeros((n, n), dtype=bool)
        if isinstance(reference, pd.DataFrame):
            listed[[place[one] for one in reference["source"]], [place[one] for one in reference["target"]]] = True
        else:
            for genes in reference.values():
                own = [place[one] for one in genes]
                listed[np.ix_(own, own)] = True
        np.fill_diagonal(listed, 0)
        if name == "trrust":
            rows = np.flatnonzero(listed.sum(axis=1) >= 3)
            others = rows[:, None] != np.arange(n)
            labels, where = listed[rows][others], lambda values, rows=rows, others=others: values[rows][others]
        else:
            labels, where = (listed | listed.T)[upper], lambda values: ((values + values.T) / 2)[upper]
        for layer in range(shown):
            scores = where(adata.varp[f"attention_L{layer}"])
            start = time.process_time()
            area = roc_auc_score(labels, scores)
            spent += time.process_time() - start
            worst = max(worst, abs(area - profile[name, f"attention_L{layer}"]))
            laid_out[layer].append((labels, scores))
    ours = kernel(laid_out)
    print(f"| scikit-learn, AUROCs alone | {spent * n_layers / shown:.1f} s CPU | within {worst:.0e} |")
    print(f"| the kernel, AUROCs and influence | {ours * n_layers / shown:.1f} s CPU | {spent / ours:.0f}x |")


def kernel(laid_out: dict[int, list[tuple[np.ndarray, np.ndarray]]]) -> float:
    """Time that ranking takes, once for the references that share their pairs."""
    start = time.process_time()
    for (directed, *others), scores in ((given, given[0][1]) for given in laid_out.values()):
        Standings.of(Ranks.of(scores), [np.flatnonzero(directed[0])])
        Standings.of(Ranks.of(others[0][1]), [np.flatnonzero(labels) for labels, _ in others])
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    n_genes, n_layers, scale = (400, 6, 0.2) if quick else (2_000, 18, 1.0)
    warnings.filterwarnings("ignore", message="There is no record of the cells")
    given = references([f"G{index}" for index in range(60)], 0.2)
    sps.tl.characterize_layers(  # compiles
        layers(60, 2), given, edges=["attention_L0", "attention_L1"],
        kinds=dict.fromkeys(["string700", "string900"], "undirected"), n_null=2, show_progress_bar=False,
    )  # fmt: skip
    adata = layers(n_genes, n_layers)
    given = references(list(adata.var_names), scale)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    sps.tl.characterize_layers(
        adata, given, edges=[f"attention_L{layer}" for layer in range(n_layers)],
        kinds=dict.fromkeys(["string700", "string900"], "undirected"), show_progress_bar=False,
    )  # fmt: skip
    spent, used = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = adata.uns["characterize_layers"]
    counts = result["references"].set_index("reference")["n_evaluated"].to_dict()
    print(f"pairs: {counts}")
    print(
        f"| `characterize_layers`, 6 references x {n_layers} layers x {n_genes:,} genes | {spent:.1f} s ({used:.1f} s "
        f"CPU) | peak {peak / 2**20:.2f} GiB, {(peak - before) / 2**20:.2f} GiB of it beyond the layers |"
    )
    loop(adata, given, result, n_layers)


if __name__ == "__main__":
    main()
