"""All that the cells of a simulated screen have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._rng import child
from scepsis.datasets._network import draw_network
from scepsis.datasets._panel import draw_panel
from scepsis.datasets._programs import draw_programs, draw_responses

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.datasets._knobs import Knobs
    from scepsis.datasets._network import Network
    from scepsis.datasets._panel import Panel
    from scepsis.datasets._programs import Programs, Responses

_HOUSEKEEPING_STATE_FACTOR = 0.2
_EFFICIENCY_CONCENTRATION = 10.0
_MAX_KNOCKDOWN = 0.97


@dataclass(frozen=True)
class Shifts:
    """What states, donors and batches do to every gene, in natural logs: groups x genes."""

    state: FloatArray
    donor: FloatArray
    batch: FloatArray
    #: Log depth of every batch.
    batch_depth: FloatArray


@dataclass(frozen=True)
class World:
    """Genes, programmes, network, guides: what another sample of cells would share."""

    panel: Panel
    programs: Programs
    responses: Responses
    network: Network
    shifts: Shifts
    #: Perturbed genes x guides: share of the gene's expression that a guide takes away.
    reached: FloatArray


def draw_world(knobs: Knobs, seed: int) -> World:
    """Draw everything but cells."""
    panel = draw_panel(knobs, seed)
    return World(
        panel=panel,
        programs=draw_programs(knobs, panel, seed),
        responses=draw_responses(knobs, seed),
        network=draw_network(knobs, panel, seed),
        shifts=_draw_shifts(knobs, panel, seed),
        reached=_draw_guides(knobs, seed),
    )


def _draw_shifts(knobs: Knobs, panel: Panel, seed: int) -> Shifts:
    """A state moves a share of the genes; donors and batches move all of them a little."""
    n = panel.n_genes
    state = child(seed, "state shifts").normal(0.0, knobs.state_sd, (knobs.n_states, n))
    state[child(seed, "genes of a state").random((knobs.n_states, n)) >= knobs.state_frac] = 0.0
    state[:, panel.housekeeping] *= _HOUSEKEEPING_STATE_FACTOR
    return Shifts(
        state=state,
        donor=child(seed, "donor shifts").normal(0.0, knobs.donor_sd, (knobs.n_donors, n)),
        batch=child(seed, "batch shifts").normal(0.0, knobs.batch_sd, (knobs.n_batches, n)),
        batch_depth=child(seed, "batch depths").normal(0.0, knobs.batch_depth_sd, knobs.n_batches),
    )


def _draw_guides(knobs: Knobs, seed: int) -> FloatArray:
    shape = (knobs.n_perturbed, knobs.guides)
    reached = child(seed, "guide efficiencies").beta(
        _EFFICIENCY_CONCENTRATION * knobs.efficiency, _EFFICIENCY_CONCENTRATION * (1 - knobs.efficiency), shape
    )
    reached[child(seed, "dead guides").random(shape) < knobs.dead_guides] = 0.0
    return np.minimum(reached, _MAX_KNOCKDOWN)
