"""Residual edges of all kinds, and how they rank a reference network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_sets import EdgeSet
from scepsis._core._edge_slots import EdgeArray
from scepsis._core._rng import child
from scepsis.stats._auroc import mann_whitney
from scepsis.stats._boosted import boosted
from scepsis.stats._node_effects import node_effects
from scepsis.stats._planted import DELTAS, planted
from scepsis.stats._residual import N_FOLDS, Pairs, gene_blocks, ols, pair_folds
from scepsis.stats._retention import Known, pooled, retained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scepsis._core._edge_pairs import EdgePairs
    from scepsis._core._network import Network
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.stats._boosted import Trees
    from scepsis.stats._residual import Explained, Split
    from scepsis.stats._retention import Pooled, Retained

NAME = "residualize_edges"


@dataclass
class Column:
    """One set of edges, or the signed value of one, and what is left of it."""

    one: EdgeSet
    #: Whether the signed value of signed edges is meant, which stands beside their magnitude.
    signed: bool
    values: FloatArray
    #: Residuals by residualizer and split, as stored: in 32 bits.
    residuals: dict[tuple[str, str], FloatArray] = field(default_factory=dict)
    r2: dict[tuple[str, str], float] = field(default_factory=dict)
    #: Pairs that the edges and all their residuals have, and whether the edges are the same for all of them.
    known: Known | None = None
    is_constant: bool = False
    retained: dict[tuple[str, str], Retained] = field(default_factory=dict)
    #: AUROC for each seed of the folds.
    by_seed: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    #: AUROC of residuals of edges with a planted signal, by residualizer and strength.
    detection: dict[tuple[str, float], Pooled] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    residualizers: Sequence[str]
    splits: Sequence[str]
    n_seeds: int
    trees: Trees
    margin: float
    min_units: int
    n_boot: int
    n_jobs: int
    seed: int

    def n_fits(self, target: Target | None) -> int:
        """How often a residualizer is run."""
        of_seed = sum(name != "node" for name in self.residualizers) * len(self.splits)
        return ("node" in self.residualizers) + of_seed * (1 if target is None else self.n_seeds)


@dataclass(frozen=True)
class Target:
    """A reference network over the pairs of a panel."""

    network: Network
    pairs: EdgePairs

    def scores(self, matrix: FloatArray) -> FloatArray:
        """What a matrix over the panel says of every pair of the network."""
        edges = EdgeArray(matrix, self.pairs.genes, {"signed": False})
        return self.network.scores(EdgeSet("", "edges", edges, ""))

    def known(self, matrices: Sequence[FloatArray]) -> Known:
        """Pairs that all matrices have."""
        valid = self.network.candidate.copy()
        for one in matrices:
            valid &= ~np.isnan(self.scores(one))
        return Known(self.network.listed, valid, self.network.universe == "unordered")

    def wanted(self) -> BoolArray:
        """Pairs of the panel that are scored."""
        every = np.ones(self.pairs.mask.shape, dtype=bool)
        return every if self.network.universe == "unordered" else every & self._rows()[:, None]

    def listed(self) -> BoolArray:
        """Listed pairs, over the panel."""
        result = np.zeros(self.pairs.mask.shape, dtype=bool)
        result[self._rows()] = self.network.listed
        return result

    def _rows(self) -> BoolArray:
        rows: BoolArray = np.isin(self.pairs.genes, self.network.sources)
        return rows


def columns_of(pairs: EdgePairs) -> list[Column]:
    """Each set of edges by magnitude, and signed sets by their value too."""
    result = [Column(one, signed=False, values=pairs.values(one)) for one in pairs.sets]
    signed = [one for one in pairs.sets if one.is_signed]
    return result + [Column(one, signed=True, values=pairs.values(one, signed=True)) for one in signed]


def split_of(kind: str, mask: BoolArray, seed: int, number: int) -> Split:
    """Blocks of genes, or folds of pairs; the same for every set of edges."""
    rng = child(seed, kind, number)
    return gene_blocks(len(mask), rng) if kind == "gene" else pair_folds(mask, N_FOLDS, rng)


def residualize(
    columns: Sequence[Column], pairs: EdgePairs, target: Target | None, plan: Plan, tick: Callable[[], object]
) -> None:
    """Fill in residuals, and, with a network, everything that is said of them."""
    known = Pairs.of(pairs.mask, pairs.features)
    values = [one.values for one in columns]
    if "node" in plan.residualizers:
        _keep(columns, ("node", "own_pair"), node_effects(values, pairs.mask))
        tick()
    for number in range(plan.n_seeds if target else 1):
        chosen = list(columns) if number == 0 else [one for one in columns if not one.signed]
        for kind in plan.splits:
            split = split_of(kind, pairs.mask, plan.seed, number)
            for learner in (name for name in plan.residualizers if name != "node"):
                found = _fit(learner, [one.values for one in chosen], known, split, plan, (kind, number), target)
                if number == 0:
                    _keep(columns, (learner, kind), found)
                if target:
                    _score(chosen, (learner, kind), found, target)
                tick()
    if target:
        for one in columns:
            _compare(one, target, plan)
            _plant(one, known, target, plan)


def _fit(
    learner: str,
    values: Sequence[FloatArray],
    pairs: Pairs,
    split: Split,
    plan: Plan,
    name: tuple[str, int],
    target: Target | None,
) -> list[Explained]:
    if learner == "ols":
        return ols(values, pairs, split)
    wanted = target.wanted() if target and name[1] else None  # the first seed is what is stored
    return boosted(values, pairs, split, trees=plan.trees, seed=plan.seed, name=name, wanted=wanted, n_jobs=plan.n_jobs)


def _keep(columns: Sequence[Column], which: tuple[str, str], found: Sequence[Explained]) -> None:
    for one, explained in zip(columns, found, strict=True):
        one.residuals[which] = explained.residual.astype(np.float32)
        one.r2[which] = explained.r2(one.values)


def _score(columns: Sequence[Column], which: tuple[str, str], found: Sequence[Explained], target: Target) -> None:
    for one, explained in zip(columns, found, strict=True):
        residual = explained.residual.astype(np.float32)
        scores, known = target.scores(residual), target.known([one.values, residual])
        area = mann_whitney(scores[known.valid & known.listed], scores[known.valid & ~known.listed])
        one.by_seed.setdefault(which, []).append(area)


def _compare(column: Column, target: Target, plan: Plan) -> None:
    """Score raw and residual edges on the pairs that all of them have."""
    made = {which: one for which, one in column.residuals.items() if not np.isnan(one).all()}
    known = target.known([column.values, *made.values()])
    raw = target.scores(column.values)
    found = retained(
        raw,
        [target.scores(one) for one in made.values()],
        known,
        margin=plan.margin,
        min_units=plan.min_units,
        n_boot=plan.n_boot,
        rng=child(plan.seed, NAME, "bootstrap"),
    )
    column.known, column.retained = known, dict(zip(made, found, strict=True))
    column.is_constant = bool(known.n) and float(np.ptp(raw[known.valid])) == 0


def _plant(column: Column, pairs: Pairs, target: Target, plan: Plan) -> None:
    """
    Residualize edges with a planted signal.

    OLS and node effects are fitted anew; boosted trees are not, since a few listed pairs hardly move them.
    """
    listed = target.listed() & pairs.mask
    made = {name: one for (name, kind), one in column.residuals.items() if kind != "pair" and not np.isnan(one).all()}
    if column.signed or not listed.any():
        return
    masked = np.where(pairs.mask, column.values, np.nan)
    split = split_of("gene", pairs.mask, plan.seed, 0)
    for delta in DELTAS:
        values = planted(masked, listed, delta, child(plan.seed, NAME, "planted"))
        for name, residual in made.items():
            if name == "gbdt":
                left = residual + np.nan_to_num(values - masked)
            else:
                (anew,) = node_effects([values], pairs.mask) if name == "node" else ols([values], pairs, split)
                left = anew.residual
            column.detection[name, delta] = pooled(target.scores(left), target.known([left]))
