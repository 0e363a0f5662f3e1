"""
How often the intervals hold the truth: the interval code alone, on crossed random effects with known truth.

    python benchmarks/interval_coverage.py                  # 2,000 screens of every size and design
    python benchmarks/interval_coverage.py --seeds 200      # for a look
    python benchmarks/interval_coverage.py --jobs 2         # designs in processes of one thread

Prints rows of markdown. A pair of perturbation p and gene j has a liability :math:`L_{pj} = g d_j + \\sqrt{1-g^2}
e_{pj}` and is positive above a threshold of the perturbation; score k is :math:`h_k b_{kj} + \\sqrt{1-h_k^2} (r_{kp}
e_{pj} + \\sqrt{1-r_{kp}^2} f_{kpj})`, all effects standard normal, with correlations :math:`\\rho_k` of :math:`b_{kj}`
and :math:`d_j`. Genes that respond to one perturbation thus respond to others, scores depend on genes, and
perturbations differ in how many genes respond and in how well each score tells which.

Two truths. With a *panel drawn at random* both the perturbations and the genes stand for others like them: the truth
is the expected difference over both, from an integral (`expected_auroc`); the two-way interval is about this one. With
a *fixed panel* the same genes would be used again and only perturbations are drawn: the truth is the expectation
given :math:`b` and :math:`d`, from many perturbations; the interval over perturbations is about this one.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from scepsis._core._rng import child
from scepsis.stats._bootstrap import bootstrap_means, percentile_interval
from scepsis.stats._contrasts import contrast
from scepsis.stats._ranking import Responders, rank_responders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis.stats._intervals import Interval

SIZES = (8, 16, 25, 60)
N_GENES = 200
MIN_POSITIVES = 2
N_PANELS = 40
#: Perturbations that give the truth of a fixed panel.
N_FOR_TRUTH = 8000
N_BOOT = 1000
#: The bootstrap of pairs costs more than all else together: replicates, and screens that get it.
N_PAIR_BOOT = 200
N_PAIR_SEEDS = 300


@dataclass(frozen=True)
class Design:
    """Spread and correlations of the effects; two scores, the second of which is the baseline."""

    name: str
    #: Share of a positive label, and its spread over perturbations (probit).
    prevalence: float = 0.05
    prevalence_sd: float = 0.3
    #: Weight of the gene in the liability (g), in each score (h), and correlation of the two (rho).
    gene_liability: float = 0.7
    gene_score: tuple[float, float] = (0.6, 0.6)
    rho: tuple[float, float] = (0.4, 0.4)
    #: Mean and spread over perturbations of the correlation within pairs (r).
    pair: tuple[float, float] = (0.3, 0.2)
    pair_sd: float = 0.15


DESIGNS = (
    Design("edges against edges"),
    # a gene-level feature is one score for all perturbations, as in criterion (a)
    Design("edges against a feature of genes", gene_score=(0.6, 1.0), rho=(0.4, 0.6), pair=(0.3, 0.0)),
    Design("the same, few positives", prevalence=0.02, gene_score=(0.6, 1.0), rho=(0.4, 0.6), pair=(0.3, 0.0)),
    # 3 % of the genes make up the positives of most perturbations
    Design("the same, shared responders", gene_liability=0.9, gene_score=(0.6, 1.0), rho=(0.4, 0.6), pair=(0.3, 0.0)),
    Design("no gene effects", gene_liability=0.0, gene_score=(0.0, 0.0), rho=(0.0, 0.0)),
)


class Panel(NamedTuple):
    """Effects of genes: on the liability, and on each score."""

    liability: NDArray[np.float64]
    scores: NDArray[np.float64]


class Units(NamedTuple):
    """Perturbations: thresholds of the liability, and correlations within pairs (scores x perturbations)."""

    threshold: NDArray[np.float64]
    pair: NDArray[np.float64]


def draw_panel(design: Design, n_genes: int, rng: np.random.Generator) -> Panel:
    """Draw genes."""
    liability = rng.normal(size=n_genes)
    rho = np.array(design.rho)[:, None]
    return Panel(liability, rho * liability + np.sqrt(1 - rho**2) * rng.normal(size=(len(rho), n_genes)))


def draw_units(design: Design, n_units: int, rng: np.random.Generator) -> Units:
    """Draw perturbations."""
    threshold = -ndtri(design.prevalence) * np.sqrt(1 + design.prevalence_sd**2)
    threshold = threshold + design.prevalence_sd * rng.normal(size=n_units)
    mean = np.array(design.pair)[:, None]
    # one spread for both scores: a perturbation that one score ranks well, the other tends to rank well too
    shift = design.pair_sd * (rng.normal(size=n_units) + rng.normal(size=(len(mean), n_units))) / np.sqrt(2)
    return Units(threshold, np.clip(mean + shift, -0.95, 0.95))


def draw_pairs(
    design: Design, panel: Panel, units: Units, rng: np.random.Generator
) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """Scores, each perturbations x genes, and which pairs are positive."""
    shape = len(units.threshold), len(panel.liability)
    own = rng.normal(size=shape)
    weight = design.gene_liability
    positive = weight * panel.liability + np.sqrt(1 - weight**2) * own > units.threshold[:, None]
    scores = []
    for gene, height, pair in zip(panel.scores, design.gene_score, units.pair, strict=True):
        if height == 1:
            scores.append(np.broadcast_to(gene, shape))
            continue
        noise = pair[:, None] * own + np.sqrt(1 - pair[:, None] ** 2) * rng.normal(size=shape)
        scores.append(height * gene + np.sqrt(1 - height**2) * noise)
    return scores, positive


def expected_auroc(correlation: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""
    Probability that a positive outscores a negative, both genes drawn at random, in each perturbation.

    Score and liability are standard normal with `correlation` R, so that given liabilities :math:`l_1 > t > l_2` the
    scores differ by :math:`N(R (l_1 - l_2), 2 (1 - R^2))`. Both liabilities are integrated out over their quantiles.
    """
    nodes, weights = np.polynomial.legendre.leggauss(24)
    nodes, weights = (nodes + 1) / 2, weights / 2
    below = ndtr(threshold)[:, None]
    high = -ndtri((1 - below) * nodes)
    low = ndtri(below * nodes)
    scale = (correlation / np.sqrt(2 * (1 - correlation**2)))[:, None, None]
    return np.einsum("pij,i,j->p", ndtr(scale * (high[:, :, None] - low[:, None, :])), weights, weights)


