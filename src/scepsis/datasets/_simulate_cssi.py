from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData

from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record
from scepsis._core._validate import require_choice, require_positive

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray, Seed

Design = Literal["states", "types", "held_out"]
ALL = "all"
#: Shares of the eight types.
SHARES = (0.30, 0.15, 0.10, 0.10, 0.20, 0.05, 0.05, 0.05)


def simulate_cssi(
    *,
    design: Design = "states",
    n_states: int = 6,
    cells_per_state: int = 100,
    effect: float = 0.5,
    n_cells: int = 3000,
    rng: Seed = 0,
) -> AnnData:
    r"""
    Simulate cells whose edges belong to states, in one of the three designs of the paper :cite:p:`kendiukhov2026`.

    ``"states"`` is its synthetic design: 5 regulators and 25 targets, all standard normal; 2 edges of all states and
    :math:`\max(2, \lfloor 12 / S \rfloor)` private edges of each of the :math:`S` states. Within the states of an edge
    the target is raised by `effect` times the regulator, so that they correlate by
    :math:`0.5 / \sqrt{1.25} = 0.447`.

    ``"types"`` is its structured design: 15 regulators, 30 targets and 200 other genes; eight cell types of 30, 15,
    10, 10, 20, 5, 5 and 5 %; 3 edges of all types and 19 of one type. A gene without a regulator is
    :math:`|N(2, 0.5)|`, one with is 0.7 times its regulators plus :math:`N(0, 0.3)`; 15 % of the values are set to 0.

    ``"held_out"`` is the design of its split halves: 50 genes and 20 edges, each of one state. Regulators are standard
    normal, targets :math:`N(0, 0.5)` plus, in its state, 0.4 times the regulator, so that they correlate by
    :math:`0.4 / \sqrt{0.4^2 + 0.5^2} = 0.625`.

    Parameters
    ----------
    design
        Which.
    n_states
        States, of ``"states"`` (at most 61, for each pair of genes has one edge) and ``"held_out"`` (at most 20).
    cells_per_state
        Cells of each, of both.
    effect
        Weight of an edge, of ``"states"``.
    n_cells
        Cells in all, of ``"types"``.
    rng
        Seed of edges and cells.

    Returns
    -------
    Annotated data with

    ``X``
        cells x genes, float32, marked as log-normalised. Standard normal values are all raised by one number, which
        no correlation sees, so that none is negative.
    ``obs["cell_state"]``
        categorical.
    ``var["is_regulator"]``, ``["is_target"]``
        roles.
    ``uns["simulate_cssi"]``
        ``params`` and ``network`` (``source``, ``target``, ``state``, which is ``"all"`` for a shared edge).

    Raises
    ------
    ValueError
        A number out of its range.

    Notes
    -----
    The paper tells of the second design as a validation on real data; it is this simulation. Where its description
    leaves a choice, it is made here: edges are drawn among all pairs of a regulator and a target without replacement;
    of the third design, 10 of the genes are regulators.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.simulate_cssi(n_states=6, cells_per_state=100)
    >>> adata.shape, len(adata.uns["simulate_cssi"]["network"])
    ((600, 30), 14)
    >>> sps.tl.cssi(adata, groupby="cell_state")
    """
    require_choice(design, get_args(Design), argument="design")
    seed = resolve_seed(rng)
    if design != "types":
        require_positive(n_states, argument="n_states")
        require_positive(cells_per_state, argument="cells_per_state", minimum=2)
        most, why = (61, "there are 125 pairs of genes") if design == "states" else (20, "there are 20 edges")
        if n_states > most:
            msg = f"`n_states` must be at most {most}, not {n_states}: {why}, and each state has edges of its own."
            raise ValueError(msg)
        state = np.repeat(np.arange(n_states), cells_per_state)
        if design == "states":
            n_private = n_states * max(2, 12 // n_states)
            world = _World.drawn(5, 25, 0, n_states, n_shared=2, n_private=n_private, seed=seed)
            noise = 1.0
        else:
            world = _World.drawn(10, 40, 0, n_states, n_shared=0, n_private=20, seed=seed)
            effect, noise = 0.4, 0.5
        values = _standard(world, state, effect, noise, child(seed, "cells"))
        params = record(design=design, n_states=n_states, cells_per_state=cells_per_state, effect=effect, seed=seed)
    else:
        require_positive(n_cells, argument="n_cells", minimum=20)
        world = _World.drawn(15, 30, 200, len(SHARES), n_shared=3, n_private=19, seed=seed)
        sizes = np.diff(np.round(np.cumsum([0, *SHARES]) * n_cells).astype(int))
        state = np.repeat(np.arange(len(SHARES)), sizes)
        values = _structured(world, state, child(seed, "cells"))
        params = record(design=design, n_cells=n_cells, seed=seed)
    return world.assembled(values, state, params)


@dataclass(frozen=True)
class _World:
    """Genes, and edges among them."""

    n_regulators: int
    n_targets: int
    n_others: int
    n_states: int
    #: Regulator and target of every edge, and its state; -1 for one of all states.
    source: IntArray
    target: IntArray
    state: IntArray

    @classmethod
    def drawn(
        cls,
        n_regulators: int,
        n_targets: int,
        n_others: int,
        n_states: int,
        *,
        n_shared: int,
        n_private: int,
        seed: int,
    ) -> _World:
        pairs = child(seed, "edges").permutation(n_regulators * n_targets)[: n_shared + n_private]
        state = np.r_[np.full(n_shared, -1), np.arange(n_private) % n_states]
        source, target = pairs // n_targets, n_regulators + pairs % n_targets
        return cls(n_regulators, n_targets, n_others, n_states, source, target, state)

    @property
    def n_genes(self) -> int:
        return self.n_regulators + self.n_targets + self.n_others

    def assembled(self, values: FloatArray, state: IntArray, params: dict[str, object]) -> AnnData:
        names = np.array(
            [f"TF{number}" for number in range(1, self.n_regulators + 1)]
            + [f"TARGET{number}" for number in range(1, self.n_targets + 1)]
            + [f"GENE{number}" for number in range(1, self.n_others + 1)],
            dtype=object,
        )
        states = [f"state{number}" for number in range(1, self.n_states + 1)]
        cells = [f"cell{number:05d}" for number in range(1, len(state) + 1)]
        labels = pd.Categorical.from_codes(state, categories=pd.Index(states))
        gene = np.arange(self.n_genes)
        roles = {
            "is_regulator": gene < self.n_regulators,
            "is_target": (gene >= self.n_regulators) & (gene < self.n_regulators + self.n_targets),
        }
        adata = AnnData(
            values.astype(np.float32),
            obs=pd.DataFrame({"cell_state": labels}, index=cells),
            var=pd.DataFrame(roles, index=names),
        )
        network = {
            "source": names[self.source],
            "target": names[self.target],
            "state": np.array([*states, ALL], dtype=object)[self.state],
        }
        adata.uns["log1p"] = {"base": None}
        adata.uns["simulate_cssi"] = {"params": params, "network": pd.DataFrame(network)}
        return adata


def _standard(world: _World, state: IntArray, effect: float, noise: float, rng: np.random.Generator) -> FloatArray:
    """Normal genes, targets (of sd `noise`) raised by their regulators where the edge is at work; none below zero."""
    values = rng.standard_normal((len(state), world.n_genes))
    values[:, world.n_regulators :] *= noise
    for source, target, where in zip(world.source, world.target, world.state, strict=True):
        cells = (state == where) | (where < 0)
        values[cells, target] += effect * values[cells, source]
    shifted: FloatArray = values + np.ceil(-values.min())
    return shifted


def _structured(world: _World, state: IntArray, rng: np.random.Generator) -> FloatArray:
    """Positive genes, targets made of their regulators where an edge is at work, and values lost at random."""
    values = np.abs(rng.normal(2, 0.5, (len(state), world.n_genes)))
    made = np.zeros_like(values)
    regulated = np.zeros(values.shape, dtype=bool)
    for source, target, where in zip(world.source, world.target, world.state, strict=True):
        cells = (state == where) | (where < 0)
        made[cells, target] += 0.7 * values[cells, source]
        regulated[cells, target] = True
    made += rng.normal(0, 0.3, values.shape)
    values = np.where(regulated, np.maximum(made, 0), values)
    return np.where(rng.random(values.shape) < 0.15, 0.0, values)
