"""Every condition at every readout: whether it reaches it, what it takes, and whether others take as much."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._rng import child
from scepsis.stats._ablation import change, detection
from scepsis.stats._head_sets import matched_sets
from scepsis.tl._causes._ablation_tables import Measured
from scepsis.tl._causes._held_out import Halves, held_out
from scepsis.tl._causes._outputs import OUTPUTS, outputs
from scepsis.tl._shared._ablation_run import against_random, means

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scepsis._core._types import BoolArray, FloatArray, Head, IntArray
    from scepsis.edges._ablation import Ablation
    from scepsis.edges._fidelity import Fidelity
    from scepsis.models import Intervention
    from scepsis.stats._ablation import Target
    from scepsis.tl._causes._held_out import HeldOut
    from scepsis.tl._shared._ablation_run import Cells, Null
    from scepsis.tl._shared._conditions import Condition


@dataclass(frozen=True)
class Options:
    """How the primary condition is held against others, and what draws."""

    n_random: int
    by_layer: bool
    by_entropy: bool
    n_exceed: int
    margin: float
    #: Cells whose hidden states are compared.
    n_fidelity: int
    #: Cells whose sources are taken out one by one.
    n_insilico: int
    #: Cells that random sets are run on.
    n_paired: int
    seed: int

    def rng(self, *what: str) -> np.random.Generator:
        """Generator that belongs to some work, in whatever order it is done."""
        return child(self.seed, "ablate_heads", *what)


@dataclass(frozen=True)
class Found:
    """All that was measured."""

    measured: list[Measured]
    bites: dict[str, Fidelity]
    null: Null | None
    #: Labelled pairs, and responders among them.
    n_pairs: int
    n_pos: int
    held_out: list[HeldOut]

    @property
    def record(self) -> dict[str, Any]:
        """What is on record of the random sets."""
        if self.null is None:
            return {}
        sets = self.null.sets
        differences = sets.entropy_difference
        return {
            "n_random_run": self.null.n_run,
            "n_random_sets": len(sets.sets),
            "n_random_possible": sets.n_possible,
            "random_enumerated": sets.enumerated,
            "entropy_difference": float(np.mean(differences)) if len(differences) else None,
        }


def measure(
    cells: Cells,
    order: IntArray,
    made: Sequence[Condition],
    heads: pd.DataFrame,
    readouts: dict[str, int],
    target: Target,
    options: Options,
    half: IntArray,
) -> Found:
    """
    Run cells (in the order in which they are taken) under every condition, the primary one against random sets.

    `half` is that of the gene of each row, for the primary condition with heads that it had no part in choosing.
    """
    measured: list[Measured] = []
    rows = np.sort(order)
    able = [one for one in made if one.intervention is not None]
    primary = next((one for one in made if one.is_primary), None)
    halves = Halves.of(primary, heads, half)
    labelled = (target.labels >= 0) & (target.row >= 0)[:, None]
    of_condition: dict[str, list[Measured]] = {}
    of_halves: dict[Intervention, dict[int, tuple[FloatArray, FloatArray]]] = {}
    moved: dict[Intervention, Fidelity] = {}
    # Conditions can name the same heads: what is done is run once.
    listed = [one.intervention for one in able if one.intervention is not None]
    listed = list(dict.fromkeys(listed + ([] if halves is None else halves.interventions)))
    compared = np.sort(order[: options.n_fidelity])
    for start in range(0, len(listed), cells.at_once):
        some = listed[start : start + cells.at_once]
        reading = cells.run(rows, some, compared=compared, what="interventions")
        for number, (intervention, fidelity) in enumerate(zip(some, reading.fidelity, strict=True)):
            if halves is not None and intervention in halves.interventions:
                of_halves[intervention] = {layer: means(reading, layer, number) for layer in cells.layers}
            moved[intervention] = fidelity
            for one in (one for one in able if one.intervention == intervention):
                of_condition[one.name] = [
                    _at_layer(one, name, layer, reading, number, target, options)
                    for name, layer in readouts.items()
                    if name not in OUTPUTS
                ]
    for name in (name for name in readouts if name in OUTPUTS):
        for found in _of_outputs(cells, order, able, name, target, options):
            of_condition[found.condition.name].append(found)
    for one in made:
        measured += of_condition.get(one.name) or [_impossible(one, name) for name in readouts]
    bites = {one.name: moved[one.intervention] for one in able if one.intervention is not None}
    measured = [_with_effect(one, bites) for one in measured]
    _warn_of_unreachable(measured, readouts)
    held = [] if halves is None else held_out(halves, of_halves, measured, readouts, target, options.margin)
    null = _null(cells, order, primary, heads, measured, readouts, target, options)
    if null is not None:
        measured = [_held_against(one, null, readouts, options) for one in measured]
    return Found(measured, bites, null, int(labelled.sum()), int((labelled & (target.labels == 1)).sum()), held)


def _impossible(condition: Condition, readout: str) -> Measured:
    return Measured(condition, readout, "", status="not_applicable", reason=condition.why_not)


def _one(
    condition: Condition, readout: str, scores: tuple[FloatArray, FloatArray, FloatArray], reachable: str,
    target: Target, options: Options,
) -> Measured:  # fmt: skip
    """What one condition does at one readout; scores are those before and after, and before with all heads."""
    before, after, whole = scores
    found = change(before, after, target, margin=options.margin)
    status, reason = "ok", ""
    if reachable != "yes":
        status = "structurally_null"
        reason = (
            f"{readout} is made before anything that is changed"
            if reachable == "no"
            else f"maps in {readout} are what was done to them, which tells nothing of the model"
        )
    elif found.found.n_units < target.min_units:
        status = "too_few_units"
        reason = f"{found.found.n_units} perturbations count, and {target.min_units} are needed"
    seen = []
    if condition.is_primary and status == "ok":
        seen = detection(before, after, target, margin=options.margin, rng=options.rng("planted", readout))
    return Measured(condition, readout, reachable, found, target.auroc(whole), status, reason, seen=seen)


def _at_layer(
    condition: Condition, readout: str, layer: int, reading: Ablation, number: int, target: Target, options: Options
) -> Measured:
    """Attention of a layer, from the heads that the condition leaves alone."""
    from scepsis.models._reach import reach

    before, after = means(reading, layer, number)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = reading.untouched(layer) / reading.n_cells
    read = [(layer, head) for head in range(reading.model.n_heads)]
    reachable = reach(reading.interventions[number], layer, "attention", heads=read)
    return _one(condition, readout, (before, after, whole), reachable, target, options)


def _of_outputs(
    cells: Cells, order: IntArray, able: Sequence[Condition], name: str, target: Target, options: Options
) -> list[Measured]:
    """A readout of the last hidden states, which everything reaches."""
    interventions = [one.intervention for one in able if one.intervention is not None]
    before, each = outputs(cells, np.sort(order[: options.n_insilico]), name, interventions)
    return [
        _one(one, name, (before, after, before), "yes", target, options) for one, after in zip(able, each, strict=True)
    ]


def _with_effect(one: Measured, bites: dict[str, Fidelity]) -> Measured:
    bite = bites.get(one.condition.name)
    if bite is None or bite.applied or one.status != "ok":
        return one
    return replace(one, status="not_applied", reason="no hidden state moved at all")


def _warn_of_unreachable(measured: Sequence[Measured], readouts: dict[str, int]) -> None:
    for name, layer in readouts.items():
        own = [one for one in measured if one.readout == name and one.status != "not_applicable"]
        if own and all(one.status == "structurally_null" for one in own):
            warnings.warn(
                f"Nothing that is done reaches the readout {name!r}: attention at layer {layer} is made before all of "
                "it. Its rows are marked `structurally_null` and tested nowhere. Ask for a later readout, or for "
                f"conditions below layer {layer}.",
                UserWarning,
                stacklevel=4,
            )


def _null(
    cells: Cells,
    order: IntArray,
    primary: Condition | None,
    heads: pd.DataFrame,
    measured: Sequence[Measured],
    readouts: dict[str, int],
    target: Target,
    options: Options,
) -> Null | None:
    """Random sets against the primary one on the same cells, at the readouts that it reaches."""
    if primary is None or primary.intervention is None:
        return None
    observed = {
        readouts[one.readout]: -one.change.found.difference
        for one in measured
        if one.readout not in OUTPUTS and one.condition.is_primary and one.status == "ok" and one.change is not None
    }
    if not observed:
        return None
    rows = np.sort(order[: options.n_paired])
    if len(rows) < len(order):
        reading = cells.run(rows, [primary.intervention])
        observed = {layer: target.drop(*means(reading, layer, 0)) for layer in observed}
    pairs = [(int(layer), int(head)) for layer, head in heads[["layer", "head"]].to_numpy()]
    entropy = heads["entropy"].to_numpy(dtype=np.float64) if options.by_entropy else None
    sets = matched_sets(
        primary.chosen,
        heads["layer"].to_numpy(),
        entropy,
        options.n_random,
        options.rng("random sets"),
        by_layer=options.by_layer,
        among=_candidates(pairs, primary.chosen, list(observed)),
    )
    return against_random(cells, rows, sets, pairs, observed, target, options.n_exceed)


def _candidates(pairs: Sequence[Head], chosen: Sequence[int], readouts: Sequence[int]) -> BoolArray:
    """
    Heads that random sets are made of: those that reach every readout that all heads of the primary set reach.

    A head that cannot reach a readout takes nothing from it: against such ones anything would look like much.
    """
    from scepsis.models import Intervention
    from scepsis.models._reach import reach

    able = np.ones(len(pairs), dtype=bool)
    for layer in readouts:
        reaching = np.array([reach(Intervention.zero_heads([pair]), layer) == "yes" for pair in pairs])
        if reaching[list(chosen)].all():
            able &= reaching
    return able


def _held_against(one: Measured, null: Null, readouts: dict[str, int], options: Options) -> Measured:
    test = None if one.readout in OUTPUTS else null.tests.get(readouts[one.readout])
    if not one.condition.is_primary or test is None:
        return one
    return replace(
        one,
        null=test,
        p_randomised=test.randomised(float(options.rng("randomised", one.readout).random())),
        n_possible=null.sets.n_possible,
    )
