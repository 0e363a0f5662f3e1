"""The knobs of the simulator, as its parts pass them around."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray

_CHANCES = (
    "wiring", "resp_frac", "pert_resp", "dominance", "inert", "activating", "shared", "state_frac", "dead_guides",
    "escape",
)  # fmt: skip
#: Whole numbers, and the least that each may be.
_WHOLE = {
    "n_genes": 2, "n_regulators": 1, "n_other": 0, "n_controls": 1, "n_programs": 1, "n_states": 1, "n_donors": 1,
    "n_batches": 1, "guides": 1, "n_housekeeping": 0,
}  # fmt: skip
_AMOUNTS = (
    "cells_per_perturbation", "loading", "program_sd", "amplitude", "out_degree", "hub_sd", "weight", "u_sd", "q_sd",
    "state_sd", "donor_sd", "batch_sd", "batch_depth_sd", "cells_sd", "die", "depth_sd", "depth_stress", "log_mean_sd",
    "dispersion_low",
)  # fmt: skip


@dataclass(frozen=True)
class Knobs:
    """Parameters of :func:`scepsis.datasets.simulate_screen`, explained and given their defaults there."""

    n_genes: int
    n_regulators: int
    n_other: int
    n_controls: int
    cells_per_perturbation: float
    wiring: float
    resp_bias: float
    resp_frac: float
    pert_resp: float
    n_programs: int
    dominance: float
    loading: float
    program_sd: float
    amplitude: float
    inert: float
    out_degree: float
    hub_sd: float
    weight: float
    activating: float
    shared: float
    spectral_radius: float
    u_sd: float
    q_sd: float
    n_states: int
    shares: Sequence[float] | None
    state_frac: float
    state_sd: float
    n_donors: int
    donor_sd: float
    n_batches: int
    batch_sd: float
    batch_depth_sd: float
    guides: int
    efficiency: float
    dead_guides: float
    escape: float
    cells_sd: float
    die: float
    depth: float
    depth_sd: float
    depth_stress: float
    n_housekeeping: int
    housekeeping_log_mean: float
    log_mean: float
    log_mean_sd: float
    log_mean_floor: float
    dispersion: float
    dispersion_low: float

    @property
    def n_perturbed(self) -> int:
        return self.n_regulators + self.n_other

    @property
    def state_shares(self) -> FloatArray:
        """Share of cells in each state: .30, .25, .20, .15, .10 for five, unless `shares` says otherwise."""
        weights = np.arange(self.n_states + 1, 1, -1.0) if self.shares is None else np.asarray(self.shares, dtype=float)
        shares: FloatArray = weights / weights.sum()
        return shares

    def check(self) -> None:
        """Raise `ValueError` for a knob out of its range."""
        values = asdict(self)
        for name in _CHANCES:
            _require(0 <= values[name] <= 1, name, values, "between 0 and 1")
        for name in _AMOUNTS:
            _require(0 <= values[name] < np.inf, name, values, "finite and not negative")
        for name, least in _WHOLE.items():
            whole = isinstance(values[name], int | np.integer) and not isinstance(values[name], bool)
            _require(whole and values[name] >= least, name, values, f"a whole number, at least {least}")
        for name in ("resp_bias", "log_mean", "housekeeping_log_mean"):
            _require(np.isfinite(values[name]), name, values, "finite")
        for name in ("depth", "dispersion"):
            _require(0 < values[name] < np.inf, name, values, "finite and positive")
        _require(0 < self.efficiency < 1, "efficiency", values, "between 0 and 1, both excluded")
        _require(0 <= self.spectral_radius < 1, "spectral_radius", values, "at least 0 and below 1")
        taken = self.n_perturbed + self.n_housekeeping
        if taken > self.n_genes:
            msg = (
                f"`n_regulators`, `n_other` and `n_housekeeping` ask for {taken} genes; "
                f"`n_genes={self.n_genes}` is too few."
            )
            raise ValueError(msg)
        if self.shares is not None and (
            len(self.shares) != self.n_states or min(self.shares) < 0 or not np.isclose(sum(self.shares), 1)
        ):
            msg = f"`shares` must be {self.n_states} numbers (`n_states`) that sum to 1, not {self.shares!r}."
            raise ValueError(msg)


def _require(holds: Any, name: str, values: dict[str, Any], what: str) -> None:
    if not holds:
        msg = f"`{name}` must be {what}, not {values[name]!r}."
        raise ValueError(msg)
