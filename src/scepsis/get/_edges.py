from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import read_edges
from scepsis._core._keys import EdgeKeys
from scepsis._core._resolve import resolve
from scepsis._core._results import read_frame
from scepsis._core._validate import require_label, require_positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import Data

#: Frame of a result that names its groups.
STRATA = "strata"


def edges(
    adata: Data,
    key: str,
    *,
    group: str | Sequence[str] | None = None,
    top: int | None = None,
    mod: str | None = None,
) -> pd.DataFrame:
    """
    Give edges as a table, the strongest first.

    Parameters
    ----------
    adata
        Cells x genes, with edges in ``varp[key]``.
    key
        Name of the edges.
    group
        Group, or groups, of cells whose networks are given (by the names in ``uns[key]["strata"]``), ``"all"`` for
        every one that there is. Without it, the edges over all cells or, of :func:`scepsis.tl.cssi`, the aggregate.
    top
        Number of edges to give, of each group; all evaluated pairs when not given.
    mod
        Modality, for MuData.

    Returns
    -------
    pandas.DataFrame
        Columns ``source``, ``target``, ``weight`` and, with `group`, ``group``; signed edges are ordered by absolute
        weight. Ties stand in the order of ``var``. Pairs that were never evaluated are left out.

    Raises
    ------
    KeyError
        ``varp[key]`` or its groups do not exist.
    ValueError
        `top` is not positive, or there is no network of `group`.

    Warns
    -----
    UserWarning
        Cells or genes of `adata` have changed since the edges were made.

    Notes
    -----
    A table cut by `top` is for looking at: scoring it in place of the full rows moves an AUROC towards one half.

    The columns are those that decoupler reads, and ``networkx.from_pandas_edgelist(table, edge_attr=True,
    create_using=networkx.MultiDiGraph)`` makes a graph of it, which ``networkx.write_graphml(graph,
    "states.graphml")`` hands to Cytoscape.

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
    if group is None:
        return _table(target, key, top)
    slugs = _slugs(target, key)
    wanted = (
        list(slugs) if group == "all" and "all" not in slugs else [group] if isinstance(group, str) else list(group)
    )
    for one in wanted:
        require_label(list(slugs), one, slot=f"adata.uns[{key!r}]['strata']", argument="group")
    tables = [_table(target, EdgeKeys(key).group(slugs[one]).key, top).assign(group=one) for one in wanted]
    return pd.concat(tables, ignore_index=True)


def _slugs(adata: AnnData, key: str) -> dict[str, str]:
    """Slug of every group that has a network."""
    strata = read_frame(adata, key, STRATA, maker=f"scepsis.tl.cssi(adata, groupby=..., key_added={key!r})")
    names = zip(strata["group"].astype(str), strata["slug"].astype(str), strict=True)
    return {name: slug for name, slug in names if EdgeKeys(key).group(slug).key in adata.varp}


def _table(adata: AnnData, key: str, top: int | None) -> pd.DataFrame:
    found = read_edges(adata, key)
    matrix = found.values  # noqa: PD011 (no pandas object)
    source, goal = np.nonzero(~np.isnan(matrix))
    weight = matrix[source, goal]
    strength = np.abs(weight) if found.params.get("signed", False) else weight
    order = np.argsort(-strength, kind="stable")[:top]
    names = adata.var_names[found.genes].to_numpy()
    return pd.DataFrame({"source": names[source[order]], "target": names[goal[order]], "weight": weight[order]})
