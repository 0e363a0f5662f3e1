"""Running cells under interventions: which cells, how many at a time, and how many it takes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._memory import default_limit
from scepsis._core._model_runs import cell_blocks, require_tokens
from scepsis._core._progress import progress_bar
from scepsis._core._rng import child
from scepsis.stats._ablation import cell_error
from scepsis.stats._sequential import SequentialTest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import FloatArray, Head, IntArray
    from scepsis.edges._ablation import Ablation
    from scepsis.models import AttentionModel, Batch, Intervention
    from scepsis.stats._ablation import CellError, Target
    from scepsis.stats._head_sets import HeadSets
    from scepsis.tl._shared._conditions import Condition

logger = logging.getLogger(__name__)
#: Cells of the pilot, and blocks that its error is a jackknife over.
PILOT, BLOCKS = 64, 8
#: Cells that heads are averaged over, where they are.
CONTROLS = 16
#: Random sets that go through the model together, at most.
SETS_AT_ONCE = 32


@dataclass(frozen=True)
class Cells:
    """Cells that are run, and what is read of them."""

    adata: AnnData
    model: AttentionModel
    tokens: IntArray
    #: Positions of the panel's genes in ``adata.var``; of the sources in the panel.
    panel: IntArray
    sources: IntArray
    #: Layers whose attention is read.
    layers: tuple[int, ...]
    seed: int
    batch_size: int | None = None
    memory_limit: int | None = None
    show: bool = True

    def run(
        self,
        rows: IntArray,
        interventions: Sequence[Intervention],
        *,
        compared: IntArray | None = None,
        what: str = "",
    ) -> Ablation:
        """Read cells without and under each intervention; in those `compared`, hidden states and logits as well."""
        from scepsis.edges._ablation import Ablation

        reading = Ablation(
            self.model, tokens=self.tokens, panel=self.tokens[self.panel], layers=self.layers,
            sources=self.sources.tolist(), interventions=interventions, batch_size=self.batch_size,
        )  # fmt: skip
        both = rows[:0] if compared is None else compared
        with progress_bar(total=len(rows), desc=what, unit="cell", show=self.show and bool(what)) as bar:
            for _, block, seeds in cell_blocks(self.adata, both, self.seed):
                reading.compare(block, seeds, bar.update)
            for chosen, block, seeds in cell_blocks(self.adata, np.setdiff1d(rows, both), self.seed):
                reading.add(block, np.zeros(len(chosen), dtype=np.int64), seeds, bar.update)
        return reading

    @property
    def at_once(self) -> int:
        """Interventions whose sums fit beside those of the heads."""
        of_one = 8 * len(self.layers) * len(self.sources) * len(self.panel)
        allowed = default_limit() if self.memory_limit is None else int(self.memory_limit)
        return max(1, int(allowed / of_one) - self.model.n_heads)

    @property
    def n_bytes(self) -> int:
        """Memory of the sums of all heads read and of one intervention."""
        return 8 * len(self.layers) * len(self.sources) * len(self.panel) * (self.model.n_heads + 1)


def means(reading: Ablation, layer: int, number: int) -> tuple[FloatArray, FloatArray]:
    """Attention at a layer without and under an intervention, from the heads that it leaves alone."""
    with np.errstate(invalid="ignore", divide="ignore"):
        before = reading.untouched(layer, reading.interventions[number]) / reading.n_cells
        after = reading.under(number, layer) / reading.n_cells
    return before, after


def controls(adata: AnnData, model: AttentionModel, rows: IntArray, tokens: IntArray, seed: int) -> Batch:
    """A few of the cells that heads were ranked on, as one batch that their contexts can be averaged over."""
    chosen = np.sort(child(seed, "ablate_heads", "controls").permutation(rows)[:CONTROLS])
    cells = [
        cell for _, block, seeds in cell_blocks(adata, chosen, seed) for cell in model.tokenize(block, tokens, seeds)
    ]
    seen = [cell for cell in cells if len(cell.ids)]
    require_tokens(len(cells) - len(seen), len(cells), fate="are not averaged over")
    return model.batch(seen, [np.arange(len(cell.ids)) for cell in seen])


def order_of(rows: IntArray, seed: int) -> IntArray:
    """Cells in the order in which they are taken."""
    return child(seed, "ablate_heads", "cells").permutation(rows)


def pilot(cells: Cells, order: IntArray, intervention: Intervention, target: Target, layer: int) -> CellError:
    """Error of the drop under one intervention that a few cells leave."""
    some = order[:PILOT]
    before, after, counts = [], [], []
    for block in np.array_split(some, min(BLOCKS, len(some))):
        reading = cells.run(np.sort(block), [intervention])
        before.append(reading.untouched(layer, intervention))
        after.append(reading.under(0, layer))
        counts.append(reading.n_cells)
    return cell_error(before, after, counts, target, len(some))


@dataclass(frozen=True)
class Enough:
    """How many cells are enough, for the drop itself and to tell it from that of random sets, and why."""

    n: int
    n_paired: int
    record: dict[str, Any] = field(default_factory=dict)


def enough_cells(
    cells: Cells, order: IntArray, primary: Condition | None, target: Target, margin: float, asked: int | None
) -> Enough:
    """
    Cells at which their part of the error of the primary drop is small enough, where none are asked for.

    For the drop itself that is a quarter of the margin. Random sets are run on the same cells as the primary one, and
    only told apart from it: a tenth of the drop is then enough, where that is more.
    """
    intervention = None if primary is None else primary.intervention
    if asked is not None or intervention is None:
        n = len(order) if asked is None else int(asked)
        return Enough(n, n)
    error = pilot(cells, order, intervention, target, max(cells.layers))
    wanted = max(error.needed(margin / 4), min(PILOT, len(order)))
    paired = max(error.needed(np.fmax(margin / 4, abs(error.drop) / 10)), min(PILOT, len(order)))
    n = min(wanted, len(order))
    logger.info("a pilot of %d cells has an error of %.2g: %d cells are run", error.n_cells, error.standard_error, n)
    told = {"pilot_cells": error.n_cells, "pilot_error": error.standard_error, "n_cells_wanted": wanted}
    return Enough(n, min(paired, n), told)


@dataclass(frozen=True)
class Null:
    """Drops of random sets, and the test that they make, by layer read."""

    sets: HeadSets
    tests: dict[int, SequentialTest]
    #: Sets that were run.
    n_run: int


def against_random(
    cells: Cells,
    rows: IntArray,
    sets: HeadSets,
    heads: Sequence[Head],
    observed: dict[int, float],
    target: Target,
    n_exceed: int,
) -> Null:
    """Run random sets in the order in which they were drawn, some at a time, until every readout is decided."""
    from scepsis.models import Intervention

    tests = {layer: SequentialTest(drop, len(sets.sets), n_exceed) for layer, drop in observed.items()}
    n_run = 0
    with progress_bar(total=len(sets.sets), desc="random head sets", unit="set", show=cells.show) as bar:
        while n_run < len(sets.sets) and not all(test.done for test in tests.values()):
            step = min(max(test.n_ahead for test in tests.values()), SETS_AT_ONCE, cells.at_once)
            some = sets.sets[n_run : n_run + step]
            made = [Intervention.zero_heads([heads[index] for index in one]) for one in some]
            reading = cells.run(rows, made)
            for number in range(len(made)):
                for layer, test in tests.items():
                    test.add(target.drop(*means(reading, layer, number)))
            n_run += len(some)
            bar.update(len(some))
    return Null(sets, tests, n_run)
