"""Contexts of one experiment, such as cell lines: modalities with the same genes and different cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scepsis._core._keys import COUNTS
from scepsis._core._resolve import resolve
from scepsis._core._rows import iter_blocks
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData
    from mudata import MuData


ValueT = TypeVar("ValueT")
TOGETHER = "`mudata.MuData({'K562': adata_1, 'RPE1': adata_2}, axis=1)`"
#: Values below which two cells can be alike by chance.
MIN_VALUES = 20
_DECIMALS = 6


def read_contexts(mdata: MuData) -> dict[str, AnnData]:
    """
    Modalities by name, which share their genes in one order and no cell.

    Raises
    ------
    TypeError
        It is no MuData.
    ValueError
        There are fewer than two modalities, or they are not stacked along cells; their genes differ, are named by
        another namespace or stand in another order; the same cells are in two of them.
    """
    if not hasattr(mdata, "mod"):
        msg = f"Contexts are modalities of a MuData, not of {type(mdata).__name__}: {TOGETHER}."
        raise TypeError(msg)
    names = [str(name) for name in mdata.mod]
    if len(names) < 2:
        msg = f"`mdata` has {len(names)} modality; contexts are compared between two or more: {TOGETHER}."
        raise ValueError(msg)
    if mdata.axis != 1:
        msg = (
            f"`mdata` is stacked along genes (axis {mdata.axis}), which counts every gene once for each modality. "
            "Contexts share genes: `mudata.MuData(dict(mdata.mod), axis=1)`."
        )
        raise ValueError(msg)
    contexts = {name: resolve(mdata, name) for name in names}
    for name in names[1:]:
        _require_same_genes(names[0], contexts[names[0]], name, contexts[name])
    _require_different_cells(contexts)
    return contexts


def _require_same_genes(first: str, one: AnnData, second: str, other: AnnData) -> None:
    genes, others = one.var_names, other.var_names
    if genes.equals(others):
        return
    both = genes.intersection(others)
    where = f"`mdata.mod[{first!r}]` and `mdata.mod[{second!r}]`"
    if not len(both):
        msg = (
            f"{where} name genes differently ({listing(genes, limit=3)}; {listing(others, limit=3)}). Give both the "
            f"same names, for example `mdata.mod[{second!r}].var_names = mdata.mod[{second!r}].var['ensembl_id']`, and "
            "build the MuData anew."
        )
    elif len(both) == len(genes) == len(others):
        msg = (
            f"{where} have the same genes in another order. Build the MuData from "
            f"`mdata.mod[{second!r}][:, mdata.mod[{first!r}].var_names].copy()`."
        )
    else:
        msg = (
            f"{where} share {len(both)} of {len(genes)} and {len(others)} genes. Take those that all contexts have: "
            f"`genes = mdata.mod[{first!r}].var_names.intersection(mdata.mod[{second!r}].var_names)`, and build the "
            "MuData from `adata[:, genes].copy()` of each (log-normalise before that)."
        )
    raise ValueError(msg)


def _require_different_cells(contexts: dict[str, AnnData]) -> None:
    """Raise `ValueError` when a cell, known by its counts or values and not by its name, is in two contexts."""
    seen: dict[bytes, tuple[str, str]] = {}
    for name, one in contexts.items():
        own: dict[bytes, str] = {}
        for matrix in ([one.layers[COUNTS]] if COUNTS in one.layers else []) + ([] if one.X is None else [one.X]):
            own |= {mark: str(cell) for mark, cell in zip(_marks(matrix), one.obs_names, strict=True) if mark}
        shared = {(*seen[mark], own[mark]) for mark in own.keys() & seen.keys()}
        if shared:
            pairs = sorted(f"{other} of {first} and {cell} of {name}" for first, other, cell in shared)
            msg = (
                f"{len(shared)} cells are in two contexts, with the same values ({listing(pairs, limit=3)}): contexts "
                "that share cells replicate nothing. Leave each cell in one of them; if controls are shared, divide "
                "them."
            )
            raise ValueError(msg)
        seen |= {mark: (name, cell) for mark, cell in own.items()}


def _marks(matrix: Any) -> Iterator[bytes]:
    """
    Yield what is the same for the same values of the same genes, for each cell; nothing for nearly empty ones.

    Three random sums of a cell's values, rounded because their last bits depend on the order of summation. (One alone
    is not enough: among 20,000 cells it meets itself by chance.)
    """
    n_cells, n_genes = matrix.shape
    weights = np.random.default_rng(0).normal(size=(n_genes, 3))
    for _, block in iter_blocks(matrix, np.arange(n_cells)):
        enough = np.diff(block.indptr) >= MIN_VALUES
        sums = np.round(block @ weights, _DECIMALS) + 0.0  # no negative zero
        yield from (row.tobytes() if kept else b"" for row, kept in zip(sums, enough, strict=True))


def for_context(value: ValueT | Mapping[str, ValueT], name: str, *, names: list[str], argument: str) -> ValueT:
    """What one context is given, where it may be one value for all or a dict by context."""
    if not isinstance(value, Mapping):
        return value
    require_contexts(value, names, argument=argument)
    if name not in value:
        msg = f"`{argument}` says nothing of the context {name!r}; it has: {listing(value)}."
        raise ValueError(msg)
    found: ValueT = value[name]
    return found


def require_contexts(given: Mapping[str, object], names: list[str], *, argument: str) -> None:
    """Keys of a dict must be contexts."""
    if unknown := [name for name in given if name not in names]:
        msg = f"`{argument}` names no context {listing(unknown)}; there are: {listing(names)}."
        raise ValueError(msg)
