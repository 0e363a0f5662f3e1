"""Frames and registry rows of an ablation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis.stats._dose import decreasing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scepsis._core._types import FloatArray
    from scepsis.edges._fidelity import Fidelity
    from scepsis.stats._ablation import Change, Seen
    from scepsis.stats._sequential import SequentialTest
    from scepsis.tl._shared._conditions import Condition

#: Hidden states that moved by more than this are changed to a degree that could matter (Kendiukhov 2026).
MATERIAL = 0.02
#: Families of doses that a trend is looked for in: beginning of the name, analysis.
FAMILIES = ("top", "composite", "bottom", "random")


@dataclass(frozen=True)
class Measured:
    """One condition at one readout."""

    condition: Condition
    readout: str
    reachable: str
    change: Change | None = None
    #: AUROC per perturbation with the maps of all heads, without an intervention.
    of_all: FloatArray | None = None
    status: str = "ok"
    reason: str = ""
    #: Held against random sets; None where it was not.
    null: SequentialTest | None = None
    p_randomised: float = np.nan
    n_possible: int = 0
    seen: Sequence[Seen] = field(default=())

    @property
    def name(self) -> str:
        return f"{self.condition.name}/{self.readout}"


def evidence_of(one: Measured, bite: Fidelity | None, layer: int) -> tuple[bool | None, str]:
    """Whether a difference, or the lack of one, counts as evidence, and why it does not."""
    if one.status != "ok":
        return False, one.reason or one.status
    if bite is None:
        return None, "how much hidden states change was not measured"
    if np.isnan(bite.at(layer)):
        return None, "what enters the readout cannot be read from this family"
    if not bite.above_floor(layer):
        return False, "what enters the readout moved no more than rounding moves it"
    if not bite.material:
        return False, f"hidden states moved by {bite.maximum:.2g} at most, no more than {MATERIAL:g}"
    return True, ""


def results(
    measured: Iterable[Measured], bites: dict[str, Fidelity], layers: dict[str, int], margin: float
) -> pd.DataFrame:
    """One row for each condition and readout."""
    rows = []
    for one in measured:
        bite = bites.get(one.condition.name)
        counts, why_not = evidence_of(one, bite, layers[one.readout])
        rows.append(_result(one, margin) | of_null(one) | _of_bite(bite, layers[one.readout]) | {
            "is_evidence": counts, "status": one.status, "reason": one.reason or why_not,
        })  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.astype({"material": "boolean", "is_evidence": "boolean"})


def _result(one: Measured, margin: float) -> dict[str, Any]:
    condition, change = one.condition, one.change
    found = None if change is None else change.found
    known: dict[str, Any] = {
        "condition": condition.name,
        "kind": condition.kind,
        "analysis": condition.analysis,
        "readout": one.readout,
        "reachable": one.reachable,
        "k": condition.k,
        "heads": "" if condition.intervention is None else _heads_of(condition),
        "label": "" if condition.intervention is None else condition.intervention.label,
    }
    blank = dict.fromkeys(NUMBERS, np.nan) | {"n_units": 0, "equivalence": ""}
    if change is None or found is None:
        return known | blank | {"margin": margin}
    used = change.used
    of_all = np.nan if one.of_all is None else _mean(one.of_all[used])
    numbers: dict[str, Any] = {
        "n_units": found.n_units,
        "auroc_all": of_all,
        "auroc_before": _mean(change.before[used]),
        "auroc": _mean(change.after[used]),
        "difference": found.difference,
        "ci_low": found.two_way.low,
        "ci_high": found.two_way.high,
        "oneway_low": found.interval.low,
        "oneway_high": found.interval.high,
        "p_value": found.p_value,
        "cohen_d": found.cohen_d,
        "equivalence": found.equivalence,
        "margin": margin,
        "minimum_detectable": found.minimum_detectable,
        "difference_from_all": _mean(change.after[used]) - of_all,
    }
    if one.status in {"structurally_null", "not_applied"}:  # 0 by construction: there is nothing to test
        numbers |= dict.fromkeys(("p_value", "cohen_d", "minimum_detectable"), np.nan) | {"equivalence": ""}
    return known | numbers


NUMBERS = (
    "auroc_all", "auroc_before", "auroc", "difference", "ci_low", "ci_high", "oneway_low", "oneway_high", "p_value",
    "cohen_d", "minimum_detectable", "difference_from_all",
)  # fmt: skip


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _heads_of(condition: Condition) -> str:
    heads = () if condition.intervention is None else condition.intervention.heads
    return ";".join(f"L{layer}H{head}" for layer, head in heads)


def of_null(one: Measured) -> dict[str, Any]:
    test = one.null
    if test is None:
        blank = dict.fromkeys(("p_random", "p_random_floor", "p_randomised", "percentile"), np.nan)
        return blank | {"null_mean": np.nan, "null_sd": np.nan, "n_null": 0, "n_possible": 0}
    drops = -np.array(test.draws)
    return {
        "p_random": test.p_value,
        "p_random_floor": test.floor,
        "p_randomised": one.p_randomised,
        "percentile": test.percentile,
        "null_mean": float(drops.mean()) if len(drops) else np.nan,
        "null_sd": float(drops.std(ddof=1)) if len(drops) > 1 else np.nan,
        "n_null": len(drops),
        "n_possible": one.n_possible,
    }


def _of_bite(bite: Fidelity | None, layer: int) -> dict[str, Any]:
    if bite is None:
        names = ("hidden_max", "hidden_at_readout", "floor_at_readout", "logit_distance")
        return dict.fromkeys(names, np.nan) | {"material": None}
    return {
        "hidden_max": bite.maximum,
        "hidden_at_readout": bite.at(layer),
        "floor_at_readout": float(bite.floor_hidden[layer]),
        "logit_distance": bite.logit,
        "material": bite.material,
    }


def per_perturbation(measured: Iterable[Measured], names: Sequence[str]) -> pd.DataFrame:
    """One row for each condition, readout and perturbation that counts."""
    parts = []
    for one in measured:
        if one.change is None:
            continue
        used = np.flatnonzero(one.change.used)
        before, after = one.change.before[used], one.change.after[used]
        parts.append(
            pd.DataFrame(
                {
                    "condition": one.condition.name,
                    "readout": one.readout,
                    "perturbation": np.array(names, dtype=object)[used],
                    "auroc_before": before,
                    "auroc": after,
                    "difference": after - before,
                }
            )
        )
    columns = ["condition", "readout", "perturbation", "auroc_before", "auroc", "difference"]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=columns).astype(dict.fromkeys(columns[:3], object))
    )


def null_draws(measured: Iterable[Measured]) -> pd.DataFrame:
    """One row for each readout and random set."""
    rows = [
        {"condition": one.condition.name, "readout": one.readout, "draw": draw, "difference": -value}
        for one in measured
        if one.null is not None
        for draw, value in enumerate(one.null.draws)
    ]
    columns = {"condition": object, "readout": object, "draw": np.int64, "difference": np.float64}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def doses(measured: Sequence[Measured]) -> pd.DataFrame:
    """Trend over doses of each family of head sets, none taken out being the first dose."""
    rows = []
    for readout in dict.fromkeys(one.readout for one in measured):
        for family in FAMILIES:
            some = sorted(_of_family(measured, family, readout), key=lambda one: one.condition.k)
            if len(some) < 2:
                continue
            changes = [one.change for one in some if one.change is not None]
            used = np.logical_and.reduce([one.used for one in changes])
            lost = np.stack([np.zeros(int(used.sum())), *((one.after - one.before)[used] for one in changes)], axis=1)
            found = decreasing(lost)
            rows.append(
                {
                    "family": family,
                    "readout": readout,
                    "doses": ";".join(["0", *(str(one.condition.k) for one in some)]),
                    "statistic": found.statistic,
                    "p_value": found.p_value,
                    "slope": found.slope,
                    "n_units": found.n_units,
                    "is_monotone": bool((np.diff(lost.mean(axis=0)) <= 0).all()) if len(lost) else False,
                }
            )
    columns = {"family": object, "readout": object, "doses": object, "statistic": float, "p_value": float}
    columns |= {"slope": float, "n_units": np.int64, "is_monotone": bool}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _of_family(measured: Sequence[Measured], family: str, readout: str) -> list[Measured]:
    """Of the same dose (three random sets of 5) the first."""
    found: dict[int, Measured] = {}
    for one in measured:
        belongs = one.condition.name.startswith(f"{family}_") and one.condition.kind == "heads"
        if belongs and one.readout == readout and one.status == "ok" and one.change is not None:
            found.setdefault(one.condition.k, one)
    return list(found.values())


def fidelity(bites: dict[str, Fidelity]) -> pd.DataFrame:
    """One row for each condition and layer that is entered (the last is what comes out), and for logits (layer -1)."""
    rows = []
    for name, bite in bites.items():
        rows += [
            {"condition": name, "what": "hidden", "layer": layer, "distance": value, "floor": floor}
            for layer, (value, floor) in enumerate(zip(bite.by_layer, bite.floor_hidden, strict=True))
        ]
        rows.append(
            {"condition": name, "what": "logits", "layer": -1, "distance": bite.logit, "floor": bite.floor_logits}
        )
    columns = {"condition": object, "what": object, "layer": np.int64, "distance": float, "floor": float}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def detection(measured: Iterable[Measured], edges: str) -> pd.DataFrame:
    """What would have been found had there been something to take out."""
    rows = [
        {
            "edges": edges, "condition": one.condition.name, "readout": one.readout, "delta": seen.delta,
            "statistic": seen.found.difference, "ci_low": seen.found.two_way.low, "ci_high": seen.found.two_way.high,
            "detected": seen.detected,
        }
        for one in measured
        for seen in one.seen
    ]  # fmt: skip
    columns = {"edges": object, "condition": object, "readout": object, "delta": float, "statistic": float}
    columns |= {"ci_low": float, "ci_high": float, "detected": bool}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
