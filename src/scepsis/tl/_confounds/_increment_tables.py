"""Frames and registry rows of `incremental_value`, from the arrays of the numerics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis.stats._contrasts import Contrast
from scepsis.stats._increment import CEILING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray
    from scepsis.stats._increment import Baselines, Cell, Comparison, Design, Increment
    from scepsis.stats._intervals import Interval
    from scepsis.stats._learners import Learner
    from scepsis.stats._splits import Split

NOTHING = Contrast(np.nan, 0)
TWO_WAY, ONE_WAY = "two-way t, perturbation x gene", "t over perturbations"
#: Smallest gain that matters (Kendiukhov 2026; with half a million pairs any gain is significant).
MATERIAL = 0.005
SATURATED = "saturated"


@dataclass(frozen=True)
class Outcome:
    """One set of edges: what was found, or why nothing was."""

    name: str
    found: Increment | None
    status: str
    reason: str = ""

    def cells(self, design: Design) -> Iterable[tuple[Split, Learner, str, Cell | None]]:
        """Split, learner, metric, and what was found there."""
        known = {} if self.found is None else {(one.split, one.learner, one.metric): one for one in self.found.cells}
        for split in design.splits:
            for learner in design.learners:
                for metric in design.metrics:
                    yield split, learner, metric, known.get((split, learner, metric))

    def status_of(self, cell: Cell | None, min_units: int) -> tuple[str, str]:
        """Status of a row, and its reason."""
        if self.status != "ok":
            return self.status, self.reason
        if cell is None:
            return "too_few_units", "every fold lacks responders or others"
        n_units = cell.contrasts["gene_only"].n_units
        if n_units < min_units:
            return "too_few_units", f"{n_units} perturbations count, {min_units} are needed"
        return "ok", SATURATED if cell.saturated else ""


def interval_of(one: Contrast, metric: str) -> tuple[Interval, str]:
    """Registered interval, and how it was made."""
    return (one.two_way, TWO_WAY) if metric == "auroc" else (one.interval, ONE_WAY)


def mean_of(values: NDArray[Any]) -> float:
    """Mean of what is defined."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def gains(
    outcomes: Sequence[Outcome], baselines: Baselines, design: Design, *, margin: float, min_units: int
) -> pd.DataFrame:
    """One row for each set of edges, split, learner and metric."""
    rows = []
    for outcome in outcomes:
        for split, learner, metric, cell in outcome.cells(design):
            status, reason = outcome.status_of(cell, min_units)
            row: dict[str, Any] = {"edges": outcome.name, "split": split, "learner": learner, "metric": metric}
            skipped = baselines.skipped.get((split, learner), (0, 0))
            row |= {"n_folds": skipped[1] - skipped[0], "n_skipped": skipped[0]}
            rows.append(row | _gain_row(cell, metric, margin) | {"status": status, "reason": reason})
    frame = pd.DataFrame(rows, columns=[*GAIN_COLUMNS]).astype(GAIN_TYPES)
    deciding = frame["gain"].where(frame["decided_by"] == "gene_only", frame["gain_placebo"])
    for _, part in deciding.groupby([frame["edges"], frame["learner"], frame["metric"]], sort=False):
        if len(part) == 3 and part.notna().all():
            frame.loc[part.idxmin(), "worst_of_three"] = True
    return frame


def _gain_row(cell: Cell | None, metric: str, margin: float) -> dict[str, Any]:
    found = {} if cell is None else cell.contrasts
    gain, placebo, strongest, frequency = (
        found.get(what, NOTHING) for what in ("gene_only", "placebo", "strongest", "frequency")
    )
    method = interval_of(gain, metric)[1]
    # at the ceiling the difference is 0 for want of room, which is no equivalence
    deciding = NOTHING if cell is None or cell.saturated else found.get(cell.deciding, NOTHING)
    row: dict[str, Any] = {
        "gene_only": np.nan if cell is None else mean_of(cell.gene_only),
        "augmented": np.nan if cell is None else mean_of(cell.augmented),
        "gain": gain.difference,
        "p_value": gain.p_value,
        "gain_placebo": placebo.difference,
        "p_value_placebo": placebo.p_value,
        "placebo_sd": np.nan if cell is None else cell.placebo_sd,
        "strongest": "" if cell is None else cell.strongest,
        "gain_strongest": strongest.difference,
        "gain_de_frequency": frequency.difference,
        "gain_pooled": np.nan if cell is None or metric != "auroc" else cell.pooled[1] - cell.pooled[0],
        "ci_method": method,
        "decided_by": "gene_only" if cell is None else cell.deciding,
        "equivalence": deciding.equivalence,
        "margin": margin,
        "minimum_detectable": deciding.minimum_detectable,
        "material": bool(deciding.difference >= MATERIAL),
        "saturated": cell is not None and cell.saturated,
        "worst_of_three": False,
        "n_units": gain.n_units,
        "n_genes": 0 if cell is None else cell.n_genes,
        "n_pairs": 0 if cell is None else cell.n_pairs,
        "n_pos": 0 if cell is None else cell.n_pos,
    }
    for prefix, one in (("ci", gain), ("placebo", placebo), ("strongest", strongest), ("de_frequency", frequency)):
        row[f"{prefix}_low"], row[f"{prefix}_high"] = interval_of(one, metric)[0]
    for prefix, one in (("boot", gain), ("placebo_boot", placebo)):
        row[f"{prefix}_low"], row[f"{prefix}_high"] = one.boot
    row["t_low"], row["t_high"] = gain.interval
    return row


