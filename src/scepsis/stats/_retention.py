"""How much of an AUROC against a network is left when the scores are replaced by residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._bootstrap import percentile_interval
from scepsis.stats._contrasts import NO_INTERVAL, Contrast, contrasts
from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.stats._intervals import t_interval
from scepsis.stats._pooled import pooled_area, variance
from scepsis.stats._ranking import Responders, rank_responders
from scepsis.stats._row_scores import EdgeRows
from scepsis.stats._win_matrix import WinMatrix, bootstrap_aurocs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._equivalence import Conclusion
    from scepsis.stats._influence import PooledVariance
    from scepsis.stats._intervals import Interval

#: A raw AUROC up to this is too close to chance for a share of what is above it.
MIN_RAW = 0.52


@dataclass(frozen=True)
class Known:
    """Pairs that are scored: regulators in rows, their possible targets in columns."""

    listed: BoolArray
    #: Pairs that take part.
    valid: BoolArray
    #: Whether each pair of genes stands once and has no direction; rows are no units of their own then.
    unordered: bool = False

    @property
    def n_pos(self) -> int:
        return int((self.listed & self.valid).sum())

    @property
    def n(self) -> int:
        return int(self.valid.sum())

    @property
    def n_units(self) -> int:
        """Rows with a listed pair."""
        return int((self.listed & self.valid).any(axis=1).sum())

    def variance(self, influence: FloatArray) -> PooledVariance:
        return variance(influence, self.valid, "dyadic" if self.unordered else "crossed")


@dataclass(frozen=True)
class Pooled:
    """AUROC of all pairs in one ranking."""

    auroc: float
    #: Genes x genes: influence of every pair, 0 for pairs that take no part.
    influence: FloatArray
    error: float = np.nan
    df: int = 0

    @property
    def interval(self) -> Interval:
        """Clustered by regulator and by target."""
        return t_interval(self.auroc, self.error, self.df)


def pooled(scores: FloatArray, known: Known) -> Pooled:
    """Rank all pairs that take part; NaN with one class only."""
    if not known.n:
        return Pooled(np.nan, np.zeros(scores.shape))
    area, influence = pooled_area(scores, known.listed, known.valid)
    found = known.variance(influence)
    return Pooled(area, influence, float(np.sqrt(found.two_way)), found.df)


@dataclass(frozen=True)
class Retained:
    """What is left of one raw score in one kind of residual."""

    raw: Pooled
    residual: Pooled
    #: Percentile interval of the residual's AUROC over resampled regulators.
    boot: Interval
    #: ``(residual - 0.5) / (raw - 0.5)``; NaN for a raw AUROC of up to 0.52.
    retention: float
    #: Percentile interval over resampled regulators, fitted models fixed.
    retention_boot: Interval
    #: The same, clustered by regulator and by target, from influence values (delta method).
    retention_two_way: Interval
    #: Residual less raw, paired over regulators.
    change: Contrast
    #: AUROC of each regulator, raw and residual; NaN without both classes. Empty where rows are no units.
    raw_by_unit: FloatArray
    by_unit: FloatArray
    equivalence: Conclusion
    minimum_detectable: float


def retained(
    raw: FloatArray,
    residuals: Sequence[FloatArray],
    known: Known,
    *,
    margin: float,
    min_units: int,
    n_boot: int,
    rng: np.random.Generator,
) -> list[Retained]:
    """
    Compare residuals with the score they are residuals of, on the same pairs.

    Parameters
    ----------
    raw, residuals
        Regulators x genes.
    known
        The network, and the pairs that all scores have.
    margin
        Largest distance from 0.5, and largest difference, that counts as none.
    min_units
        Regulators with a listed pair below which there are no intervals and no p-values.
    n_boot, rng
        Replicates of the bootstrap over regulators, and the generator of its draws, which all scores share.
    """
    scores = [raw, *residuals]
    results = [pooled(one, known) for one in scores]
    enough = known.n_units >= max(min_units, 2)
    low, high = np.full((2, 2 * len(scores)), np.nan)
    if enough and not known.unordered:
        replicates = _replicates(scores, known, n_boot, rng)
        above = replicates - 0.5
        shares = np.divide(above, above[:, :1], out=np.full(above.shape, np.nan), where=above[:, :1] != 0)
        low, high = percentile_interval(np.concatenate([replicates, shares], axis=1))
    by_unit, changes = _by_unit(scores, known, margin=margin, min_units=min_units, rng=rng)
    result = []
    for index, one in enumerate(results[1:], start=1):
        share = retention(results[0].auroc, one.auroc)
        error, df = (one.error, one.df) if enough else (np.nan, 0)
        defined = np.isfinite(share)
        of_share = _interval(low[len(scores) + index], high[len(scores) + index])
        result.append(
            Retained(
                raw=results[0] if enough else Pooled(results[0].auroc, results[0].influence),
                residual=one if enough else Pooled(one.auroc, one.influence),
                boot=_interval(low[index], high[index]),
                retention=share,
                retention_boot=of_share if defined else NO_INTERVAL,
                retention_two_way=_share_interval(results[0], one, known) if defined and enough else NO_INTERVAL,
                change=changes[index - 1],
                raw_by_unit=by_unit[0],
                by_unit=by_unit[index],
                equivalence=equivalence(one.auroc - 0.5, error, df, margin),
                minimum_detectable=minimum_detectable(error, df),
            )
        )
    return result


def retention(raw: float, residual: float) -> float:
    """Share of what is above chance that is left; NaN where there is next to nothing above chance."""
    return (residual - 0.5) / (raw - 0.5) if raw > MIN_RAW else np.nan


def _interval(low: float, high: float) -> Interval:
    return NO_INTERVAL._replace(low=float(low), high=float(high))


def _replicates(scores: Sequence[FloatArray], known: Known, n_boot: int, rng: np.random.Generator) -> FloatArray:
    """Pooled AUROCs over resampled regulators, replicates x scores."""
    positive = known.listed[known.valid]
    row = np.nonzero(known.valid)[0]
    matrices = [WinMatrix.of(one[known.valid], positive, row, len(known.valid)) for one in scores]
    return bootstrap_aurocs(matrices, n_boot, rng)


def _share_interval(raw: Pooled, residual: Pooled, known: Known) -> Interval:
    share = retention(raw.auroc, residual.auroc)
    influence = (residual.influence - share * raw.influence) / (raw.auroc - 0.5)
    found = known.variance(influence)
    return t_interval(share, float(np.sqrt(found.two_way)), found.df)


def _by_unit(
    scores: Sequence[FloatArray], known: Known, *, margin: float, min_units: int, rng: np.random.Generator
) -> tuple[FloatArray, list[Contrast]]:
    """AUROC of each regulator under every score, and those under residuals less that under the raw score."""
    if known.unordered or not known.n_pos:
        return np.empty((len(scores), 0)), [Contrast(np.nan, 0)] * (len(scores) - 1)
    labels = np.where(known.valid, known.listed.astype(np.int8), np.int8(-1))
    usable = np.ones(len(labels), dtype=bool)
    responders = Responders(labels=labels, usable=usable, min_candidates=2, min_positives=1)
    rows, columns = (np.arange(size) for size in labels.shape)
    against_raw = [(index, 0) for index in range(1, len(scores))]
    ranking = rank_responders([EdgeRows(one, rows, columns) for one in scores], responders, against_raw)
    found = contrasts(ranking, margin=margin, min_units=min_units, n_boot=1, rng=rng)
    return ranking.auroc, [found[pair] for pair in against_raw]
