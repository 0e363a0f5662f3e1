"""
What each layer of a model knows of six references, against a loop of scikit-learn over layers and references.

    python benchmarks/characterize_layers.py            # about half a minute
    python benchmarks/characterize_layers.py --quick    # a fraction of the size, for a look

Prints rows of markdown. The references have the sizes of the paper's six: 175 regulated pairs (here directed), 1,675
and 2,747 interactions, and gene sets with about 25,000, 136,000 and 239,000 pairs. Times are of one thread's CPU.

Three ways to the same AUROCs, of every layer on every reference, each given labels and scores that are laid out for it
(a vector for each universe of pairs): a call of `sklearn.metrics.roc_auc_score` for each; one `scipy.stats.rankdata`
for each layer and universe, and the sum of the ranks of each reference's pairs; the kernel, which also gives the
influence of every pair. The first two are timed on two of the layers, times half their number, and their AUROCs are
compared with the tool's. The tool's time is all of it: reading, features of genes and correlation on every reference,
clustered intervals, differences from correlation, trends, partial correlations, enrichment with permuted genes, planted
signals, and the registry.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import anndata as ad
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis.stats._pair_ranks import Members, Ranks, Standings

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
    """Time three ways to the AUROCs of some layers, and compare them with the tool's."""
    profile = result["profile"].set_index(["reference", "edges"])["auroc"]
    shown = min(2, n_layers)
    laid_out = {f"attention_L{layer}": lay_out(adata, given, f"attention_L{layer}") for layer in range(shown)}
    for way, words in ((by_calls, "`roc_auc_score`"), (by_ranks, "`rankdata`"), (kernel, "the kernel")):
        start = time.process_time()
        found = {key: way(universes) for key, universes in laid_out.items()}
        spent = (time.process_time() - start) * n_layers / shown
        worst = max(abs(area - profile[name, key]) for key, areas in found.items() for name, area in areas.items())
        print(f"| {words}, {n_layers} layers | {spent:.2f} s CPU | within {worst:.0e} of the tool |")


#: Scores of the pairs of a universe, and labels by reference.
Universe = tuple[np.ndarray, dict[str, np.ndarray]]


def lay_out(adata: ad.AnnData, given: dict[str, object], key: str) -> list[Universe]:
    """Ordered pairs of regulators with at least three targets; unordered pairs, by the mean of both directions."""
    values, n = adata.varp[key], adata.n_vars
    place = {name: index for index, name in enumerate(adata.var_names)}
    upper = np.triu_indices(n, 1)
    directed, unordered = {}, {}
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
            directed = {name: listed[rows][others]}
        else:
            unordered[name] = (listed | listed.T)[upper]
    return [(values[rows][others], directed), (((values + values.T) / 2)[upper], unordered)]


def by_calls(universes: list[Universe]) -> dict[str, float]:
    return {name: roc_auc_score(labels, scores) for scores, own in universes for name, labels in own.items()}


def by_ranks(universes: list[Universe]) -> dict[str, float]:
    found = {}
    for scores, own in universes:
        ranks = rankdata(scores)
        for name, labels in own.items():
            n_pos = int(labels.sum())
            wins = ranks[labels].sum() - n_pos * (n_pos + 1) / 2
            found[name] = wins / (n_pos * (len(labels) - n_pos))
    return found


def kernel(universes: list[Universe]) -> dict[str, float]:
    found = {}
    for scores, own in universes:
        members = Members.of(len(scores), [np.flatnonzero(labels) for labels in own.values()])
        found |= dict(zip(own, Standings.of(Ranks.of(scores), members).auroc, strict=True))
    return found


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
