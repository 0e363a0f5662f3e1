"""Heads chosen by the labels of one half of the source genes, judged on perturbations of the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis.stats._ablation import change
from scepsis.tl._shared._conditions import chosen_on_half

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray, Head, IntArray
    from scepsis.models import Intervention
    from scepsis.stats._ablation import Change, Target
    from scepsis.tl._causes._ablation_tables import Measured
    from scepsis.tl._shared._conditions import Condition


@dataclass(frozen=True)
class Halves:
    """The two sets of heads that stand for one condition, and where each is judged."""

    condition: Condition
    #: Sets chosen on half 0 and on half 1.
    heads: tuple[tuple[Head, ...], tuple[Head, ...]]
    #: Of every row that is read, the half of its gene; -1 for genes that the ranking did not read.
    half: IntArray

    @classmethod
    def of(cls, condition: Condition | None, heads: pd.DataFrame, half: IntArray) -> Halves | None:
        """None where heads were not chosen by labels, or a half has no ranking."""
        if condition is None or not condition.ranking:
            return None
        chosen = [chosen_on_half(condition, heads, number) for number in (0, 1)]
        if not all(len(one) for one in chosen):
            return None
        pairs = heads[["layer", "head"]].to_numpy()
        first, second = (tuple(sorted((int(a), int(b)) for a, b in pairs[one])) for one in chosen)
        return cls(condition, (first, second), half)

    @property
    def interventions(self) -> list[Intervention]:
        from scepsis.models import Intervention

        return [Intervention.zero_heads(one) for one in self.heads]

    def judged(
        self, first: tuple[FloatArray, FloatArray], second: tuple[FloatArray, FloatArray], target: Target, margin: float
    ) -> Change:
        """Compare scores before and after, each row under the heads that its own half had no part in choosing."""
        by_first = (self.half == 1)[:, None]
        before, after = (np.where(by_first, one, other) for one, other in zip(first, second, strict=True))
        known = (target.row >= 0) & (self.half[target.row] >= 0)
        return change(before, after, replace(target, row=np.where(known, target.row, -1)), margin=margin)


@dataclass(frozen=True)
class HeldOut:
    """What both sets take, at one readout."""

    halves: Halves
    readout: str
    change: Change
    #: Mean difference of the same perturbations under the heads that all labels chose.
    in_sample: float
    status: str = "ok"
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.halves.condition.name}/{self.readout}/held_out"


def held_out(
    halves: Halves, scores: dict[Intervention, dict[int, tuple[FloatArray, FloatArray]]],
    measured: Sequence[Measured], readouts: dict[str, int], target: Target, margin: float,
) -> list[HeldOut]:  # fmt: skip
    """Judge both sets at every readout; `scores` are those before and after under each set, by layer."""
    from scepsis.models._reach import reach

    found = []
    first, second = (scores[one] for one in halves.interventions)
    for one in measured:
        layer = readouts[one.readout]
        if one.condition is not halves.condition or one.change is None or layer not in first:
            continue
        held = halves.judged(first[layer], second[layer], target, margin)
        whole = (one.change.after - one.change.before)[held.used]
        status, reason = "ok", ""
        if any(reach(each, layer, "attention") != "yes" for each in halves.interventions):
            status, reason = "structurally_null", f"heads chosen on one half are not below layer {layer}"
        elif held.found.n_units < target.min_units:
            status = "too_few_units"
            reason = f"{held.found.n_units} perturbations count, and {target.min_units} are needed"
        in_sample = float(whole.mean()) if len(whole) else np.nan
        found.append(HeldOut(halves, one.readout, held, in_sample, status, reason))
    return found


def table(found: Sequence[HeldOut]) -> pd.DataFrame:
    """One row for each readout."""
    rows = [_row(one) for one in found]
    columns: dict[str, Any] = dict.fromkeys(("condition", "readout", "ranking"), object) | {"k": np.int64}
    columns |= {"heads_half_0": object, "heads_half_1": object, "n_shared": np.int64, "n_units": np.int64}
    columns |= dict.fromkeys(("in_sample", "difference", "ci_low", "ci_high", "p_value", "minimum_detectable"), float)
    columns |= dict.fromkeys(("equivalence", "status", "reason"), object)
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _row(one: HeldOut) -> dict[str, Any]:
    condition, contrast = one.halves.condition, one.change.found
    first, second = one.halves.heads
    is_tested = one.status == "ok"
    return {
        "condition": condition.name, "readout": one.readout, "ranking": condition.ranking, "k": condition.k,
        "heads_half_0": _listed(first), "heads_half_1": _listed(second), "n_shared": len(set(first) & set(second)),
        "n_units": contrast.n_units, "in_sample": one.in_sample, "difference": contrast.difference,
        "ci_low": contrast.two_way.low, "ci_high": contrast.two_way.high,
        "p_value": contrast.p_value if is_tested else np.nan,
        "minimum_detectable": contrast.minimum_detectable if is_tested else np.nan,
        "equivalence": contrast.equivalence if is_tested else "", "status": one.status, "reason": one.reason,
    }  # fmt: skip


def _listed(heads: Sequence[Head]) -> str:
    return ";".join(f"L{layer}H{head}" for layer, head in heads)
