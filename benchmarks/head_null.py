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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.stats import chisquare, kstest
from toy_heads import N_GENES, N_HEADS, N_LAYERS, N_PERTURBED, make_checkpoint, make_screen
from transformers.utils.logging import disable_progress_bar

import scepsis as sps
from scepsis.stats._sequential import SequentialTest

if TYPE_CHECKING:
    import anndata as ad

#: Draws as large as the observed one after which a test stops.
EXCEEDANCES = (10, 3)
N_BINS = 10
SIGMA = 0.2


class PValues(NamedTuple):
    """Of one head, with the number of heads that it was held against."""

    plain: float
    randomised: float
    n_run: int


def of_seed(seed: int, n_cells: int) -> dict[int, PValues]:
    """A model, labels and a head of their own; by the number of exceedances."""
    rng = np.random.default_rng(seed)
    responds = rng.random((N_PERTURBED, N_GENES)) < 0.15
    head = (int(rng.integers(N_LAYERS - 1)), int(rng.integers(N_HEADS)))
    with tempfile.TemporaryDirectory() as folder:
        model = sps.models.load(make_checkpoint(Path(folder) / "model", seed, SIGMA))
        return held_against_its_layer(make_screen(n_cells, responds, seed), model, head, seed)


def held_against_its_layer(adata: ad.AnnData, model: Any, head: tuple[int, int], seed: int) -> dict[int, PValues]:
    """All draws are made once; each test reads them until it stops, as it does when it is asked to stop."""
    quiet = {"show_progress_bar": False, "rng": seed}
    sps.tl.rank_heads(adata, model, by=("perturbation",), **quiet)
    sps.tl.ablate_heads(
        adata, model, conditions={"one": sps.models.Intervention.zero_heads([head])}, readouts="last", match="layer",
        n_random=N_HEADS - 1, n_exceed=N_HEADS, n_cells=adata.n_obs, n_fidelity=1, **quiet,
    )  # fmt: skip
    result = adata.uns["head_ablation"]
    drops = -result["null"]["difference"].to_numpy()
    between = float(np.random.default_rng(seed).random())
    found = {}
    for n_exceed in EXCEEDANCES:
        test = SequentialTest(-float(result["results"]["difference"].iloc[0]), N_HEADS - 1, n_exceed)
        for drop in drops:
            if not test.done:
                test.add(float(drop))
        found[n_exceed] = PValues(test.p_value, test.randomised(between), len(test.draws))
    return found


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
    found = [of_seed(seed, arguments.cells) for seed in range(arguments.seeds)]
    for n_exceed in EXCEEDANCES:
        own = [one[n_exceed] for one in found]
        plain, randomised, n_run = (np.array(part, dtype=float) for part in zip(*own, strict=True))
        statistic, p = uniformity(randomised)
        at_most = [f"{(values <= level).mean():.3f}" for values in (randomised, plain) for level in (0.05, 0.1)]
        smirnov = kstest(randomised, "uniform").pvalue
        print(f"| {n_exceed} | {n_run.mean():.1f} | {statistic:.1f} | {p:.2f} | {smirnov:.2f} | "
              f"{', '.join(at_most[:2])} | {', '.join(at_most[2:])} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
