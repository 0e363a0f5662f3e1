"""What `perturbation_auroc` tests, as rows of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._keys import VARIANCE
from scepsis._core._registry import Row
from scepsis.stats._equivalence import equivalence, minimum_detectable
from scepsis.tl._response._auroc_tables import CI_METHOD, seen_from, status_of_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scepsis._core._edge_sets import EdgeSet
    from scepsis.stats._contrasts import Contrast
    from scepsis.tl._response._auroc_tables import Scored
    from scepsis.tl._response._predictors import Predictor

TWO_WAY = "t, clustered by perturbation and gene"
#: Correlation that edges are compared with before any other.
CORRELATION = "spearman"


def auroc_rows(
    scored: Scored,
    found: dict[tuple[int, int], Contrast],
    summary: pd.DataFrame,
    sets: Sequence[EdgeSet],
    margin: float,
) -> list[Row]:
    """Every distinct test: edges against one half, and against everything else."""
    correlations = [one.name for one in sets if one.kind == "edges" and _is_correlation(one)]
    strongest = _strongest(summary)
    rows = []
    for first, one in enumerate(scored.predictors):
        if one.kind != "edges":
            continue
        rows.append(_against_chance(scored, summary.iloc[first], first, margin) | strongest)
        for second, other in enumerate(scored.predictors):
            if second != first and _speaks_for(one.name, other, correlations, is_first=first < second):
                given = _against(scored, found, (first, second), str(summary["status"].iloc[second]), margin)
                rows.append(given | strongest | {"is_primary": other.name in {VARIANCE, *correlations[:1]}})
    return [Row(**row) for row in rows]


def _is_correlation(one: EdgeSet) -> bool:
    return CORRELATION in {one.name, one.params.get("method")}


def _speaks_for(one: str, other: Predictor, correlations: list[str], *, is_first: bool) -> bool:
    """Whether a comparison is that of `one`: of two sets of edges, the first, unless only that is the correlation."""
    if other.kind != "edges":
        return True
    if (one in correlations) != (other.name in correlations):
        return one not in correlations
    return is_first


def _strongest(summary: pd.DataFrame) -> dict[str, Any]:
    """The feature of single genes that ranks best, with its mean AUROC."""
    trivial = summary[(summary["kind"] == "baseline") & summary["auroc"].notna()]
    if trivial.empty:
        return {}
    best = trivial.iloc[int(trivial["auroc"].to_numpy().argmax())]
    return {"baseline_name": str(best["predictor"]), "baseline_value": float(best["auroc"])}


def _counts(scored: Scored, *positions: int) -> dict[str, int]:
    """Pairs, responders and perturbations behind a number."""
    ranking = scored.ranking
    used = np.logical_and.reduce([ranking.used[one] for one in positions])
    n_pos, n_neg = (int(values[positions[0]][used].sum()) for values in (ranking.n_pos, ranking.n_neg))
    return {"n": n_pos + n_neg, "n_pos": n_pos, "n_units": int(used.sum())}


def _against_chance(scored: Scored, told: pd.Series[Any], first: int, margin: float) -> dict[str, Any]:
    counts = _counts(scored, scored.position[first])
    df = counts["n_units"] - 1
    enough = counts["n_units"] >= scored.min_units
    error = float(told["auroc_sd"]) / np.sqrt(df + 1) if enough else np.nan
    excess = float(told["auroc"]) - 0.5
    return counts | {
        "analysis": "A01",
        "name": "above_chance",
        "hypothesis": f"{told['predictor']} ranks responders as chance does (mean AUROC of one half)",
        "test_type": "one-sample t",
        "role": "confirmatory",
        "edges": str(told["predictor"]),
        "statistic": excess / error if error > 0 else np.nan,
        "p_raw": float(told["p_value"]),
        "effect_size": float(told["auroc"]),
        "effect_type": "AUROC",
        "ci_low": float(told["ci_low"]),
        "ci_high": float(told["ci_high"]),
        "ci_method": CI_METHOD,
        "unit": "perturbation",
        "null_mean": 0.5,
        "null_family": "chance",
        "equivalence": equivalence(excess, error, df, margin),
        "margin": margin,
        "minimum_detectable": minimum_detectable(error, df),
        "status": str(told["status"]),
        "reason": _reason(str(told["status"]), counts["n_units"], scored.min_units),
    }


def _against(
    scored: Scored, found: dict[tuple[int, int], Contrast], pair: tuple[int, int], overall: str, margin: float
) -> dict[str, Any]:
    one, other = (scored.predictors[index] for index in pair)
    places = [scored.position[index] for index in pair]
    seen = seen_from(found, (places[0], places[1]))
    status = status_of_pair(one, other, seen, overall, scored.min_units)
    counts = _counts(scored, *places) if min(places) >= 0 else {}
    return counts | {
        "analysis": "A04" if other.kind == "baseline" else "A01",
        "name": f"vs_{other.name}",
        "hypothesis": f"{one.name} and {other.name} rank responders equally well",
        "test_type": "Wilcoxon signed-rank",
        # the signed value of edges that are scored by their magnitude is the same edges once more
        "role": "descriptive" if other.kind == "signed" else "confirmatory",
        "edges": one.name,
        "statistic": seen.statistic,
        "p_raw": seen.p_value,
        "effect_size": seen.difference,
        "effect_type": "difference of AUROC",
        "ci_low": seen.two_way.low,
        "ci_high": seen.two_way.high,
        "ci_method": TWO_WAY,
        "unit": "perturbation",
        "equivalence": seen.equivalence,
        "margin": margin,
        "minimum_detectable": seen.minimum_detectable,
        "status": status,
        "reason": _reason(status, seen.n_units, scored.min_units, other.name),
    }


def _reason(status: str, n_units: int, min_units: int, other: str = "") -> str:
    return {
        "not_run": f"there is nothing to read {other} from",
        "label_leak": "perturbed cells are among those that were scored from",
        "constant_score": "all candidates tie",
        "too_few_units": f"{n_units} perturbations count, and {min_units} are needed",
    }.get(status, "")
