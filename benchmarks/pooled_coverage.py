"""
How often the intervals of a pooled AUROC hold the truth: all pairs of all regulators in one ranking.

    python benchmarks/pooled_coverage.py                  # 2,000 networks of every size and design
    python benchmarks/pooled_coverage.py --seeds 200      # for a look
    python benchmarks/pooled_coverage.py --jobs 2         # designs in processes of one thread

Prints rows of markdown. The pairs are those of `interval_coverage.py`, with an effect of the regulator on its scores
besides, and regulators that differ more in how many targets they have. The truth is the expected estimate at the same
number of regulators, over panels or given one, from other networks of the same design: a pooled AUROC ranks pairs of a
regulator with pairs of others, and what it expects depends a little on how many others there are.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from interval_coverage import (
    N_GENES,
    N_PAIR_BOOT,
    N_PAIR_SEEDS,
    SIZES,
    Design,
    draw_pairs,
    draw_panel,
    draw_units,
    markdown,
    pair_bootstrap,
    summary,
)

from scepsis._core._rng import child
from scepsis.stats._bootstrap import percentile_interval
from scepsis.stats._influence import pooled_variance
from scepsis.stats._intervals import t_interval
from scepsis.stats._order import Order, Ranked
from scepsis.stats._win_matrix import WinMatrix, bootstrap_aurocs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis.stats._intervals import Interval

N_PANELS = 20
N_FOR_TRUTH = 4000
N_FOR_PANEL = 400
N_BOOT = 1000


@dataclass(frozen=True)
class PooledDesign(Design):
    """As `Design`, for one score."""

    prevalence_sd: float = 0.5
    gene_score: tuple[float, ...] = (0.6,)
    rho: tuple[float, ...] = (0.4,)
    pair: tuple[float, ...] = (0.3,)
    #: Standard deviation of what a regulator adds to all of its scores.
    regulator_sd: float = 0.3


DESIGNS = (
    PooledDesign("edges"),
    PooledDesign("edges, few targets", prevalence=0.02),
    PooledDesign("edges, shared targets", gene_liability=0.9),
    PooledDesign("no gene effects", gene_liability=0.0, gene_score=(0.0,), rho=(0.0,)),
)


def draw(
    design: PooledDesign, panel: object, n_units: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and positives, regulators x genes; regulators have two targets or more, as networks keep them."""
    units = draw_units(design, n_units, rng)
    scores, positive = draw_pairs(design, panel, units, rng)
    kept = positive.sum(axis=1) >= 2
    while not kept.all():
        again = draw_units(design, int((~kept).sum()), rng)
        (some,), listed = draw_pairs(design, panel, again, rng)
        scores[0][~kept], positive[~kept] = some, listed
        kept = positive.sum(axis=1) >= 2
    return scores[0] + design.regulator_sd * rng.normal(size=(n_units, 1)), positive


def pooled(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Ranked:
    """All pairs as one row."""
    everything = np.ones((1, positive.size), dtype=bool)
    return Ranked(Order.of(scores.reshape(1, -1)), positive.reshape(1, -1), everything)


def intervals(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], rng: np.random.Generator, *, pairs: bool
) -> tuple[float, dict[str, Interval | tuple[float, float]]]:
    """The pooled AUROC and every interval of it; that from resampled pairs when asked for."""
    ranked, n_units = pooled(scores, positive), len(scores)
    area = float(ranked.auroc[0])
    variance = pooled_variance(ranked.influence().reshape(scores.shape), np.ones(scores.shape, dtype=bool))
    clusters = np.repeat(np.arange(n_units), scores.shape[1])
    matrix = WinMatrix.of(scores.ravel(), positive.ravel(), clusters, n_units)
    low, high = percentile_interval(bootstrap_aurocs([matrix], N_BOOT, rng))
    result = {
        "t": t_interval(area, np.sqrt(variance.by_unit), variance.df_unit),
        "two_way": t_interval(area, np.sqrt(variance.two_way), variance.df),
        "percentile": (float(low[0]), float(high[0])),
    }
    if pairs:
        replicates = pair_bootstrap([scores.reshape(1, -1)], positive.reshape(1, -1), N_PAIR_BOOT, rng.integers(2**32))
        naive = np.nanpercentile(replicates, [2.5, 97.5])
        result["pairs"] = (float(naive[0]), float(naive[1]))
    return area, result


def expectation(design: PooledDesign, panel: object, n_units: int, n: int, rng: np.random.Generator) -> float:
    """Mean pooled AUROC of other networks, of one panel or, without one, of as many panels."""
    areas = [pooled(*draw(design, panel or draw_panel(design, N_GENES, rng), n_units, rng)).auroc[0] for _ in range(n)]
    return float(np.mean(areas))


def study(design: PooledDesign, n_seeds: int, sizes: tuple[int, ...] = SIZES) -> pd.DataFrame:
    """One row for each network and interval."""
    n_panels = min(N_PANELS, n_seeds)
    panels = [draw_panel(design, N_GENES, child(0, "panel", design.name, i)) for i in range(n_panels)]
    rows = []
    for n_units in sizes:
        names = "truth", design.name, n_units
        random_truth = expectation(design, None, n_units, N_FOR_TRUTH, child(0, *names))
        fixed = [expectation(design, one, n_units, N_FOR_PANEL, child(0, *names, i)) for i, one in enumerate(panels)]
        for seed in range(n_seeds):
            for kind in ("random", "fixed"):
                rng = child(seed, design.name, n_units, kind)
                if kind == "random":
                    panel, truth = draw_panel(design, N_GENES, rng), random_truth
                else:
                    panel, truth = panels[seed % n_panels], fixed[seed % n_panels]
                drawn = draw(design, panel, n_units, rng)
                estimate, found = intervals(*drawn, rng, pairs=seed < N_PAIR_SEEDS)
                rows += [
                    (design.name, n_units, seed, kind, name, estimate, truth, *limits) for name, limits in found.items()
                ]
    columns = ["design", "n_units", "seed", "panel", "interval", "estimate", "truth", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    names = "t by regulator | two-way | percentile bootstrap of regulators | bootstrap of pairs"
    print(f"Coverage in % (width against the ideal interval), {options.seeds} networks over {N_GENES} genes each\n")
    print(f"| design | panel | regulators | {names} |\n|{' --- |' * 7}", flush=True)
    with ProcessPoolExecutor(options.jobs) as pool:
        for rows in pool.map(partial(study, n_seeds=options.seeds), DESIGNS):
            print(markdown(summary(rows)), flush=True)


if __name__ == "__main__":
    main()
