"""Frames and registry rows of `reference_auroc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis._core._rng import child
from scepsis.stats._contrasts import Contrast
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._pooled import MIN_TARGETS, planted_estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis.tl._shared._reference_scores import Scored

METHODS = {"crossed": "t, clustered by regulator and target", "dyadic": "t, clustered by gene in either place"}
UNITS = {"crossed": "TF x gene", "dyadic": "gene"}
EARLY = ("average_precision", "prevalence", "lift", "partial_auroc", "bedroc")
NOTHING = Contrast(np.nan, 0)


def _intervals(found: Contrast, method: str, shift: float = 0.0) -> dict[str, Any]:
    return {
        "ci_low": found.two_way.low + shift,
        "ci_high": found.two_way.high + shift,
        "ci_method": method,
        "oneway_low": found.interval.low + shift,
        "oneway_high": found.interval.high + shift,
        "boot_low": found.boot.low + shift,
        "boot_high": found.boot.high + shift,
        "minimum_detectable": found.minimum_detectable,
    }


def summary(scored: Scored) -> pd.DataFrame:
    """One row for each predictor and statistic."""
    rows = []
    for statistic in scored.statistics:
        for index, (predictor, one) in enumerate(zip(scored.predictors, scored.scores, strict=True)):
            found = scored.estimates.get((statistic, index), NOTHING)
            early = dict.fromkeys(EARLY, np.nan) if one is None or statistic != "pooled" else one.early
            status = scored.status(index, statistic)
            rows.append(
                {
                    "predictor": predictor.name,
                    "kind": predictor.kind,
                    "statistic": statistic,
                    "auroc": 0.5 if status == "constant_score" else found.difference + 0.5,
                }
                | _intervals(found, METHODS[scored.clusters], 0.5)
                | {name: early[name] for name in EARLY}
                | {
                    "n": 0 if one is None else one.n,
                    "n_pos": 0 if one is None else one.n_pos,
                    "n_units": found.n_units,
                    "status": status,
                }
            )
    return pd.DataFrame(rows)


def per_regulator(scored: Scored, genes: NDArray[Any]) -> pd.DataFrame:
    """One row for each source with any listed pair and each predictor."""
    parts = []
    numbers = ("auroc", "ci_low", "ci_high", "average_precision", "prevalence", "lift")
    listed = np.flatnonzero(scored.pairs.listed.any(axis=1)) if scored.clusters == "crossed" else np.arange(0)
    for predictor, one in zip(scored.predictors, scored.scores, strict=True):
        if one is None:
            continue
        n_pos, n_neg = one.sources["n_pos"][listed], one.sources["n_neg"][listed]
        conditions = [n_pos == 0, n_neg == 0, n_pos < MIN_TARGETS, ~one.used[listed]]
        statuses = ["no_positives", "no_negatives", "too_few_units", "constant_score"]
        parts.append(
            pd.DataFrame(
                {
                    "regulator": genes[scored.pairs.sources[listed]],
                    "predictor": np.full(len(listed), predictor.name, dtype=object),
                    "kind": np.full(len(listed), predictor.kind, dtype=object),
                }
                | {name: one.sources[name][listed] for name in numbers}
                | {"n_pos": n_pos.astype(np.int64), "n_neg": n_neg.astype(np.int64)}
                | {"status": np.select(conditions, statuses, default="ok").astype(object)}
            )
        )
    columns = ["regulator", "predictor", "kind", *numbers, "n_pos", "n_neg", "status"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def contrasts(scored: Scored) -> pd.DataFrame:
    """One row for each set of edges, each other predictor and each statistic."""
    rows = []
    for statistic in scored.statistics:
        for first in scored.asked:
            for second, other in enumerate(scored.predictors):
                if second == first:
                    continue
                found = scored.contrasts.get((statistic, first, second), NOTHING)
                states = [scored.status(index, statistic) for index in (first, second)]
                few = "ok" if found.n_units >= scored.min_units else "too_few_units"
                rows.append(
                    {
                        "edges": scored.predictors[first].name,
                        "versus": other.name,
                        "versus_kind": other.kind,
                        "statistic": statistic,
                        "difference": found.difference,
                    }
                    | _intervals(found, METHODS[scored.clusters])
                    | {
                        "p_value": found.p_value,
                        "equivalence": found.equivalence,
                        "margin": scored.margin,
                        "n_units": found.n_units,
                        "status": next((state for state in states if state != "ok"), few),
                    }
                )
    return pd.DataFrame(rows, columns=CONTRAST_COLUMNS)


CONTRAST_COLUMNS = [
    "edges", "versus", "versus_kind", "statistic", "difference", "ci_low", "ci_high", "ci_method", "oneway_low",
    "oneway_high", "boot_low", "boot_high", "p_value", "equivalence", "margin", "minimum_detectable", "n_units",
    "status",
]  # fmt: skip


def top_k(scored: Scored) -> pd.DataFrame:
    """One row for each predictor and number of predictions."""
    rows = [
        {"predictor": predictor.name, "kind": predictor.kind} | one._asdict()
        for predictor, score in zip(scored.predictors, scored.scores, strict=True)
        if score is not None
        for one in score.top
    ]
    return pd.DataFrame(rows, columns=["predictor", "kind", "k", "hits", "precision", "recall", "f1"])


def detection(scored: Scored, seed: int) -> pd.DataFrame:
    """What the pooled AUROC of the edges asked for says of signals of known strength."""
    rows = []
    for index in scored.asked:
        predictor, one = scored.predictors[index], scored.scores[index]
        if one is None or predictor.scores is None:
            continue
        for delta in DELTAS:
            generator = child(seed, "reference_auroc", "planted", predictor.name)
            scores = planted(predictor.scores, scored.pairs.listed, delta, generator)
            found = planted_estimate(
                scores, scored.pairs.listed, one.valid, scored.clusters, min_units=scored.min_units
            )
            rows.append(
                {
                    "edges": predictor.name,
                    "delta": delta,
                    "statistic": found.difference + 0.5,
                    "ci_low": found.two_way.low + 0.5,
                    "ci_high": found.two_way.high + 0.5,
                    "detected": bool(found.two_way.low > 0),
                }
            )
    return pd.DataFrame(rows, columns=["edges", "delta", "statistic", "ci_low", "ci_high", "detected"])


def strongest_baseline(overall: pd.DataFrame, statistic: str) -> tuple[str, float]:
    """Name and AUROC of the gene feature that ranks best; "" and NaN where none has a number."""
    known = overall[(overall["kind"] == "baseline") & (overall["statistic"] == statistic) & overall["auroc"].notna()]
    return max(zip(known["predictor"], known["auroc"], strict=True), key=lambda item: item[1], default=("", np.nan))


def rows(scored: Scored, overall: pd.DataFrame, compared: pd.DataFrame) -> list[Row]:
    """Rows of the registry: both statistics of every set of edges asked for, and its differences from all others."""
    result = []
    best, reached = strongest_baseline(overall, "pooled")
    common: dict[str, Any] = {"analysis": "R", "role": "descriptive", "unit": UNITS[scored.clusters]}
    for row in overall[overall["kind"] == "edges"].to_dict("records"):
        what = "A listed pair" if row["statistic"] == "pooled" else "A target of a regulator, in the mean,"
        result.append(
            Row(
                **common,
                name=row["statistic"],
                edges=row["predictor"],
                hypothesis=f"{what} has a stronger edge than one that is not listed",
                test_type="AUROC with clustered interval",
                statistic=row["auroc"],
                effect_size=row["auroc"],
                effect_type="AUROC",
                ci_low=row["ci_low"],
                ci_high=row["ci_high"],
                ci_method=row["ci_method"],
                n=row["n"],
                n_pos=row["n_pos"],
                n_units=row["n_units"],
                baseline_name=best,
                baseline_value=reached,
                minimum_detectable=row["minimum_detectable"],
                status=row["status"],
            )
        )
    sizes = overall[overall["statistic"] == "pooled"].set_index("predictor")
    result.extend(
        Row(
            **common,
            name=f"vs_{row['versus']}",
            edges=row["edges"],
            hypothesis=f"{row['edges']} ranks listed pairs better than {row['versus']}, all pairs in one ranking",
            test_type="difference of AUROCs with clustered interval",
            statistic=row["difference"],
            effect_size=row["difference"],
            effect_type="difference of AUROC",
            ci_low=row["ci_low"],
            ci_high=row["ci_high"],
            ci_method=row["ci_method"],
            n=int(sizes.loc[row["edges"], "n"]),
            n_pos=int(sizes.loc[row["edges"], "n_pos"]),
            n_units=row["n_units"],
            equivalence=row["equivalence"],
            margin=row["margin"],
            minimum_detectable=row["minimum_detectable"],
            status=row["status"],
        )
        for row in compared[compared["statistic"] == "pooled"].to_dict("records")
    )
    return result
