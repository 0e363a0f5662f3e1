"""One score against another over the same perturbations: every interval and test that is reported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._bootstrap import bootstrap_means, percentile_interval
from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.stats._influence import two_way_variance
from scepsis.stats._intervals import Interval, one_sample_t, t_interval
from scepsis.stats._paired import cohen_d, signed_rank

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.stats._equivalence import Conclusion
    from scepsis.stats._influence import ClusterSums
    from scepsis.stats._ranking import Ranking

NO_INTERVAL = Interval(np.nan, np.nan)


@dataclass(frozen=True)
class Contrast:
    """Mean difference of two AUROCs over perturbations; all but the difference is NaN with too few of them."""

    difference: float
    n_units: int
    #: Student interval over perturbations.
    interval: Interval = NO_INTERVAL
    #: Interval clustered by perturbation and by gene.
    two_way: Interval = NO_INTERVAL
    #: Percentile interval over resampled perturbations.
    boot: Interval = NO_INTERVAL
    #: Smaller sum of signed ranks, and its p-value.
    statistic: float = np.nan
    p_value: float = np.nan
    cohen_d: float = np.nan
    equivalence: Conclusion = ""
    minimum_detectable: float = np.nan

    def reversed(self) -> Contrast:
        """The same comparison, seen from the other score."""
        return replace(
            self,
            difference=-self.difference,
            cohen_d=-self.cohen_d,
            interval=self.interval.negated(),
            two_way=self.two_way.negated(),
            boot=self.boot.negated(),
        )


def contrast(differences: FloatArray, sums: ClusterSums | None, *, margin: float, min_units: int) -> Contrast:
    """
    Compare over the perturbations that count for both scores; the bootstrap interval comes from elsewhere.

    Without `sums` (a metric without influence values) there is no two-way interval, and equivalence and the smallest
    detectable difference are those of perturbations taken as independent.
    """
    n = len(differences)
    mean = float(np.mean(differences)) if n else np.nan
    if n < max(min_units, 2):
        return Contrast(mean, n)
    one_way = float(np.var(differences, ddof=1)) / n, n - 1
    variance, df = one_way if sums is None else two_way_variance(differences, sums)
    error = float(np.sqrt(variance))
    test = signed_rank(differences)
    return Contrast(
        difference=mean,
        n_units=n,
        interval=one_sample_t(differences).interval,
        two_way=NO_INTERVAL if sums is None else t_interval(mean, error, df),
        statistic=test.statistic,
        p_value=test.p_value,
        cohen_d=cohen_d(differences),
        equivalence=equivalence(mean, error, df, margin),
        minimum_detectable=minimum_detectable(error, df),
    )


def contrasts(
    ranking: Ranking, *, margin: float, min_units: int, n_boot: int, rng: np.random.Generator
) -> dict[tuple[int, int], Contrast]:
    """Compare every pair of scores that `ranking` holds sums for; all share the draws of the bootstrap."""
    if not ranking.clusters:
        return {}
    columns = []
    for first, second in ranking.clusters:
        both = ranking.used[first] & ranking.used[second]
        columns.append(np.where(both, ranking.auroc[first] - ranking.auroc[second], np.nan))
    differences = np.stack(columns, axis=1)
    differences = differences[~np.isnan(differences).all(axis=1)]
    low, high = percentile_interval(bootstrap_means(differences, n_boot, rng))
    result = {}
    for index, (pair, sums) in enumerate(ranking.clusters.items()):
        column = differences[:, index]
        one = contrast(column[~np.isnan(column)], sums, margin=margin, min_units=min_units)
        enough = one.n_units >= max(min_units, 2)
        result[pair] = replace(one, boot=Interval(float(low[index]), float(high[index]))) if enough else one
    return result
