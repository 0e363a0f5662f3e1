"""Frames and registry rows of `degree_null`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis.stats._network_nulls import Against
from scepsis.tl._confounds._null_draws import DETECTED_BELOW, NULLS, STATISTICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis.tl._confounds._null_draws import Compared, Score

NOTHING = Against(np.nan, np.nan, np.nan, np.nan, np.nan, 0)
#: Statuses under which a p-value stands.
WITH_P = ("ok", "underpowered")
#: Statuses under which there is no null to compare with.
WITHOUT_NULL = ("single_stratum", "constant_score")
#: Standard deviations of the null that are found with a power of 80 % by a one-sided test at 5 %.
DETECTABLE = 1.6449 + 0.8416
FAMILIES = {
    "degree": "networks of the same degrees (edge swaps)",
    "label_shuffle": "listed pairs drawn from all pairs",
    "row_only": "targets of every regulator drawn from its pairs",
}


def summary(found: Compared) -> pd.DataFrame:
    """One row for each score, null and statistic."""
    rows = []
    for score in found.scores:
        for null in NULLS:
            for statistic in STATISTICS:
                place = found.places.get((score.name, null, statistic), NOTHING)
                status = found.status(score, null, statistic)
                bare = status in WITHOUT_NULL
                name, strongest = _strongest(found, score, null, statistic)
                rows.append(
                    {
                        "edges": score.name,
                        "kind": score.kind,
                        "null": null,
                        "statistic": statistic,
                        "observed": place.observed,
                        "null_mean": np.nan if bare else place.null_mean,
                        "null_sd": np.nan if bare else place.null_sd,
                        "z": np.nan if bare else place.z,
                        "p_value": place.p_value if status in WITH_P else np.nan,
                        "n_null": place.n_null,
                        "chance": 0.5,
                        "degree": np.nan if bare else place.null_mean - 0.5,
                        "residual": np.nan if bare else place.observed - place.null_mean,
                        "baseline_name": name,
                        "baseline_z": strongest,
                        "n": int(found.pairs.candidate.sum()),
                        "n_pos": int(found.pairs.listed.sum()),
                        "n_units": found.n_units,
                        "status": status,
                    }
                )
    return pd.DataFrame(rows)


def _strongest(found: Compared, score: Score, null: Any, statistic: str) -> tuple[str, float]:
    """The model-free score with the highest z under the same null, the score itself apart."""
    others = {
        one.name: found.places[one.name, null, statistic].z
        for one in found.scores
        if one.kind == "model_free" and one.name != score.name and (one.name, null, statistic) in found.places
    }
    others = {name: z for name, z in others.items() if np.isfinite(z)}
    return max(others.items(), key=lambda item: item[1], default=("", np.nan))


def draws(found: Compared) -> pd.DataFrame:
    """One row for each score, null and draw."""
    parts = [
        pd.DataFrame(
            {
                "edges": np.full(len(drawn), name, dtype=object),
                "null": np.full(len(drawn), null, dtype=object),
                "draw": np.arange(len(drawn)),
            }
            | dict(zip(STATISTICS, drawn.T, strict=True))
        )
        for (name, null), drawn in found.draws.items()
    ]
    columns = ["edges", "null", "draw", *STATISTICS]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def per_regulator(found: Compared, genes: NDArray[Any]) -> pd.DataFrame:
    """One row for each regulator and score."""
    listed = np.flatnonzero(found.pairs.listed.any(axis=1))
    names = genes[found.pairs.sources[listed]]
    parts = []
    for score in found.scores:
        if score.name not in found.sources:
            continue
        own = {name: values[listed] for name, values in found.sources[score.name].items()}
        parts.append(
            pd.DataFrame(
                {
                    "edges": np.full(len(listed), score.name, dtype=object),
                    "kind": np.full(len(listed), score.kind, dtype=object),
                    "regulator": names,
                    "n_pos": own["n_pos"].astype(np.int64),
                    "n_neg": own["n_neg"].astype(np.int64),
                    "auroc": own["auroc"],
                    "ci_low": own["ci_low"],
                    "ci_high": own["ci_high"],
                    "above": own["auroc"] > 0.5,
                    "ci_above": own["ci_low"] > 0.5,
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=REGULATOR_COLUMNS)


REGULATOR_COLUMNS = [
    "edges", "kind", "regulator", "n_pos", "n_neg", "auroc", "ci_low", "ci_high", "above", "ci_above",
]  # fmt: skip


def detection(found: Compared) -> pd.DataFrame:
    """What the degree null says of signals of known strength."""
    mixed = found.networks.rewired is not None and found.networks.rewired.mixing.mixed
    rows = [
        {
            "edges": name,
            "delta": delta,
            "statistic": place.z,
            "ci_low": np.nan,
            "ci_high": np.nan,
            "p_value": place.p_value if mixed else np.nan,
            "detected": bool(mixed and place.p_value < DETECTED_BELOW),
        }
        for name, places in found.detection.items()
        for delta, place in places
    ]
    return pd.DataFrame(rows, columns=["edges", "delta", "statistic", "ci_low", "ci_high", "p_value", "detected"])


def rows(overall: pd.DataFrame) -> list[Row]:
    """Rows of the registry: both statistics under the degree null, the pooled one under the others."""
    asked = overall[overall["kind"] == "edges"]
    return [
        Row(
            analysis="A09",
            name=f"{row['null']}/{row['statistic']}",
            edges=row["edges"],
            hypothesis=f"The AUROC on the reference is above that on {FAMILIES[row['null']]}",
            test_type="permutation",
            role="confirmatory",
            direction="greater",
            statistic=row["z"],
            p_raw=row["p_value"],
            effect_size=row["residual"],
            effect_type="AUROC above the mean of the null",
            unit="network",
            n=row["n"],
            n_pos=row["n_pos"],
            n_units=row["n_units"],
            null_mean=row["null_mean"],
            null_sd=row["null_sd"],
            null_family=FAMILIES[row["null"]],
            baseline_name=row["baseline_name"],
            baseline_value=row["baseline_z"],
            minimum_detectable=DETECTABLE * row["null_sd"],
            is_primary=(row["null"], row["statistic"]) == ("degree", "pooled"),
            status=row["status"],
        )
        for row in asked.to_dict("records")
        if row["null"] == "degree" or row["statistic"] == "pooled"
    ]
