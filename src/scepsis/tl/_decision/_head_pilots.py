"""Pilots of what is done to the heads of a model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._keys import EffectKeys
from scepsis._core._match import tokens_for
from scepsis._core._model_runs import cell_blocks
from scepsis._core._network import read_network
from scepsis._core._resolve import choose_cells, choose_genes
from scepsis._core._rng import child
from scepsis._core._screen import read_screen
from scepsis.tl._decision._pilots import MIN_CANDIDATES, MIN_POSITIVES, N_CELLS, Step
from scepsis.tl._shared._ablation_run import Cells
from scepsis.tl._shared._audit_inputs import N_HEAD_SETS
from scepsis.tl._shared._conditions import HEADS, LAYERS, paper_names
from scepsis.tl._shared._head_scores import Labels

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import IntArray
    from scepsis.models import AttentionModel

NAMES = ("rank_heads", "ablate_heads")
#: The primary condition is run twice more, with the heads that either half of the genes chose.
HALVES = 2


def heads(
    adata: AnnData, model: AttentionModel, reference: pd.DataFrame, effects: str, *,
    n_null: int, min_targets: int, limit: int, seed: int,
) -> list[Step]:  # fmt: skip
    """
    Rank all heads on a few cells, and run these with and without one head.

    Of an ablation as many passes are counted as it can take at most: every condition of the paper that this model can
    be given, the two halves, and all random sets, over all cells.
    """
    if EffectKeys(effects).target not in adata.varm:
        why = f"there are no effects {effects!r}; call `scepsis.tl.perturbation_effects(adata)`"
        return [Step.not_run(name, why) for name in NAMES]
    pilot = _Pilot.of(adata, model, reference, effects, min_targets, seed)
    if not len(pilot.perturbed):
        return [
            Step.not_run(name, "no perturbed gene that counts is in the panel and the vocabulary") for name in NAMES
        ]
    return [pilot.ranking(limit), pilot.ablation(limit, min(n_null, N_HEAD_SETS))]


@dataclass(frozen=True)
class _Pilot:
    adata: AnnData
    model: AttentionModel
    tokens: IntArray
    panel: IntArray
    #: Positions in the panel of the genes whose rows are read: all that labels are known for, and the perturbed ones.
    sources: IntArray
    perturbed: IntArray
    #: A few of the cells, in the order in which they are run, and the number of all.
    rows: IntArray
    n_cells: int
    seed: int

    @classmethod
    def of(
        cls, adata: AnnData, model: AttentionModel, reference: pd.DataFrame, effects: str, min_targets: int, seed: int
    ) -> _Pilot:
        cells, match = choose_cells(adata), tokens_for(adata, model)
        genes = choose_genes(adata).index
        panel = genes[match.owner[genes]]
        labels = Labels.of(
            panel, read_network(adata, reference, panel, min_targets=min_targets), read_screen(adata, effects, panel),
            min_positives=MIN_POSITIVES, min_candidates=MIN_CANDIDATES, rng=child(seed, "plan", "halves"),
        )  # fmt: skip
        perturbed = labels.sources[np.unique(labels.row_of_perturbation[labels.row_of_perturbation >= 0])]
        rows = child(seed, "plan", "cells").permutation(cells.index)[: N_CELLS + 1]
        return cls(adata, model, match.tokens, panel, labels.sources, perturbed, rows, len(cells.index), seed)

    def ranking(self, limit: int) -> Step:
        from scepsis.edges._heads import HeadExtraction, HeadPlan

        every = tuple((layer, head) for layer in range(self.model.n_layers) for head in range(self.model.n_heads))
        plan = HeadPlan(len(self.panel), tuple(range(self.model.n_layers)), every, sources=tuple(self.sources.tolist()))
        known: dict[str, Any] = {"unit": "cell", "n_units": self.n_cells, "n_bytes": float(plan.n_bytes)}
        if plan.n_bytes > limit:
            return Step.not_run(NAMES[0], "it would not fit", **known)
        extraction = HeadExtraction(self.model, tokens=self.tokens, panel=self.tokens[self.panel], plan=plan)

        def run(rows: IntArray) -> None:
            for chosen, block, seeds in cell_blocks(self.adata, rows, self.seed):
                extraction.add(block, np.zeros(len(chosen), dtype=np.int64), seeds)

        n, seconds = self._timed(run)
        return Step(NAMES[0], seconds_per_unit=seconds / n, n_measured=n, **known)

    def ablation(self, limit: int, n_random: int) -> Step:
        from scepsis.models import Intervention

        last = self.model.n_layers - 1
        n_heads = self.model.n_layers * self.model.n_heads
        possible = [name for name, why in paper_names(n_heads, last).items() if not why and _fits(name, n_heads, last)]
        n_passes = 1 + len(possible) + HALVES + n_random
        cells = Cells(
            self.adata, self.model, self.tokens, self.panel, self.perturbed, (last,), self.seed, show=False
        )  # fmt: skip
        known: dict[str, Any] = {
            "unit": "pass of a cell", "n_units": self.n_cells * n_passes, "n_bytes": float(cells.n_bytes)
        }  # fmt: skip
        if cells.n_bytes > limit:
            return Step.not_run(NAMES[1], "it would not fit", **known)
        one = Intervention.zero_heads([(0, 0)])
        n, seconds = self._timed(lambda rows: cells.run(rows, [one]))
        return Step(NAMES[1], seconds_per_unit=seconds / (2 * n), n_measured=2 * n, **known)

    def _timed(self, run: Callable[[IntArray], object]) -> tuple[int, float]:
        """Cells, and their seconds, after a first one that pays for what happens once."""
        seconds = 0.0
        for part in (self.rows[:1], self.rows[1:]):
            started = time.perf_counter()
            run(np.sort(part))
            seconds = time.perf_counter() - started
        return max(len(self.rows) - 1, 1), seconds


def _fits(name: str, n_heads: int, last: int) -> bool:
    """Whether a model has as many heads, or such a layer."""
    if found := HEADS.fullmatch(name):
        return 2 * int(found["k"]) <= n_heads
    layers = LAYERS.fullmatch(name)
    return layers is not None and int(layers["last"] or layers["first"]) <= last
