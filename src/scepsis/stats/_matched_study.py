"""Matched samples of a screen, how alike their groups are, and what edges say in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from scepsis._core._rng import child
from scepsis.stats._balance import standardised_differences
from scepsis.stats._learners import Pairs
from scepsis.stats._matched_models import compare, held_out_scores, rank_units
from scepsis.stats._matching import jittered, match_globally, match_within, pooled_sd, rebalanced, restricted
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._propensity import cross_fitted

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._contrasts import Contrast
    from scepsis.stats._matched_models import Ranked
    from scepsis.stats._matching import Matched

DesignName = Literal["within", "balanced", "global"]
DESIGNS: tuple[str, ...] = get_args(DesignName)
#: The design that the registered test is from.
REGISTERED = "within"
#: Where models are compared. Once all means agree, features have nothing to say: what a fold holds back the others
#: make up for, and a model of features alone ranks it backwards.
MODELLED = ("within", "global")
#: Features of the models that are compared: those of the target, and with the frequency that was matched by as well.
MODELS = ("gene", "gene+frequency")


@dataclass(frozen=True)
class Settings:
    """How samples are made and compared."""

    k: int
    caliper: float
    n_folds: int
    margin: float
    min_positives: int
    min_units: int
    seed: int


@dataclass(frozen=True)
class Gain:
    """One pair of models of one set of edges."""

    gene_only: Ranked
    augmented: Ranked
    contrast: Contrast
    #: Units that count.
    used: BoolArray


@dataclass(frozen=True)
class Sample:
    """One design: rows, and how alike responders and others are in them."""

    design: str
    matched: Matched
    #: Rows x covariates: features of the target, and how often it responds elsewhere.
    covariates: FloatArray
    fold: IntArray
    #: Units with enough matched responders.
    counted: BoolArray
    #: Standardised mean difference of every covariate, responders less partners.
    differences: FloatArray

    @property
    def effective_partners(self) -> float:
        """Kish's effective number of partners."""
        weight = self.matched.weight[~self.matched.positive]
        return float(weight.sum() ** 2 / (weight**2).sum()) if len(weight) else 0.0


class Study:
    """A screen with its propensities, matched in every design."""

    def __init__(self, labels: IntArray, features: FloatArray, group: IntArray, settings: Settings) -> None:
        """
        Fit the propensities.

        Parameters
        ----------
        labels
            Units (perturbations) x targets: 1 responds, 0 does not, -1 takes no part.
        features
            Targets x features.
        group
            Perturbed gene of each unit; units of one gene share their fold.
        """
        self.labels, self._features, self.settings = labels, features, settings
        self.propensity = cross_fitted(Pairs(labels, features, group), settings.n_folds, settings.seed)
        #: The caliper in log odds; NaN where there are no propensities.
        self.caliper = settings.caliper * pooled_sd(self.propensity.logit, self.labels)

    @property
    def n_targets(self) -> int:
        return int(self.labels.shape[1])

    @cached_property
    def before(self) -> FloatArray:
        """Standardised differences among all pairs of the units."""
        unit, target = np.nonzero(self.labels >= 0)
        return standardised_differences(self._covariates(unit, target), self.labels[unit, target] == 1)

    def _covariates(self, unit: IntArray, target: IntArray) -> FloatArray:
        return np.column_stack([self._features[target], self.propensity.frequency[unit, target]])

    @cached_property
    def samples(self) -> list[Sample]:
        """One for each design."""
        settings = self.settings
        logit = jittered(self.propensity.logit, child(settings.seed, "matched_evaluation", "ties"))
        within = self._enough(match_within(self.labels, logit, k=settings.k, caliper=self.caliper))
        made = {
            "within": within,
            "balanced": rebalanced(within, self._covariates(within.unit, within.target)),
            "global": self._enough(match_globally(self.labels, logit, k=settings.k)),
        }
        return [self._sample(design, made[design]) for design in DESIGNS]

    def _enough(self, matched: Matched) -> Matched:
        """Only units with enough matched responders, and partners."""
        n_units = len(self.labels)
        n_pos = np.bincount(matched.unit[matched.positive], minlength=n_units)
        n_neg = np.bincount(matched.unit[~matched.positive], minlength=n_units)
        return restricted(matched, (n_pos >= self.settings.min_positives) & (n_neg > 0))

    def _sample(self, design: str, matched: Matched) -> Sample:
        covariates = self._covariates(matched.unit, matched.target)
        return Sample(
            design=design,
            matched=matched,
            covariates=covariates,
            fold=self.propensity.fold[matched.unit],
            counted=np.bincount(matched.unit, minlength=len(self.labels)) > 0,
            differences=standardised_differences(covariates, matched.positive, matched.weight),
        )

    def ranked(self, sample: Sample, scores: FloatArray) -> Ranked:
        """Rank the rows of a sample by scores of all pairs, units x targets."""
        matched = sample.matched
        return rank_units(matched, scores[matched.unit, matched.target], len(self.labels))

    def against_chance(self, sample: Sample, ranked: Ranked) -> tuple[Contrast, BoolArray]:
        """Mean AUROC less one half; units in which all scores are the same do not count."""
        return self._compared(sample, ranked, None, sample.counted & ~ranked.constant)

    def gains(self, sample: Sample, columns: list[FloatArray], model: str) -> list[Gain]:
        """What each set of scores (units x targets) adds to gene features."""
        matched = sample.matched
        features = sample.covariates if model == "gene+frequency" else sample.covariates[:, :-1]
        rows = [scores[matched.unit, matched.target] for scores in columns]
        found = held_out_scores(matched, features, rows, sample.fold)
        alone, *augmented = (rank_units(matched, one, len(self.labels)) for one in found)
        return [Gain(alone, one, *self._compared(sample, one, alone, sample.counted)) for one in augmented]

    def detection(self, sample: Sample, scores: FloatArray, name: str) -> dict[float, Contrast]:
        """Gain of the registered models where a signal was planted in the edges, by its strength."""
        known = np.where(self.labels >= 0, scores, np.nan)
        seed = self.settings.seed
        signals = [
            planted(known, self.labels == 1, delta, child(seed, "matched_evaluation", "planted", name))
            for delta in DELTAS
        ]
        found = self.gains(sample, signals, "gene")
        return {delta: one.contrast for delta, one in zip(DELTAS, found, strict=True)}

    def _compared(
        self, sample: Sample, one: Ranked, other: Ranked | None, units: BoolArray
    ) -> tuple[Contrast, BoolArray]:
        settings = self.settings
        return compare(
            sample.matched, one, other,
            units=units, n_targets=self.n_targets, margin=settings.margin, min_units=settings.min_units,
        )  # fmt: skip
