"""Features of single genes in ``var``, and whether they and the edges are from the same cells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from scepsis._core._keys import DETECTION_RATE, GENE_FEATURES, MEAN, VARIANCE
from scepsis._core._types import BaselineMethod
from scepsis._core._validate import listing

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._types import FloatArray

logger = logging.getLogger(__name__)
#: On record for a random sample: hash of the cells that it is from (with ``n_``: their number).
SAMPLE_OF = "sample_of"
#: What a gene shows alone; an edge that says no more than these says nothing of pairs.
FEATURES = (VARIANCE, MEAN, DETECTION_RATE)


def feature_params(adata: AnnData) -> dict[str, Any]:
    """Record of the gene features; empty without one."""
    entry = adata.uns.get(GENE_FEATURES)
    return dict(entry["params"]) if hasattr(entry, "get") and "params" in entry else {}


def gene_features(adata: AnnData) -> FloatArray:
    """Variance, mean and detection rate of every gene, genes x 3, or a `KeyError` with the call that makes them."""
    missing = [name for name in FEATURES if name not in adata.var]
    if missing:
        msg = f"`adata.var` lacks {listing(missing)}. Call `scepsis.pp.gene_features(adata)` first."
        raise KeyError(msg)
    return np.stack([adata.var[name].to_numpy(dtype=np.float64) for name in FEATURES], axis=1)


def require_same_cells(adata: AnnData, sets: list[EdgeSet], *, features: bool, allow: bool) -> bool:
    """
    Whether everything that has a record is from the same cells; raise `ValueError` if not, unless allowed.

    A random sample of some cells stands beside all of them: noise is all that it adds. That is logged.
    """
    records = [(one.slot, one.params, _remedy(one)) for one in sets]
    if features:
        records.append((f"adata.uns[{GENE_FEATURES!r}]", feature_params(adata), "scepsis.pp.gene_features(adata)"))
    known = [one for one in records if one[1].get("cells_hash")]
    differing = [one for one in known if chosen_cells(one[1]) != chosen_cells(known[0][1])]
    if differing and not allow:
        (first, first_params, first_call), (other, other_params, other_call) = known[0], differing[0]
        msg = (
            f"`{first}` and `{other}` are from different cells: {_cells(first_params)} against {_cells(other_params)}. "
            "Choose cells once with `scepsis.pp.select_cells(adata, ...)`, then call "
            f"`{other_call}` or `{first_call}` anew; or pass `allow_different_cells=True`."
        )
        raise ValueError(msg)
    same = len({params["cells_hash"] for _, params, _ in known}) < 2
    for slot, params, _ in known:
        if SAMPLE_OF in params and not same:
            logger.warning(
                "`%s` is from a random sample of %d of the %d cells that were chosen: noisier than from all of "
                "them", slot, params["n_cells"], params[f"n_{SAMPLE_OF}"],
            )  # fmt: skip
    return same


def chosen_cells(params: dict[str, Any]) -> str:
    """Hash of the cells that were chosen, also where a random sample of them was read."""
    return str(params.get(SAMPLE_OF, params.get("cells_hash", "")))


def _remedy(one: EdgeSet) -> str:
    if one.is_attention:
        return f"scepsis.tl.attention_edges(adata, model, key_added={one.key!r})"
    if one.params.get("method") in get_args(BaselineMethod):
        return f"scepsis.tl.baseline_edges(adata, method={one.params['method']!r}, key_added={one.key!r})"
    if one.is_counterfactual:
        return f"scepsis.tl.insilico_perturbation(adata, model, key_added={one.key!r})"
    return f"scepsis.tl.correlation_edges(adata, key_added={one.key!r})"


def _cells(params: dict[str, Any]) -> str:
    name = params.get("cells")
    where = f" of `adata.obs[{name!r}]`" if name else ""
    return f"{params.get('n_cells', '?')} cells{where}"
