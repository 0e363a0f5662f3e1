"""Cells that a game is played by: drawn at random from those that can be used, group by group."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._groups import Groups
from scepsis._core._model_runs import cell_blocks
from scepsis._core._rng import child
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._match import Match
    from scepsis._core._resolve import Choice
    from scepsis._core._types import IntArray
    from scepsis.edges._coalitions import Example
    from scepsis.models import AttentionModel, Tokens


@dataclass(frozen=True)
class Deletion:
    """The effect of leaving a gene out: its token, and those of the genes that it is looked for in."""

    source: int
    #: Ascending, without the source.
    targets: IntArray

    @classmethod
    def of(
        cls, adata: AnnData, match: Match, deletion: str | Mapping[str, Sequence[str]] | None
    ) -> tuple[str | None, Deletion | None]:
        """The gene that is deleted and what is asked of it, by names in ``var_names``; nothing without one."""
        if deletion is None:
            return None, None
        named = {deletion: None} if isinstance(deletion, str) else deletion
        if not isinstance(named, Mapping) or any(isinstance(targets, str) for targets in named.values()):
            msg = f"`deletion` takes a gene, or `{{gene: [target, ...]}}`, not {deletion!r}."
            raise TypeError(msg)
        if len(named) != 1:
            msg = f"`deletion` takes one gene, or one gene and its targets, not {listing(named)}."
            raise ValueError(msg)
        ((gene, targets),) = named.items()
        (token,) = _tokens(adata, match, [gene])
        listed = match.tokens[match.owner] if targets is None else _tokens(adata, match, list(targets))
        others = np.unique(listed[listed != token])
        if not len(others):
            msg = f"`deletion` of {gene!r} names no other gene as its target."
            raise ValueError(msg)
        return gene, cls(int(token), others)


def _tokens(adata: AnnData, match: Match, names: list[str]) -> IntArray:
    if not names:
        msg = "`deletion` names no target."
        raise ValueError(msg)
    places = adata.var_names.get_indexer(names)
    unknown = [name for name, place in zip(names, places, strict=True) if place < 0]
    if unknown:
        msg = f"`deletion` names {listing(unknown)}, not in `adata.var_names` ({listing(adata.var_names, limit=3)})."
        raise KeyError(msg)
    tokens = match.tokens[places]
    absent = [name for name, token in zip(names, tokens, strict=True) if token < 0]
    if absent:
        msg = f"`deletion` names {listing(absent)}, which the model has no token for."
        raise ValueError(msg)
    return np.asarray(tokens)


@dataclass(frozen=True)
class Run:
    """Cells of a group, in the order in which they were drawn."""

    name: str
    rows: IntArray


def runs_of(adata: AnnData, groupby: str | None, chosen: Choice, seed: int) -> list[Run]:
    """One run for each group that has any of the chosen cells, or one of all of them."""
    groups = Groups.none(adata.n_obs) if groupby is None else Groups.read(adata, groupby)
    names = groups.labels or ("",)
    found = []
    for code, name in enumerate(names):
        rows = np.flatnonzero(chosen.mask & (groups.codes == code))
        if len(rows):
            found.append(Run(name, child(seed, "mediation", "cells", name).permutation(rows)))
    if not found:
        msg = f"None of the chosen cells has a label in `adata.obs[{groupby!r}]`."
        raise ValueError(msg)
    return found


def read_cells(
    adata: AnnData,
    model: AttentionModel,
    run: Run,
    match: Match,
    *,
    deletion: Deletion | None,
    n_cells: int,
    seed: int,
) -> list[Example]:
    """
    Take the first `n_cells` cells of a run that can be used.

    Raises `ValueError` where there is none, and warns where there are fewer.
    """
    found: list[Example] = []
    # A few more than are wanted, for those that cannot be used; then the next.
    size = 2 * n_cells
    for start in range(0, len(run.rows), size):
        part = run.rows[start : start + size]
        tokens: dict[int, Tokens] = {}
        for rows, counts, seeds in cell_blocks(adata, np.sort(part), seed):
            encoded = model.tokenize(counts, match.tokens, seeds)
            tokens |= {int(row): one for row, one in zip(rows, encoded, strict=True)}
        for row in part.tolist():
            made = _example(len(found), tokens[row], deletion, causal=model.causal)
            if made is not None:
                found.append(made)
            if len(found) == n_cells:
                return found
    where = f"run {run.name!r} of `mediation`" if run.name else "`mediation`"
    what = "has a gene of the vocabulary"
    if deletion is not None:
        after = " after it" if model.causal else ""
        what = f"has the deleted gene and a target{after} among its tokens"
    if not found:
        msg = f"No cell for {where} {what}."
        raise ValueError(msg)
    warnings.warn(
        f"{len(found)} cells for {where} {what}; {n_cells} were asked for. Standard errors are those of the fewer.",
        UserWarning,
        stacklevel=3,
    )
    return found


def _example(number: int, tokens: Tokens, deletion: Deletion | None, *, causal: bool) -> Example | None:
    from scepsis.edges._coalitions import Example

    if deletion is None:
        return Example(number, tokens) if len(tokens.ids) else None
    found = np.flatnonzero(tokens.ids == deletion.source)
    if not len(found):
        return None
    gone = int(found[0])
    # In a causal model nothing reaches what is ranked before it.
    reached = tokens.ids[gone:] if causal else tokens.ids
    targets = reached[np.isin(reached, deletion.targets)]
    if not len(targets):
        return None
    return Example(number, tokens, gone, targets)
