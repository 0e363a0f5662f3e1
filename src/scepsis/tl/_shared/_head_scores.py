"""How well each head's attention ranks what a network lists, and what responds to perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scepsis.stats._auroc import mann_whitney
from scepsis.stats._halves import halves, held_out, ranks
from scepsis.stats._responders import mean_auroc, responder_auroc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._network import Network
    from scepsis._core._screen import Screen
    from scepsis._core._types import FloatArray, Head, IntArray
    from scepsis.edges._heads import HeadSums

#: Sizes of sets of best heads whose held-out worth is told.
SIZES = (1, 2, 5, 10, 20, 50)
RANKINGS = ("reference", "perturbation", "composite", "entropy")


@dataclass(frozen=True)
class Labels:
    """What heads are ranked by; genes are positions in the panel."""

    network: Network | None
    screen: Screen | None
    #: Positions in the panel of the genes whose rows are read, ascending, and the half that each is in.
    sources: IntArray
    half: IntArray
    #: Of regulators and of perturbations, their row among the sources; -1 for none.
    row_of_regulator: IntArray
    row_of_perturbation: IntArray
    min_positives: int
    min_candidates: int

    @classmethod
    def of(
        cls,
        panel: IntArray,
        network: Network | None,
        screen: Screen | None,
        *,
        min_positives: int,
        min_candidates: int,
        rng: np.random.Generator,
    ) -> Labels:
        """Find the genes whose rows are needed, and split them in two halves, regulators and others alike."""
        place = np.full(int(panel.max()) + 1, -1)
        place[panel] = np.arange(len(panel))
        regulators = np.array([], dtype=np.int64) if network is None else place[network.sources]
        perturbed = np.array([], dtype=np.int64)
        if screen is not None:
            inside = screen.scorable & (screen.gene >= 0) & (screen.gene < len(place))
            perturbed = np.where(inside, place[np.where(inside, screen.gene, 0)], -1)
        sources = np.union1d(regulators, perturbed[perturbed >= 0])
        row = np.full(len(panel) + 1, -1)  # the last is for -1
        row[sources] = np.arange(len(sources))
        of_reference = np.isin(sources, regulators)
        return cls(
            network, screen, sources, halves((~of_reference).astype(np.int64), rng),
            row[regulators], row[perturbed], min_positives, min_candidates,
        )  # fmt: skip

    def reference_auroc(self, rows: FloatArray, half: int | None = None) -> float:
        """AUROC of all pairs of regulators (those of one half) and genes in one ranking."""
        network = self.network
        if network is None:
            return np.nan
        chosen = self._of_half(self.row_of_regulator, half)
        scores = rows[self.row_of_regulator[chosen]]
        valid = network.candidate[chosen] & ~np.isnan(scores)
        listed = network.listed[chosen]
        return mann_whitney(scores[valid & listed].astype(np.float64), scores[valid & ~listed].astype(np.float64))

    def perturbation_auroc(self, rows: FloatArray) -> FloatArray:
        """AUROC of each perturbation; NaN for those that do not count."""
        assigned = self.row_of_perturbation >= 0
        labels = np.where(assigned[:, None], self._labels, np.int8(-1))
        return responder_auroc(
            rows[self.row_of_perturbation], labels,
            min_positives=self.min_positives, min_candidates=self.min_candidates,
        )  # fmt: skip

    @property
    def _labels(self) -> IntArray:
        if self.screen is None:
            return np.empty((0, 0), dtype=np.int8)
        return self.screen.labels

    def _of_half(self, row: IntArray, half: int | None) -> IntArray:
        return np.flatnonzero(row >= 0) if half is None else np.flatnonzero((row >= 0) & (self.half[row] == half))

    def mean_of_half(self, of_perturbations: FloatArray, half: int) -> float:
        """Mean over the perturbations of one half that count."""
        return mean_auroc(of_perturbations[self._of_half(self.row_of_perturbation, half)])


@dataclass(frozen=True)
class Ranked:
    """Values of every head by every ranking; the higher, the earlier."""

    heads: tuple[Head, ...]
    values: dict[str, FloatArray]
    #: 2 x heads, of rankings by labels.
    by_half: dict[str, FloatArray]
    concentration: FloatArray
    entropy: FloatArray
    n_perturbations: int

    def frame(self) -> pd.DataFrame:
        """One row for each head."""
        layers, numbers = np.array(self.heads, dtype=np.int64).T
        columns: dict[str, object] = {"layer": layers, "head": numbers}
        for name, values in self.values.items():
            if name != "entropy":
                columns[f"{name}_auroc" if name != "composite" else name] = values
        columns |= {"entropy": self.entropy, "concentration": self.concentration}
        for name, values in self.values.items():
            columns[f"rank_{name}"] = ranks(values)
        for name, both in self.by_half.items():
            for half in (0, 1):
                columns[f"rank_{name}_half_{half}"] = ranks(both[half])
        return pd.DataFrame(columns)

    def cross_fit(self) -> pd.DataFrame:
        """What the best heads are worth where they were not chosen."""
        from scipy.stats import spearmanr

        rows = []
        n_heads = len(self.heads)
        for name, both in self.by_half.items():
            usable = np.isfinite(both).all() and np.isfinite(self.values[name]).all()
            agreement = float(spearmanr(both[0], both[1]).statistic) if usable and n_heads > 2 else np.nan
            found = held_out(self.values[name], both, _sizes(n_heads)) if usable else []
            rows += [{"ranking": name, "rank_correlation": agreement} | one._asdict() for one in found]
        columns = {"ranking": object, "k": np.int64, "in_sample": float, "held_out": float, "of_all": float}
        return pd.DataFrame(rows, columns=[*columns, "rank_correlation"]).astype(columns | {"rank_correlation": float})


def _sizes(n_heads: int) -> Sequence[int]:
    """Sizes that leave at least as many heads outside."""
    return [k for k in SIZES if 2 * k <= n_heads]


def rank(sums: HeadSums, labels: Labels, by: Sequence[str]) -> Ranked:
    """Score every head that was read."""
    n = sums.plan.n_maps
    values = {name: np.full(n, np.nan) for name in by if name != "entropy"}
    by_half = {name: np.full((2, n), np.nan) for name in values}
    needs_reference, needs_screen = ({one, "composite"} & set(by) for one in ("reference", "perturbation"))
    counted = np.zeros(len(labels.row_of_perturbation), dtype=bool)
    for index in range(n):
        rows = sums.rows(index)
        reference, perturbation = np.full(3, np.nan), np.full(3, np.nan)
        if needs_reference:
            reference[:] = [labels.reference_auroc(rows, half) for half in (None, 0, 1)]
        if needs_screen:
            each = labels.perturbation_auroc(rows)
            counted |= ~np.isnan(each)
            perturbation[:] = [mean_auroc(each), *(labels.mean_of_half(each, half) for half in (0, 1))]
        found = {"reference": reference, "perturbation": perturbation, "composite": reference * perturbation}
        for name, row in values.items():
            row[index], by_half[name][:, index] = found[name][0], found[name][1:]
    if "entropy" in by:  # the most focused first
        values["entropy"] = -sums.entropy
    ordered = {name: values[name] for name in RANKINGS if name in values}
    return Ranked(sums.plan.heads, ordered, by_half, sums.concentration, sums.entropy, int(counted.sum()))
