"""Cells of a simulated screen, arm by arm: design, log rates, counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from scepsis._core._rng import child

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray
    from scepsis.datasets._knobs import Knobs
    from scepsis.datasets._world import World

CONTROL = "non-targeting"
N_CONTROL_GUIDES = 10
#: Knock-down at which a perturbation acts with its full amplitude.
_FULL_KNOCKDOWN = 0.8
_FEWEST_CELLS = 20
#: Bound of the log rate; far above the housekeeping genes, whose depth it must not clip.
_MAX_LOG_RATE = 9.0


@dataclass(frozen=True)
class Arm:
    """Cells of one perturbation, or the control cells."""

    label: str
    #: Position of the perturbed gene; -1 for controls.
    target: int
    guide: IntArray
    state: IntArray
    donor: IntArray
    batch: IntArray
    #: Share of the perturbed gene's expression that is gone.
    knockdown: FloatArray
    log_depth: FloatArray
    quality: FloatArray
    counts: sparse.csr_matrix


def draw_screen(knobs: Knobs, world: World, seed: int) -> list[Arm]:
    """
    Draw control cells, then every perturbation's.

    Generators belong to the arm, so no arm changes what is in another, and the design of a larger arm begins with
    that of the smaller one.
    """
    names, sizes = world.panel.names, _draw_sizes(knobs, world, seed)
    return [
        _draw_arm(knobs, world, seed, CONTROL, -1, knobs.n_controls),
        *(_draw_arm(knobs, world, seed, names[target], target, int(size)) for target, size in enumerate(sizes)),
    ]


def _draw_sizes(knobs: Knobs, world: World, seed: int) -> IntArray:
    """Cells per perturbation: those that respond strongly are lost."""
    if not knobs.cells_per_perturbation:
        return np.zeros(knobs.n_perturbed, dtype=int)
    spread = knobs.cells_sd * child(seed, "cells per perturbation").normal(size=knobs.n_perturbed)
    lost = knobs.die * (1 - knobs.wiring) * world.responses.amplitude
    size = np.rint(knobs.cells_per_perturbation * np.exp(spread - lost)).astype(int)
    return np.asarray(np.maximum(size, _FEWEST_CELLS))


def _draw_arm(knobs: Knobs, world: World, seed: int, label: str, target: int, n: int) -> Arm:
    panel = world.panel
    state = np.searchsorted(
        np.cumsum(knobs.state_shares)[:-1], child(seed, label, "state").random(n), side="right"
    ).astype(int)
    donor = child(seed, label, "donor").integers(knobs.n_donors, size=n)
    batch = child(seed, label, "batch").integers(knobs.n_batches, size=n)
    guide = child(seed, label, "guide").integers(N_CONTROL_GUIDES if target < 0 else knobs.guides, size=n)
    knockdown = np.zeros(n)
    if target >= 0:
        reaches = child(seed, label, "escape").random(n) >= knobs.escape
        knockdown[reaches] = world.reached[target, guide[reaches]]

    factors = child(seed, label, "programmes").normal(0.0, knobs.program_sd, (n, knobs.n_programs))
    activity = child(seed, label, "activities").normal(0.0, knobs.u_sd, (n, knobs.n_regulators))
    quality = child(seed, label, "quality").normal(0.0, knobs.q_sd, n)
    log_depth = child(seed, label, "depth").normal(np.log(knobs.depth), knobs.depth_sd, n)
    log_depth += world.shifts.batch_depth[batch]
    if target >= 0:
        push = (1 - knobs.wiring) * world.responses.amplitude[target] * knockdown / _FULL_KNOCKDOWN
        factors += push[:, None] * world.responses.direction[target]
        log_depth -= knobs.depth_stress * push

    sensitivity = np.where(panel.housekeeping, 0.0, np.clip(0.6 + 0.3 * panel.expression, 0.0, 1.5))
    eta = panel.log_mean + world.shifts.state[state] + world.shifts.donor[donor] + world.shifts.batch[batch]
    eta += factors @ world.programs.loadings + quality[:, None] * sensitivity
    eta += _through_network(knobs, world, state, activity, target, np.log1p(-knockdown))
    mean = np.exp(np.minimum(eta + log_depth[:, None], _MAX_LOG_RATE))
    counts = draw_counts(seed, label, mean, panel.dispersion)
    return Arm(label, target, guide, state, donor, batch, knockdown, log_depth, quality, counts)


def _through_network(
    knobs: Knobs, world: World, state: IntArray, activity: FloatArray, target: int, lost: FloatArray
) -> FloatArray:
    """Log rates from regulator activities, from the knock-down itself, and from its way along the edges."""
    total = world.network.total
    result = np.empty((len(state), total.shape[2]))
    for s, effect in enumerate(total):
        here = state == s
        result[here] = activity[here] @ effect
        if 0 <= target < len(effect):
            onwards = np.where(np.arange(effect.shape[1]) == target, 0.0, effect[target])
            result[here] += knobs.wiring * lost[here, None] * onwards
    if target >= 0:
        result[:, target] += lost
    return result


def draw_counts(seed: int, label: str, mean: FloatArray, dispersion: FloatArray) -> sparse.csr_matrix:
    """Negative binomial counts: Poisson around a Gamma of mean `mean`, variance ``mean + dispersion * mean**2``."""
    noise = child(seed, label, "over-dispersion").standard_gamma(1 / dispersion, size=mean.shape)
    return sparse.csr_matrix(child(seed, label, "counts").poisson(noise * (dispersion * mean)).astype(np.float32))
