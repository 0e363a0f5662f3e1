from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scepsis._core._edge_slots import read_edges
from scepsis._core._resolve import resolve

if TYPE_CHECKING:
    from scepsis._core._types import Data


def edge_matrix(adata: Data, key: str, *, mod: str | None = None) -> pd.DataFrame:
    """
    Give edges as a labelled matrix.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp[key]``.
    key
        Name of the edges.
    mod
        Modality, for MuData.

    Returns
    -------
    pandas.DataFrame
        Sources in rows, targets in columns, for the genes that have any edge; NaN where a pair was never evaluated
        and on the diagonal.

    Raises
    ------
    KeyError
        ``varp[key]`` does not exist.

    Warns
    -----
    UserWarning
        Cells or genes of `adata` have changed since the edges were made.

    Notes
    -----
    ``varp`` holds a dense matrix with NaN, or a sparse one in which what is absent was never evaluated. Read it
    through this function, which knows both.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.correlation_edges(adata)
    >>> sps.get.edge_matrix(adata, "spearman").shape
    (300, 300)
    """
    target = resolve(adata, mod)
    edges = read_edges(target, key)
    names = target.var_names[edges.genes]
    return pd.DataFrame(edges.values, index=names.rename("source"), columns=names.rename("target"))
