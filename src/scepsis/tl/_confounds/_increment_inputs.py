"""What `incremental_value` is asked for, and what the data can say to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from scepsis._core._types import Direction
from scepsis._core._validate import listing, require_choice, require_column
from scepsis.stats._held_out import RECALL
from scepsis.stats._learners import Learner
from scepsis.stats._splits import JointMode, Split
from scepsis.tl._confounds._increment_tables import Units

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._screen_pairs import ScreenPairs
    from scepsis._core._types import BoolArray, FloatArray


def listed(values: str | Sequence[Any]) -> tuple[Any, ...]:
    """Each value once; a single one may stand for itself."""
    return tuple(dict.fromkeys([values] if isinstance(values, str) else values))


def check_choices(
    splits: Sequence[str], learners: Sequence[str], metrics: Sequence[str], joint_mode: str, direction: str
) -> None:
    """Raise `ValueError` for a name that is not known."""
    for argument, values, known in (("splits", splits, get_args(Split)), ("learners", learners, get_args(Learner))):
        if not values:
            msg = f"`{argument}` is empty; it takes some of {listing(known)}."
            raise ValueError(msg)
        for value in values:
            require_choice(value, known, argument=argument)
    for value in metrics:
        number = str(value).removeprefix(RECALL)
        if value not in {"auroc", "auprc"} and not (number != value and number.isdecimal() and int(number) > 0):
            msg = f"`metrics` takes 'auroc', 'auprc' and 'recall@<k>' (such as 'recall@10'), not {value!r}."
            raise ValueError(msg)
    if not metrics:
        msg = "`metrics` is empty; it takes 'auroc', 'auprc' and 'recall@<k>'."
        raise ValueError(msg)
    require_choice(joint_mode, get_args(JointMode), argument="joint_mode")
    require_choice(direction, get_args(Direction), argument="direction")


def which_regulate(
    adata: AnnData, regulators: str | Sequence[str] | None, gene_symbols: str | None
) -> BoolArray | None:
    """Which genes of ``var`` are regulators; None if that is not asked."""
    names: pd.Index | pd.Series[Any] = adata.var_names
    if gene_symbols is not None:
        names = require_column(adata.var, gene_symbols, slot="var")
    if regulators is None:
        return None
    if isinstance(regulators, str):
        column = require_column(adata.var, regulators, slot="var", remedy="Or pass the names of regulators.")
        if column.dtype != bool:
            msg = f"`adata.var[{regulators!r}]` must be boolean, true for regulators, not {column.dtype}."
            raise TypeError(msg)
        return column.to_numpy()
    found: BoolArray = np.asarray(names.astype(str).isin([str(one) for one in regulators]))
    if not found.any():
        where = "adata.var_names" if gene_symbols is None else f"adata.var[{gene_symbols!r}]"
        msg = (
            f"None of the `regulators` ({listing(regulators, limit=3)}) is in `{where}` ({listing(names, limit=3)}). "
            "Pass `gene_symbols=`, the column of `adata.var` that they are written in."
        )
        raise ValueError(msg)
    return found


def strata_of(pairs: ScreenPairs, regulates: BoolArray | None, counted: BoolArray) -> dict[str, BoolArray]:
    """Which perturbations that count belong to each stratum; no strata without regulators."""
    if regulates is None:
        return {}
    gene = pairs.screen.gene[counted]
    is_regulator = (gene >= 0) & regulates[gene]
    return {"regulator": is_regulator, "other": ~is_regulator}


def status_of(pairs: ScreenPairs, one: EdgeSet, scores: FloatArray, counted: BoolArray) -> tuple[str, str]:
    """Status of all rows of a set of edges, and its reason."""
    labels = pairs.labels
    if np.isnan(scores[pairs.screen.gene >= 0]).all():
        return "missing_vocab", "no perturbed gene has an edge to a candidate"
    if not counted.any():
        if not (labels >= 0).any():
            return "too_few_units", "no pair has a label, features, and an edge in every set"
        if not (labels == 1).any():
            return "no_positives", "no candidate responds to any perturbation"
        if not (labels == 0).any():
            return "no_negatives", "every candidate responds to every perturbation"
        return "too_few_units", "no perturbation has enough responders among enough candidates"
    values = scores[counted][labels[counted] >= 0]
    if np.ptp(values) == 0:
        return "constant_score", "the edges of all pairs are the same"
    leaks = [what for what, leak in (("edges", pairs.leaks[one.name]), ("features", pairs.features_leak)) if leak]
    if leaks:
        return "label_leak", f"perturbed cells are among those behind the {' and the '.join(leaks)}"
    return "ok", ""


def units_of(pairs: ScreenPairs, counted: BoolArray) -> Units:
    """Perturbations, and why one does not count."""
    screen = pairs.screen
    n_pos, n_neg = ((pairs.labels == value).sum(axis=1) for value in (1, 0))
    given = np.array(screen.status, dtype=object)
    status = np.select(
        [~screen.scorable, screen.gene < 0, n_pos + n_neg == 0, n_pos == 0, n_neg == 0, ~counted],
        [given, "missing_vocab", "too_few_units", "no_positives", "no_negatives", "too_few_units"],
        default=given,
    )
    return Units(screen.names, status.tolist(), counted, n_pos, n_neg)