GAIN_TYPES = {
    "edges": object, "split": object, "learner": object, "metric": object,
    "gene_only": float, "augmented": float, "gain": float, "ci_low": float, "ci_high": float, "ci_method": object,
    "t_low": float, "t_high": float, "boot_low": float, "boot_high": float, "p_value": float,
    "gain_placebo": float, "placebo_low": float, "placebo_high": float, "placebo_boot_low": float,
    "placebo_boot_high": float, "p_value_placebo": float, "placebo_sd": float,
    "strongest": object, "gain_strongest": float, "strongest_low": float, "strongest_high": float,
    "gain_de_frequency": float, "de_frequency_low": float, "de_frequency_high": float, "gain_pooled": float,
    "decided_by": object, "equivalence": object, "margin": float, "minimum_detectable": float, "material": bool,
    "saturated": bool, "worst_of_three": bool, "n_units": int, "n_genes": int, "n_pairs": int, "n_pos": int,
    "n_folds": int, "n_skipped": int, "status": object, "reason": object,
}  # fmt: skip
GAIN_COLUMNS = tuple(GAIN_TYPES)


def gene_only(baselines: Baselines, design: Design) -> pd.DataFrame:
    """One row for each split, learner, set of features and metric: models without an edge."""
    rows = []
    for features, models in (("gene", baselines.alone), ("gene+de_frequency", baselines.frequency)):
        for (split, learner), one in models.items():
            skipped, n_folds = baselines.skipped[split, learner]
            for metric in design.metrics:
                values = one.metrics[metric]
                value = mean_of(values)
                rows.append(
                    {
                        "split": split,
                        "learner": learner,
                        "features": features,
                        "metric": metric,
                        "value": value,
                        "sd": float(np.nanstd(values, ddof=1)) if (~np.isnan(values)).sum() > 1 else np.nan,
                        "pooled": one.pooled if metric == "auroc" else np.nan,
                        "n_units": int((~np.isnan(values)).sum()),
                        "n_folds": n_folds - skipped,
                        "n_skipped": skipped,
                        "strongest": features == "gene" and baselines.strongest(split, metric) == learner,
                        "saturated": metric.startswith("recall") and value >= CEILING,
                    }
                )
    types = {"split": object, "learner": object, "features": object, "metric": object, "value": float, "sd": float}
    types |= {"pooled": float, "n_units": int, "n_folds": int, "n_skipped": int, "strongest": bool, "saturated": bool}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


@dataclass(frozen=True)
class Units:
    """All perturbations of a screen, and those that count."""

    names: list[str]
    status: list[str]
    counted: BoolArray
    n_pos: NDArray[Any]
    n_neg: NDArray[Any]


def per_perturbation(outcomes: Sequence[Outcome], design: Design, units: Units) -> pd.DataFrame:
    """One row for each set of edges, split, learner, metric and perturbation."""
    n = len(units.names)
    parts = []
    for outcome in outcomes:
        for split, learner, metric, cell in outcome.cells(design):
            part: dict[str, Any] = {"edges": outcome.name, "split": split, "learner": learner, "metric": metric}
            part["perturbation"] = units.names
            for name in ("gene_only", "augmented", "placebo"):
                part[name] = np.full(n, np.nan)
                if cell is not None:
                    part[name][units.counted] = getattr(cell, name)
            part["gain"] = part["augmented"] - part["gene_only"]
            part["gain_placebo"] = part["augmented"] - part["placebo"]
            part |= {"n_pos": units.n_pos, "n_neg": units.n_neg}
            status = np.array(units.status, dtype=object)
            if outcome.status in {"label_leak", "constant_score"}:
                status[status == "ok"] = outcome.status
            part["status"] = status
            parts.append(pd.DataFrame(part))
    types = dict.fromkeys(("edges", "split", "learner", "metric", "perturbation"), object)
    return pd.concat(parts, ignore_index=True).astype(types | {"status": object})


