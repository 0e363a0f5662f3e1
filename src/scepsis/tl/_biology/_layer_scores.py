"""Every layer on every reference: one pass over the layers, each sorted once for all references."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr

from scepsis._core._gene_table import FEATURES
from scepsis._core._rng import child
from scepsis.stats._depth import slope_weights
from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.stats._intervals import t_interval
from scepsis.stats._pair_ranks import Members, Ranks, Standings
from scepsis.stats._pair_space import PairSpace, influence_sums, sums_of
from scepsis.stats._partial import balanced_sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scepsis._core._edge_sets import Kind
    from scepsis._core._references import Reference, References
    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._pair_space import InfluenceSums

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
    positives: NDArray[np.int64]
    #: Pairs that partial correlations are taken over.
    sample: IntArray
    status: str
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

    @cached_property
    def _sides(self) -> tuple[BoolArray, BoolArray]:
        listed = self.reference.listed
        return np.asarray(listed.any(axis=1)), np.asarray(listed.any(axis=0))

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
    lots = [
        _Lot(space, own, versus=versus, margin=margin, top=top)
        for key, space in spaces.items()
        if (own := [one for one in studies if id(one.space) == key and one.runs])
    ]
    curves = curves_of(predictors)
    weights = {
        one.name: float(weight)
        for layers in curves.values()
        for one, weight in zip(layers, slope_weights(np.array([one.layer for one in layers])), strict=True)
    }
    for one in sorted(predictors, key=lambda item: item.name != versus):
        matrix = found.matrix(found.sets[one.position]) if one.position >= 0 else None
        for lot in lots:
            if one.position >= 0 or one.name.endswith("_product") == lot.space.dyadic:
                lot.score(one, _scores(found, one, matrix, lot), weights.get(one.name, 0.0))
        advance(1)
    for lot in lots:
        lot.slope(curves, weights)
    return studies


class _Lot:
    """References of the same pairs, which are ranked once for all of them."""

    def __init__(self, space: PairSpace, studies: list[OnReference], *, versus: str, margin: float, top: int) -> None:
        self.space, self.studies = space, studies
        self._versus, self._margin, self._top = versus, margin, top
        self._members = Members.of(space.n, [study.positives for study in studies])
        #: References x pairs: influence on the AUROC of `versus`, and on the slope of each curve.
        self._base = np.zeros((len(studies), space.n), dtype=np.float32)
        self._slopes: dict[str, NDArray[np.float32]] = {}
        self._base_sums: InfluenceSums  # of `versus`, which is scored first

    def score(self, one: Predictor, scores: FloatArray, weight: float) -> None:
        """Enter a score into every study; `weight` is that of its layer in the slope."""
        ranks = Ranks.of(scores)
        standings = Standings.of(ranks, self._members)
        if weight and one.curve not in self._slopes:
            self._slopes[one.curve] = np.zeros(self._base.shape, dtype=np.float32)
        slope = self._slopes[one.curve] if weight else None
        sums = influence_sums(self.space, standings, self._base, slope, weight)
        if one.name == self._versus:
            self._base = standings.influence()
            self._base_sums = sums
        top = ranks.top(self._top) if one.is_edges else np.arange(0)
        for index, study in enumerate(self.studies):
            area = float(standings.auroc[index])
            auroc, difference = Estimate(area), Estimate()
            if study.status == "ok" and not ranks.constant:
                around = study.estimate(area - 0.5, sums.of(index))
                low, high = max(around.low + 0.5, 0.0), min(around.high + 0.5, 1.0)
                auroc = Estimate(area, low, high, around.p_value, around.detectable)
            if one.name != self._versus:
                gap = area - study.cells[self._versus].auroc.value
                difference = Estimate(gap)
                if study.status == "ok":
                    difference = study.estimate(gap, sums.difference(index, self._base_sums), self._margin)
            study.cells[one.name] = Cell(auroc, ranks.constant, difference)
            if one.is_edges:
                study.tops[one.name] = top
            if one.is_edges or one.name == self._versus:
                study.sampled[one.name] = scores[study.sample]

    def slope(self, curves: dict[str, list[Predictor]], weights: dict[str, float]) -> None:
        """Enter the slope over layers of every curve into every study."""
        for name, influence in self._slopes.items():
            for index, study in enumerate(self.studies):
                value = sum(weights[one.name] * study.cells[one.name].auroc.value for one in curves[name])
                sums = sums_of(self.space, influence[index].astype(np.float64))
                study.trends[name] = study.estimate(value, sums) if study.status == "ok" else Estimate(value)


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
        study = OnReference(reference, space, listed, positives, sample, "ok")
        if not len(positives):
            study.status = "no_positives"
        elif len(positives) == space.n:
            study.status = "no_negatives"
        elif len(positives) < MIN_PAIRS or study.n_units < min_units:
            study.status = "too_few_units"
        result.append(study)
    return result


def _scores(found: References, one: Predictor, matrix: FloatArray | None, lot: _Lot) -> FloatArray:
    """Scores of the pairs of a space: of edges the mean of both directions where pairs have none."""
    space = lot.space
    if matrix is None:
        values = found.features[:, FEATURES.index(one.name.removesuffix("_product"))]
        if space.dyadic:
            return np.asarray(values[space.row] * values[space.column])
        return np.asarray(values[space.column])
    if space.dyadic:
        scores = matrix.take(space.places)
        scores += matrix.take(space.mirrored)
        scores /= 2
        return np.asarray(scores)
    return np.asarray(matrix[lot.studies[0].reference.sources].take(space.places))


def feature_predictors(*, dyadic: bool) -> list[Predictor]:
    """Features of the target, or their products where pairs have no direction."""
    names = [f"{name}_product" for name in FEATURES] if dyadic else list(FEATURES)
    return [Predictor(name, "baseline", name, -1) for name in names]
