"""Frames and registry rows of `residualize_edges`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._keys import EdgeKeys
from scepsis._core._registry import Row
from scepsis.stats._retention import MIN_RAW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis.stats._retention import Retained
    from scepsis.tl._confounds._residuals import Column, Plan, Target

#: How a model may know the pair that it predicts, as far as the stored residuals go.
STORED = {"ols": "gene", "gbdt": "gene", "node": "own_pair"}
LEARNERS = {
    "ols": "linear regression on gene features, in blocks of genes",
    "gbdt": "boosted trees on gene features, in blocks of genes",
    "node": "effects of source and target, without the pair itself",
}
TWO_WAY = "t, clustered by regulator and gene"
BOOT = "percentile over resampled regulators, fitted models fixed"
UNIT = "regulator x gene"
SUMMARY = [
    "edges", "variant", "residualizer", "split", "edges_key", "r2", "auroc_raw", "raw_low", "raw_high", "auroc",
    "ci_low", "ci_high", "boot_low", "boot_high", "auroc_mean", "auroc_sd", "n_seeds", "retention", "retention_low",
    "retention_high", "retention_twoway_low", "retention_twoway_high", "is_smallest", "equivalence", "margin",
    "minimum_detectable", "n_pairs", "n_pos", "n_units", "status",
]  # fmt: skip
PER_REGULATOR = ["edges", "residualizer", "regulator", "auroc_raw", "auroc", "n_pos", "n_neg"]
DETECTION = ["edges", "residualizer", "delta", "statistic", "ci_low", "ci_high", "detected"]


def key_of(edges: str, residualizer: str) -> str:
    """Slot in ``varp`` of residual edges."""
    return EdgeKeys(edges).residual(residualizer).key


def status_of(column: Column, which: tuple[str, str], target: Target | None, plan: Plan) -> str:
    """What keeps a number from being what it should be."""
    if which not in column.retained:
        made = which in column.residuals and not np.isnan(column.residuals[which]).all()
        return "not_run" if target is None and made else "too_few_units"
    known = column.known
    if known is None or not known.n_pos:
        return "no_positives"
    if known.n_pos == known.n:
        return "no_negatives"
    if column.is_constant:
        return "constant_score"
    return "ok" if known.n_units >= plan.min_units else "too_few_units"


def summary(columns: Sequence[Column], target: Target | None, plan: Plan) -> pd.DataFrame:
    """One row for each set of edges, kind of residual and split."""
    rows = []
    for one in columns:
        kept = [seen.retention for (name, kind), seen in one.retained.items() if STORED[name] == kind]
        smallest = min((share for share in kept if np.isfinite(share)), default=np.nan)
        for which in one.residuals:
            name, kind = which
            seen = one.retained.get(which)
            is_stored = STORED[name] == kind and not one.signed
            rows.append(
                {
                    "edges": one.one.name,
                    "variant": "signed" if one.signed else "magnitude",
                    "residualizer": name,
                    "split": kind,
                    "edges_key": key_of(one.one.name, name) if is_stored else "",
                    "r2": one.r2[which],
                    "is_smallest": seen is not None and STORED[name] == kind and seen.retention == smallest,
                    "margin": plan.margin,
                    "status": status_of(one, which, target, plan),
                }
                | _numbers(one, which, seen)
            )
    return pd.DataFrame(rows, columns=SUMMARY)


def _numbers(column: Column, which: tuple[str, str], seen: Retained | None) -> dict[str, Any]:
    by_seed = np.array(column.by_seed.get(which, []))
    numbers: dict[str, Any] = {
        "auroc_mean": float(by_seed.mean()) if len(by_seed) else np.nan,
        "auroc_sd": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else np.nan,
        "n_seeds": len(by_seed),
        "equivalence": "",
    }
    known = column.known
    numbers |= {"n_pairs": 0, "n_pos": 0, "n_units": 0}
    if known is not None:
        numbers |= {"n_pairs": known.n, "n_pos": known.n_pos, "n_units": known.n_units}
    if seen is None:
        return numbers
    return numbers | {
        "auroc_raw": seen.raw.auroc,
        "raw_low": seen.raw.interval.low,
        "raw_high": seen.raw.interval.high,
        "auroc": seen.residual.auroc,
        "ci_low": seen.residual.interval.low,
        "ci_high": seen.residual.interval.high,
        "boot_low": seen.boot.low,
        "boot_high": seen.boot.high,
        "retention": seen.retention,
        "retention_low": seen.retention_boot.low,
        "retention_high": seen.retention_boot.high,
        "retention_twoway_low": seen.retention_two_way.low,
        "retention_twoway_high": seen.retention_two_way.high,
        "equivalence": seen.equivalence,
        "minimum_detectable": seen.minimum_detectable,
    }


def per_regulator(columns: Sequence[Column], regulators: list[str]) -> pd.DataFrame:
    """AUROC of each regulator before and after."""
    rows: list[tuple[Any, ...]] = []
    for one in columns:
        known = one.known
        if one.signed or known is None:
            continue
        n_pos = (known.listed & known.valid).sum(axis=1)
        n_neg = known.valid.sum(axis=1) - n_pos
        for (name, kind), seen in one.retained.items():
            if STORED[name] != kind or not len(seen.by_unit):
                continue
            for index in np.flatnonzero(n_pos).tolist():
                areas = float(seen.raw_by_unit[index]), float(seen.by_unit[index])
                rows.append((one.one.name, name, regulators[index], *areas, int(n_pos[index]), int(n_neg[index])))
    types: dict[str, Any] = {"auroc_raw": np.float64, "auroc": np.float64, "n_pos": np.int64, "n_neg": np.int64}
    types |= dict.fromkeys(PER_REGULATOR[:3], object)
    return pd.DataFrame(rows, columns=PER_REGULATOR).astype(types)


def detection(columns: Sequence[Column], plan: Plan) -> pd.DataFrame:
    """What the same pipeline makes of edges with a planted signal."""
    rows = []
    for one in columns:
        for (name, delta), seen in one.detection.items():
            enough = one.known is not None and one.known.n_units >= plan.min_units
            low, high = seen.interval if enough else (np.nan, np.nan)
            rows.append((one.one.name, name, delta, seen.auroc, low, high, bool(low > 0.5)))
    frame = pd.DataFrame(rows, columns=DETECTION)
    return frame.astype({"edges": object, "residualizer": object, "delta": np.float64, "detected": bool})


def registry_rows(columns: Sequence[Column], target: Target, plan: Plan) -> list[Row]:
    """What the registry is told: stored residuals of magnitudes."""
    rows = []
    for one in (one for one in columns if not one.signed):
        for name in plan.residualizers:
            which = name, STORED[name]
            rows += _rows_of(one, name, one.retained.get(which), status_of(one, which, target, plan), plan)
            if target.network.universe == "unordered":
                reason = "pairs without a direction have no regulator to be compared within"
                rows[-1] = replace(rows[-1], status="not_applicable", reason=reason)
    return rows


def _rows_of(column: Column, name: str, seen: Retained | None, status: str, plan: Plan) -> list[Row]:
    known = column.known
    common: dict[str, Any] = {
        "analysis": "A08",
        "edges": column.one.name,
        "unit": UNIT,
        "status": status,
        "margin": plan.margin,
        "baseline_name": "raw edges",
    }
    if known is not None:
        common |= {"n": known.n, "n_pos": known.n_pos, "n_units": known.n_units}
    if seen is None:
        reason = "too few pairs to learn from"
        seen_kwargs: dict[str, dict[str, Any]] = {"residual": {}, "retention": {}, "change": {}}
        common |= {"reason": reason}
    else:
        common |= {"baseline_value": seen.raw.auroc}
        seen_kwargs = _filled(seen, status)
    what = LEARNERS[name]
    return [
        Row(
            name=f"residual/{name}",
            hypothesis=f"Edges rank listed pairs above others after {what} is taken away",
            test_type="AUROC of residual edges",
            role="descriptive",
            effect_type="AUROC",
            ci_method=TWO_WAY,
            **(common | seen_kwargs["residual"]),
        ),
        Row(
            name=f"retention/{name}",
            hypothesis=f"What edges rank above chance is left after {what} is taken away",
            test_type="(AUROC of residual edges - 0.5) / (AUROC of edges - 0.5)",
            role="descriptive",
            effect_type="retention",
            ci_method=BOOT,
            **(common | {"unit": "regulator"} | seen_kwargs["retention"]),
        ),
        Row(
            name=f"residual_minus_raw/{name}",
            hypothesis=f"Edges rank the targets of a regulator differently after {what} is taken away",
            test_type="Wilcoxon signed-rank, AUROC of residual edges less that of edges",
            role="confirmatory",
            effect_type="mean difference of AUROC",
            ci_method=TWO_WAY,
            is_primary=name == "ols",
            **(common | seen_kwargs["change"]),
        ),
    ]


def _filled(seen: Retained, status: str) -> dict[str, dict[str, Any]]:
    change = seen.change
    retention: dict[str, Any] = {
        "effect_size": seen.retention,
        "ci_low": seen.retention_boot.low,
        "ci_high": seen.retention_boot.high,
    }
    if status == "ok" and not np.isfinite(seen.retention):
        retention |= {"reason": f"the AUROC of the edges is not above {MIN_RAW}: there is nothing to be retained"}
    test: dict[str, Any] = {
        "effect_size": change.difference,
        "statistic": change.difference,
        "p_raw": change.p_value,
        "ci_low": change.two_way.low,
        "ci_high": change.two_way.high,
        "n_units": change.n_units,
        "equivalence": change.equivalence,
        "minimum_detectable": change.minimum_detectable,
    }
    if status == "constant_score":
        test |= {"p_raw": np.nan}
    elif status == "ok" and not np.isfinite(change.p_value):
        test |= {"status": "too_few_units"}
    residual = {
        "effect_size": seen.residual.auroc,
        "statistic": seen.residual.auroc,
        "ci_low": seen.residual.interval.low,
        "ci_high": seen.residual.interval.high,
        "equivalence": seen.equivalence,
        "minimum_detectable": seen.minimum_detectable,
    }
    return {"residual": residual, "retention": retention, "change": test}
