"""What an edge adds to gene features in predicting responders, out of fold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._rng import child
from scepsis.stats._bootstrap import bootstrap_means, percentile_interval
from scepsis.stats._contrasts import contrast
from scepsis.stats._held_out import Judged, Task, judge, permuted, run_all, run_frequency, run_task, tested_blocks
from scepsis.stats._influence import ClusterSums
from scepsis.stats._intervals import Interval
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._splits import Blocks, draw_blocks, folds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._contrasts import Contrast
    from scepsis.stats._held_out import Held
    from scepsis.stats._learners import Learner, Pairs
    from scepsis.stats._splits import JointMode, Split

#: Mean gene-only recall from which on there is no room for a gain.
CEILING = 0.95
#: Learner whose gains are judged against gene features; those of any other, against a placebo.
RIGID: Learner = "logistic"
Key = tuple["Split", "Learner"]


@dataclass(frozen=True)
class Design:
    """Everything that all sets of edges share: pairs, folds, and what is computed."""

    data: Pairs
    splits: tuple[Split, ...]
    learners: tuple[Learner, ...]
    metrics: tuple[str, ...]
    n_folds: int = 5
    joint_mode: JointMode = "full"
    seed: int = 0
    n_jobs: int = 1
    #: Called after every fold.
    advance: Callable[[], Any] = lambda: None

    @cached_property
    def blocks(self) -> Blocks:
        n = self.data.labels >= 0
        of_units, of_genes = (child(self.seed, "incremental_value", "blocks", what) for what in ("unit", "gene"))
        genes = np.where(n.any(axis=0), np.arange(n.shape[1]), n.shape[1])  # those without pairs are one group
        return Blocks(
            draw_blocks(self.data.group, n.sum(axis=1), self.n_folds, of_units),
            draw_blocks(genes, n.sum(axis=0), self.n_folds, of_genes),
        )

    @cached_property
    def tasks(self) -> list[Task]:
        return [
            Task(split, learner, fold)
            for split in self.splits
            for fold in folds_of(split, self.blocks, self.joint_mode)
            for learner in self.learners
        ]

    def frequency_tasks(self, *, with_edge: bool) -> list[Task]:
        """Folds in which the frequency of response is known: of learners that need no placebo, with an edge."""
        return [
            task for task in self.tasks if task.split == "perturbation" and (task.learner == RIGID or not with_edge)
        ]

    def n_tasks(self, *, with_edge: bool) -> int:
        """Folds of one set of edges, or of gene features alone."""
        return len(self.tasks) + len(self.frequency_tasks(with_edge=with_edge))

    def advancing(self, advance: Callable[[], Any]) -> Design:
        """Give the same with a call after every fold."""
        return replace(self, advance=advance)

    @property
    def detector(self) -> Key:
        """Cell in which planted signals are looked for: the cheapest of those asked for."""
        split: Split = "perturbation" if "perturbation" in self.splits else self.splits[0]
        return split, RIGID if RIGID in self.learners else self.learners[0]

    def run(self, columns: Callable[[Task], Sequence[FloatArray]], *, alone: bool) -> Scores:
        """Scores of every pair in every split and under every learner."""
        jobs = [(self.data, self.blocks, task, columns(task)) for task in self.tasks]
        found = run_all(run_task, jobs, self.n_jobs, self.advance, alone=alone)
        return Scores.of(self, self.tasks, found)

    def run_with_frequency(self, column: FloatArray | None) -> Scores:
        """
        The same where the frequency of response is a feature too, by unit only.

        Without an edge under every learner; with one, under the learner that needs no placebo.
        """
        tasks = self.frequency_tasks(with_edge=column is not None)
        columns = [] if column is None else [column]
        jobs = [(self.data, self.blocks, task, columns) for task in tasks]
        found = run_all(run_frequency, jobs, self.n_jobs, self.advance, seed=self.seed, alone=column is None)
        return Scores.of(self, tasks, found)

    def judge(self, scores: FloatArray, key: Key) -> Judged:
        return judge(self.data.matrix(scores), self.data, tested_blocks(key[0], self.blocks), self.metrics)


@dataclass(frozen=True)
class Scores:
    """Held-out scores, models x pairs, of every split and learner; NaN for pairs that were not tested."""

    of_key: dict[Key, FloatArray] = field(default_factory=dict)
    #: Folds that were skipped, of how many.
    skipped: dict[Key, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, design: Design, tasks: Sequence[Task], found: Iterable[Held]) -> Scores:
        result = cls()
        for task, one in zip(tasks, found, strict=True):
            key = task.split, task.learner
            n_skipped, n_folds = result.skipped.get(key, (0, 0))
            result.skipped[key] = n_skipped + (one is None), n_folds + 1
            if one is None:
                continue
            rows, values = one
            empty = np.full((len(values), len(design.data.rows)), np.nan)
            result.of_key.setdefault(key, empty)[:, rows] = values
        return result


@dataclass(frozen=True)
class Baselines:
    """Models without an edge, by split and learner; the second with the frequency of response."""

    alone: dict[Key, Judged]
    frequency: dict[Key, Judged]
    skipped: dict[Key, tuple[int, int]]

    @classmethod
    def fit(cls, design: Design) -> Baselines:
        """Fit what all sets of edges are compared with."""
        found, frequency = design.run(lambda _: (), alone=True), design.run_with_frequency(None)
        alone = {key: design.judge(scores[0], key) for key, scores in found.of_key.items()}
        return cls(
            alone, {key: design.judge(scores[0], key) for key, scores in frequency.of_key.items()}, found.skipped
        )

    def strongest(self, split: Split, metric: str) -> Learner:
        """Learner whose gene-only model is best within a split."""
        means = {key[1]: _mean(one.metrics[metric]) for key, one in self.alone.items() if key[0] == split}
        return max(means, key=lambda learner: means[learner])


@dataclass(frozen=True)
class Cell:
    """One split, learner and metric of one set of edges."""

    split: Split
    learner: Learner
    metric: str
    gene_only: FloatArray
    augmented: FloatArray
    #: Mean over the draws, for each unit; NaN without any.
    placebo: FloatArray
    #: Standard deviation of the mean over units, between draws.
    placebo_sd: float
    pooled: tuple[float, float]
    strongest: Learner
    #: Contrasts with gene features alone, a placebo, the strongest gene-only learner, and features with frequency.
    contrasts: dict[str, Contrast]
    strata: dict[str, dict[str, Contrast]]
    n_pairs: int
    n_genes: int
    n_pos: int

    @property
    def saturated(self) -> bool:
        """Whether gene features alone are at the ceiling of a recall."""
        return self.metric.startswith("recall") and _mean(self.gene_only) >= CEILING

    @property
    def deciding(self) -> str:
        """Contrast that decides: a flexible learner pays for any further column, so against a placebo."""
        return "gene_only" if self.learner == RIGID else "placebo"


@dataclass(frozen=True)
class Increment:
    """One set of edges."""

    cells: list[Cell]
    #: Gain in AUROC with a planted signal, by its strength, and where it was looked for.
    detection: dict[float, Contrast]
    detector: Key


@dataclass(frozen=True)
class Comparison:
    """How gains are compared."""

    margin: float
    min_units: int
    n_boot: int
    #: Units of each stratum.
    strata: dict[str, BoolArray]


def increment(
    design: Design, baselines: Baselines, edges: FloatArray, name: str, *, n_placebo: int, comparison: Comparison
) -> Increment:
    """
    Fit every model of one set of edges (units x genes) and compare it with the baselines.

    The placebos are the same edges, permuted among the pairs of each unit: what they gain or lose is what any column
    of such values does to the learner. They are the same in all splits.
    """
    data = design.data

    def draw(*what: object) -> np.random.Generator:
        return child(design.seed, "incremental_value", name, *what)

    column = data.column(edges)
    placebos = [data.column(permuted(edges, data.labels, draw("placebo", index))) for index in range(n_placebo)]
    known = np.where(data.labels >= 0, edges, np.nan)
    signals = [data.column(planted(known, data.labels == 1, delta, draw("planted"))) for delta in DELTAS]

    def columns(task: Task) -> list[FloatArray]:
        return [column, *placebos, *(signals if task[:2] == design.detector else ())]

    scores = design.run(columns, alone=False)
    frequency = design.run_with_frequency(column)
    cells: list[Cell] = []
    detection: dict[float, Contrast] = {}
    for key, found in scores.of_key.items():
        augmented = design.judge(found[0], key)
        drawn = [design.judge(one, key) for one in found[1 : 1 + n_placebo]]
        with_frequency = design.judge(frequency.of_key[key][0], key) if key in frequency.of_key else None
        models = Models(key, data.labels == 1, augmented, _average(drawn), drawn, with_frequency)
        cells += [models.cell(metric, baselines, comparison) for metric in design.metrics]
        if key == design.detector:
            for delta, one in zip(DELTAS, found[1 + n_placebo :], strict=True):
                detection[delta] = compare(design.judge(one, key), baselines.alone[key], "auroc", comparison)
    generator = draw("bootstrap")
    return Increment(resampled(cells, comparison, generator), detection, design.detector)


@dataclass(frozen=True)
class Models:
    """Fitted models of one set of edges, judged, in one split under one learner."""

    key: Key
    positive: BoolArray
    augmented: Judged
    placebo: Judged | None
    drawn: list[Judged]
    with_frequency: Judged | None

    def cell(self, metric: str, baselines: Baselines, comparison: Comparison) -> Cell:
        """Compare by one metric with everything that there is to compare with."""
        split, learner = self.key
        alone, strongest = baselines.alone[self.key], baselines.strongest(split, metric)
        versus = {"gene_only": alone, "placebo": self.placebo, "strongest": baselines.alone[split, strongest]}
        found = {
            what: compare(self.augmented, one, metric, comparison) for what, one in versus.items() if one is not None
        }
        if self.with_frequency is not None:
            found["frequency"] = compare(self.with_frequency, baselines.frequency[self.key], metric, comparison)
        means = np.array([_mean(one.metrics[metric]) for one in self.drawn])
        used = alone.valid & ~np.isnan(alone.metrics[metric])[:, None]
        return Cell(
            split=split,
            learner=learner,
            metric=metric,
            gene_only=alone.metrics[metric],
            augmented=self.augmented.metrics[metric],
            placebo=np.full(len(self.positive), np.nan) if self.placebo is None else self.placebo.metrics[metric],
            placebo_sd=float(np.std(means, ddof=1)) if len(means) > 1 else np.nan,
            pooled=(alone.pooled, self.augmented.pooled),
            strongest=strongest,
            contrasts=found,
            strata={
                name: {
                    what: compare(self.augmented, one, metric, comparison, units)
                    for what, one in versus.items()
                    if one is not None and what != "strongest"
                }
                for name, units in comparison.strata.items()
            },
            n_pairs=int(used.sum()),
            n_genes=int(used.any(axis=0).sum()),
            n_pos=int((used & self.positive).sum()),
        )


def compare(
    one: Judged, other: Judged, metric: str, comparison: Comparison, units: BoolArray | None = None
) -> Contrast:
    """
    Compare two models over the units for which both are defined.

    For AUROC the interval is clustered by unit and gene, on influence values; these are averaged over the models that
    scored a unit, as the AUROC is. Other metrics have no influence values: their interval is Student's over units.
    """
    differences = one.metrics[metric] - other.metrics[metric]
    used = ~np.isnan(differences) if units is None else ~np.isnan(differences) & units
    sums = None
    if metric == "auroc":
        sums = ClusterSums.zeros(one.influence.shape[1])
        sums.add(one.influence[used] - other.influence[used], np.any(one.valid[used], axis=0))
    return contrast(differences[used], sums, margin=comparison.margin, min_units=comparison.min_units)


def resampled(cells: list[Cell], comparison: Comparison, rng: np.random.Generator) -> list[Cell]:
    """Add percentile intervals over resampled units to the gains; all share their draws."""
    if not cells:
        return cells
    gains = [one.augmented - other for one in cells for other in (one.gene_only, one.placebo)]
    low, high = percentile_interval(bootstrap_means(np.stack(gains, axis=1), comparison.n_boot, rng))
    result = []
    for index, one in enumerate(cells):
        filled = dict(one.contrasts)
        for what, place in (("gene_only", 2 * index), ("placebo", 2 * index + 1)):
            if what in filled and filled[what].n_units >= comparison.min_units:
                boot = Interval(float(low[place]), float(high[place]))
                filled[what] = replace(filled[what], boot=boot)
        result.append(replace(one, contrasts=filled))
    return result


def _average(drawn: list[Judged]) -> Judged | None:
    """Mean over placebos."""
    if not drawn:
        return None
    return Judged(
        metrics={name: np.mean([one.metrics[name] for one in drawn], axis=0) for name in drawn[0].metrics},
        pooled=float(np.mean([one.pooled for one in drawn])),
        influence=np.mean([one.influence for one in drawn], axis=0),
        valid=drawn[0].valid,
    )


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
