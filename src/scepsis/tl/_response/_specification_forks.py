"""Forks of a specification curve: what can be chosen, and what is the same in all specifications."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._gene_table import FEATURES, gene_features
from scepsis._core._keys import EffectKeys
from scepsis._core._screen import MAKER
from scepsis._core._validate import listing, require_choice, require_positive
from scepsis.tl._response._specification_tables import LEARNERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._edge_slots import EdgeArray
    from scepsis._core._types import Direction
    from scepsis.stats._learners import Learner


@dataclass(frozen=True)
class Forks:
    """Values of every fork."""

    directions: tuple[Any, ...]
    residualizers: tuple[str, ...]
    gene_models: tuple[str, ...]
    min_targets: tuple[int, ...]
    lfc_thresholds: tuple[float, ...]

    @property
    def features(self) -> list[str]:
        return [name for name in self.gene_models if name in FEATURES]

    @property
    def learners(self) -> list[Learner]:
        return [name for name in LEARNERS if name in self.gene_models]


@dataclass(frozen=True)
class Rules:
    """What is the same in all specifications."""

    effects: str | None
    reference: pd.DataFrame | None
    gene_symbols: str | None
    min_candidates: int
    min_positives: int
    min_units: int
    n_jobs: int
    seed: int


def chosen(values: Sequence[str], known: Sequence[str], argument: str) -> tuple[Any, ...]:
    """Names that are known, each once."""
    names = [values] if isinstance(values, str) else list(values)
    if not names:
        msg = f"`{argument}` is empty; it takes some of {listing(known)}."
        raise ValueError(msg)
    for name in names:
        require_choice(name, known, argument=argument)
    return tuple(dict.fromkeys(names))


def check(adata: AnnData, forks: Forks, rules: Rules) -> None:
    """Raise for what cannot be run."""
    if rules.effects is None and rules.reference is None:
        msg = "There is nothing to score edges against: pass a `reference`, or `effects`, or both."
        raise ValueError(msg)
    if rules.effects is not None and EffectKeys(rules.effects).uns not in adata.uns:
        msg = (
            f"There are no effects {rules.effects!r}: `adata.uns[{EffectKeys(rules.effects).uns!r}]` does not exist. "
            f"Call `{MAKER}` first, or pass `effects=None` with a reference."
        )
        raise KeyError(msg)
    gene_features(adata)
    if rules.reference is not None and not forks.min_targets:
        msg = "`min_targets` is empty."
        raise ValueError(msg)
    for argument, values, minimum in (
        ("min_targets", forks.min_targets, 1),
        ("lfc_thresholds", forks.lfc_thresholds, 0),
    ):
        for value in values:
            require_positive(value, argument=argument, minimum=minimum)
    for argument, minimum in (("min_candidates", 1), ("min_positives", 1), ("min_units", 2)):
        require_positive(getattr(rules, argument), argument=argument, minimum=minimum)


def as_read(one: EdgeSet, direction: Direction) -> EdgeArray:
    """Magnitudes of edges as they are read in a direction, with their record."""
    magnitude = np.abs if one.is_signed else np.asarray
    values = magnitude(one.edges.values)
    if direction == "target":
        values = values.T
    elif direction == "max":
        values = np.maximum(values, values.T)
    elif direction == "mean":
        values = (values + values.T) / 2
    return replace(one.edges, values=np.ascontiguousarray(values), params=one.params and one.params | {"signed": False})
