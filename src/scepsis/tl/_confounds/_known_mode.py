"""Edges on a whole reference and on the part of it whose mode of regulation is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._rng import child
from scepsis.stats._contrasts import Contrast
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._pooled import PooledScore, Resampled, planted_contrast, pooled_contrast, source_contrast

if TYPE_CHECKING:
    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._intervals import Interval

CI_METHOD = "t, clustered by regulator and target"


@dataclass(frozen=True)
class Restricted:
    """One set of edges on the whole reference, and on the part of known mode."""

    name: str
    #: On all rows; on the rows with a target of known mode; on these and targets of known mode. None: nothing to rank.
    full: PooledScore | None
    shared: PooledScore | None
    known: PooledScore | None
    contrasts: dict[str, Contrast]
    boot: dict[str, Interval]

    def resampled(self, n_boot: int, generator: np.random.Generator) -> Restricted:
        """With the percentile intervals of the difference over resampled regulators."""
        if self.known is None or self.shared is None:
            return self
        replicates = Resampled.of([self.known, self.shared], n_boot, generator)
        self.boot["pooled"] = replicates.interval("pooled", 0, 1)
        self.boot["per_regulator"] = replicates.interval("by_source", 0, 1)
        return self

    def rows(self, margin: float, min_units: int) -> list[dict[str, Any]]:
        """Rows of the summary."""
        result = []
        for statistic in ("pooled", "per_regulator"):
            full, known = (_reached(one, statistic, np.mean) for one in (self.full, self.known))
            found = self.contrasts.get(statistic, Contrast(np.nan, 0))
            enough = found.n_units >= min_units
            boot = self.boot.get(statistic, found.boot)
            medians = [_reached(one, "per_regulator", np.median) for one in (self.full, self.known)]
            status = "ok" if enough else "too_few_units"
            if self.known is None:
                status = "no_positives"
            elif self.known.constant:
                status = "constant_score"
            result.append(
                {
                    "edges": self.name,
                    "statistic": statistic,
                    "full": full,
                    "known": known,
                    "difference": known - full,
                    "difference_shared": found.difference,
                    "ci_low": found.two_way.low,
                    "ci_high": found.two_way.high,
                    "ci_method": CI_METHOD,
                    "boot_low": boot.low if enough else np.nan,
                    "boot_high": boot.high if enough else np.nan,
                    "equivalence": found.equivalence,
                    "margin": margin,
                    "minimum_detectable": found.minimum_detectable,
                    "median_full": medians[0] if statistic == "per_regulator" else np.nan,
                    "median_known": medians[1] if statistic == "per_regulator" else np.nan,
                    "n": 0 if self.known is None else self.known.n,
                    "n_full": 0 if self.full is None else self.full.n_pos,
                    "n_known": 0 if self.known is None else self.known.n_pos,
                    "n_regulators_full": _counted(self.full, statistic),
                    "n_regulators_known": _counted(self.known, statistic),
                    "status": status,
                }
            )
        return result


def _reached(one: PooledScore | None, statistic: str, average: Any) -> float:
    """AUROC of all pairs, or an average over regulators; NaN where there is none."""
    if one is None:
        return np.nan
    if statistic == "pooled":
        return one.auroc
    return float(average(one.sources["auroc"][one.used])) if one.used.any() else np.nan


def _counted(one: PooledScore | None, statistic: str) -> int:
    if one is None:
        return 0
    return int(((one.sources["n_pos"] > 0) if statistic == "pooled" else one.used).sum())


@dataclass(frozen=True)
class _Parts:
    """Rows of regulators with a target of known mode, and which of their pairs count where only these are listed."""

    rows: BoolArray
    known: BoolArray
    unknown: BoolArray
    valid: BoolArray
    valid_known: BoolArray

    @classmethod
    def of(cls, pairs: NetworkPairs) -> _Parts | None:
        """None where no listed pair is of known mode."""
        listed, known = pairs.listed, pairs.known_mode
        if known is None or not known.any():
            return None
        rows = np.any(known, axis=1, keepdims=True) | ~np.any(listed, axis=1, keepdims=True)
        unknown, valid = listed & ~known & rows, pairs.candidate & rows
        return cls(rows, known, unknown, valid, valid & ~unknown)


def restricted(pairs: NetworkPairs, one: EdgeSet, *, margin: float, min_units: int) -> Restricted:
    """One set of edges on both parts."""
    scores, listed = pairs.scores(one), pairs.listed
    if not listed.any():
        return Restricted(one.name, None, None, None, {}, {})
    full = PooledScore.of(scores, listed, pairs.candidate)
    parts = _Parts.of(pairs)
    if parts is None:
        return Restricted(one.name, full, None, None, {}, {})
    shared = PooledScore.of(scores, listed & parts.rows, parts.valid)
    known = PooledScore.of(scores, parts.known, parts.valid_known)
    contrasts = {
        "pooled": pooled_contrast(known, shared, "crossed", margin=margin, min_units=min_units),
        "per_regulator": source_contrast(known, shared, margin=margin, min_units=min_units),
    }
    return Restricted(one.name, full, shared, known, contrasts, {})


def detection(pairs: NetworkPairs, *, min_units: int, seed: int) -> pd.DataFrame:
    """
    Differences of edges that were made circular: a signal in half of the listed pairs of unknown mode.

    A signal in listed pairs of both kinds would raise both AUROCs and leave their difference as it is.
    """
    rows: list[tuple[Any, ...]] = []
    parts = _Parts.of(pairs)
    if parts is not None and parts.unknown.any():
        both = (parts.known, parts.valid_known), (parts.known | parts.unknown, parts.valid)
        for one in pairs.sets:
            scores = pairs.scores(one)
            for delta in DELTAS:
                circular = planted(scores, parts.unknown, delta, child(seed, "circularity", "planted", one.name))
                found = planted_contrast(circular, *both, "crossed", min_units=min_units)
                rows.append((one.name, delta, found.difference, *found.two_way, bool(found.two_way.high < 0)))
    columns = ["edges", "delta", "statistic", "ci_low", "ci_high", "detected"]
    return pd.DataFrame(rows, columns=columns).astype({"edges": object, "delta": np.float64, "detected": bool})


def per_regulator(found: list[Restricted], pairs: NetworkPairs, genes: Any) -> pd.DataFrame:
    rows = np.flatnonzero(pairs.listed.any(axis=1))

    def column(one: PooledScore | None, name: str, missing: float) -> FloatArray:
        return np.full(len(rows), missing) if one is None else one.sources[name][rows]

    parts = [
        pd.DataFrame(
            {
                "edges": np.full(len(rows), one.name, dtype=object),
                "regulator": genes[pairs.sources[rows]],
                "n_full": column(one.full, "n_pos", 0).astype(np.int64),
                "n_known": column(one.known, "n_pos", 0).astype(np.int64),
                "full": column(one.full, "auroc", np.nan),
                "known": column(one.known, "auroc", np.nan),
            }
        )
        for one in found
    ]
    return pd.concat(parts, ignore_index=True)
