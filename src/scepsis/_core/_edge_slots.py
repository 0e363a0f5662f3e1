"""Edge matrices in ``varp``: how they are packed, and how they are read back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from scepsis._core._hashing import hash_strings
from scepsis._core._keys import EdgeKeys
from scepsis._core._layers import recorded_rule
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from scepsis._core._resolve import Choice
    from scepsis._core._types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class EdgeArray:
    """Edges among the genes of a panel."""

    #: Sources x targets, float32; NaN where a pair was never evaluated, and on the diagonal.
    values: FloatArray
    #: Positions of the panel's genes in ``adata.var``, ascending.
    genes: IntArray
    #: ``uns[...]["params"]`` of the tool that made the edges; empty when there is no record.
    params: dict[str, Any]


def pack(values: NDArray[Any], genes: IntArray, n_vars: int) -> Any:
    """
    Spread a panel's matrix over all genes: dense when at least half of the pairs are evaluated, else CSR.

    In the sparse form evaluated zeros are explicit, and what is absent was never evaluated. In the dense form NaN
    stands for that among weights, and 0 among counts.
    """
    evaluated = ~np.isnan(values) if values.dtype.kind == "f" else values > 0
    if 2 * int(evaluated.sum()) >= n_vars * n_vars:
        if len(genes) == n_vars:
            return values
        dense = np.full((n_vars, n_vars), _absent(values.dtype), dtype=values.dtype)
        dense[np.ix_(genes, genes)] = values
        return dense
    row, column = np.nonzero(evaluated)
    indptr = np.zeros(n_vars + 1, dtype=np.int64)
    indptr[genes + 1] = evaluated.sum(axis=1)
    index = (values[row, column], genes[column].astype(np.int32), np.cumsum(indptr))
    return sparse.csr_matrix(index, shape=(n_vars, n_vars))


def unpack(matrix: Any, genes: IntArray | None = None) -> tuple[NDArray[Any], IntArray]:
    """
    Give the matrix among `genes`, and the genes.

    None: those with any evaluated pair; where no pair was evaluated, the first alone, which has none either.
    """
    if sparse.issparse(matrix):
        csr = sparse.csr_matrix(matrix)
        if genes is None:
            touched = np.diff(csr.indptr) > 0
            touched[csr.indices] = True
            genes = _at_least_one(touched)
        position = np.full(csr.shape[0], -1)
        position[genes] = np.arange(len(genes))
        coo = csr[genes].tocoo()
        inside = position[coo.col] >= 0
        values = np.full((len(genes), len(genes)), _absent(csr.dtype), dtype=csr.dtype)
        values[coo.row[inside], position[coo.col[inside]]] = coo.data[inside]
        return values, genes
    dense = np.asarray(matrix)
    if genes is None:
        evaluated = ~np.isnan(dense) if dense.dtype.kind == "f" else dense > 0
        genes = _at_least_one(np.logical_or(evaluated.any(axis=0), evaluated.any(axis=1)))
    return (dense if len(genes) == len(dense) else dense[np.ix_(genes, genes)]), genes


def _at_least_one(evaluated: BoolArray) -> IntArray:
    """Positions of genes: what reads edges may take it that there are some."""
    genes = np.flatnonzero(evaluated)
    return genes if len(genes) else np.arange(min(1, len(evaluated)))


def _absent(dtype: np.dtype[Any]) -> float:
    """What a pair that was never evaluated holds."""
    return np.nan if dtype.kind == "f" else 0


def read_edges(adata: AnnData, key: str, *, warn: bool = True) -> EdgeArray:
    """Edges under a ``varp`` key, with a warning when cells or genes have changed since they were made."""
    if key not in adata.varp:
        msg = (
            f"`adata.varp[{key!r}]` does not exist; there are: {listing(adata.varp)}. "
            "Edges are made by `scepsis.tl.attention_edges` and `scepsis.tl.correlation_edges`, "
            "or come in through `scepsis.pp.add_edges`."
        )
        raise KeyError(msg)
    values, genes = unpack(adata.varp[key])
    values = values.astype(np.float32, copy=False)
    if np.isfinite(np.diagonal(values)).any():
        values = values.copy()
        np.fill_diagonal(values, np.nan)
    params = edge_params(adata, key)
    if warn and params:
        for what in stale(adata, params):
            warnings.warn(
                f"`adata.varp[{key!r}]` was made from other {what} than `adata` has now; make the edges anew.",
                UserWarning,
                stacklevel=3,
            )
    return EdgeArray(values, genes, params)


def edge_params(adata: AnnData, key: str) -> dict[str, Any]:
    """Record of the tool that wrote ``varp[key]``: under its own name, or under the key it is a part of."""
    owner = edge_owner(adata, key)
    if not owner:
        return {}
    params = dict(adata.uns[owner]["params"])
    return params | {"layer_rule": recorded_rule(adata, owner, key, params)} if "layer_rule" in params else params


def edge_owner(adata: AnnData, key: str) -> str:
    """Key of ``uns`` whose record covers ``varp[key]``; "" when there is none."""
    parts = key.split("_")
    for end in range(len(parts), 0, -1):
        owner = "_".join(parts[:end])
        entry = adata.uns.get(owner)
        if hasattr(entry, "get") and "cells_hash" in entry.get("params", {}):
            covered = entry.get("edges_keys")
            if end == len(parts) or (covered is not None and key in list(covered)):
                return owner
    return ""


def superseded(adata: AnnData, *keys: str) -> dict[str, list[str]]:
    """Slots that an earlier run left under `keys`, to be dropped before a new one writes its own."""
    names: list[str] = []
    for key in keys:
        entry = adata.uns.get(key)
        names += [key, *(entry.get("edges_keys", []) if hasattr(entry, "get") else [])]
    names = list(dict.fromkeys(names))
    own = [EdgeKeys(key) for key in keys]
    return {
        "varp": [*names, *(EdgeKeys(name).n_cells for name in names)],
        "var": [name for one in own for name in (one.position, one.genes)],
        "obs": [name for one in own for name in (one.cells, one.strata)],
    }


def own_masks(keys: EdgeKeys, cells: Choice, genes: Choice) -> dict[str, dict[str, BoolArray]]:
    """Masks that are on record under `keys` itself: given as arrays, or read back from an earlier run's column."""
    return {
        "obs": {keys.cells: cells.mask} if cells.name in {None, keys.cells} else {},
        "var": {keys.genes: genes.mask} if genes.name in {None, keys.genes} else {},
    }


