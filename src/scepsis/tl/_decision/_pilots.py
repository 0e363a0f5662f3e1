"""Small pilots, measured on the data that a plan is for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._gene_table import FEATURES, gene_features
from scepsis._core._keys import EffectKeys
from scepsis._core._match import tokens_for
from scepsis._core._model_runs import cell_blocks
from scepsis._core._network import read_network
from scepsis._core._resolve import choose_cells, choose_genes
from scepsis._core._rng import child
from scepsis._core._screen import read_screen
from scepsis.stats._held_out import run_task
from scepsis.stats._increment import Baselines, Comparison, Design, compare
from scepsis.stats._learners import Pairs
from scepsis.stats._power import CrossedError
from scepsis.stats._rewire import MIN_CHAINS, rewire

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import FloatArray, IntArray
    from scepsis.models import AttentionModel
    from scepsis.stats._learners import Learner
    from scepsis.stats._splits import JointMode, Split

SPLITS: tuple[Split, ...] = ("perturbation", "gene", "joint")
LEARNERS: tuple[Learner, ...] = ("logistic", "gbdt")
N_CELLS = 8
MIN_CANDIDATES, MIN_POSITIVES, MIN_UNITS = 10, 2, 6


@dataclass(frozen=True)
class Step:
    """What one tool would take, from a measured part of it."""

    step: str
    #: What was measured, and how many of it there would be.
    unit: str = ""
    n_units: int = 0
    seconds_per_unit: float = np.nan
    #: Units that were measured.
    n_measured: int = 0
    n_bytes: float = np.nan
    status: str = "ok"
    reason: str = ""

    @classmethod
    def not_run(cls, step: str, reason: str, **known: Any) -> Step:
        return cls(step, status="not_run", reason=reason, **known)


def attention(adata: AnnData, model: AttentionModel, layers: Sequence[int], limit: int, seed: int) -> Step:
    """Read a few cells with every layer asked for; one of them before the clock starts."""
    from scepsis.edges._accumulate import Plan
    from scepsis.edges._attention import Extraction

    cells, genes = choose_cells(adata), choose_genes(adata)
    match = tokens_for(adata, model)
    panel = genes.index[match.owner[genes.index]]
    plan = Plan(len(panel), tuple(layers))
    n_all = len(cells.index)
    stored = (plan.n_maps + (plan.n_maps > 1)) * 4 * adata.n_vars**2
    known: dict[str, Any] = {"unit": "cell", "n_units": n_all, "n_bytes": float(plan.n_bytes + stored)}
    if known["n_bytes"] > limit or len(panel) < 2:
        reason = "fewer than two genes of the panel are in the vocabulary" if len(panel) < 2 else "it would not fit"
        return Step.not_run("attention_edges", reason, **known)
    rows = child(seed, "plan", "cells").permutation(cells.index)[: N_CELLS + 1]
    extraction = Extraction(model, tokens=match.tokens, panel=match.tokens[panel], plan=plan)
    seconds = 0.0
    for part in (rows[:1], rows[1:]):  # the first cell pays for what happens once
        started = time.perf_counter()
        for chosen, block, seeds in cell_blocks(adata, np.sort(part), seed):
            extraction.add(block, np.zeros(len(chosen), dtype=np.int64), seeds)
        seconds = time.perf_counter() - started
    n = max(len(rows) - 1, 1)
    return Step("attention_edges", seconds_per_unit=seconds / n, n_measured=n, **known)


@dataclass(frozen=True)
class Table:
    """Pairs that models would be fitted on."""

    design: Design
    n_sets: int
    n_placebo: int

    def steps(self) -> list[Step]:
        """One fold of each learner, with one further column, after one that is not counted."""
        data, n_pairs = self.design.data, len(self.design.data.rows)
        column = child(self.design.seed, "plan", "column").normal(size=(1, n_pairs))
        # what a pair takes: three indices, the features and the column as fitted and as tested, scores of all models
        n_bytes = 8.0 * n_pairs * (3 + 2 * (data.features.shape[1] + 2) + 2 * (1 + self.n_placebo))
        steps = []
        for learner in LEARNERS:
            tasks = [task for task in self.design.tasks if task.learner == learner]
            n_fits = len(tasks) * (1 + self.n_sets * (1 + self.n_placebo))
            seconds, found = np.nan, None
            for _ in range(2):
                started = time.perf_counter()
                found = run_task(data, self.design.blocks, tasks[0], [column], alone=False)
                seconds = time.perf_counter() - started
            known: dict[str, Any] = {"unit": "fit", "n_units": n_fits, "n_bytes": n_bytes}
            name = f"incremental_value/{learner}"
            if found is None:
                steps.append(Step.not_run(name, "the fold lacks responders, or others", **known))
            else:
                steps.append(Step(name, seconds_per_unit=seconds, n_measured=1, **known))
        return steps


def table(
    adata: AnnData, effects: str, *, n_sets: int, n_placebo: int, joint_mode: JointMode, seed: int
) -> Table | str:
    """Pairs of the screen, as if edges were there for all of them; or why there are none."""
    keys = EffectKeys(effects)
    if keys.target not in adata.varm:
        return f"there are no effects {effects!r}; call `scepsis.tl.perturbation_effects(adata)`"
    if any(name not in adata.var for name in FEATURES):
        return "there are no gene features; call `scepsis.pp.gene_features(adata)`"
    panel = choose_genes(adata).index
    screen, features = read_screen(adata, effects, panel), gene_features(adata)[panel]
    labels = np.where(screen.scorable[:, None], screen.labels, np.int8(-1))
    labels[:, np.isnan(features).any(axis=1)] = -1
    data = _counted(labels, features, screen.group())
    if len(data.labels) < MIN_UNITS:
        return f"{len(data.labels)} perturbations count; at least {MIN_UNITS} are needed"
    design = Design(data, SPLITS, LEARNERS, ("auroc",), joint_mode=joint_mode, seed=seed)
    return Table(design, n_sets, n_placebo)


def _counted(labels: IntArray, features: FloatArray, group: IntArray) -> Pairs:
    """Only the perturbations that count."""
    n_pos, n = (labels == 1).sum(axis=1), (labels >= 0).sum(axis=1)
    counted = (n_pos >= MIN_POSITIVES) & (n >= MIN_CANDIDATES) & (n_pos < n)
    return Pairs(labels[counted], features, group[counted])


def rewiring(adata: AnnData, reference: pd.DataFrame, *, n_null: int, min_targets: int, seed: int) -> Step:
    """As many chains as it takes to judge whether they mix, and as far as they have to go."""
    network = read_network(adata, reference, choose_genes(adata).index, min_targets=min_targets)
    n_edges = int(network.listed.sum())
    known: dict[str, Any] = {"unit": "network", "n_units": max(n_null, MIN_CHAINS)}
    if not n_edges:
        return Step.not_run("degree_null", f"no regulator has {min_targets} targets in the panel", **known)
    rewire(network.listed[:1], network.candidate[:1], 1, seed=seed, max_doublings=0)  # pays for what happens once
    started = time.perf_counter()
    drawn = rewire(network.listed, network.candidate, 1, seed=seed)
    seconds = (time.perf_counter() - started) / MIN_CHAINS
    n_bytes = 8.0 * n_null * n_edges + 8.0 * network.listed.size
    measured: dict[str, Any] = {"seconds_per_unit": seconds, "n_measured": MIN_CHAINS, "n_bytes": n_bytes}
    if not drawn.mixing.mixed:
        return Step("degree_null", status="null_not_mixed", reason="the chains did not mix", **known, **measured)
    return Step("degree_null", **known, **measured)


def pilot_error(pairs: ScreenPairs, one: EdgeSet, seed: int) -> CrossedError | None:
    """Gain of the logistic learner over perturbations held out, for its error alone; None where it is undefined."""
    counted = pairs.counted(min_positives=MIN_POSITIVES, min_candidates=MIN_CANDIDATES)
    data = Pairs(pairs.labels[counted], pairs.features, pairs.screen.group()[counted])
    if len(data.labels) < MIN_UNITS:
        return None
    design = Design(data, ("perturbation",), ("logistic",), ("auroc",), seed=seed)
    baselines = Baselines.fit(design)
    column = data.column(pairs.scores(one)[counted])
    key = design.detector
    scores = design.run(lambda _: [column], alone=False).of_key
    if key not in scores or key not in baselines.alone:
        return None
    augmented, alone = design.judge(scores[key][0], key), baselines.alone[key]
    found = compare(augmented, alone, "auroc", Comparison(margin=0.005, min_units=MIN_UNITS, n_boot=1, strata={}))
    gains = augmented.metrics["auroc"] - alone.metrics["auroc"]
    n_genes = int(alone.valid.any(axis=0).sum())
    return CrossedError.of(gains[~np.isnan(gains)], found.two_way, n_genes)