def truth_of_random_panels(design: Design, n_genes: int = N_GENES, n_units: int = 20_000) -> NDArray[np.float64]:
    """Expected AUROC of each score in a perturbation that counts, over perturbations and genes."""
    units = draw_units(design, n_units, child(0, "truth", design.name))
    counts = binom.sf(MIN_POSITIVES - 1, n_genes, ndtr(-units.threshold))
    truth = []
    for height, rho, pair in zip(design.gene_score, design.rho, units.pair, strict=True):
        weight = design.gene_liability
        correlation = height * weight * rho + np.sqrt((1 - height**2) * (1 - weight**2)) * pair
        blocks = zip(np.array_split(correlation, 20), np.array_split(units.threshold, 20), strict=True)
        area = np.concatenate([expected_auroc(*block) for block in blocks])
        truth.append(np.average(area, weights=counts))
    return np.array(truth)


def truth_of_panel(design: Design, panel: Panel, rng: np.random.Generator) -> NDArray[np.float64]:
    """Mean AUROC of each score over very many perturbations of one panel."""
    units = draw_units(design, N_FOR_TRUTH, rng)
    scores, positive = draw_pairs(design, panel, units, rng)
    ranking = rank_responders([Given(one) for one in scores], responders(positive))
    return np.array([ranking.auroc[k, ranking.used[k]].mean() for k in range(len(scores))])


@dataclass(frozen=True)
class Given:
    """Scores that are there."""

    values: NDArray[np.float64]
    narrows: bool = True

    def rows(self, block: slice) -> NDArray[np.float64]:
        return self.values[block]


def responders(positive: NDArray[np.bool_]) -> Responders:
    usable = np.ones(len(positive), dtype=bool)
    return Responders(positive.astype(np.int8), usable, min_positives=MIN_POSITIVES)


def intervals(
    scores: list[NDArray[np.float64]], positive: NDArray[np.bool_], rng: np.random.Generator, *, pairs: bool = False
) -> tuple[float, dict[str, Interval | tuple[float, float]]]:
    """Difference of the two scores, and every interval of it; that from resampled pairs when asked for."""
    ranking = rank_responders([Given(one) for one in scores], responders(positive), [(0, 1)])
    both = ranking.used.all(axis=0)
    differences = (ranking.auroc[0] - ranking.auroc[1])[both]
    found = contrast(differences, ranking.clusters[0, 1], margin=0.02, min_units=2)
    low, high = percentile_interval(bootstrap_means(differences[:, None], N_BOOT, rng))
    result = {"t": found.interval, "two_way": found.two_way, "percentile": (float(low[0]), float(high[0]))}
    if pairs:
        used = [np.ascontiguousarray(one[both]) for one in scores]
        replicates = pair_bootstrap(used, positive[both], N_PAIR_BOOT, rng.integers(2**32))
        naive = np.nanpercentile(replicates, [2.5, 97.5])
        result["pairs"] = (float(naive[0]), float(naive[1]))
    return found.difference, result


def pair_bootstrap(
    scores: list[NDArray[np.float64]], positive: NDArray[np.bool_], n_boot: int, seed: int
) -> NDArray[np.float64]:
    """
    Replicates when pairs are drawn with replacement from the whole table, as if they were independent.

    Of the mean AUROC over rows, less that of the second score if there is one.
    """
    orders = np.stack([np.argsort(one, axis=1) for one in scores])
    values = np.stack([np.take_along_axis(one, order, axis=1) for one, order in zip(scores, orders, strict=True)])
    is_first = np.ones(values.shape, dtype=bool)
    is_first[:, :, 1:] = values[:, :, 1:] != values[:, :, :-1]
    return _pair_replicates(orders, is_first, positive, n_boot, seed)


