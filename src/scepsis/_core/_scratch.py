"""A second object over the same values, for tools to write into."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np

from scepsis._core._edge_slots import pack
from scepsis._core._hashing import hash_strings
from scepsis._core._keys import MATCH_GENES, EdgeKeys
from scepsis._core._store import write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData

    from scepsis._core._edge_slots import EdgeArray
    from scepsis._core._types import BoolArray

#: Records of the values themselves, which a second object has too.
CARRIED = ("log1p", MATCH_GENES)


def scratch(adata: AnnData, *, uns: Iterable[str] = (), varm: Iterable[str] = (), obsm: Iterable[str] = ()) -> AnnData:
    """
    Another AnnData with the values, cells and genes of `adata`, and of what was made from them the named entries alone.

    ``X`` and layers are shared, not copied; ``obs`` and ``var`` are copies. Names that `adata` lacks are passed over.
    """
    if adata.isbacked:
        msg = "`adata` is backed, and has to be read many times. Load it with `adata.to_memory()` first."
        raise ValueError(msg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what AnnData thinks of names and dtypes the caller has heard before
        return ad.AnnData(
            X=adata.X,
            obs=adata.obs.copy(),
            var=adata.var.copy(),
            layers=dict(adata.layers),
            obsm={name: adata.obsm[name] for name in obsm if name in adata.obsm},
            varm={name: adata.varm[name] for name in varm if name in adata.varm},
            uns={name: adata.uns[name] for name in (*CARRIED, *uns) if name in adata.uns},
        )


def place_edges(adata: AnnData, key: str, edges: EdgeArray, genes: BoolArray, cells: BoolArray | None) -> int:
    """
    Store `edges` among `genes` under `key`, with the record that they came with, and tell how many genes are left.

    `cells` are those behind them, if `adata` still has them; the record then names columns of its own, so that other
    choices of cells and genes can be made beside it. Without a record none is made.
    """
    kept = genes[edges.genes]
    chosen = edges.genes[kept]
    masks: dict[str, dict[str, BoolArray]] = {"obs": {}, "var": {}}
    uns = {}
    if edges.params:
        keys = EdgeKeys(key)
        own = np.zeros(adata.n_vars, dtype=bool)
        own[chosen] = True
        masks["var"][keys.genes] = own
        params = edges.params | {
            "genes": keys.genes,
            "n_genes": len(chosen),
            "genes_hash": hash_strings(adata.var_names[own]),
        }
        if cells is not None:
            masks["obs"][keys.cells] = cells
            params["cells"] = keys.cells
        uns = {key: {"params": params, "edges_keys": [key]}}
    values = pack(edges.values[kept][:, kept], chosen, adata.n_vars)
    write(adata, drop={"uns": [key]}, varp={key: values}, uns=uns, **masks)
    return len(chosen)


def shell(adata: AnnData) -> AnnData:
    """
    Another AnnData with everything that `adata` holds, for tools to write into before anything is written to `adata`.

    Values are shared, not copied: tools replace entries and never change them.
    """
    if adata.isbacked:
        msg = "A backed context has to be read many times. Load it with `adata.to_memory()` first."
        raise ValueError(msg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.AnnData(
            X=adata.X,
            obs=adata.obs.copy(),
            var=adata.var.copy(),
            **{slot: dict(getattr(adata, slot)) for slot in _MAPPINGS},
            uns=dict(adata.uns),
        )


def settle(adata: AnnData, worked: AnnData) -> None:
    """Write into `adata` what differs in its `shell`, and drop what is no longer there."""
    slots: dict[str, dict[str, Any]] = {}
    drop: dict[str, list[str]] = {}
    for slot in (*_FRAMES, *_MAPPINGS, "uns"):
        before, after = getattr(adata, slot), getattr(worked, slot)
        drop[slot] = [name for name in before if name not in after]
        slots[slot] = {name: after[name] for name in after if name not in before or not _same(before, after, name)}
    write(adata, drop=drop, **slots)


_FRAMES = ("obs", "var")
_MAPPINGS = ("layers", "obsm", "varm", "obsp", "varp")


def _same(before: Any, after: Any, name: str) -> bool:
    one, other = before[name], after[name]
    return one is other or (hasattr(one, "equals") and type(one) is type(other) and bool(one.equals(other)))
