"""Edges that arrive as a table ``source, target, weight``, turned into the matrix that every tool reads."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import EdgeArray
from scepsis._core._memory import require_memory
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._types import FloatArray, IntArray

logger = logging.getLogger(__name__)
SOURCE, TARGET, WEIGHT, GROUP = "source", "target", "weight", "group"


def edges_from_frame(adata: AnnData, frame: pd.DataFrame, *, argument: str = "edges") -> dict[str, EdgeArray]:
    """
    Edges of a table, one set for each value of its column ``group`` (without one: a single set under "").

    Names that are not in ``var_names`` and edges from a gene to itself are left out and counted in the log; a pair
    that is listed twice, a weight that is no number and a table in another namespace raise. A pair that is not
    listed was not evaluated, and a table that lists less than half of the pairs of its genes is warned about.
    """
    weights = _weights(frame, argument)
    codes = {side: _positions(adata, frame, side, argument) for side in (SOURCE, TARGET)}
    groups = frame[GROUP].astype(str).to_numpy() if GROUP in frame else np.full(len(frame), "", dtype=object)
    known = (codes[SOURCE] >= 0) & (codes[TARGET] >= 0) & ~np.isnan(weights)
    loops = known & (codes[SOURCE] == codes[TARGET])
    kept = known & ~loops
    if not kept.any():
        msg = f"`{argument}` has no edge between two different genes of `adata.var_names`."
        raise ValueError(msg)
    if not kept.all():
        logger.info(
            "%s: %d of %d rows name a gene outside adata.var_names or have no weight, %d join a gene to itself; left out",
            argument,
            int((~known).sum()),
            len(frame),
            int(loops.sum()),
        )
    result = {}
    for group in dict.fromkeys(groups[kept].tolist()):
        rows = kept & (groups == group)
        where = f"{argument}, group {group!r}" if group else argument
        result[group] = _matrix(adata, codes[SOURCE][rows], codes[TARGET][rows], weights[rows], where)
    return result


def _weights(frame: pd.DataFrame, argument: str) -> FloatArray:
    missing = [name for name in (SOURCE, TARGET, WEIGHT) if name not in frame.columns]
    if missing:
        msg = (
            f"`{argument}` lacks {listing(missing)}; its columns are {listing(frame.columns)}. "
            "An edge table has the columns 'source', 'target' and 'weight' (and, if it holds several networks, 'group')."
        )
        raise KeyError(msg)
    column = frame[WEIGHT]
    if not pd.api.types.is_numeric_dtype(column):
        msg = f"`{argument}['weight']` must be numeric, not {column.dtype}."
        raise TypeError(msg)
    weights = column.to_numpy(dtype=np.float32, na_value=np.nan)
    if np.isinf(weights).any():
        msg = f"`{argument}['weight']` holds infinite values (in 32 bits). Rescale the weights; ranks are all that count."
        raise ValueError(msg)
    return weights


def _positions(adata: AnnData, frame: pd.DataFrame, side: str, argument: str) -> IntArray:
    """Position of every name in ``var_names``, -1 for those that are not there."""
    codes, names = pd.factorize(frame[side], use_na_sentinel=True)
    found = adata.var_names.get_indexer(pd.Index(names).astype(str))
    if not (found >= 0).any():
        msg = (
            f"None of the {len(names)} names in `{argument}[{side!r}]` ({listing(names, limit=3)}) is in "
            f"`adata.var_names` ({listing(adata.var_names, limit=3)}): two namespaces. Translate one of them, "
            "for example `adata.var_names = adata.var['gene_symbols'].astype(str)`."
        )
        raise ValueError(msg)
    return np.append(found, -1)[codes]  # a missing name has code -1, the last entry


def _matrix(adata: AnnData, source: IntArray, target: IntArray, weights: FloatArray, where: str) -> EdgeArray:
    genes = np.union1d(source, target)
    n = len(genes)
    require_memory(
        4 * n * n, None, what=f"`{where}` as a matrix of {n} genes", remedy="Leave out genes that are not scored."
    )
    row, column = np.searchsorted(genes, source), np.searchsorted(genes, target)
    _require_once(adata, row * n + column, genes, where)
    values = np.full((n, n), np.nan, dtype=np.float32)
    values[row, column] = weights
    _warn_truncated(row, n, where)
    return EdgeArray(values, genes, {})


def _require_once(adata: AnnData, pair: IntArray, genes: IntArray, where: str) -> None:
    ordered = np.sort(pair)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(repeated):
        names = adata.var_names[genes]
        pairs: list[Any] = [f"{names[code // len(genes)]} -> {names[code % len(genes)]}" for code in repeated[:8]]
        msg = (
            f"`{where}` lists {len(repeated)} pair(s) of genes more than once: {listing(pairs)}. "
            "Merge them first, for example `frame.groupby(['source', 'target'], as_index=False)['weight'].max()`."
        )
        raise ValueError(msg)


def _warn_truncated(row: IntArray, n_genes: int, where: str) -> None:
    """A table cut to the strongest edges moves every AUROC towards 0.5, and what was cut cannot be known."""
    targets = np.bincount(row)
    typical = float(np.median(targets[targets > 0]))
    if 2 * typical < n_genes - 1:
        warnings.warn(
            f"`{where}` lists {typical:.0f} of {n_genes - 1} possible targets for a typical source: it looks truncated "
            "to the strongest edges. Only listed pairs can be compared, and ranks among them alone are closer to "
            "chance; export the full rows if you can.",
            UserWarning,
            stacklevel=4,
        )
