from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import read_edges
from scepsis._core._resolve import resolve
from scepsis._core._validate import require_positive

if TYPE_CHECKING:
    from scepsis._core._types import Data


def edges(adata: Data, key: str, *, top: int | None = None, mod: str | None = None) -> pd.DataFrame:
    """
    Give edges as a table, the strongest first.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp[key]``.
    key
        Name of the edges.
    top
        Number of edges to give; all evaluated pairs when not given.
    mod
        Modality, for MuData.

    Returns
    -------
    pandas.DataFrame
        Columns ``source``, ``target``, ``weight``; signed edges are ordered by absolute weight. Ties stand in the
        order of ``var``. Pairs that were never evaluated are left out.

    Raises
    ------
    KeyError
        ``varp[key]`` does not exist.
    ValueError
        `top` is not positive.

    Warns
    -----
    UserWarning
        Cells or genes of `adata` have changed since the edges were made.

    Notes
    -----
    A table cut by `top` is for looking at: scoring it in place of the full rows moves an AUROC towards one half.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.tl.correlation_edges(adata)
    >>> len(sps.get.edges(adata, "spearman", top=10))
    10
    """
    if top is not None:
        require_positive(top, argument="top")
    target = resolve(adata, mod)
    found = read_edges(target, key)
    matrix = found.values  # noqa: PD011 (no pandas object)
    source, goal = np.nonzero(~np.isnan(matrix))
    weight = matrix[source, goal]
    strength = np.abs(weight) if found.params.get("signed", False) else weight
    order = np.argsort(-strength, kind="stable")[:top]
    names = target.var_names[found.genes].to_numpy()
    return pd.DataFrame({"source": names[source[order]], "target": names[goal[order]], "weight": weight[order]})
