"""Frames and registry rows of `matched_negatives`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis._core._rng import child
from scepsis.stats._balance import standardised_differences
from scepsis.stats._matched_negatives import Estimate, mean_estimate, pooled_estimate, wins
from scepsis.stats._planted import DELTAS, planted
from scepsis.tl._shared._reference_tables import strongest_baseline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis._core._types import FloatArray
    from scepsis.stats._matched_negatives import Matches

CI_METHOD = "t, clustered by regulator and target of the listed pair"
COVARIATES = ("source_mean", "source_detection_rate", "target_mean", "target_detection_rate")


@dataclass(frozen=True)
class Scores:
    """A named score of pairs, at the listed pairs and their negatives; None when it was not run."""

    name: str
    kind: str
    #: Sources x targets.
    pairs: FloatArray | None

    def status(self, matches: Matches, min_units: int) -> str:
        """Why it has no interval; ``ok`` if it has."""
        if self.pairs is None:
            return "not_run"
        if not len(matches.row):
            return "no_positives" if not matches.n_skipped else "no_negatives"
        own, others = matches.split(self.pairs)
        if np.ptp(np.concatenate([own, others])) == 0:
            return "constant_score"
        return "ok" if len(np.unique(matches.row)) >= min_units else "too_few_units"


class Statistics(NamedTuple):
    """The negatives that each statistic looks at."""

    matched: Matches
    balanced: Matches
    pooled: Matches


def statistics(matches: Matches, mean_product: FloatArray) -> Statistics:
    """All of them; for ``balanced``, as many with more expression of both genes together as with less."""
    return Statistics(matches, matches.balanced(mean_product), matches)


def summary(scores: list[Scores], by: Statistics, margin: float, min_units: int) -> pd.DataFrame:
    """One row for each score and statistic."""
    rows: list[dict[str, Any]] = []
    for one in scores:
        for statistic, matches in by._asdict().items():
            status = one.status(matches, min_units)
            rows.append(
                {"predictor": one.name, "kind": one.kind, "statistic": statistic}
                | _numbers(_estimate(one, matches, statistic, status, margin, min_units), "auroc")
                | {
                    "n_pos": len(matches.row),
                    "n_neg": len(matches.of),
                    "n_units": len(np.unique(matches.row)),
                    "status": status,
                }
            )
    return pd.DataFrame(rows)


def _estimate(one: Scores, matches: Matches, statistic: str, status: str, margin: float, min_units: int) -> Estimate:
    if status == "constant_score":
        return Estimate(0.5)
    if one.pairs is None or not len(matches.row):
        return Estimate(np.nan)
    if statistic == "pooled":
        return pooled_estimate(matches, one.pairs, margin=margin, min_units=min_units)
    return mean_estimate(matches, wins(matches, one.pairs), against=0.5, margin=margin, min_units=min_units)


def _numbers(found: Estimate, name: str) -> dict[str, Any]:
    return {
        name: found.value,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "ci_method": CI_METHOD,
        "equivalence": found.equivalence,
        "minimum_detectable": found.minimum_detectable,
    }


def contrasts(scores: list[Scores], by: Statistics, margin: float, min_units: int) -> pd.DataFrame:
    """One row for each set of edges asked for, other score and statistic, on the same listed pairs and negatives."""
    rows = []
    asked = [one for one in scores if one.kind == "edges"]
    for first, other, statistic in product(asked, scores, ("matched", "balanced")):
        if other is first:
            continue
        matches = getattr(by, statistic)
        states = [one.status(matches, min_units) for one in (first, other)]
        found = Estimate(np.nan)
        if first.pairs is not None and other.pairs is not None and len(matches.row):
            difference = wins(matches, first.pairs) - wins(matches, other.pairs)
            found = mean_estimate(matches, difference, against=0.0, margin=margin, min_units=min_units)
        rows.append(
            {"edges": first.name, "versus": other.name, "versus_kind": other.kind, "statistic": statistic}
            | _numbers(found, "difference")
            | {"status": next((state for state in states if state != "ok"), "ok")}
        )
    columns = ["edges", "versus", "versus_kind", "statistic", *_numbers(Estimate(np.nan), "difference"), "status"]
    return pd.DataFrame(rows, columns=columns)


def balance(matches: Matches, negative: Any, features: tuple[FloatArray, FloatArray]) -> pd.DataFrame:
    """Standardised differences of both genes' features, listed pairs less all pairs and less their negatives."""
    own = np.hstack([features[0][matches.row], features[1][matches.column]])
    if not len(own):
        return pd.DataFrame({"covariate": COVARIATES, "before": np.nan, "after": np.nan})
    rows, columns = np.nonzero(negative)
    weight = np.concatenate([np.ones(len(own)), matches.weight])
    sides = {}
    for name, others, weights in (
        ("before", (rows, columns), None),
        ("after", (matches.negative_row, matches.negative_column), weight),
    ):
        values = np.vstack([own, np.hstack([features[0][others[0]], features[1][others[1]]])])
        sides[name] = standardised_differences(values, np.arange(len(values)) < len(own), weights)
    return pd.DataFrame({"covariate": COVARIATES} | sides)


