"""
Cost of perturbation effects against scanpy's t test, and how often each test calls genes where nothing responds.

    python benchmarks/effects.py            # both, a few minutes on 2 cores
    python benchmarks/effects.py --quick    # a tenth of the cells and splits, for a look

The methods take turns in one process, so that a machine that slows down slows all of them; wall time is the smallest
of the repetitions. With ``SCEPSIS_DATA`` set, the false calls are measured on the control cells of a real screen too.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse, stats

import scepsis as sps
from scepsis._core._rows import iter_blocks
from scepsis.stats._effects import CallRule, Contrasts, false_calls, null_splits, run_contrasts
from scepsis.stats._moments import group_moments
from scepsis.stats._two_sample import student

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis.stats._effects import NullSplit
    from scepsis.stats._moments import Moments

CONTROL = "non-targeting"
SIZES = (50, 75, 150, 300)
RULES = {
    "Student, `min_expected=5`": CallRule("student", 5),
    "Welch, `min_expected=0` (the paper's)": CallRule("welch", 0),
    "Mann-Whitney, `min_expected=5`": CallRule("mannwhitney", 5),
    "Student, `min_expected=0`": CallRule("student", 0),
    "Welch, `min_expected=5`": CallRule("welch", 5),
    "Mann-Whitney, `min_expected=0`": CallRule("mannwhitney", 0),
}


def make_screen(n_cells: int, n_genes: int, n_perturbations: int) -> ad.AnnData:
    """Log-normalised Poisson counts, about a quarter of them above zero; a twentieth of the genes respond to each."""
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(-1.6, 1.2, n_genes))
    labels = rng.integers(0, n_perturbations + 1, n_cells)
    fold = np.exp(
        rng.normal(0, 1, (n_perturbations + 1, n_genes)) * (rng.random((n_perturbations + 1, n_genes)) < 0.05)
    )
    fold[n_perturbations] = 1
    parts = [
        sparse.csr_matrix(rng.poisson(mean * fold[labels[rows]]).astype(np.float32))
        for rows in np.array_split(np.arange(n_cells), 20)
    ]
    counts = sparse.vstack(parts, format="csr")
    totals = np.asarray(counts.sum(axis=1)).ravel()
    names = np.array([*(f"G{index}" for index in range(n_perturbations)), CONTROL])
    adata = ad.AnnData(
        counts,
        obs=pd.DataFrame({"perturbation": pd.Categorical(names[labels])}, index=[f"c{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"G{index}" for index in range(n_genes)]),
        uns={"log1p": {}},
    )
    adata.X.data = np.log1p(adata.X.data * np.repeat(1e4 / totals, np.diff(adata.X.indptr))).astype(np.float32)
    return adata


def perturbations(adata: ad.AnnData) -> list[str]:
    return [name for name in adata.obs["perturbation"].cat.categories if name != CONTROL]


def moments(adata: ad.AnnData) -> Moments:
    """One pass over the cells: additive sums of every perturbation, the control last."""
    labels = adata.obs["perturbation"].cat
    codes = labels.codes.to_numpy()
    groups = [np.flatnonzero(codes == labels.categories.get_loc(name)) for name in [*perturbations(adata), CONTROL]]
    blocks = iter_blocks(adata.X, np.arange(adata.n_obs))
    return group_moments(blocks, groups, n_cells=adata.n_obs, n_genes=adata.n_vars)


def moments_and_t(adata: ad.AnnData) -> np.ndarray:
    """The numerics of the default test: t and p of every perturbation and gene."""
    summed = moments(adata)
    *perturbed, control = (summed[index] for index in range(len(summed.n)))
    return np.array([student(group, control).statistic for group in perturbed])


def scanpy_t(adata: ad.AnnData) -> None:
    """What scanpy does: Welch's t for every group against the control, ranked and corrected."""
    import scanpy as sc

    sc.tl.rank_genes_groups(adata, "perturbation", reference=CONTROL, method="t-test")


