"""A directed, signed network of regulators and their targets, with edges that live in one cell state only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._rng import child

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.datasets._knobs import Knobs
    from scepsis.datasets._panel import Panel

_DEGREE_SPREAD = 0.5
_MIN_DEGREE = 2
#: In-degree grows a little with expression.
_EXPRESSION_BIAS = 0.21
_WEIGHT_SD = 0.2
_MIN_WEIGHT = 0.15
_STATE_FACTOR = 1.3


@dataclass(frozen=True)
class Network:
    """Edges from regulators (the first genes of the panel) to all genes."""

    #: States x regulators x genes: change of log expression per unit of the regulator's log expression.
    direct: FloatArray
    #: States x regulators x genes: the same along all paths, a regulator's effect on itself included.
    total: FloatArray
    #: Regulators x genes, bool.
    edge: BoolArray
    #: Regulators x genes: the one state that an edge lives in, -1 for an edge that all states share.
    state: IntArray


def draw_network(knobs: Knobs, panel: Panel, seed: int) -> Network:
    """Draw the network; every pair has draws of its own, so more edges keep those there were."""
    shape = (panel.n_regulators, panel.n_genes)
    edge = _draw_edges(knobs, panel, seed)
    size = np.maximum(child(seed, "weights").normal(knobs.weight, _WEIGHT_SD, shape), _MIN_WEIGHT)
    sign = np.where(child(seed, "signs of edges").random(shape) < knobs.activating, 1.0, -1.0)
    everywhere = child(seed, "shared edges").random(shape) < knobs.shared
    state = child(seed, "states of edges").integers(knobs.n_states, size=shape)
    state[everywhere] = -1
    signed = np.where(edge, sign * size * np.where(everywhere, 1.0, _STATE_FACTOR), 0.0)
    direct = np.stack(
        [damped(np.where(everywhere | (state == s), signed, 0.0), knobs.spectral_radius) for s in range(knobs.n_states)]
    )
    return Network(direct, np.stack([total_effect(weights) for weights in direct]), edge, state)


def _draw_edges(knobs: Knobs, panel: Panel, seed: int) -> BoolArray:
    """Targets without replacement, by the largest of log probability plus Gumbel noise."""
    n_regulators = panel.n_regulators
    spread = child(seed, "out-degrees").normal(size=n_regulators)
    degree = np.rint(knobs.out_degree * np.exp(_DEGREE_SPREAD * spread - _DEGREE_SPREAD**2 / 2)).astype(int)
    hubs = child(seed, "hubs").normal(size=panel.n_genes)
    log_chance = knobs.hub_sd * hubs + _EXPRESSION_BIAS * panel.expression
    log_chance[:n_regulators] -= np.log(2)
    log_chance[panel.housekeeping] = -np.inf
    key = log_chance + child(seed, "targets").gumbel(size=(n_regulators, panel.n_genes))
    np.fill_diagonal(key, -np.inf)
    place = np.argsort(np.argsort(-key, axis=1, kind="stable"), axis=1, kind="stable")
    chosen: BoolArray = (place < np.maximum(degree, _MIN_DEGREE)[:, None]) & np.isfinite(key)
    return chosen


def damped(weights: FloatArray, spectral_radius: float) -> FloatArray:
    """Scale the edges among regulators so that effects die out along paths."""
    among = weights[:, : len(weights)]
    radius = np.abs(np.linalg.eigvals(among)).max(initial=0.0)
    if radius > spectral_radius:
        weights = weights.copy()
        weights[:, : len(weights)] *= spectral_radius / radius
    return weights


def total_effect(weights: FloatArray) -> FloatArray:
    """Sum over all paths: ``(I - W)^-1`` among regulators, and that times W to the other genes."""
    n = len(weights)
    among = np.linalg.inv(np.eye(n) - weights[:, :n])
    return np.concatenate([among, among @ weights[:, n:]], axis=1)
