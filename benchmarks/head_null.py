"""
Whether the p-value of an irrelevant head is uniform: 12 layers x 12 heads of random weights, random responders.

    python benchmarks/head_null.py                  # 200 models, about ten minutes on one core
    python benchmarks/head_null.py --seeds 20       # for a look

No head of such a model matters to labels that were drawn: whichever is taken out, those that it is held against are
as good. Each seed draws weights, labels and cells anew, and takes out one head of a layer that is drawn below the last
one; `scepsis.tl.ablate_heads` holds it against the other heads of its layer, with which it is exchangeable. Prints, for
the sequential test with 10 exceedances (the default) and with 3, a chi-square of the randomised p-values in ten bins,
and how often each p-value is at most .05 and .1.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import chisquare, kstest
from toy_heads import N_GENES, N_HEADS, N_LAYERS, N_PERTURBED, make_checkpoint, make_screen
from transformers.utils.logging import disable_progress_bar

import scepsis as sps

N_BINS = 10
SIGMA = 0.2


class PValues(NamedTuple):
    """Of one head, with the number of heads that it was held against."""

    plain: float
    randomised: float
    n_run: int


def of_seed(seed: int, n_cells: int, n_exceed: int) -> PValues:
    """A model, labels and a head of their own."""
    rng = np.random.default_rng(seed)
    responds = rng.random((N_PERTURBED, N_GENES)) < 0.15
    adata = make_screen(n_cells, responds, seed)
    head = (int(rng.integers(N_LAYERS - 1)), int(rng.integers(N_HEADS)))
    with tempfile.TemporaryDirectory() as folder:
        model = sps.models.load(make_checkpoint(Path(folder) / "model", seed, SIGMA))
        quiet = {"show_progress_bar": False, "rng": seed}
        sps.tl.rank_heads(adata, model, by=("perturbation",), **quiet)
        sps.tl.ablate_heads(
            adata, model, conditions={"one": sps.models.Intervention.zero_heads([head])}, readouts="last",
            match="layer", n_random=N_HEADS - 1, n_exceed=n_exceed, n_cells=n_cells, n_fidelity=1, **quiet,
        )  # fmt: skip
    row = adata.uns["head_ablation"]["results"].iloc[0]
    return PValues(float(row["p_random"]), float(row["p_randomised"]), int(row["n_null"]))


def uniformity(values: np.ndarray) -> tuple[float, float]:
    """Chi-square of values in equal bins of (0, 1], and its p."""
    counts, _ = np.histogram(values, bins=N_BINS, range=(0, 1))
    found = chisquare(counts)
    return float(found.statistic), float(found.pvalue)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--cells", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    warnings.simplefilter("ignore")
    print("| exceedances | heads run, mean | chi-square (9 df) | p | p of Kolmogorov and Smirnov | randomised at most "
          ".05, .1 | plain at most .05, .1 |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for n_exceed in (10, 3):
        found = [of_seed(seed, arguments.cells, n_exceed) for seed in range(arguments.seeds)]
        plain, randomised, n_run = (np.array(part, dtype=float) for part in zip(*found, strict=True))
        statistic, p = uniformity(randomised)
        at_most = [f"{(values <= level).mean():.3f}" for values in (randomised, plain) for level in (0.05, 0.1)]
        smirnov = kstest(randomised, "uniform").pvalue
        print(f"| {n_exceed} | {n_run.mean():.1f} | {statistic:.1f} | {p:.2f} | {smirnov:.2f} | "
              f"{', '.join(at_most[:2])} | {', '.join(at_most[2:])} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
