from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_frames import GROUP, WEIGHT, read_table
from scepsis._core._edge_slots import pack, superseded
from scepsis._core._resolve import choose_genes, resolve
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_key

if TYPE_CHECKING:
    import pandas as pd

    from scepsis._core._types import Data, Mask


def add_edges(
    adata: Data,
    frame: pd.DataFrame,
    *,
    key_added: str,
    signed: bool | None = None,
    fill_value: float | None = None,
    gene_symbols: str | None = None,
    mask_var: Mask = None,
    memory_limit: int | None = None,
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    """
    Bring in edges that were made elsewhere, so that they go through the same audit.

    Pairs that `frame` does not list count as never evaluated, unless `fill_value` says what they are. A table that
    was cut before it came here (the strongest targets of each source, or the rest set to zero) is detected, named in
    a warning and recorded: cutting moves an AUROC towards one half, so pass full rows where there are any.

    Parameters
    ----------
    adata
        Cells x genes.
    frame
        One row per directed pair, with columns ``source``, ``target`` and ``weight`` (higher is a stronger edge).
        Without ``weight`` every listed pair weighs 1, and `fill_value` should be 0.
    key_added
        Name of the result.
    signed
        Whether the sign of a weight says which way regulation goes; such edges are scored by their absolute value,
        with the signed value beside. When not given: whether any weight is negative.
    fill_value
        Weight of the pairs that are not listed, from each listed source to every gene of the panel. When not given,
        they were never evaluated.
    gene_symbols
        Column of ``var`` in which `frame` names genes; ``var_names`` when not given.
    mask_var
        Panel for `fill_value`: a boolean array or ``var`` column. ``var["edge_panel"]`` when not given and present,
        else all genes. Listed pairs are kept whether or not they are in the panel.
    memory_limit
        Bytes that the matrix may take; a quarter of the machine's memory when not given.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp[key_added]``
        genes x genes, float32, sources in rows: NaN (or absent, when sparse) where never evaluated, and on the
        diagonal.
    ``uns[key_added]``
        ``params``, with ``truncated``, the share of pairs with a weight (``density``) and the first fifty genes of
        `frame` that `adata` does not have (``unmapped``, joined by ``;``). Hashes of cells and genes are empty, since
        nobody knows the cells. ``edges_keys``.

    Raises
    ------
    KeyError
        A column of `frame` or of ``var`` is missing.
    TypeError
        Weights are not numeric. A missing weight (NaN) is a pair that was not evaluated.
    ValueError
        No gene of `frame` is in `adata`, pairs occur twice, a name stands for several genes of `adata`, or `frame`
        holds several networks.
    MemoryError
        The matrix would not fit.

    Warns
    -----
    UserWarning
        `frame` looks truncated, or lists pairs without weights and no `fill_value` tells what the others are.

    Notes
    -----
    Takes four bytes for every pair of the genes named.

    Examples
    --------
    >>> import pandas as pd
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> first, second, third = adata.var_names[:3]
    >>> frame = pd.DataFrame({"source": [first, second], "target": [second, third]})
    >>> sps.pp.add_edges(adata, frame, key_added="listed", fill_value=0)
    >>> sps.get.edges(adata, "listed", top=2)["source"].tolist() == [first, second]
    True
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    if fill_value is not None and not np.isfinite(fill_value):
        msg = f"`fill_value` must be a finite number, or None for pairs that were not evaluated, not {fill_value!r}."
        raise ValueError(msg)
    table = read_table(target, frame, argument="frame", gene_symbols=gene_symbols, default_weight=1.0)
    groups = np.unique(table.group.astype(str))
    if len(groups) > 1:
        msg = (
            f"`frame[{GROUP!r}]` tells {len(groups)} networks apart ({listing(groups)}). Add each under a key of its "
            f"own: `scepsis.pp.add_edges(adata, frame[frame[{GROUP!r}] == {groups[0]!r}], key_added=...)`."
        )
        raise ValueError(msg)
    panel = None if fill_value is None else choose_genes(target, mask_var).mask
    filled = np.nan if fill_value is None else float(fill_value)
    edges = table.matrix("frame", panel=panel, fill_value=filled, memory_limit=memory_limit)
    weighted = WEIGHT in frame
    if not weighted and fill_value is None:
        warnings.warn(
            f"`frame` has no {WEIGHT!r}, so every listed pair weighs 1 and all others count as never evaluated: "
            "nothing can be ranked. Pass `fill_value=0` if a pair that is not listed is no edge.",
            UserWarning,
            stacklevel=2,
        )
    table.warn_if_truncated("frame", stacklevel=2)

    params = record(
        method="frame",
        signed=bool((table.weight < 0).any()) if signed is None else bool(signed),
        scale="weight" if weighted else "listed",
        layer_rule="single",
        fill_value=fill_value,
        gene_symbols=gene_symbols,
        n_rows=table.n_rows,
        n_edges=len(table.weight),
        n_genes=len(edges.genes),
        n_unmapped=len(table.unmapped),
        unmapped=";".join(table.unmapped[:50]),
        density=table.density,
        truncated=bool(table.truncation),
        cells="",
        genes="",
        cells_hash="",
        genes_hash="",
    )
    write(
        target,
        drop=superseded(target, key_added),
        varp={key_added: pack(edges.values, edges.genes, target.n_vars)},
        uns={key_added: {"params": params, "edges_keys": [key_added]}},
    )
    return data if copy else None
