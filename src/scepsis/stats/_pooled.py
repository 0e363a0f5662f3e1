"""One score of the pairs of a network: all in one ranking, and those of each regulator in a ranking of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from scepsis.stats._auroc import bedroc, partial_auroc
from scepsis.stats._bootstrap import bootstrap_means, percentile_interval
from scepsis.stats._contrasts import NO_INTERVAL, Contrast, contrast
from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.stats._influence import ClusterSums, dyadic_variance, pooled_variance
from scepsis.stats._intervals import Interval, t_interval
from scepsis.stats._order import Order, Ranked
from scepsis.stats._precision import average_precision, lift, prevalence
from scepsis.stats._top_k import top_k
from scepsis.stats._win_matrix import WinMatrix, bootstrap_aurocs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._influence import PooledVariance
    from scepsis.stats._top_k import TopK

Clusters = Literal["crossed", "dyadic"]
#: Targets below which a regulator's AUROC is shown, but has no interval and is in no mean.
MIN_TARGETS = 2


@dataclass(frozen=True)
class PooledScore:
    """What a score of sources x targets gives, where positive pairs should stand above the other valid ones."""

    auroc: float
    #: Whether all pairs have the same score.
    constant: bool
    #: Sources x targets: pairs that take part.
    valid: BoolArray
    n_pos: int
    #: Average precision, prevalence, lift, partial AUROC and BEDROC of the pooled ranking.
    early: dict[str, float]
    #: Influence of every pair on the pooled AUROC, and on the AUROC of its source.
    influence: FloatArray
    influence_by_source: FloatArray
    wins: WinMatrix
    #: AUROC, interval, average precision and so on of every source.
    sources: dict[str, FloatArray]
    #: Sources that count in means over sources.
    used: BoolArray
    top: list[TopK]

    @classmethod
    def of(
        cls,
        scores: FloatArray,
        positive: BoolArray,
        valid: BoolArray,
        sizes: Sequence[int] = (),
        n_positives: int | None = None,
    ) -> PooledScore:
        """
        Rank pairs; those without a score are left aside.

        `sizes` are numbers of predictions to be scored, with recall of `n_positives` (None: those ranked).
        """
        narrow = scores.astype(np.float32)
        scores = narrow if np.array_equal(narrow, scores, equal_nan=True) else scores  # sorted twice as fast
        valid = valid & ~np.isnan(scores)
        positive = positive & valid
        flat = Ranked(Order.of(scores.reshape(1, -1)), positive.reshape(1, -1), valid.reshape(1, -1))
        placed = flat.placements
        precision, share = average_precision(placed), prevalence(placed)
        early = {
            "average_precision": float(precision[0]),
            "prevalence": float(share[0]),
            "lift": float(lift(precision, share)[0]),
            "partial_auroc": float(partial_auroc(placed)[0]),
            "bedroc": float(bedroc(placed)[0]),
        }
        ranked = Ranked(Order.of(scores), positive, valid)
        influence_by_source = ranked.influence()
        used = (ranked.n_pos >= MIN_TARGETS) & (ranked.n_neg > 0) & ~ranked.placements.constant
        source = np.broadcast_to(np.arange(len(valid))[:, None], valid.shape)[valid]
        return cls(
            auroc=float(flat.auroc[0]),
            constant=bool(placed.constant[0]),
            valid=valid,
            n_pos=int(positive.sum()),
            early=early,
            influence=flat.influence().reshape(scores.shape),
            influence_by_source=influence_by_source,
            wins=WinMatrix.of(scores[valid], positive[valid], source, len(valid)),
            sources=_of_sources(ranked, influence_by_source),
            used=used,
            top=top_k(scores[valid], positive[valid], sizes, n_positives),
        )

    @property
    def n(self) -> int:
        return int(self.valid.sum())

    @property
    def n_neg(self) -> int:
        return self.n - self.n_pos


def of_sources(scores: FloatArray, positive: BoolArray, valid: BoolArray) -> dict[str, FloatArray]:
    """AUROC, interval, average precision and so on of every source, of scores of which nothing else is wanted."""
    valid = valid & ~np.isnan(scores)
    ranked = Ranked(Order.of(scores), positive & valid, valid)
    return _of_sources(ranked, ranked.influence())


def _of_sources(ranked: Ranked, influence: FloatArray) -> dict[str, FloatArray]:
    """What each source gives, with its interval over its own pairs (DeLong's variance, t of its targets)."""
    precision, share = average_precision(ranked.placements), prevalence(ranked.placements)
    error = np.sqrt(np.einsum("st,st->s", influence, influence))
    known = (ranked.n_pos >= MIN_TARGETS) & (ranked.n_neg >= MIN_TARGETS)
    intervals = [
        t_interval(area, sd, n - 1) if ok else NO_INTERVAL
        for area, sd, n, ok in zip(ranked.auroc, error, ranked.n_pos, known, strict=True)
    ]
    return {
        "auroc": ranked.auroc,
        "ci_low": np.array([max(one.low, 0.0) if ok else np.nan for one, ok in zip(intervals, known, strict=True)]),
        "ci_high": np.array([min(one.high, 1.0) if ok else np.nan for one, ok in zip(intervals, known, strict=True)]),
        "average_precision": precision,
        "prevalence": share,
        "lift": lift(precision, share),
        "n_pos": ranked.n_pos.astype(np.float64),
        "n_neg": ranked.n_neg.astype(np.float64),
    }


def variance(influence: FloatArray, took_part: BoolArray, clusters: Clusters) -> PooledVariance:
    """Variance of a pooled AUROC or a difference of two, by sources and targets or by genes in either place."""
    return dyadic_variance(influence, took_part) if clusters == "dyadic" else pooled_variance(influence, took_part)


def pooled_estimate(one: PooledScore, clusters: Clusters, *, min_units: int) -> Contrast:
    """Difference of a pooled AUROC from chance, with its intervals (all but the bootstrap's)."""
    return _estimate(one.auroc - 0.5, one.influence, one.valid, clusters, margin=0.0, min_units=min_units)


def pooled_contrast(
    one: PooledScore, other: PooledScore, clusters: Clusters, *, margin: float, min_units: int
) -> Contrast:
    """Difference of two pooled AUROCs."""
    influence, took_part = one.influence - other.influence, one.valid | other.valid
    return _estimate(one.auroc - other.auroc, influence, took_part, clusters, margin=margin, min_units=min_units)


def _estimate(
    difference: float,
    influence: FloatArray,
    took_part: BoolArray,
    clusters: Clusters,
    *,
    margin: float,
    min_units: int,
) -> Contrast:
    n_units = n_clusters(took_part, clusters)
    if n_units < min_units or not np.isfinite(difference):
        return Contrast(difference, n_units)
    found = variance(influence, took_part, clusters)
    error = float(np.sqrt(found.two_way))
    return Contrast(
        difference=difference,
        n_units=n_units,
        interval=t_interval(difference, float(np.sqrt(found.by_unit)), found.df_unit),
        two_way=t_interval(difference, error, found.df),
        equivalence=equivalence(difference, error, found.df, margin) if margin else "",
        minimum_detectable=minimum_detectable(error, found.df),
    )


def planted_estimate(
    scores: FloatArray, positive: BoolArray, valid: BoolArray, clusters: Clusters, *, min_units: int
) -> Contrast:
    """The same as `pooled_estimate`, of scores of which nothing else is wanted."""
    area, influence = pooled_area(scores, positive, valid)
    return _estimate(area - 0.5, influence, valid, clusters, margin=0.0, min_units=min_units)


def planted_contrast(
    scores: FloatArray,
    one: tuple[BoolArray, BoolArray],
    other: tuple[BoolArray, BoolArray],
    clusters: Clusters,
    *,
    min_units: int,
) -> Contrast:
    """The same as `pooled_contrast`, of one score on two sets of pairs (positive and valid ones)."""
    (area, influence), (reference, of_reference) = (pooled_area(scores, *pairs) for pairs in (one, other))
    difference, took_part = influence - of_reference, one[1] | other[1]
    return _estimate(area - reference, difference, took_part, clusters, margin=0.0, min_units=min_units)


def pooled_area(scores: FloatArray, positive: BoolArray, valid: BoolArray) -> tuple[float, FloatArray]:
    """AUROC of all valid pairs in one ranking, and the influence of each."""
    flat = Ranked(Order.of(scores.reshape(1, -1)), positive.reshape(1, -1), valid.reshape(1, -1))
    return float(flat.auroc[0]), flat.influence().reshape(scores.shape)


def n_clusters(took_part: BoolArray, clusters: Clusters) -> int:
    """Sources, or genes in either place, that take part."""
    sources = took_part.any(axis=1)
    return int((sources | took_part.any(axis=0)).sum() if clusters == "dyadic" else sources.sum())


def source_estimate(one: PooledScore, *, min_units: int) -> Contrast:
    """Difference from chance of the mean over sources of their AUROCs."""
    areas = one.sources["auroc"][one.used]
    sums = _sums(one.influence_by_source, one.valid, one.used)
    return replace(contrast(areas - 0.5, sums, margin=0.0, min_units=min_units), equivalence="")


def source_contrast(one: PooledScore, other: PooledScore, *, margin: float, min_units: int) -> Contrast:
    """Mean difference of AUROCs over the sources that count for both."""
    both = one.used & other.used
    sums = _sums(one.influence_by_source - other.influence_by_source, one.valid | other.valid, both)
    differences = one.sources["auroc"][both] - other.sources["auroc"][both]
    return contrast(differences, sums, margin=margin, min_units=min_units)


def _sums(influence: FloatArray, took_part: BoolArray, used: BoolArray) -> ClusterSums:
    sums = ClusterSums.zeros(influence.shape[1])
    sums.add(influence[used], np.any(took_part[used], axis=0))
    return sums


@dataclass(frozen=True)
class Resampled:
    """Bootstrap over sources of several scores, with the same draws for all."""

    #: Replicates x scores: pooled AUROCs, and means over sources.
    pooled: FloatArray
    by_source: FloatArray

    @classmethod
    def of(cls, scores: Sequence[PooledScore], n_boot: int, rng: np.random.Generator) -> Resampled:
        """Resample sources, `n_boot` times."""
        if not scores:
            return cls(np.zeros((n_boot, 0)), np.zeros((n_boot, 0)))
        pooled = bootstrap_aurocs([one.wins for one in scores], n_boot, rng)
        areas = np.stack([np.where(one.used, one.sources["auroc"], np.nan) for one in scores], axis=1)
        some = ~np.isnan(areas).all(axis=1)
        return cls(pooled, bootstrap_means(areas[some], n_boot, rng))

    def interval(self, which: Literal["pooled", "by_source"], first: int, second: int | None = None) -> Interval:
        """Percentile interval of one score, or of the difference of two."""
        replicates = getattr(self, which)
        column = replicates[:, first] if second is None else replicates[:, first] - replicates[:, second]
        low, high = percentile_interval(column[:, None])
        return Interval(float(low[0]), float(high[0]))
