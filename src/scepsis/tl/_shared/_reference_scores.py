"""Everything that scores the pairs of a reference, ranked on the same pairs and compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_sets import require_told_apart
from scepsis._core._gene_table import FEATURES
from scepsis._core._validate import require_choice
from scepsis.stats._pooled import (
    PooledScore,
    Resampled,
    pooled_contrast,
    pooled_estimate,
    source_contrast,
    source_estimate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._edge_sets import Kind
    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._types import FloatArray
    from scepsis.stats._contrasts import Contrast
    from scepsis.stats._pooled import Clusters

BASELINES = FEATURES


@dataclass(frozen=True)
class Predictor:
    """A named score of pairs."""

    name: str
    kind: Kind
    #: Sources x targets; None when what it would be read from does not exist.
    scores: FloatArray | None


def require_known(baselines: Sequence[str] | str) -> list[str]:
    """Names of baselines, each once."""
    names = [baselines] if isinstance(baselines, str) else list(baselines)
    for name in names:
        require_choice(name, BASELINES, argument="baselines")
    return list(dict.fromkeys(names))


def line_up(adata: AnnData, pairs: NetworkPairs, baselines: list[str]) -> list[Predictor]:
    """Edges asked for, their scales and controls, then baselines."""
    result = [Predictor(one.name, one.kind, pairs.scores(one)) for one in pairs.sets]
    for name in baselines:
        values = adata.var[name].to_numpy(dtype=np.float64) if name in adata.var else None
        if pairs.network.universe != "unordered":
            scores = None if values is None else np.broadcast_to(values[pairs.targets], pairs.listed.shape)
            result.append(Predictor(name, "baseline", scores))
        if pairs.network.universe != "regulators":
            product = None if values is None else np.outer(values[pairs.sources], values[pairs.targets])
            result.append(Predictor(f"{name}_product", "baseline", product))
    require_told_apart([one.name for one in result])
    return result


@dataclass(frozen=True)
class Scored:
    """Predictors and what they reach; both statistics in turn, ``pooled`` and ``per_regulator``."""

    pairs: NetworkPairs
    predictors: list[Predictor]
    #: None for a predictor that was not run, or when there is nothing to rank.
    scores: list[PooledScore | None]
    #: Differences from 0.5, by statistic and position of the predictor.
    estimates: dict[tuple[str, int], Contrast]
    #: Differences, by statistic and positions of both.
    contrasts: dict[tuple[str, int, int], Contrast]
    margin: float
    min_units: int

    @property
    def clusters(self) -> Clusters:
        return clusters_of(self.pairs)

    @property
    def statistics(self) -> tuple[str, ...]:
        """An unordered pair belongs to no regulator."""
        return ("pooled",) if self.clusters == "dyadic" else ("pooled", "per_regulator")

    @property
    def asked(self) -> list[int]:
        """Positions of the edges that were asked for."""
        return [index for index, one in enumerate(self.predictors) if one.kind == "edges"]

    def status(self, index: int, statistic: str = "pooled") -> str:
        """Why a predictor has no interval; ``ok`` if it has."""
        if self.predictors[index].scores is None:
            return "not_run"
        one = self.scores[index]
        if one is None:
            return "no_positives" if not self.pairs.listed.any() else "no_negatives"
        if one.constant:
            return "constant_score"
        if one.n_pos == 0:
            return "no_positives"
        if one.n_neg == 0:
            return "no_negatives"
        return "ok" if self.estimates[statistic, index].n_units >= self.min_units else "too_few_units"


def clusters_of(pairs: NetworkPairs) -> Clusters:
    """What pairs have in common: a regulator and a target, or a gene in either place."""
    return "dyadic" if pairs.network.universe == "unordered" else "crossed"


def scored(
    pairs: NetworkPairs,
    predictors: list[Predictor],
    *,
    sizes: list[int],
    margin: float,
    min_units: int,
    n_boot: int,
    generator: np.random.Generator,
) -> Scored:
    """Rank the pairs by every predictor, and compare edges with everything else."""
    possible = pairs.listed.any() and (pairs.candidate & ~pairs.listed).any()
    scores = [
        PooledScore.of(one.scores, pairs.listed, pairs.candidate, sizes, pairs.counts["n_listed"])
        if possible and one.scores is not None
        else None
        for one in predictors
    ]
    result = Scored(pairs, predictors, scores, {}, {}, margin, min_units)
    clusters = result.clusters
    ran = [index for index, one in enumerate(scores) if one is not None]
    resampled = None
    if clusters == "crossed":
        resampled = Resampled.of([one for one in scores if one is not None], n_boot, generator)

    def finished(found: Contrast, statistic: str, first: int, second: int | None = None) -> Contrast:
        """With the interval of the bootstrap, where there is any."""
        if resampled is None or found.n_units < min_units or not np.isfinite(found.difference):
            return found
        boot = resampled.interval(
            "pooled" if statistic == "pooled" else "by_source",
            ran.index(first),
            None if second is None else ran.index(second),
        )
        shift = 0.5 if second is None else 0.0
        return replace(found, boot=boot._replace(low=boot.low - shift, high=boot.high - shift))

    for first, one in enumerate(scores):
        if one is None:
            continue
        of_pooled = pooled_estimate(one, clusters, min_units=min_units)
        result.estimates["pooled", first] = finished(of_pooled, "pooled", first)
        of_sources = source_estimate(one, min_units=min_units)
        result.estimates["per_regulator", first] = finished(of_sources, "per_regulator", first)
    for first in result.asked:
        for second, other in enumerate(scores):
            one = scores[first]
            if second == first or one is None or other is None:
                continue
            found = pooled_contrast(one, other, clusters, margin=margin, min_units=min_units)
            result.contrasts["pooled", first, second] = finished(found, "pooled", first, second)
            found = source_contrast(one, other, margin=margin, min_units=min_units)
            result.contrasts["per_regulator", first, second] = finished(found, "per_regulator", first, second)
    return result
