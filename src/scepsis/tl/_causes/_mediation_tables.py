"""What a game among components says: frames of a run, and the rows of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd

from scepsis._core._numbers import plural
from scepsis._core._registry import Row
from scepsis.stats._non_additivity import (
    FALSE_BOUNDS,
    NORMAL,
    Additivity,
    certificates,
    prevalence_p,
    standard_error,
)
from scepsis.stats._shapley import Single, interactions, shapley, singles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray
    from scepsis.edges._coalitions import Component
    from scepsis.stats._non_additivity import Certificates
    from scepsis.stats._shapley import Coalitions, Shapley

DIRECTIONS: tuple[Single, ...] = get_args(Single)
#: Runs that a p-value needs.
MIN_RUNS = 6
COMPONENTS = [
    "run", "component", "layer", "head", "denoise", "denoise_error", "ablate", "ablate_error", "shapley",
    "shapley_error", "sampling_error", "share",
]  # fmt: skip
ADDITIVITY = [
    "run", "direction", "n_cells", "n_components", "n_coalitions", "exact", "total", "total_error", "residual",
    "residual_error", "lower_bound", "ratio", "first", "status",
]  # fmt: skip
CERTIFICATES = ["run", "direction", "factor", "by_bound", "first_by_bound", "by_bias", "first_by_bias"]


@dataclass(frozen=True)
class Played:
    """One run: the game as it was played by the cells of a group."""

    #: Label of the group; "" where there are none.
    run: str
    game: Coalitions
    #: Coalitions x cells; no effect of nobody.
    values: FloatArray

    @property
    def n_cells(self) -> int:
        return int(self.values.shape[1])

    @property
    def total(self) -> FloatArray:
        return np.asarray(self.values[self.game.everybody])

    @property
    def status(self) -> str:
        """``constant_score`` where the total effect is the same in all cells, as where nothing had any."""
        if self.n_cells < 2 or self.game.n < 2:
            return "too_few_units"
        return "ok" if self.total.max() > self.total.min() else "constant_score"


def component_frame(runs: Sequence[Played], components: Sequence[Component]) -> pd.DataFrame:
    """Every component of every run: single estimates of both kinds and its Shapley value."""
    rows = []
    for one in runs:
        shares = shapley(one.game, one.values)
        single = {way: singles(one.game, one.values, way) for way in DIRECTIONS}
        mean, error = shares.mean, standard_error(shares.values)
        total = float(one.total.mean())
        for index, part in enumerate(components):
            estimates: list[float] = []
            for way in DIRECTIONS:
                values = single[way][index]
                estimates += [float(values.mean()), float(standard_error(values))]
            of_total = float(mean[index]) / total if total else np.nan
            own = (float(mean[index]), float(error[index]), float(shares.sampling_error[index]), of_total)
            rows.append((one.run, part.label, part.layer, part.head, *estimates, *own))
    return _typed(pd.DataFrame(rows, columns=COMPONENTS), ("run", "component"), ("layer", "head"))


def additivity_frame(runs: Sequence[Played], components: Sequence[Component]) -> pd.DataFrame:
    """What single components leave over in every run, by both kinds of estimate."""
    rows = []
    for one in runs:
        for way in DIRECTIONS:
            single = singles(one.game, one.values, way)
            left = Additivity.of(one.total, single)
            sign = 1.0 if left.total >= 0 else -1.0
            first = components[int(np.argmax(sign * single.mean(axis=1)))].label
            rows.append(
                (
                    one.run, way, one.n_cells, one.game.n, len(one.game.members), one.game.orders is None,
                    left.total, left.total_error, left.residual, left.residual_error, left.lower_bound, left.ratio,
                    first, one.status,
                )
            )  # fmt: skip
    integers = ("n_cells", "n_components", "n_coalitions")
    frame = _typed(pd.DataFrame(rows, columns=ADDITIVITY), ("run", "direction", "first", "status"), integers)
    return frame.astype({"exact": bool})


def certificate_frame(runs: Sequence[Played]) -> pd.DataFrame:
    """Shares of certified orders of every run, by both kinds of estimate."""
    rows = []
    for one in runs:
        shares = shapley(one.game, one.values)
        for way in DIRECTIONS:
            single = singles(one.game, one.values, way)
            found = _certified(one, single, shares)
            columns = (found.factors, found.by_bound, found.first_by_bound, found.by_bias, found.first_by_bias)
            rows += [(one.run, way, *numbers) for numbers in zip(*columns, strict=True)]
    return _typed(pd.DataFrame(rows, columns=CERTIFICATES), ("run", "direction"), ())


def _certified(one: Played, single: FloatArray, shares: Shapley) -> Certificates:
    left = Additivity.of(one.total, single)
    bias = single.mean(axis=1) - shares.mean
    return certificates(
        single, bias, left.lower_bound, bias_error=shares.sampling_error, sign=1.0 if left.total >= 0 else -1.0
    )


def interaction_frame(runs: Sequence[Played]) -> pd.DataFrame:
    """Of games that were played in full: what sets of components have beyond their parts, by their size."""
    rows = [
        (one.run, size, float(value))
        for one in runs
        if one.game.orders is None
        for size, value in enumerate(interactions(one.game, one.values))
        if size
    ]
    return _typed(pd.DataFrame(rows, columns=["run", "size", "interaction"]), ("run",), ("size",))


def _typed(frame: pd.DataFrame, strings: tuple[str, ...], integers: tuple[str, ...]) -> pd.DataFrame:
    kinds = {name: object if name in strings else "int64" if name in integers else "float64" for name in frame.columns}
    kinds.pop("exact", None)
    return frame.astype(kinds)


def mediation_rows(frame: pd.DataFrame, direction: Single, what: str) -> list[Row]:
    """How many runs are non-additive, and by how much each of them is."""
    own = frame[frame["direction"] == direction]
    usable = own[own["status"] == "ok"]
    n_bounded, n = int((usable["lower_bound"] > 0).sum()), len(usable)
    enough, readable = n >= MIN_RUNS, plural(n, "run")
    rows = [
        Row(
            analysis="A30",
            name=f"non_additive/{direction}",
            hypothesis=f"Effects of {what} add up (more than nothing is left over in 1 run of 20)",
            test_type="exact binomial",
            role="confirmatory",
            direction="greater",
            statistic=float(n_bounded),
            p_raw=prevalence_p(n_bounded, n) if enough else np.nan,
            effect_size=n_bounded / n if n else np.nan,
            effect_type="share of runs",
            unit="run",
            n=n,
            n_pos=n_bounded,
            n_units=n,
            null_mean=FALSE_BOUNDS,
            null_family="binomial",
            is_primary=True,
            status="ok" if enough else "too_few_units",
            reason=""
            if enough
            else f"{readable} can be read, and {MIN_RUNS} are needed; `groupby` makes one per group",
        )
    ]
    for _, found in own.iterrows():
        run = str(found["run"])
        half = NORMAL * float(found["residual_error"])
        rows.append(
            Row(
                analysis="A30",
                name=f"residual/{direction}" + (f"/{run}" if run else ""),
                hypothesis=f"Effects of {what} add up" + (f" in {run}" if run else ""),
                test_type="total effect less single ones",
                role="descriptive",
                statistic=float(found["residual"]),
                effect_size=float(found["ratio"]),
                effect_type="lower bound of what is left over, share of the total effect",
                ci_low=float(found["residual"]) - half,
                ci_high=float(found["residual"]) + half,
                ci_method="normal, of the residual, over cells",
                unit="cell",
                n=int(found["n_cells"]),
                n_units=int(found["n_cells"]),
                status=str(found["status"]),
                reason=_REASONS.get(str(found["status"]), ""),
            )
        )
    return rows


_REASONS = {
    "too_few_units": "a residual needs two components and two cells",
    "constant_score": "the total effect is the same in every cell",
}
