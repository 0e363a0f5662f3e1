"""Every layer on every reference: one pass over the layers, each sorted once for all references."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr

from scepsis._core._gene_table import FEATURES
from scepsis._core._rng import child
from scepsis.stats._depth import slope_weights
from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.stats._intervals import t_interval
from scepsis.stats._pair_space import PairSpace, Ranks, Standing, influence_sums, sums_of
from scepsis.stats._partial import balanced_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis._core._edge_sets import Kind
    from scepsis._core._references import Reference, References
    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: Listed pairs below which there are no numbers at all.
MIN_PAIRS = 5


@dataclass(frozen=True)
class Predictor:
    """A score of pairs: one layer, what layers are compared with, or a feature of genes."""

    name: str
    kind: Kind
    #: Edges that it is a layer of; its own name where it is none.
    curve: str
    #: -1 where there is none.
    layer: int
    #: Position among the sets of edges; -1 for a feature of genes.
    position: int = -1

    @property
    def is_edges(self) -> bool:
        """Whether trends, partial correlations and the top are asked of it."""
        return self.kind in {"edges", "control"}


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and its test against 0."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan
    detectable: float = np.nan
    equivalence: str = ""

    @classmethod
    def of(cls, value: float, variance: float, df: int, margin: float = 0.0) -> Estimate:
        """From a variance clustered by what pairs share."""
        error = float(np.sqrt(variance))
        if not np.isfinite(value) or not np.isfinite(error) or df < 1:
            return cls(value)
        low, high = t_interval(value, error, df)
        p = 2 * float(stdtr(df, -abs(value) / error)) if error > 0 else np.nan
        conclusion = equivalence(value, error, df, margin) if margin else ""
        return cls(value, low, high, p, minimum_detectable(error, df), conclusion)


@dataclass(frozen=True)
class Cell:
    """One score on one reference."""

    auroc: Estimate
    constant: bool
    #: From what layers are compared with.
    difference: Estimate


@dataclass
class OnReference:
    """One reference, and what every score gives on it."""

    reference: Reference
    space: PairSpace
    #: Pairs of the space that are listed.
    listed: BoolArray
    positives: IntArray
    #: Pairs that partial correlations are taken over.
    sample: IntArray
    status: str
    base: FloatArray
    slopes: dict[str, FloatArray] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    trends: dict[str, Estimate] = field(default_factory=dict)
    #: Scores of the sampled pairs.
    sampled: dict[str, FloatArray] = field(default_factory=dict)
    tops: dict[str, IntArray] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        return self.status in {"ok", "too_few_units"} and len(self.positives) >= MIN_PAIRS

    @property
    def n_units(self) -> int:
        """Genes with a listed pair, or regulators."""
        sides = self._sides
        return int((sides[0] | sides[1]).sum() if self.space.dyadic else sides[0].sum())

    @property
    def df(self) -> int:
        """Degrees of freedom: genes without a listed pair add none."""
        return self.n_units - 1 if self.space.dyadic else int(min(side.sum() for side in self._sides)) - 1

    @property
    def _sides(self) -> tuple[BoolArray, BoolArray]:
        listed = self.reference.listed
        return listed.any(axis=1), listed.any(axis=0)

    def estimate(self, value: float, sums: tuple[FloatArray, FloatArray, float], margin: float = 0.0) -> Estimate:
        """A number with the interval that sums of its influence give."""
        found = self.space.variance(*sums)
        return Estimate.of(value, found.two_way, min(found.df, self.df), margin)

    @property
    def unit(self) -> str:
        return "gene" if self.space.dyadic else "TF x gene"


def curves_of(predictors: list[Predictor]) -> dict[str, list[Predictor]]:
    """Edges, and the layers of each, ascending."""
    curves: dict[str, list[Predictor]] = {}
    for one in predictors:
        if one.is_edges:
            curves.setdefault(one.curve, []).append(one)
    return {name: sorted(own, key=lambda one: one.layer) for name, own in curves.items()}


def score_layers(
    found: References,
    predictors: list[Predictor],
    *,
    versus: str,
    top: int,
    max_pairs: int,
    min_units: int,
    margin: float,
    seed: int,
    advance: Callable[[int], object],
) -> list[OnReference]:
    """Rank the pairs by every predictor and score them on every reference; `versus` comes first."""
    studies = _studies(found, max_pairs, min_units, seed)
    spaces = {id(one.space): one.space for one in studies}
    weights = {
        one.name: float(weight)
        for layers in curves_of(predictors).values()
        for one, weight in zip(layers, slope_weights(np.array([one.layer for one in layers])), strict=True)
    }
    for one in sorted(predictors, key=lambda item: item.name != versus):
        matrix = found.matrix(found.sets[one.position]) if one.position >= 0 else None
        for key, space in spaces.items():
            own = [study for study in studies if id(study.space) == key and study.runs]
            if not own:
                continue
            scores = _scores(found, one, matrix, space, own[0].reference)
            ranks = Ranks.of(scores)
            for study in own:
                _score(study, one, scores, ranks, weights.get(one.name, 0.0), versus, margin)
                if one.is_edges:
                    study.tops[one.name] = ranks.top(top)
        advance(1)
    for study in studies:
        for name, slope in study.slopes.items():
            value = sum(weights[one.name] * study.cells[one.name].auroc.value for one in curves_of(predictors)[name])
            sums = sums_of(study.space, slope.astype(np.float64))
            study.trends[name] = study.estimate(value, sums) if study.status == "ok" else Estimate(value)
        study.slopes.clear()
    return studies


def _studies(found: References, max_pairs: int, min_units: int, seed: int) -> list[OnReference]:
    """One for each reference; those of unordered pairs share their pairs."""
    shared: PairSpace | None = None
    result = []
    for reference in found.references:
        if reference.dyadic and shared is not None:
            space = shared
        else:
            space = PairSpace.of(reference.candidate, dyadic=reference.dyadic)
            shared = space if reference.dyadic else shared
        listed = reference.listed[reference.candidate]
        positives = np.flatnonzero(listed)
        sample = balanced_sample(listed, max_pairs, child(seed, "characterize_layers", "sample", reference.name))
        base = np.zeros(space.n, dtype=np.float32)
        study = OnReference(reference, space, listed, positives, sample, "ok", base)
        if not len(positives):
            study.status = "no_positives"
        elif len(positives) == space.n:
            study.status = "no_negatives"
        elif len(positives) < MIN_PAIRS or study.n_units < min_units:
            study.status = "too_few_units"
        result.append(study)
    return result


def _scores(
    found: References, one: Predictor, matrix: FloatArray | None, space: PairSpace, reference: Reference
) -> FloatArray:
    """Scores of the pairs of a space: of edges the mean of both directions where pairs have none."""
    if matrix is None:
        values = found.features[:, FEATURES.index(one.name.removesuffix("_product"))]
        if space.dyadic:
            return np.asarray(values[space.row] * values[space.column])
        return np.asarray(values[space.column])
    if space.dyadic:
        scores = matrix.take(space.places)
        scores += matrix.take(space.column.astype(np.int64) * space.shape[1] + space.row)
        scores /= 2
        return scores
    return np.asarray(matrix[reference.sources].take(space.places))


def feature_predictors(dyadic: bool) -> list[Predictor]:
    """Features of the target, or their products where pairs have no direction."""
    names = [f"{name}_product" for name in FEATURES] if dyadic else list(FEATURES)
    return [Predictor(name, "baseline", name, -1) for name in names]


def _score(
    study: OnReference, one: Predictor, scores: FloatArray, ranks: Ranks, weight: float, versus: str, margin: float,
) -> None:  # fmt: skip
    """Enter a score into a study."""
    if one.position < 0 and one.name.endswith("_product") != study.space.dyadic:
        return
    standing = Standing.of(ranks, study.positives)
    slope = np.zeros(study.space.n, dtype=np.float32) if not weight else study.slopes.setdefault(
        one.curve, np.zeros(study.space.n, dtype=np.float32)
    )
    sums = influence_sums(study.space, ranks, study.listed, standing, study.base, slope, weight)
    auroc, difference = Estimate(standing.auroc), Estimate()
    if study.status == "ok" and not ranks.constant:
        around = study.estimate(standing.auroc - 0.5, (sums.by_row, sums.by_column, sums.of_pairs))
        low, high = max(around.low + 0.5, 0.0), min(around.high + 0.5, 1.0)
        auroc = Estimate(standing.auroc, low, high, around.p_value, around.detectable)
    if one.name == versus:
        study.base = standing.influence(ranks, study.listed).astype(np.float32)
    else:
        gap = standing.auroc - study.cells[versus].auroc.value
        parts = sums.difference_by_row, sums.difference_by_column, sums.difference_of_pairs
        difference = study.estimate(gap, parts, margin) if study.status == "ok" else Estimate(gap)
    study.cells[one.name] = Cell(auroc, ranks.constant, difference)
    if one.is_edges or one.name == versus:
        study.sampled[one.name] = scores[study.sample]