@numba.njit(cache=True)
def _pair_replicates(orders, is_first, positive, n_boot, seed):
    np.random.seed(seed)  # noqa: NPY002 - what compiled code has
    n_scores, n_units, n_genes = orders.shape
    result = np.empty(n_boot)
    for replicate in range(n_boot):
        counts = np.zeros(n_units * n_genes, dtype=np.int64)
        for _ in range(n_units * n_genes):
            counts[np.random.randint(n_units * n_genes)] += 1  # noqa: NPY002
        total, n_used = 0.0, 0
        for unit in range(n_units):
            difference, defined = 0.0, True
            for score in range(n_scores):
                wins, below, n_pos, step_pos, step_neg = 0.0, 0, 0, 0, 0
                for place in range(n_genes):
                    if is_first[score, unit, place]:
                        wins += step_pos * (below + step_neg / 2)
                        below, n_pos = below + step_neg, n_pos + step_pos
                        step_pos, step_neg = 0, 0
                    gene = orders[score, unit, place]
                    count = counts[unit * n_genes + gene]
                    if positive[unit, gene]:
                        step_pos += count
                    else:
                        step_neg += count
                wins += step_pos * (below + step_neg / 2)
                below, n_pos = below + step_neg, n_pos + step_pos
                if n_pos == 0 or below == 0:
                    defined = False
                    break
                area = wins / (n_pos * below)
                difference += area if score == 0 else -area
            if defined:
                total, n_used = total + difference, n_used + 1
        result[replicate] = total / n_used if n_used else np.nan
    return result


def study(design: Design, n_seeds: int, sizes: tuple[int, ...] = SIZES, n_genes: int = N_GENES) -> pd.DataFrame:
    """One row for each screen and interval. Screens of one size share nothing; every panel serves several of them."""
    random_truth = truth_of_random_panels(design, n_genes)
    n_panels = min(N_PANELS, n_seeds)
    panels = [draw_panel(design, n_genes, child(0, "panel", design.name, i)) for i in range(n_panels)]
    fixed = [truth_of_panel(design, one, child(0, "of panel", design.name, i)) for i, one in enumerate(panels)]
    rows = []
    for n_units in sizes:
        for seed in range(n_seeds):
            for truth_kind in ("random", "fixed"):
                rng = child(seed, design.name, n_units, truth_kind)
                if truth_kind == "random":
                    panel, truth = draw_panel(design, n_genes, rng), random_truth
                else:
                    panel, truth = panels[seed % n_panels], fixed[seed % n_panels]
                scores, positive = draw_pairs(design, panel, draw_units(design, n_units, rng), rng)
                estimate, found = intervals(scores, positive, rng, pairs=seed < N_PAIR_SEEDS)
                rows += [
                    (design.name, n_units, seed, truth_kind, name, estimate, truth[0] - truth[1], *limits)
                    for name, limits in found.items()
                ]
    columns = ["design", "n_units", "seed", "panel", "interval", "estimate", "truth", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """
    Coverage in percent, and width against the ideal interval, for every design, size, panel and interval.

    The ideal interval is 2 x 1.96 standard deviations of the estimate around the truth of its panel: as wide as an
    interval must be that knows this deviation.
    """
    rows = rows.assign(
        covered=100.0 * rows["truth"].between(rows["low"], rows["high"]),
        width=rows["high"] - rows["low"],
        error=(rows["estimate"] - rows["truth"]) ** 2,
    )
    screens = ["design", "panel", "n_units"]
    mean = rows.groupby([*screens, "interval"], sort=False)[["covered", "width"]].mean().reset_index()
    error = rows[rows["interval"] == "t"].groupby(screens, sort=False)["error"].mean()
    ideal = 2 * 1.96 * np.sqrt(error.rename("ideal"))
    mean = mean.merge(ideal, on=screens)
    return mean.assign(relative_width=mean["width"] / mean["ideal"])


def markdown(table: pd.DataFrame) -> str:
    """Rows of designs and sizes: coverage in percent (width against the ideal one)."""
    lines = []
    for (design, panel), part in table.groupby(["design", "panel"], sort=False):
        for n_units, of_size in part.groupby("n_units", sort=False):
            cells = [f"{one.covered:.1f} ({one.relative_width:.2f})" for one in of_size.itertuples()]
            lines.append(f"| {design} | {panel} | {n_units} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    names = "t over perturbations | two-way | percentile bootstrap of perturbations | bootstrap of pairs"
    print(f"Coverage in % (width against the ideal interval), {options.seeds} screens of {N_GENES} genes each\n")
    print(f"| design | panel | perturbations | {names} |\n|{' --- |' * 7}", flush=True)
    with ProcessPoolExecutor(options.jobs) as pool:
        for rows in pool.map(partial(study, n_seeds=options.seeds), DESIGNS):
            print(markdown(summary(rows)), flush=True)


if __name__ == "__main__":
    main()
