"""Gene sets over the genes of a panel: the pairs of genes that stand in a set together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from scepsis._core._edge_frames import SOURCE, TARGET, gene_positions, name_index
from scepsis._core._hashing import hash_array, hash_strings
from scepsis._core._match import VAR_NAMES
from scepsis._core._network import Network
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._types import IntArray


def read_gene_sets(
    adata: AnnData, sets: Any, panel: IntArray, *, gene_symbols: str | None = None, argument: str = "reference"
) -> Network:
    """
    Lay gene sets over a panel: a pair is listed when any set holds both genes (universe ``unordered``).

    A mapping from the name of a set to its genes, or a frame with one row for each set (``source``) and gene
    (``target``). Raises `KeyError` for missing columns, `TypeError` for something else, and `ValueError` for names of
    another namespace. Sets none of which holds two genes of the panel list nothing.
    """
    frame = _memberships(sets, argument)
    place = VAR_NAMES if gene_symbols is None else gene_symbols
    index = name_index(adata, frame[[TARGET, TARGET]].set_axis([SOURCE, TARGET], axis=1), gene_symbols, place, argument)
    remedy = f"pass `{argument}` to the same call{{argument}}"
    genes = gene_positions(adata, index, frame[TARGET], argument, place, remedy=remedy)
    numbers, _ = pd.factorize(frame[SOURCE])
    of_panel = np.full(adata.n_vars + 1, -1)  # the last entry is that of unknown genes, -1
    of_panel[panel] = np.arange(len(panel))
    columns = of_panel[genes]
    inside = columns >= 0
    shape = (int(numbers.max(initial=-1)) + 1, len(panel))
    members = sparse.csr_matrix((np.ones(int(inside.sum()), dtype=np.int32), (numbers[inside], columns[inside])), shape)
    members.data[:] = 1  # a gene that a set names twice is in it once
    listed = np.triu((members.T @ members).toarray() > 0, 1)
    names = hash_strings(adata.var_names[panel])
    sizes = np.asarray(members.sum(axis=1)).ravel()
    n_listed = int(listed.sum())
    return Network(
        universe="unordered",
        sources=panel,
        targets=panel,
        listed=listed,
        candidate=np.triu(np.ones_like(listed), 1),
        known_mode=None,
        counts={
            "n_rows": len(frame),
            "n_sets": int((sizes > 1).sum()),
            "n_largest": int((sizes * (sizes - 1) // 2).max(initial=0)),
            "n_in_panel": n_listed,
            "n_listed": n_listed,
        },
        hash=hash_strings([names, "gene sets", hash_array(listed)]),
    )


def _memberships(sets: Any, argument: str) -> pd.DataFrame:
    """One row for each set and gene."""
    if isinstance(sets, pd.DataFrame):
        missing = [name for name in (SOURCE, TARGET) if name not in sets.columns]
        if missing:
            msg = (
                f"`{argument}` lacks {listing(missing)}; its columns are {listing(sets.columns)}. Gene sets are a "
                "mapping from names to genes, or a frame with the columns 'source' (set) and 'target' (gene)."
            )
            raise KeyError(msg)
        return sets[[SOURCE, TARGET]].dropna()
    if not isinstance(sets, Mapping) or any(isinstance(genes, str) for genes in sets.values()):
        msg = (
            f"`{argument}` must be a frame or a mapping from names of sets to lists of genes, not "
            f"{type(sets).__name__}{' of strings' if isinstance(sets, Mapping) else ''}."
        )
        raise TypeError(msg)
    rows = [(str(name), str(gene)) for name, genes in sets.items() for gene in genes]
    return pd.DataFrame(rows, columns=[SOURCE, TARGET])
