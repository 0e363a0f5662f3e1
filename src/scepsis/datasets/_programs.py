"""Co-expression programmes: which genes respond together, in control cells and to perturbations alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._rng import child

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.datasets._knobs import Knobs
    from scepsis.datasets._panel import Panel

_LOADING_SHAPE = 4.0
_UP = 0.6
_BACKGROUND_SD = 0.05
_CONCENTRATION = 3.0
_AMPLITUDE_SPREAD = 0.5
#: A stronger response would move the total of the cell, and with it every normalised gene.
_AMPLITUDE_CAP = 2.5
_REVERSED = 0.15


@dataclass(frozen=True)
class Programs:
    """Loadings of the genes."""

    #: Programmes x genes.
    loadings: FloatArray
    #: Genes that belong to a programme.
    responder: BoolArray


@dataclass(frozen=True)
class Responses:
    """How far, and along which programmes, each perturbation moves the cells."""

    #: Perturbations; 0 for an inert one.
    amplitude: FloatArray
    #: Perturbations x programmes; absolute values sum to 1.
    direction: FloatArray


def draw_programs(knobs: Knobs, panel: Panel, seed: int) -> Programs:
    """Draw who responds (the more expressed, the likelier), in which programme, and how strongly."""
    n = panel.n_genes
    responder = child(seed, "responders").random(n) < _responder_chance(knobs, panel)
    program = child(seed, "programme of a responder").integers(knobs.n_programs, size=n)
    program[child(seed, "dominant programme").random(n) < knobs.dominance] = 0
    size = child(seed, "loadings").gamma(_LOADING_SHAPE, knobs.loading / _LOADING_SHAPE, n)
    sign = np.where(child(seed, "signs of loadings").random(n) < _UP, 1.0, -1.0)
    loadings = child(seed, "background loadings").normal(0.0, _BACKGROUND_SD, (n, knobs.n_programs)).T
    genes = np.flatnonzero(responder)
    loadings[program[genes], genes] += (sign * size)[genes]
    return Programs(loadings, responder)


def _responder_chance(knobs: Knobs, panel: Panel) -> FloatArray:
    """Give every gene's probability of responding; over the ordinary genes it averages `resp_frac`."""
    slope = knobs.resp_bias * panel.expression
    ordinary = ~panel.perturbed & ~panel.housekeeping
    low, high = -100.0, 100.0
    for _ in range(80):
        middle = (low + high) / 2
        if ordinary.any() and _logistic(middle + slope[ordinary]).mean() < knobs.resp_frac:
            low = middle
        else:
            high = middle
    chance = np.where(ordinary, _logistic(low + slope), 0.0)
    chance[panel.perturbed] = knobs.pert_resp
    return chance


def _logistic(x: FloatArray) -> FloatArray:
    return 0.5 * (1 + np.tanh(x / 2))


def draw_responses(knobs: Knobs, seed: int) -> Responses:
    """Draw every perturbation's amplitude and its mixture of programmes, most of it in the dominant one."""
    n, n_programs = knobs.n_perturbed, knobs.n_programs
    spread = child(seed, "amplitudes").normal(size=n)
    size = np.minimum(knobs.amplitude * np.exp(_AMPLITUDE_SPREAD * spread - _AMPLITUDE_SPREAD**2 / 2), _AMPLITUDE_CAP)
    size[child(seed, "inert perturbations").random(n) < knobs.inert] = 0.0
    share = max(knobs.dominance, 1 / n_programs)
    weights = np.full(n_programs, (1 - share) / max(n_programs - 1, 1))
    weights[0] = share
    mixture = child(seed, "mixtures").standard_gamma(np.maximum(_CONCENTRATION * weights, 1e-3), size=(n, n_programs))
    mixture /= np.maximum(mixture.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    reversed_ = child(seed, "reversed perturbations").random(n) < _REVERSED
    return Responses(size, np.where(reversed_[:, None], -mixture, mixture))
