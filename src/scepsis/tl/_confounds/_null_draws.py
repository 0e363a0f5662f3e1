"""Networks drawn at random, and every score evaluated on all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scepsis._core._rng import child
from scepsis._core._validate import listing
from scepsis.stats._network_nulls import RankedPairs, against, shuffled, shuffled_by_source
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._pooled import of_sources
from scepsis.stats._rewire import rewire

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._types import FloatArray, IntArray
    from scepsis.stats._network_nulls import Against
    from scepsis.stats._rewire import Rewired

Null = Literal["degree", "label_shuffle", "row_only"]
NULLS: tuple[Null, ...] = ("degree", "label_shuffle", "row_only")
STATISTICS = ("pooled", "per_regulator")
#: Listed pairs below which a result is no evidence.
MIN_EDGES = 20
DETECTED_BELOW = 0.05
#: Length that chains are tried at first.
SWAPS_PER_EDGE = 10.0


@dataclass(frozen=True)
class Score:
    """A named score of pairs; None where the data do not have it."""

    name: str
    kind: Literal["edges", "model_free"]
    of_pairs: FloatArray | None


def line_up(pairs: NetworkPairs, model_free: dict[str, FloatArray | None]) -> list[Score]:
    """Edges asked for, then model-free scores that are not among them."""
    asked = {one.name for one in pairs.sets}
    keys = {one.key for one in pairs.sets}
    taken = [name for name in model_free if name in asked and name not in keys]
    if taken:
        msg = f"`edges` has the name {listing(taken)}, which a model-free score has too. Pass a dict with other names."
        raise ValueError(msg)
    result = [Score(one.name, "edges", pairs.scores(one)) for one in pairs.sets]
    return result + [Score(name, "model_free", values) for name, values in model_free.items() if name not in asked]


@dataclass(frozen=True)
class Networks:
    """Networks under every null, as places of their pairs; None where there is nothing to draw from."""

    cells: dict[Null, IntArray] | None
    rewired: Rewired | None

    def record(self) -> dict[str, Any]:
        """What is told of the chains."""
        if self.rewired is None:
            return {"mixed": False, "swaps_per_edge": SWAPS_PER_EDGE}
        mixing, overlap = self.rewired.mixing, self.rewired.overlap
        return {
            "mixed": mixing.mixed and mixing.moved,
            "swaps_per_edge": SWAPS_PER_EDGE,
            "n_steps": mixing.n_steps[-1],
            "overlap": float(overlap.mean()),
            "max_overlap": float(overlap.max()),
            "n_unchanged": int((overlap == 1).sum()),
        }

    def frame(self) -> pd.DataFrame:
        """Overlap at every length of the chains."""
        columns = ["n_steps", "overlap", "standard_error"]
        if self.rewired is None:
            return pd.DataFrame(columns=columns).astype(
                {"n_steps": np.int64, "overlap": float, "standard_error": float}
            )
        mixing = self.rewired.mixing
        return pd.DataFrame(dict(zip(columns, (mixing.n_steps, mixing.overlap, mixing.standard_error), strict=True)))


def draw_networks(
    pairs: NetworkPairs,
    *,
    n_null: int,
    n_label: int,
    seed: int,
    max_doublings: int,
    n_jobs: int,
    advance: Callable[[int], object],
) -> Networks:
    """Draw once what all scores are evaluated on."""
    listed, candidate = pairs.listed, pairs.candidate
    if not listed.any() or not (candidate & ~listed).any():
        return Networks(None, None)
    rewired = rewire(
        listed, candidate, n_null, seed=seed, swaps_per_edge=SWAPS_PER_EDGE, max_doublings=max_doublings,
        n_jobs=n_jobs, advance=advance,
    )  # fmt: skip
    cells: dict[Null, IntArray] = {
        "degree": rewired.cells,
        "label_shuffle": shuffled(listed, candidate, n_label, seed=seed),
        "row_only": shuffled_by_source(listed, candidate, n_label, seed=seed),
    }
    return Networks(cells, rewired)


@dataclass(frozen=True)
class Compared:
    """Every score against every null."""

    pairs: NetworkPairs
    scores: list[Score]
    networks: Networks
    #: Networks x statistics, by name of the score and null.
    draws: dict[tuple[str, Null], FloatArray]
    places: dict[tuple[str, Null, str], Against]
    #: AUROC and interval of every source.
    sources: dict[str, dict[str, FloatArray]]
    #: z and p of planted signals, by name of the edges.
    detection: dict[str, list[tuple[float, Against]]]
    min_units: int

    @property
    def n_units(self) -> int:
        """Sources with a listed pair."""
        return int(self.pairs.listed.any(axis=1).sum())

    def status(self, score: Score, null: Null, statistic: str) -> str:
        """Why there is no p-value, or what bars it; ``ok`` otherwise."""
        if score.of_pairs is None:
            return "not_run"
        if self.networks.rewired is None:
            return "no_negatives" if self.pairs.listed.any() else "no_positives"
        found, mixing = self.places[score.name, null, statistic], self.networks.rewired.mixing
        valid = self.pairs.candidate & ~np.isnan(score.of_pairs)
        values = score.of_pairs[valid]
        if not len(values) or not (valid & self.pairs.listed).any():
            return "no_positives"
        if np.ptp(values) == 0:
            return "constant_score"
        if null == "degree" and not mixing.moved:
            return "single_stratum"
        if null == "degree" and not mixing.mixed:
            return "null_not_mixed"
        if self.n_units < self.min_units or not np.isfinite(found.observed):
            return "too_few_units"
        return "underpowered" if self.pairs.listed.sum() < MIN_EDGES else "ok"


def compared(pairs: NetworkPairs, scores: list[Score], networks: Networks, *, seed: int, min_units: int) -> Compared:
    """Evaluate every score on the reference and on all networks."""
    result = Compared(pairs, scores, networks, {}, {}, {}, {}, min_units)
    if networks.cells is None:
        return result
    listed = np.flatnonzero(pairs.listed)[None, :]
    for score in scores:
        if score.of_pairs is None:
            continue
        ranked = RankedPairs.of(score.of_pairs, pairs.candidate)
        observed = ranked.aurocs(listed)[0]
        for null, cells in networks.cells.items():
            drawn = ranked.aurocs(cells)
            result.draws[score.name, null] = drawn
            for column, statistic in enumerate(STATISTICS):
                result.places[score.name, null, statistic] = against(float(observed[column]), drawn[:, column])
        result.sources[score.name] = of_sources(score.of_pairs, pairs.listed, pairs.candidate)
        if score.kind == "edges":
            for delta in DELTAS:
                generator = child(seed, "planted", score.name)
                place = _planted(score.of_pairs, pairs, networks.cells["degree"], delta, generator)
                result.detection.setdefault(score.name, []).append((delta, place))
    return result


def _planted(
    values: FloatArray, pairs: NetworkPairs, cells: IntArray, delta: float, generator: np.random.Generator
) -> Against:
    """Place of the pooled AUROC among networks of the same degrees, with a signal planted."""
    ranked = RankedPairs.of(planted(values, pairs.listed, delta, generator), pairs.candidate, by_source=False)
    observed = ranked.aurocs(np.flatnonzero(pairs.listed)[None, :])[0, 0]
    return against(float(observed), ranked.aurocs(cells)[:, 0])
