"""The four criteria, each judged from rows of the registry and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._evidence import AGAINST_RANDOM, MIN_MOVED, SATURATED
from scepsis._core._keys import DETECTION_RATE, MEAN, VARIANCE
from scepsis._core._numbers import decimal, enumerate_words, equals, interval, signed
from scepsis.stats._multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scepsis._core._evidence import Piece, Rows

ALPHA = 0.05
TRIVIAL = (VARIANCE, MEAN, DETECTION_RATE)
SPLITS = ("perturbation", "gene", "joint")
#: How the gain of each learner is read: a flexible one pays for any further column, so it is held against a placebo.
GAINS = {"logistic": "gain", "gbdt": "gain_placebo"}
RESIDUALIZERS = ("ols", "gbdt", "node")
MIN_RETENTION = 0.8
MIN_Z = 3.0
#: Smallest gain in AUROC that matters.
MATERIAL = 0.005
#: Failing parts that a reason spells out.
SPELLED = 4
QUESTIONS = {
    "a": "better than each feature of single genes",
    "b": "adds to what gene features predict",
    "c": "survives the removal of what single genes explain",
    "d": "confirmed by interventions",
    "overall": "all four",
}


@dataclass(frozen=True)
class Part:
    """One condition of a criterion: the test that it rests on, and whether it holds."""

    label: str
    piece: Piece
    #: None when the test cannot be used.
    holds: bool | None
    told: str
    q_value: float = np.nan

    @property
    def barred(self) -> str:
        """Why the condition cannot be judged; "" when it can."""
        return "" if self.holds is not None else self.piece.barred or self.told

    def row(self) -> dict[str, Any]:
        """What the condition rests on, as numbers."""
        columns = ("effect_size", "effect_type", "ci_low", "ci_high", "statistic", "p_raw", "minimum_detectable")
        known = self.piece.row is not None
        text = {"effect_type": str(self.piece["effect_type"]) if known else ""}
        counts = {name: int(self.piece[name]) if known else 0 for name in ("n_units", "n_runs", "n_distinct_params")}
        return (
            {"condition": self.label, "test_id": self.piece.test_id, "holds": self.holds}
            | {name: self.piece[name] for name in columns}
            | {"q_value": self.q_value}
            | text
            | counts
            | {"told": self.barred or self.told}
        )


@dataclass(frozen=True)
class Criterion:
    """A criterion with its parts. It holds when every part does, and is not assessable when any part is not."""

    name: str
    parts: Sequence[Part]
    #: Why it cannot be assessed, whatever the parts; "" for nothing of the kind.
    barred: str = ""
    #: The same with stronger comparators beside, and whether the gain is large enough to matter; None for neither.
    strict: bool | None = None
    material: bool | None = None
    more: Sequence[Part] = field(default=())

    @property
    def passed(self) -> bool | None:
        if self.barred or any(part.holds is None for part in self.parts):
            return None
        return all(part.holds for part in self.parts)

    @property
    def reason(self) -> str:
        """Why it is so: what is missing, else what fails, else what holds."""
        if self.passed is None:
            why = [self.barred] if self.barred else [part.barred for part in self.parts if part.holds is None]
            return f"not assessable: {_several(dict.fromkeys(why))}"
        if not self.passed:
            return f"fails: {_several(part.told for part in self.parts if not part.holds)}"
        return f"holds: {_several(part.told for part in self.parts)}"

    @property
    def evidence(self) -> str:
        ids = [part.piece.test_id for part in (*self.parts, *self.more)]
        return ";".join(dict.fromkeys(one for one in ids if one))


def _several(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = len(listed) - SPELLED
    return "; ".join(listed[:SPELLED]) + (f"; and {more} more" if more > 0 else "")


def overall(passed: Iterable[bool | None]) -> bool | None:
    """False when any criterion fails, True when all hold, else None."""
    known = list(passed)
    if any(one is False for one in known):
        return False
    return True if known and all(one is True for one in known) else None


def criteria(rows: Rows) -> list[Criterion]:
    """All four of one set of edges."""
    return [trivial_baselines(rows), incremental_value(rows), robustness(rows), causal(rows)]


def _part(label: str, piece: Piece, numbers: Sequence[float], holds: bool, told: str, q_value: float = np.nan) -> Part:  # noqa: FBT001
    """A condition; one whose numbers are not all defined cannot be judged."""
    if piece.barred:
        return Part(label, piece, None, "", q_value)
    if not np.isfinite(numbers).all():
        return Part(label, piece, None, f"{label} has no number to be judged by", q_value)
    return Part(label, piece, bool(holds), told, q_value)


def trivial_baselines(rows: Rows) -> Criterion:
    """(a): edges rank responders better than each of variance, mean and detection rate."""
    pieces = [rows.piece("A04", f"vs_{name}") for name in TRIVIAL]
    q_values = benjamini_hochberg(np.array([np.nan if piece.barred else float(piece["p_raw"]) for piece in pieces]))
    parts = [
        _part(
            f"against {name}",
            piece,
            (piece["effect_size"], q),
            piece["effect_size"] > 0 and q < ALPHA,
            f"{signed(piece['effect_size'])} against {name.replace('_', ' ')} ({equals('q', q)})",
            float(q),
        )
        for name, piece, q in zip(TRIVIAL, pieces, q_values, strict=True)
    ]
    frequency, own = rows.piece("A04", "vs_de_frequency"), rows.piece("A01", "above_chance")
    model = rows.piece("A05", "gain/perturbation/logistic/auroc")
    more = [
        _part(
            "against de_frequency",
            frequency,
            (frequency["effect_size"], frequency["p_raw"]),
            frequency["effect_size"] > 0 and frequency["p_raw"] < ALPHA,
            f"{signed(frequency['effect_size'])} against how often the target responds elsewhere",
        ),
        _part(
            "against gene-only model",
            model if model.barred else own,
            (own["effect_size"], model["baseline_value"]),
            own["effect_size"] > model["baseline_value"],
            f"AUROC {decimal(own['effect_size'])} against {decimal(model['baseline_value'])} of gene features, fitted",
        ),
    ]
    found = Criterion("a", parts, more=more)
    strict = None if found.passed is None else _all([found.passed, *(part.holds for part in more)])
    return Criterion("a", parts, strict=strict, more=more)


def _all(holds: Iterable[bool | None]) -> bool | None:
    """Whether all hold: None when that is not known."""
    known = list(holds)
    return None if None in known else all(known)


def incremental_value(rows: Rows) -> Criterion:
    """(b): a model given the edge predicts held-out responders better, by every split, learner and metric."""
    parts, gains = [], []
    for split in SPLITS:
        for learner, kind in GAINS.items():
            where = f"{learner}, {split} split"
            for metric in ("auroc", "auprc"):
                piece = rows.piece(("A05", "A06"), f"{kind}/{split}/{learner}/{metric}")
                parts.append(_gain(f"{metric.upper()} ({where})", piece))
                if metric == "auroc":
                    gains.append(float(piece["effect_size"]))
            parts.append(_recall(rows, f"{kind}/{split}/{learner}/recall@", where))
    material = None if not np.isfinite(gains).all() else min(gains) >= MATERIAL
    return Criterion("b", parts, material=material)


def _gain(label: str, piece: Piece) -> Part:
    low, high = piece["ci_low"], piece["ci_high"]
    told = f"{label} {signed(piece['effect_size'])} ({interval(low, high, sign=True)})"
    return _part(label, piece, (low, high), low > 0, told)


def _recall(rows: Rows, beginning: str, where: str) -> Part:
    """No list may get worse with the edge, and one that could get better must."""
    label = f"recall ({where})"
    pieces = rows.named(("A05", "A06"), beginning)
    if not pieces:
        return Part(label, rows.piece(("A05", "A06"), f"{beginning}10"), None, "")
    if barred := next((piece for piece in pieces if piece.barred), None):
        return Part(label, barred, None, "")
    open_ = [piece for piece in pieces if not str(piece["reason"]).startswith(SATURATED)]
    if not open_:
        return Part(label, pieces[0], None, f"{label} is at its ceiling without edges")
    worse = [piece for piece in pieces if piece["ci_high"] < 0]
    best = max(open_, key=lambda piece: float(np.nan_to_num(piece["ci_low"], nan=-np.inf)))
    shown = worse[0] if worse else best
    told = (
        f"{shown.name.rpartition('/')[2]} ({where}) {signed(shown['effect_size'])} "
        f"({interval(shown['ci_low'], shown['ci_high'], sign=True)})"
    )
    return _part(label, shown, (shown["ci_low"], shown["ci_high"]), not worse and best["ci_low"] > 0, told)


def robustness(rows: Rows) -> Criterion:
    """(c): edges keep their AUROC without what gene features explain, and exceed what degrees give."""
    parts = []
    for name in RESIDUALIZERS:
        parts += [_retained(rows, name), _residual(rows, name)]
    degree = rows.piece("A09", "degree/pooled")
    z, other = degree["statistic"], degree["baseline_value"]
    rival = "" if degree.row is None else str(degree["baseline_name"]) or "model-free scores"
    against = f"z {decimal(z, 2)} against {decimal(other, 2)} of {rival}"
    parts += [
        _part("degree null", degree, (z,), z > MIN_Z, f"z {decimal(z, 2)} above the degree-preserving null"),
        _part("model-free scores", degree, (z, other), z > other, against),
    ]
    return Criterion("c", parts)


def _retained(rows: Rows, name: str) -> Part:
    label, piece = f"retention ({name})", rows.piece("A08", f"retention/{name}")
    value = piece["effect_size"]
    if not piece.barred and np.isnan(value) and piece["reason"]:  # what is not above chance has nothing to retain
        return Part(label, piece, holds=False, told=f"{label}: {piece['reason']}")
    return _part(label, piece, (value,), value >= MIN_RETENTION, f"{label} {decimal(value, 2)}")


def _residual(rows: Rows, name: str) -> Part:
    label, piece = f"residual AUROC ({name})", rows.piece("A08", f"residual/{name}")
    low, high = piece["ci_low"], piece["ci_high"]
    told = f"{label} {decimal(piece['effect_size'])} ({interval(low, high)})"
    return _part(label, piece, (low, high), low > 0.5, told)


def causal(rows: Rows) -> Criterion:
    """
    (d): taking out the heads that recover the reference costs more than taking out others, and so do other ways.

    Judged at the readout at which random sets were run; what cannot reach it is no part of it. That an intervention
    cost nothing counts only where it took effect; one that did not leaves the criterion open, unless another fails.
    """
    if rows.ablated is None:
        tried = any(analysis in {"A12", "A13", "A14"} for analysis, _ in rows.by_name)
        why = "no intervention that was made can reach the readout, or be made in this model"
        call = "`scepsis.tl.rank_heads`, then `scepsis.tl.ablate_heads`"
        return Criterion("d", (), barred=why if tried else f"no intervention on the model was made ({call})")
    condition, readout = rows.ablated
    against = rows.piece("A12", f"{condition}/{readout}{AGAINST_RANDOM}")
    trend = rows.piece("A13", f"dose/top/{readout}")
    drop, p = against["effect_size"], against["p_raw"]
    parts = [
        _part(
            "dose",
            trend,
            (trend["effect_size"], trend["p_raw"]),
            trend["effect_size"] < 0 and trend["p_raw"] < ALPHA,
            f"{signed(trend['effect_size'], 4)} of AUROC with every dose of top heads ({equals('p', trend['p_raw'])})",
        ),
        _part(
            f"{condition} against random heads",
            against,
            (drop, p),
            drop < 0 and p < ALPHA,
            f"{condition} {signed(drop, 4)}, random sets {signed(against['null_mean'], 4)} ({equals('p', p)})",
        ),
    ]
    orthogonal = _orthogonal(rows, readout)
    own = {condition: parts} | {part.piece.name.split("/")[0]: [part] for part in orthogonal}
    moved = {name: _material(rows, name) for name in own}
    parts = [*parts, *orthogonal, *moved.values()]
    barred = "" if orthogonal else "no uniform or MLP intervention reaches the readout"
    felt = [part for name, judged in own.items() if moved[name].holds for part in (*judged, moved[name])]
    if not barred and any(part.holds is False for part in felt):
        return Criterion("d", felt, more=[part for part in parts if part not in felt])
    return Criterion("d", parts, barred=barred)


def _orthogonal(rows: Rows, readout: str) -> list[Part]:
    """Top heads made uniform and MLPs taken out, as far as the readout can feel it: each has to cost something."""
    pieces = rows.orthogonal(readout)
    q_values = benjamini_hochberg(np.array([np.nan if one.barred else float(one["p_raw"]) for one in pieces]))
    return [
        _part(
            one.name.split("/")[0],
            one,
            (one["effect_size"], q),
            one["effect_size"] < 0 and q < ALPHA,
            f"{one.name.split('/')[0]} {signed(one['effect_size'], 4)} ({equals('q', q)})",
            float(q),
        )
        for one, q in zip(pieces, q_values, strict=True)
    ]


def _material(rows: Rows, condition: str) -> Part:
    """An intervention tells something only if it took effect and what the readout is made from was moved."""
    piece, label = rows.piece("A15", f"fidelity/{condition}"), f"fidelity of {condition}"
    largest, moved, floor = piece["effect_size"], piece["statistic"], piece["baseline_value"]
    told = f"{condition} moves hidden states by {decimal(largest, 3)}"
    found = _part(label, piece, (largest, moved, floor), largest > MIN_MOVED and moved > floor, told)
    return Part(label, piece, None, f"{told}, too little for anything to follow") if found.holds is False else found


def summary_of(found: Sequence[Criterion]) -> str:
    """Reason of the verdict over all criteria."""
    groups = {
        "fails": [one.name for one in found if one.passed is False],
        "not assessable": [one.name for one in found if one.passed is None],
        "holds": [one.name for one in found if one.passed],
    }
    said = [f"{word}: {enumerate_words([f'({name})' for name in names])}" for word, names in groups.items() if names]
    return "; ".join(said)
