"""Scores of pairs that no model has made: an excess over a null counts only where it is larger than theirs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_sets import EdgeSet
from scepsis._core._edge_slots import read_edges, recorded_mask
from scepsis._core._keys import MEAN
from scepsis._core._resolve import choose_cells
from scepsis._core._values import lognorm
from scepsis.edges._codetection import codetection_lift

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._network_pairs import NetworkPairs
    from scepsis._core._types import FloatArray, IntArray

logger = logging.getLogger(__name__)
SPEARMAN = "spearman"
MODEL_FREE = (SPEARMAN, "proximity", "codetection")


def model_free_scores(adata: AnnData, pairs: NetworkPairs) -> dict[str, FloatArray | None]:
    """
    Absolute Spearman correlation, proximity of means, and lift of co-detection, sources x targets.

    None where there is nothing to read one from: ``varp["spearman"]``, ``var["mean"]``, counts or log-normalised
    values of the cells behind the edges. Correlation among the edges asked for is not read again.
    """
    result: dict[str, FloatArray | None] = dict.fromkeys(MODEL_FREE)
    if SPEARMAN in adata.varp:
        edges = read_edges(adata, SPEARMAN, warn=False)
        one = EdgeSet(SPEARMAN, "baseline", edges, f"adata.varp[{SPEARMAN!r}]", SPEARMAN)
        result[SPEARMAN] = pairs.scores(one)
    if MEAN in adata.var:
        mean = adata.var[MEAN].to_numpy(dtype=np.float64)
        result["proximity"] = -np.abs(mean[pairs.sources][:, None] - mean[pairs.targets])
    result["codetection"] = _codetection(adata, pairs)
    missing = [name for name, scores in result.items() if scores is None]
    if missing:
        logger.info("model-free scores not run: %s", ", ".join(missing))
    return result


def _codetection(adata: AnnData, pairs: NetworkPairs) -> FloatArray | None:
    try:
        values = lognorm(adata)
        blocks = (block for _, block in values.blocks(_cells(adata, pairs)))
        return codetection_lift(blocks, pairs.sources, pairs.targets)
    except ValueError as error:
        logger.warning("co-detection is not scored: %s", error)
        return None


def _cells(adata: AnnData, pairs: NetworkPairs) -> IntArray:
    """Cells behind the first edges that have a record of them, else those chosen."""
    for one in pairs.sets:
        mask = recorded_mask(adata, one.params, "obs") if one.cells_hash else None
        if mask is not None:
            return np.flatnonzero(mask)
    return choose_cells(adata).index
