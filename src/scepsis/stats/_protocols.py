"""The same perturbations scored in ways that differ in candidates or edges, and what that shifts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._bootstrap import bootstrap_means, percentile_interval
from scepsis.stats._contrasts import contrast
from scepsis.stats._influence import ClusterSums
from scepsis.stats._intervals import Interval
from scepsis.stats._order import Order, Ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._contrasts import Contrast


@dataclass(frozen=True)
class Scored:
    """What several scores reach for every perturbation, on the same candidates."""

    #: Scores x units.
    auroc: FloatArray
    #: Scores x units x genes: influence of every pair on the AUROC of its unit.
    influence: FloatArray
    #: Units x genes: pairs that take part.
    valid: BoolArray
    #: Units that count.
    used: BoolArray
    n_pos: FloatArray
    n_neg: FloatArray

    @classmethod
    def of(
        cls,
        scores: Sequence[FloatArray],
        positive: BoolArray,
        valid: BoolArray,
        *,
        min_positives: int,
        min_candidates: int,
    ) -> Scored:
        """
        Rank the candidates of every unit by every score.

        Parameters
        ----------
        scores
            Units x genes each, finite where `valid`.
        positive, valid
            Units x genes: candidates that respond, and all candidates.
        min_positives, min_candidates
            Numbers below which a unit does not count.
        """
        positive = positive & valid
        ranked = [Ranked(Order.of(one), positive, valid) for one in scores]
        n_pos, n = positive.sum(axis=1), valid.sum(axis=1)
        varied = ~np.logical_or.reduce([one.placements.constant for one in ranked])
        return cls(
            auroc=np.stack([one.auroc for one in ranked]),
            influence=np.stack([one.influence() for one in ranked]),
            valid=valid,
            used=(n_pos >= min_positives) & (n >= min_candidates) & (n_pos < n) & varied,
            n_pos=n_pos,
            n_neg=n - n_pos,
        )

    def among(self, units: BoolArray) -> Scored:
        """The same, of which only some units count."""
        return replace(self, used=self.used & units)

    def is_same(self, other: Scored, *scores: int) -> bool:
        """Whether some scores rank the same candidates alike for every unit that counts in both (and one does)."""
        used = self.used & other.used
        return bool(used.any()) and all(
            np.array_equal(one[used], another[used])
            for one, another in [
                (self.valid, other.valid), *((self.influence[score], other.influence[score]) for score in scores),
            ]
        )  # fmt: skip


@dataclass(frozen=True)
class Term:
    """A score under a protocol, which is added (or, with ``sign=-1``, taken away)."""

    scored: Scored
    score: int
    sign: int = 1


def total(terms: Sequence[Term], *, margin: float, min_units: int, n_boot: int, rng: np.random.Generator) -> Contrast:
    """
    Mean over units of a sum of signed AUROCs, over the units that count in all terms.

    With the two-way interval of the sum of influence values, and the percentile interval over resampled units.
    """
    used = np.logical_and.reduce([one.scored.used for one in terms])
    units = np.sum([one.sign * one.scored.auroc[one.score][used] for one in terms], axis=0)
    influence = np.sum([one.sign * one.scored.influence[one.score][used] for one in terms], axis=0)
    sums = ClusterSums.zeros(influence.shape[1])
    sums.add(influence, np.logical_or.reduce([one.scored.valid[used].any(axis=0) for one in terms]))
    found = contrast(units, sums, margin=margin, min_units=min_units)
    if found.n_units < max(min_units, 2):
        return found
    low, high = percentile_interval(bootstrap_means(units[:, None], n_boot, rng))
    return replace(found, boot=Interval(float(low[0]), float(high[0])))
