"""Partial correlations of layers with membership, and what signal they would have shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._rng import child
from scepsis.stats._equivalence import minimum_detectable
from scepsis.stats._intervals import t_interval
from scepsis.stats._pair_space import PairSpace
from scepsis.stats._partial import (
    UNDEFINED,
    Given,
    normal_scores,
    pair_covariates,
    partial_correlations,
    value_covariates,
)
from scepsis.stats._planted import DELTAS, planted

if TYPE_CHECKING:
    from scepsis._core._references import References
    from scepsis._core._types import FloatArray
    from scepsis.stats._partial import PartialCorrelation
    from scepsis.tl._biology._layer_scores import OnReference, Predictor

#: What is taken away: nothing; the similarity of the pair; features of both genes; all of it.
GIVEN = ("nothing", "pair", "genes", "pair_and_genes")
SCALES = ("rank", "value")
#: A share of a correlation that may be none has no meaning.
RETAINED_BELOW = 0.05


@dataclass(frozen=True)
class _Sample:
    """Pairs of one reference, half of them listed."""

    study: OnReference
    space: PairSpace
    #: Membership and covariates by what is given, on each scale.
    given: dict[tuple[str, str], Given]

    @classmethod
    def of(cls, study: OnReference, found: References, versus: str) -> _Sample:
        whole = study.space
        row, column = whole.row[study.sample], whole.column[study.sample]
        space = PairSpace(row, column, whole.shape, whole.dyadic)
        first = row if whole.dyadic else study.reference.sources[row]
        genes = pair_covariates(found.features, first, column, dyadic=whole.dyadic)
        pair = study.sampled[versus]
        everything = np.concatenate([value_covariates(pair), genes], axis=1)
        member = study.listed[study.sample]
        by_scale = {scale: Given.of(member, _transformed(pair[:, None], scale)) for scale in SCALES}
        others = {  # the same on either scale
            name: Given.of(member, covariates)
            for name, covariates in (("nothing", genes[:, :0]), ("genes", genes), ("pair_and_genes", everything))
        }
        given = {(scale, name): one for scale in SCALES for name, one in (others | {"pair": by_scale[scale]}).items()}
        return cls(study, space, given)

    @property
    def member(self) -> Any:
        return self.study.listed[self.study.sample]

    def correlations(self, scores: FloatArray, scale: str, given: str) -> list[PartialCorrelation]:
        """One for each column of scores, which are on the scale already."""
        return partial_correlations(scores, self.given[scale, given], self.space, max_df=self.study.df)


def _transformed(values: FloatArray, scale: str) -> FloatArray:
    """Normal scores, or values in standard deviations."""
    if scale == "rank":
        return normal_scores(values)
    spread = values.std(axis=0)
    standardised: FloatArray = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return standardised


def partial_frames(
    studies: list[OnReference], found: References, predictors: list[Predictor], versus: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Partial correlations, and what they make of signals of known strength."""
    asked = [one for one in predictors if one.is_edges or one.name == versus]
    rows: list[dict[str, Any]] = []
    detected: list[dict[str, Any]] = []
    for study in studies:
        if not study.runs:
            rows += [
                _row(study, one, scale, given, UNDEFINED, UNDEFINED)
                for scale in SCALES for given in GIVEN for one in asked
            ]  # fmt: skip
            continue
        sample = _Sample.of(study, found, versus)
        scores = np.stack([study.sampled[one.name] for one in asked], axis=1)
        for scale in SCALES:
            transformed = _transformed(scores, scale)
            plain = sample.correlations(transformed, scale, "nothing")
            for given in GIVEN:
                partial = plain if given == "nothing" else sample.correlations(transformed, scale, given)
                rows += [
                    _row(study, one, scale, given, *both, itself=one.name == versus)
                    for one, *both in zip(asked, plain, partial, strict=True)
                ]
        detected += _detected(study, sample, [one for one in asked if one.is_edges], seed)
    return pd.DataFrame(rows), pd.DataFrame(detected, columns=DETECTION)


DETECTION = ["reference", "edges", "delta", "statistic", "ci_low", "ci_high", "detected"]


def _row(
    study: OnReference, one: Predictor, scale: str, given: str, plain: PartialCorrelation,
    partial: PartialCorrelation, *, itself: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Row of the frame; what layers are compared with cannot be given itself."""
    status = study.status
    if status == "ok" and itself and given.startswith("pair"):
        status, partial = "not_applicable", UNDEFINED
    elif status == "ok" and not np.isfinite(partial.r):
        status = "constant_score" if study.cells[one.name].constant else "too_few_units"
    enough = status == "ok"
    low, high = t_interval(partial.r, partial.standard_error, partial.df) if enough else (np.nan, np.nan)
    retained = partial.r / plain.r if plain.p_value < RETAINED_BELOW else np.nan
    return {
        "reference": study.reference.name,
        "edges": one.name,
        "kind": one.kind,
        "curve": one.curve,
        "layer": one.layer,
        "scale": scale,
        "given": given,
        "r": plain.r,
        "partial": partial.r,
        "ci_low": max(low, -1.0),
        "ci_high": min(high, 1.0),
        "retained": retained,
        "p_value": partial.p_value if enough else np.nan,
        "p_pairs": partial.p_pairs,
        "minimum_detectable": minimum_detectable(partial.standard_error, partial.df) if enough else np.nan,
        "n_pairs": len(study.sample),
        "n_units": study.n_units,
        "status": status,
    }


def _detected(study: OnReference, sample: _Sample, asked: list[Predictor], seed: int) -> list[dict[str, Any]]:
    """Partial correlations, all being given, when a random half of the listed pairs is lifted."""
    if study.status != "ok":
        return []
    rows = []
    for delta in DELTAS:
        lifted = [
            planted(
                study.sampled[one.name], sample.member, delta,
                child(seed, "characterize_layers", "planted", study.reference.name, one.name),
            )
            for one in asked
        ]  # fmt: skip
        found = sample.correlations(normal_scores(np.stack(lifted, axis=1)), "rank", "pair_and_genes")
        for one, partial in zip(asked, found, strict=True):
            low, high = t_interval(partial.r, partial.standard_error, partial.df)
            rows.append(
                {
                    "reference": study.reference.name,
                    "edges": one.name,
                    "delta": delta,
                    "statistic": partial.r,
                    "ci_low": low,
                    "ci_high": high,
                    "detected": bool(low > 0),
                }
            )
    return rows
