"""Protocols of `gene_universe_effect`, and its frames and registry rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis._core._rng import child
from scepsis._core._screen_pairs import oriented
from scepsis.stats._contrasts import Contrast
from scepsis.stats._protocols import Scored, Term, total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._screen import Screen
    from scepsis._core._types import BoolArray, Direction, FloatArray, IntArray

#: Ways to score: perturbations, candidates, edges.
FORCED, SAME, RESTRICTED, REEXTRACTED = "forced", "forced_natural", "restricted", "reextracted"
#: Name of a shift, and from which protocol to which.
SHIFTS = (("candidates", SAME, RESTRICTED), ("extraction", RESTRICTED, REEXTRACTED), ("both", SAME, REEXTRACTED))


#: Status of a shift that is 0 by construction.
NOTHING_CHANGES = "structurally_null"


@dataclass(frozen=True)
class Study:
    """Edges over a panel, and the natural part of it."""

    sets: list[EdgeSet]
    anew: list[EdgeSet] | None
    screen: Screen
    panel: IntArray
    natural: BoolArray
    direction: Direction
    versus: str
    min_units: int

    @property
    def natural_units(self) -> BoolArray:
        """Perturbations of natural genes."""
        gene = self.screen.gene
        found: BoolArray = (gene >= 0) & self.natural[gene]
        return found

    def scores(self, sets: list[EdgeSet]) -> list[FloatArray]:
        return [oriented(one, self.screen.gene, self.panel, self.direction) for one in sets]

    def protocols(self, features: dict[str, FloatArray], **least: int) -> dict[str, Scored]:
        """What edges, and then features, reach under each protocol."""
        labels = np.where(self.screen.scorable[:, None], self.screen.labels, np.int8(-1))
        rows = [np.broadcast_to(values, labels.shape) for values in features.values()]
        old = self.scores(self.sets)
        valid = (labels >= 0) & np.logical_and.reduce([~np.isnan(one) for one in (*old, *rows)])
        within = valid & self.natural[self.panel] & self.natural_units[:, None]
        new = self.scores(self.anew) if self.anew is not None else []
        if new:
            within &= np.logical_and.reduce([~np.isnan(one) for one in new])
        everything = Scored.of([*old, *rows], labels == 1, valid, **least)
        found = {FORCED: everything, SAME: everything.among(self.natural_units)}
        found[RESTRICTED] = Scored.of([*old, *rows], labels == 1, within, **least)
        if new:
            found[REEXTRACTED] = Scored.of([*new, *rows], labels == 1, within, **least)
        return found

    def universe(self, protocols: dict[str, Scored]) -> pd.DataFrame:
        inside = int(self.natural[self.panel].sum())
        rows = {
            "genes of the panel": len(self.panel),
            "natural genes": int(self.natural.sum()),
            "natural genes of the panel": inside,
            "forced genes": len(self.panel) - inside,
        } | {f"perturbations, {name}": int(one.used.sum()) for name, one in protocols.items()}
        return pd.DataFrame({"what": list(rows), "n": list(rows.values())}).astype({"what": object})


@dataclass(frozen=True)
class Result:
    """Frames of the result."""

    study: Study
    protocols: dict[str, Scored]
    features: list[str]
    leaks: list[bool]
    margin: float
    n_boot: int
    seed: int
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", [one.name for one in self.study.sets])

    @property
    def reference(self) -> int:
        return self.names.index(self.study.versus)

    def _total(self, terms: list[Term], *names: str) -> Contrast:
        rng = child(self.seed, "gene_universe_effect", *names)
        return total(terms, margin=self.margin, min_units=self.study.min_units, n_boot=self.n_boot, rng=rng)

    def _status(self, found: Contrast, *scores: int) -> str:
        if any(self.leaks[score] for score in scores):
            return "label_leak"
        return "ok" if found.n_units >= self.study.min_units else "too_few_units"

    def per_perturbation(self) -> pd.DataFrame:
        parts = [
            pd.DataFrame(
                {"perturbation": self.study.screen.names, "protocol": protocol, "predictor": name}
                | {"auroc": one.auroc[index], "n_pos": one.n_pos, "n_neg": one.n_neg, "used": one.used}
            )
            for protocol, one in self.protocols.items()
            for index, name in enumerate([*self.names, *self.features])
        ]
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> pd.DataFrame:
        rows: list[dict[str, Any]] = []
        for protocol, one in self.protocols.items():
            for index, name in enumerate([*self.names, *self.features]):
                terms = [Term(one, index), Term(one, self.reference, -1)]
                found = self._total(terms, protocol, name)
                units = one.auroc[index][one.used]
                compared = name in self.names and index != self.reference
                rows.append(
                    {"protocol": protocol, "predictor": name, "kind": "edges" if name in self.names else "baseline"}
                    | {"n_units": len(units), "auroc": float(units.mean()) if len(units) else np.nan}
                    | (_numbers(found, "difference") if compared else {})
                    | {"status": self._status(found, index)}
                )
        return pd.DataFrame(rows)

    def shifts(self) -> pd.DataFrame:
        rows: list[dict[str, Any]] = []
        for index, name in enumerate(self.names):
            if index == self.reference:
                continue
            for shift, before, after in self._shifts():
                one, other = self.protocols[after], self.protocols[before]
                edges = [Term(one, index), Term(other, index, -1)]
                versus = [Term(one, self.reference), Term(other, self.reference, -1)]
                found = self._total([*edges, *(replace(term, sign=-term.sign) for term in versus)], shift, name)
                status = self._status(found, index, self.reference)
                if one.is_same(other, index, self.reference):
                    status, found = NOTHING_CHANGES, Contrast(found.difference, found.n_units)
                rows.append(
                    {"edges": name, "versus": self.study.versus, "shift_of": shift, "before": before, "after": after}
                    | _numbers(found, "shift")
                    | {f"shift_{what}": self._total(terms, shift, name, what).difference
                       for what, terms in (("edges", edges), ("versus", versus))}
                    | {"statistic": found.statistic, "equivalence": found.equivalence, "margin": self.margin}
                    | {"minimum_detectable": found.minimum_detectable, "n_units": found.n_units}
                    | {"status": status}
                    | self._sizes(one, other)
                )  # fmt: skip
        return pd.DataFrame(rows)

    def _shifts(self) -> Iterator[tuple[str, str, str]]:
        return (one for one in SHIFTS if one[2] in self.protocols)

    @staticmethod
    def _sizes(one: Scored, other: Scored) -> dict[str, int]:
        used = one.used & other.used
        return {"n": int((one.n_pos + one.n_neg)[used].sum()), "n_pos": int(one.n_pos[used].sum())}


def _numbers(found: Contrast, name: str) -> dict[str, float]:
    return {
        name: found.difference, "ci_low": found.two_way.low, "ci_high": found.two_way.high,
        "boot_low": found.boot.low, "boot_high": found.boot.high, "p_value": found.p_value, "cohen_d": found.cohen_d,
    }  # fmt: skip


def row_of(shift: pd.Series[Any]) -> Row:
    """The test of one shift."""
    what = str(shift["shift_of"])
    reasons = {
        "too_few_units": f"{shift['n_units']} natural perturbations count under both",
        NOTHING_CHANGES: "0 by construction: neither candidates nor edges are others",
    }
    return Row(
        analysis="A19",
        name=f"shift/{what}",
        hypothesis=f"the difference of {shift['edges']} and {shift['versus']} is the same under {shift['before']} and "
        f"{shift['after']}",
        test_type="Wilcoxon signed-rank",
        role="confirmatory" if what != "both" else "descriptive",
        edges=str(shift["edges"]),
        statistic=float(shift["statistic"]),
        p_raw=float(shift["p_value"]),
        effect_size=float(shift["shift"]),
        effect_type="shift of a difference of AUROC",
        ci_low=float(shift["ci_low"]),
        ci_high=float(shift["ci_high"]),
        ci_method="t, clustered by perturbation and gene",
        unit="perturbation",
        n=int(shift["n"]),
        n_pos=int(shift["n_pos"]),
        n_units=int(shift["n_units"]),
        equivalence=str(shift["equivalence"]),
        margin=float(shift["margin"]),
        minimum_detectable=float(shift["minimum_detectable"]),
        is_primary=what == "candidates",
        status=str(shift["status"]),
        reason=reasons.get(str(shift["status"]), ""),
    )