def listed_pairs(scores: list[Scores], matches: Matches, sources: NDArray[Any], targets: NDArray[Any]) -> pd.DataFrame:
    """One row for each listed pair with negatives: how many, how close, and what edges reach on them."""
    frame = pd.DataFrame(
        {
            "source": sources[matches.row],
            "target": targets[matches.column],
            "n_negatives": matches.n_negatives,
            "tolerance": matches.tolerance,
        }
    )
    for one in scores:
        if one.kind == "edges" and one.pairs is not None:
            frame[f"wins_{one.name}"] = wins(matches, one.pairs)
    return frame


def detection(scores: list[Scores], matches: Matches, seed: int, min_units: int) -> pd.DataFrame:
    """What the matched statistic says of signals of known strength in the edges asked for."""
    rows = []
    for one in scores:
        if one.kind != "edges" or one.pairs is None or not len(matches.row):
            continue
        listed = np.zeros(one.pairs.shape, dtype=bool)
        listed[matches.row, matches.column] = True
        for delta in DELTAS:
            generator = child(seed, "matched_negatives", "planted", one.name)
            raised = planted(one.pairs, listed, delta, generator)
            found = mean_estimate(matches, wins(matches, raised), against=0.5, margin=0.0, min_units=min_units)
            rows.append(
                {
                    "edges": one.name,
                    "delta": delta,
                    "statistic": found.value,
                    "ci_low": found.interval.low,
                    "ci_high": found.interval.high,
                    "detected": bool(found.interval.low > 0.5),
                }
            )
    return pd.DataFrame(rows, columns=["edges", "delta", "statistic", "ci_low", "ci_high", "detected"])


def rows(overall: pd.DataFrame, compared: pd.DataFrame, margin: float) -> list[Row]:
    """Rows of the registry: both statistics of every set of edges asked for, and differences from all others."""
    best, reached = strongest_baseline(overall, "matched")
    common: dict[str, Any] = {"analysis": "L3", "role": "descriptive", "unit": "TF x gene"}
    sizes = {
        (row["predictor"], row["statistic"]): (row["n_pos"], row["n_neg"], row["n_units"])
        for row in overall.to_dict("records")
    }
    result = [
        Row(
            **common,
            name=row["statistic"],
            edges=row["predictor"],
            hypothesis="A listed pair has a stronger edge than one whose genes are expressed alike",
            test_type="AUROC with clustered interval",
            statistic=row["auroc"],
            effect_size=row["auroc"],
            effect_type="AUROC",
            ci_low=row["ci_low"],
            ci_high=row["ci_high"],
            ci_method=row["ci_method"],
            n=row["n_pos"] + row["n_neg"],
            n_pos=row["n_pos"],
            n_units=row["n_units"],
            baseline_name=best,
            baseline_value=reached,
            equivalence=row["equivalence"],
            margin=margin,
            minimum_detectable=row["minimum_detectable"],
            status=row["status"],
        )
        for row in overall[overall["kind"] == "edges"].to_dict("records")
    ]
    result.extend(
        Row(
            **common,
            name=f"{row['statistic']}_vs_{row['versus']}",
            edges=row["edges"],
            hypothesis=f"{row['edges']} tells listed pairs from pairs expressed alike better than {row['versus']}",
            test_type="difference of AUROCs with clustered interval",
            statistic=row["difference"],
            effect_size=row["difference"],
            effect_type="difference of AUROC",
            ci_low=row["ci_low"],
            ci_high=row["ci_high"],
            ci_method=row["ci_method"],
            n=sum(sizes[row["edges"], row["statistic"]][:2]),
            n_pos=sizes[row["edges"], row["statistic"]][0],
            n_units=sizes[row["edges"], row["statistic"]][2],
            equivalence=row["equivalence"],
            margin=margin,
            minimum_detectable=row["minimum_detectable"],
            status=row["status"],
        )
        for row in compared.to_dict("records")
    )
    return result