def provenance(adata: AnnData, cells: Choice, genes: Choice, *, cells_name: str, genes_name: str) -> dict[str, Any]:
    """What ties a result to its cells and genes: how they were chosen, how many, and their hashes."""
    return {
        "cells": cells_name if cells.name is None else cells.name,
        "genes": genes_name if genes.name is None else genes.name,
        "n_cells": int(cells.mask.sum()),
        "n_genes": int(genes.mask.sum()),
        "cells_hash": hash_strings(adata.obs_names[cells.mask]),
        "genes_hash": hash_strings(adata.var_names[genes.mask]),
    }


def recorded_mask(adata: AnnData, params: dict[str, Any], axis: str) -> BoolArray | None:
    """Cells (``obs``) or genes (``var``) behind a record, or None when `adata` no longer shows the same ones."""
    frame = adata.obs if axis == "obs" else adata.var
    name, expected = (
        (params.get("cells"), params.get("cells_hash"))
        if axis == "obs"
        else (params.get("genes"), params.get("genes_hash"))
    )
    if name is None or expected in {None, ""} or (name and name not in frame):
        return None
    mask = frame[name].to_numpy(dtype=bool) if name else np.ones(len(frame), dtype=bool)
    return mask if hash_strings(frame.index[mask]) == expected else None


def stale(adata: AnnData, params: dict[str, Any]) -> list[str]:
    """Which of cells and genes differ from those on record."""
    return [
        what
        for what, axis in (("cells", "obs"), ("genes", "var"))
        if params.get(f"{what}_hash") and recorded_mask(adata, params, axis) is None
    ]