def against_scipy(adata: ad.AnnData, mine: np.ndarray, n_checked: int = 10) -> float:
    """Largest difference of t on the first perturbations, gene by gene in dense float64."""
    labels = adata.obs["perturbation"].to_numpy()
    control = adata.X[labels == CONTROL].toarray().astype(np.float64)
    worst = 0.0
    for index, name in enumerate(perturbations(adata)[:n_checked]):
        perturbed = adata.X[labels == name].toarray().astype(np.float64)
        worst = max(worst, np.nanmax(np.abs(mine[index] - stats.ttest_ind(perturbed, control).statistic)))
    return worst


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def cost(n_cells: int, n_genes: int, n_perturbations: int, repetitions: int) -> None:
    adata = make_screen(n_cells, n_genes, n_perturbations)
    methods: dict[str, Callable[[], Any]] = {
        "moments": lambda: moments(adata),
        "moments, t and p": lambda: moments_and_t(adata),
        "`scepsis.tl.perturbation_effects`, all of it": lambda: sps.tl.perturbation_effects(
            adata, show_progress_bar=False
        ),
        '`scanpy.tl.rank_genes_groups(method="t-test")`': lambda: scanpy_t(adata),
    }
    moments_and_t(adata[:500].copy())  # compiles, or reads what was compiled before
    wall: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(repetitions):
        for name, work in methods.items():
            wall[name].append(timed(work)[0])
    *_, usual = (min(seconds) for seconds in wall.values())
    density = adata.X.nnz / np.prod(adata.shape)
    print(f"\n{n_cells:,} cells x {n_genes:,} genes x {n_perturbations} perturbations, {density:.0%} above zero\n")
    print("| method | wall s | times faster than scanpy |\n|---|---|---|")
    for name, seconds in wall.items():
        print(f"| {name} | {min(seconds):.3f} | {usual / min(seconds):.1f} |")
    print(f"\nLargest difference of t from `scipy.stats.ttest_ind`: {against_scipy(adata, moments_and_t(adata)):.1e}")


def simulated_controls(n_cells: int = 2000, n_genes: int = 2000) -> sparse.csr_matrix:
    """One population of sparse counts: gamma-Poisson genes with log-normal means, cells of uneven depth."""
    rng = np.random.default_rng(1)
    mean = np.exp(rng.normal(-2.3, 1.6, n_genes))
    depth = np.exp(rng.normal(0, 0.4, (n_cells, 1)))
    counts = rng.poisson(rng.gamma(3, mean / 3, (n_cells, n_genes)) * depth)
    return sparse.csr_matrix(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4))


def real_controls(folder: Path) -> sparse.csr_matrix:
    """Control cells of the Papalexi screen with strict guide calls, totals over the whole transcriptome."""
    adata = ad.read_h5ad(folder / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    strict = (adata.obs["gRNA_frac"] >= 0.8) & (adata.obs["gRNA_umi"] >= 3) & (adata.obs["perturbation"] == CONTROL)
    adata = adata[strict].copy()
    sps.pp.lognormalize(adata, totals="n_umis_total")
    return sparse.csr_matrix(adata.layers["lognorm"])


def splits_of(n_cells: int, n_splits: int) -> list[NullSplit]:
    return [split for size in SIZES for split in null_splits(n_cells, [size], n_splits, seed=0)]


def calibration(title: str, cells: sparse.csr_matrix, n_splits: int) -> None:
    everyone = np.arange(cells.shape[0])
    splits = splits_of(len(everyone), n_splits)
    rows = {}
    for name, rule in RULES.items():
        contrasts = Contrasts([], everyone, splits)
        calls = run_contrasts(contrasts, [(everyone, cells)], rule, n_cells=cells.shape[0], n_genes=cells.shape[1])
        rows[name] = {row.n_cells: row for row in false_calls(splits, calls, 0.05)}
    density = cells.nnz / np.prod(cells.shape)
    print(f"\n{title}: {cells.shape[0]:,} control cells x {cells.shape[1]:,} genes, {density:.0%} above zero;")
    print(f"{n_splits} splits of each size. Testable genes called at an FDR of 5 % / splits with any call.\n")
    print("| cells | " + " | ".join(rows) + " |\n|" + "---|" * (len(rows) + 1))
    for size in SIZES:
        found = (f"{row[size].share_of_genes:.2%} / {row[size].share_of_splits:.0%}" for row in rows.values())
        print(f"| {size} | " + " | ".join(found) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the cells and splits")
    parser.add_argument("--only", choices=["cost", "calibration"], help="one half of it")
    arguments = parser.parse_args()
    logging.getLogger("scepsis").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=pd.errors.PerformanceWarning)  # scanpy's, on wide frames
    if arguments.only != "calibration":
        cost(6_000 if arguments.quick else 60_000, 2_000, 200, repetitions=2 if arguments.quick else 7)
    if arguments.only != "cost":
        n_splits = 10 if arguments.quick else 100
        calibration("Simulated", simulated_controls(), n_splits)
        if os.environ.get("SCEPSIS_DATA"):
            calibration("Papalexi", real_controls(Path(os.environ["SCEPSIS_DATA"])), n_splits)


if __name__ == "__main__":
    main()
