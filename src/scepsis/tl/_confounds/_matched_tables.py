"""Frames and registry rows of `matched_evaluation`, from the arrays of the numerics."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._evidence import RESIDUAL_IMBALANCE
from scepsis._core._gene_table import FEATURES
from scepsis._core._numbers import signed
from scepsis._core._registry import Row
from scepsis.stats._matched_study import MODELS, REGISTERED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._contrasts import Contrast
    from scepsis.stats._matched_models import Ranked
    from scepsis.stats._matched_study import Gain, Sample, Study

COVARIATES = (*FEATURES, "de_frequency")
CI_METHOD = "two-way t, perturbation x gene"
_NO_LINKS = (*np.empty((3, 0), dtype=np.int64), np.empty(0))


@dataclass(frozen=True)
class Scored:
    """One set of edges in one design."""

    name: str
    sample: Sample
    #: Edges among all candidates, and in the matched sample.
    before: FloatArray
    ranked: Ranked
    #: Mean AUROC less one half, and the perturbations behind it.
    chance: Contrast
    used: BoolArray
    #: By the features of the models.
    gains: Mapping[str, Gain]
    leaks: bool


@dataclass(frozen=True)
class Evaluation:
    """All sets of edges in all designs."""

    pairs: ScreenPairs
    #: Names of the candidates.
    candidates: list[str]
    #: Perturbations with enough responders among enough candidates.
    counted: BoolArray
    study: Study
    smd_threshold: float
    scored: list[Scored]
    #: Gains with a planted signal, by the edges and its strength.
    detection: Mapping[str, Mapping[float, Contrast]]

    def unbalanced(self, sample: Sample) -> list[str]:
        """Covariates that still differ, or of which it cannot be said that they do not."""
        even = np.abs(sample.differences) < self.smd_threshold
        return [name for name, balanced in zip(COVARIATES, even, strict=True) if not balanced]


def balance(found: Evaluation) -> pd.DataFrame:
    """One row for each design and covariate."""
    rows = [
        {
            "design": sample.design,
            "covariate": name,
            "smd_before": before,
            "smd_after": after,
            "threshold": found.smd_threshold,
            "balanced": bool(abs(after) < found.smd_threshold),
        }
        for sample in found.study.samples
        for name, before, after in zip(COVARIATES, found.study.before, sample.differences, strict=True)
    ]
    return pd.DataFrame(rows)


def samples(found: Evaluation) -> pd.DataFrame:
    """One row for each design."""
    rows = []
    for sample in found.study.samples:
        matched = sample.matched
        rows.append(
            {
                "design": sample.design,
                "n_units": int(sample.counted.sum()),
                "n_responders": int((found.study.labels == 1).sum()),
                "n_matched": int(matched.positive.sum()),
                "n_unmatched": int(matched.n_unmatched.sum()),
                "n_partners": int((~matched.positive).sum()),
                "n_effective": sample.effective_partners,
                "residual_imbalance": bool(found.unbalanced(sample)),
                "unbalanced": ";".join(found.unbalanced(sample)),
                "status": "ok" if sample.counted.any() else "no_positives",
            }
        )
    return pd.DataFrame(rows)


def matches(found: Evaluation) -> pd.DataFrame:
    """One row for each match of the registered design; names as categories, because they come up often."""
    (sample,) = (one for one in found.study.samples if one.design == REGISTERED)
    unit, responder, partner, distance = sample.matched.links or _NO_LINKS
    names, candidates = pd.Index(found.pairs.screen.names), pd.Index(found.candidates)
    named = pd.Categorical.from_codes
    return pd.DataFrame(
        {
            "perturbation": named(unit, names),
            "target": named(responder, candidates),
            "partner": named(partner, candidates),
            "distance": distance,
        }
    )


def per_perturbation(found: Evaluation) -> pd.DataFrame:
    """One row for each design, set of edges and perturbation."""
    frames = []
    for one in found.scored:
        matched, gain, n_units = one.sample.matched, one.gains.get(MODELS[0]), len(found.counted)
        alone, augmented = (
            (np.full(n_units, np.nan),) * 2 if gain is None else (gain.gene_only.auroc, gain.augmented.auroc)
        )
        n_pos = np.bincount(matched.unit[matched.positive], minlength=n_units)
        n_neg = np.bincount(matched.unit[~matched.positive], minlength=n_units)
        frames.append(
            pd.DataFrame(
                {
                    "perturbation": np.array(found.pairs.screen.names, dtype=object),
                    "design": one.sample.design,
                    "edges": one.name,
                    "auroc_before": one.before,
                    "auroc": one.ranked.auroc,
                    "auroc_gene_only": alone,
                    "auroc_augmented": augmented,
                    "gain": augmented - alone,
                    "n_pos": n_pos,
                    "n_neg": n_neg,
                    "n_unmatched": np.where(found.counted, matched.n_unmatched, 0),
                    "status": _unit_status(found, one),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _unit_status(found: Evaluation, one: Scored) -> Any:
    labels = found.pairs.labels
    n_pos, n_neg = (labels == 1).sum(axis=1), (labels == 0).sum(axis=1)
    screen = np.array(found.pairs.screen.status, dtype=object)
    status = np.select(
        [
            ~found.pairs.screen.scorable,
            (n_pos + n_neg == 0) & (found.pairs.screen.gene < 0),
            n_pos == 0,
            n_neg == 0,
            ~found.counted,
            ~one.sample.counted & (one.sample.matched.n_unmatched == n_pos),
            ~one.sample.counted,
            one.ranked.constant,
        ],
        [
            screen, "missing_vocab", "no_positives", "no_negatives", "too_few_units", "no_positives", "too_few_units",
            "constant_score",
        ],
        default=screen,
    )  # fmt: skip
    return np.where(status == "ok", "label_leak", status) if one.leaks else status


def status_of(found: Evaluation, one: Scored, n_units: int) -> tuple[str, str]:
    """Status of what a set of edges gave in a design, and the reason."""
    if one.leaks:
        return "label_leak", "perturbed cells are among those behind the edges or the gene features"
    if not one.sample.counted.any():
        return "no_positives", _nothing_matched(found)
    if one.ranked.constant[one.sample.counted].all():
        return "constant_score", "all edges of every perturbation are the same"
    min_units = found.study.settings.min_units
    if n_units < min_units:
        return "too_few_units", f"{n_units} perturbations with enough matched responders, {min_units} are needed"
    return "ok", ""


def _nothing_matched(found: Evaluation) -> str:
    if not found.counted.any():
        return "no perturbation has enough responders among enough candidates"
    return "no responder has a partner of its propensity: the two groups do not overlap"


def summary(found: Evaluation) -> pd.DataFrame:
    """One row for each design and set of edges: the raw AUROC of the edges."""
    rows = []
    for one in found.scored:
        values = one.ranked.auroc[one.used]
        status, reason = status_of(found, one, one.chance.n_units)
        constant = status == "constant_score"
        rows.append(
            {
                "design": one.sample.design,
                "edges": one.name,
                "n_units": one.chance.n_units,
                "auroc_before": _mean(one.before[one.used]),
                "auroc": 0.5 if constant else _mean(values),
                "auroc_sd": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
                "ci_low": one.chance.two_way.low + 0.5,
                "ci_high": one.chance.two_way.high + 0.5,
                "ci_method": CI_METHOD,
                "residual_imbalance": bool(found.unbalanced(one.sample)),
                "status": status,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows)


def gains(found: Evaluation) -> pd.DataFrame:
    """One row for each design, set of edges and set of features: what the edges add to these."""
    rows = []
    for one in found.scored:
        for model, gain in one.gains.items():
            status, reason = status_of(found, one, gain.contrast.n_units)
            registered = one.sample.design == REGISTERED and model == MODELS[0]
            rows.append(
                {
                    "design": one.sample.design,
                    "edges": one.name,
                    "features": model,
                    "n_units": gain.contrast.n_units,
                    "auroc_gene_only": _mean(gain.gene_only.auroc[gain.used]),
                    "auroc_augmented": _mean(gain.augmented.auroc[gain.used]),
                    "gain": gain.contrast.difference,
                    "ci_low": gain.contrast.two_way.low,
                    "ci_high": gain.contrast.two_way.high,
                    "ci_method": CI_METHOD,
                    "p_value": gain.contrast.p_value if registered else np.nan,
                    "cohen_d": gain.contrast.cohen_d,
                    "equivalence": gain.contrast.equivalence,
                    "margin": found.study.settings.margin,
                    "minimum_detectable": gain.contrast.minimum_detectable,
                    "residual_imbalance": bool(found.unbalanced(one.sample)),
                    "status": status,
                    "reason": reason,
                }
            )
    return pd.DataFrame(rows)


def detection(found: Evaluation) -> pd.DataFrame:
    """One row for each set of edges and strength of a planted signal."""
    rows = [
        {
            "edges": name,
            "design": REGISTERED,
            "delta": delta,
            "statistic": one.difference,
            "ci_low": one.two_way.low,
            "ci_high": one.two_way.high,
            "detected": bool(one.two_way.low > 0),
        }
        for name, of_delta in found.detection.items()
        for delta, one in of_delta.items()
    ]
    columns = ["edges", "design", "delta", "statistic", "ci_low", "ci_high", "detected"]
    return pd.DataFrame(rows, columns=columns).astype({"edges": object, "design": object, "detected": bool})


def registry_rows(found: Evaluation) -> list[Row]:
    """The registered test of every set of edges; unmet balance is the first thing that its reason says."""
    rows = []
    for one in found.scored:
        if one.sample.design != REGISTERED:
            continue
        gain = one.gains[MODELS[0]]
        status, reason = status_of(found, one, gain.contrast.n_units)
        rows.append(
            Row(
                analysis="A11",
                name="gain/matched",
                edges=one.name,
                hypothesis=(
                    f"among targets of the same perturbation that are as likely to respond by what they show alone, "
                    f"{one.name} adds to gene features"
                ),
                test_type="Wilcoxon signed-rank",
                role="confirmatory",
                statistic=gain.contrast.statistic,
                p_raw=gain.contrast.p_value,
                effect_size=gain.contrast.difference,
                effect_type="difference of AUROC",
                ci_low=gain.contrast.two_way.low,
                ci_high=gain.contrast.two_way.high,
                ci_method=CI_METHOD,
                unit="perturbation x gene",
                n=len(one.sample.matched.unit),
                n_pos=int(one.sample.matched.positive.sum()),
                n_units=gain.contrast.n_units,
                baseline_name="gene-only logistic",
                baseline_value=_mean(gain.gene_only.auroc[gain.used]),
                equivalence=gain.contrast.equivalence,
                margin=found.study.settings.margin,
                minimum_detectable=gain.contrast.minimum_detectable,
                is_primary=True,
                status=status,
                reason="; ".join(part for part in (_imbalance(found, one.sample), reason) if part),
            )
        )
    return rows


def _imbalance(found: Evaluation, sample: Sample) -> str:
    """What still differs, in words that begin with what bars a result; "" for a balanced sample, or none at all."""
    if not sample.counted.any() or not (names := found.unbalanced(sample)):
        return ""
    values = dict(zip(COVARIATES, sample.differences, strict=True))
    listed = ", ".join(f"{name} {signed(values[name], 2)}" for name in names)
    limit = f"{found.smd_threshold:g}"
    return f"{RESIDUAL_IMBALANCE}: standardised mean differences after matching, {limit} or more: {listed}"


def say(rows: list[Row]) -> None:
    """Warn once when what is registered is not balanced."""
    reason = next((row.reason for row in rows if row.reason.startswith(RESIDUAL_IMBALANCE)), "")
    if reason:
        warnings.warn(
            f"The matched sample keeps a {reason.partition(';')[0]}. What is registered is no evidence in either "
            "direction; the design 'balanced' has the same means by its weights.",
            UserWarning,
            stacklevel=3,
        )


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