def strata(outcomes: Sequence[Outcome], design: Design, names: Sequence[str], min_units: int) -> pd.DataFrame:
    """Gains among perturbed regulators and among the other perturbed genes; empty if regulators are not known."""
    rows = []
    for outcome in outcomes:
        for split, learner, metric, cell in outcome.cells(design):
            for stratum in names:
                found = {} if cell is None else cell.strata[stratum]
                gain, placebo = found.get("gene_only", NOTHING), found.get("placebo", NOTHING)
                low, high = interval_of(gain, metric)[0]
                placebo_low, placebo_high = interval_of(placebo, metric)[0]
                few = "too_few_units" if gain.n_units < min_units else "ok"
                row = (outcome.name, split, learner, metric, stratum, gain.difference, low, high)
                versus = (placebo.difference, placebo_low, placebo_high, gain.n_units)
                rows.append((*row, *versus, few if outcome.status == "ok" else outcome.status))
    types = dict.fromkeys(("edges", "split", "learner", "metric", "stratum"), object)
    types |= dict.fromkeys(("gain", "ci_low", "ci_high", "gain_placebo", "placebo_low", "placebo_high"), float)
    types |= {"n_units": int, "status": object}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def detection(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Gain in AUROC of the same edges with a signal planted in half of the responders, by its strength."""
    rows = []
    for outcome in outcomes:
        if outcome.found is None:
            continue
        split, learner = outcome.found.detector
        for delta, one in outcome.found.detection.items():
            low, high = one.two_way
            rows.append((outcome.name, split, learner, delta, one.difference, low, high, bool(low > 0)))
    types = {"edges": object, "split": object, "learner": object, "delta": float, "statistic": float}
    types |= {"ci_low": float, "ci_high": float, "detected": bool}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def frames(
    outcomes: Sequence[Outcome], baselines: Baselines, design: Design, comparison: Comparison, units: Units
) -> dict[str, pd.DataFrame]:
    """All frames of a result."""
    return {
        "gains": gains(outcomes, baselines, design, margin=comparison.margin, min_units=comparison.min_units),
        "gene_only": gene_only(baselines, design),
        "per_perturbation": per_perturbation(outcomes, design, units),
        "strata": strata(outcomes, design, list(comparison.strata), comparison.min_units),
        "detection": detection(outcomes),
    }


def registry_rows(frame: pd.DataFrame) -> list[Row]:
    """Rows of the registry: against gene features and against the placebo, for every cell of the grid."""
    rows = []
    for one in frame.to_dict("records"):
        first = one["split"] == "perturbation" and one["metric"] == "auroc"
        for versus, prefix, value, p_value in (
            ("gain", "ci", one["gain"], one["p_value"]),
            ("gain_placebo", "placebo", one["gain_placebo"], one["p_value_placebo"]),
        ):
            decides = one["decided_by"] == ("gene_only" if versus == "gain" else "placebo")
            other = "gene features alone" if versus == "gain" else "the same edges permuted within perturbations"
            rows.append(
                Row(
                    analysis="A05" if first else "A06",
                    name=f"{versus}/{one['split']}/{one['learner']}/{one['metric']}",
                    hypothesis=(
                        f"With the edge, {one['learner']} predicts responders of held-out "
                        f"{_HELD_OUT[one['split']]} better than with {other} ({one['metric']})"
                    ),
                    test_type="Wilcoxon signed-rank",
                    role="confirmatory" if first else "descriptive",
                    edges=one["edges"],
                    p_raw=p_value,
                    effect_size=value,
                    effect_type=f"difference of {one['metric']}",
                    ci_low=one[f"{prefix}_low"],
                    ci_high=one[f"{prefix}_high"],
                    ci_method=one["ci_method"],
                    unit="perturbation x gene" if one["metric"] == "auroc" else "perturbation",
                    n=one["n_pairs"],
                    n_pos=one["n_pos"],
                    n_units=one["n_units"],
                    baseline_name=f"gene features, {one['strongest']}" if one["strongest"] else "",
                    baseline_value=one["augmented"] - one["gain_strongest"],
                    equivalence=one["equivalence"] if decides else "",
                    margin=one["margin"],
                    minimum_detectable=one["minimum_detectable"] if decides else np.nan,
                    is_primary=versus == "gain" and first and one["learner"] == "logistic",
                    status=one["status"],
                    reason=one["reason"],
                )
            )
    return rows


_HELD_OUT = {"perturbation": "perturbations", "gene": "targets", "joint": "perturbations and targets"}
