"""What an intervention does to how well responders are ranked, and how many cells it takes to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._contrasts import contrast
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._ranking import Responders, rank_responders
from scepsis.stats._responders import mean_auroc, responder_auroc
from scepsis.stats._row_scores import EdgeRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._contrasts import Contrast


@dataclass(frozen=True)
class Target:
    """Which perturbations are scored, and from which rows of what was read."""

    #: Perturbations x targets: 1, 0, and -1 for what takes no part.
    labels: IntArray
    #: Row of each perturbation; -1 for none.
    row: IntArray
    min_positives: int = 2
    min_candidates: int = 10
    min_units: int = 6

    def auroc(self, scores: FloatArray) -> FloatArray:
        """AUROC of each perturbation under scores (rows x targets); NaN for those that do not count."""
        labels = np.where((self.row >= 0)[:, None], self.labels, np.int8(-1))
        return responder_auroc(
            scores[self.row], labels, min_positives=self.min_positives, min_candidates=self.min_candidates
        )

    def drop(self, before: FloatArray, after: FloatArray) -> float:
        """Mean over perturbations of the AUROC that is lost."""
        return mean_auroc(self.auroc(before) - self.auroc(after))


@dataclass(frozen=True)
class Change:
    """Per perturbation before and after, and the comparison of the two."""

    before: FloatArray
    after: FloatArray
    #: Perturbations that count in both.
    used: BoolArray
    found: Contrast


def change(before: FloatArray, after: FloatArray, target: Target, *, margin: float) -> Change:
    """Compare scores of the same pairs; differences are after less before."""
    responders = Responders(
        labels=target.labels, usable=target.row >= 0, min_candidates=target.min_candidates,
        min_positives=target.min_positives,
    )  # fmt: skip
    columns = np.arange(before.shape[1])
    scores = [EdgeRows(values, target.row, columns) for values in (after, before)]
    ranking = rank_responders(list(scores), responders, [(0, 1)])
    used: BoolArray = np.asarray(ranking.used.all(axis=0))
    differences = ranking.auroc[0, used] - ranking.auroc[1, used]
    sums = ranking.clusters[0, 1]
    found = contrast(differences, sums, margin=margin, min_units=target.min_units)
    return Change(ranking.auroc[1], ranking.auroc[0], used, found)


@dataclass(frozen=True)
class CellError:
    """Error of a mean drop that comes from the cells that it was measured on."""

    standard_error: float
    n_cells: int
    #: The drop itself, over all of them.
    drop: float

    def needed(self, tolerance: float) -> int:
        """Cells at which the error is no larger than `tolerance`; it falls with their root."""
        if not np.isfinite(self.standard_error):
            return self.n_cells
        return int(np.ceil(self.n_cells * (self.standard_error / tolerance) ** 2))


def cell_error(
    before: Sequence[FloatArray], after: Sequence[FloatArray], n_cells: Sequence[FloatArray], target: Target, total: int
) -> CellError:
    """
    Jackknife over blocks of cells: the drop without each block in turn.

    Parameters
    ----------
    before, after
        For each block of cells, the sums over its cells of what is scored, rows x targets.
    n_cells
        For each block, the cells behind each pair.
    target
        What is scored.
    total
        Cells in all blocks.
    """
    n = len(before)
    sums = [np.sum(parts, axis=0) for parts in (before, after, n_cells)]

    def drop(*left: FloatArray) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            return target.drop(left[0] / left[2], left[1] / left[2])

    parts = zip(before, after, n_cells, strict=True)
    drops = [drop(*(whole - one for whole, one in zip(sums, some, strict=True))) for some in parts]
    spread = float(np.sqrt((n - 1) / n * np.sum((np.array(drops) - np.mean(drops)) ** 2)))
    return CellError(spread, total, drop(*sums))


@dataclass(frozen=True)
class Seen:
    """What the same comparison says when a known signal was there to be taken out."""

    delta: float
    found: Contrast
    detected: bool


def detection(
    before: FloatArray, after: FloatArray, target: Target, *, margin: float, rng: np.random.Generator
) -> list[Seen]:
    """
    Plant a signal in the scores before, which the intervention then takes out, and see whether the test finds that.

    Every strength is planted in the same half of the responders of each perturbation, in units of the standard
    deviation of its scores.
    """
    state = rng.bit_generator.state
    result = []
    for delta in DELTAS:
        rng.bit_generator.state = state
        with_signal = before.astype(np.float64).copy()
        for perturbation, row in enumerate(target.row):
            if row >= 0:
                with_signal[row] = planted(before[row], target.labels[perturbation] == 1, delta, rng)
        found = change(with_signal, after, target, margin=margin).found
        result.append(Seen(delta, found, bool(found.p_value < 0.05 and found.difference < 0)))
    return result
