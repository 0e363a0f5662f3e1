"""The natural gene universe, and edges as they are when a model sees no other genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_slots import EdgeArray, edge_owner, recorded_mask
from scepsis._core._layers import layers_behind
from scepsis._core._match import tokens_for
from scepsis._core._resolve import Choice
from scepsis._core._scratch import CARRIED
from scepsis._core._validate import require_column
from scepsis._core._values import counts
from scepsis.tl._shared._mean_attention import attention_run, mean_attention

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._edge_sets import EdgeSet
    from scepsis._core._types import BoolArray
    from scepsis.models import AttentionModel
    from scepsis.tl._shared._run import Run


def natural_genes(adata: AnnData, model: AttentionModel | None, by: str, n_top_genes: int) -> BoolArray:
    """Genes that rank first by a column of ``var`` (of those that the model knows), whatever was perturbed."""
    remedy = "Call `scepsis.pp.gene_features(adata)` first."
    values = require_column(adata.var, by, slot="var", remedy=remedy)
    if values.dtype.kind not in "fiu":
        msg = f"`adata.var[{by!r}]` must hold numbers to rank genes by, not {values.dtype}."
        raise TypeError(msg)
    height = values.to_numpy(dtype=np.float64)
    if model is not None:
        height = np.where(tokens_for(adata, model).owner, height, np.nan)
    order = np.argsort(-height, kind="stable")[: np.count_nonzero(~np.isnan(height))]
    natural = np.zeros(adata.n_vars, dtype=bool)
    natural[order[:n_top_genes]] = True
    return natural


@dataclass(frozen=True)
class Reading:
    """Attention about to be read from cells that hold the natural genes alone."""

    one: EdgeSet
    run: Run
    #: Positions of the natural genes in ``adata.var``.
    genes: BoolArray

    @classmethod
    def of(
        cls,
        adata: AnnData,
        model: AttentionModel,
        one: EdgeSet,
        natural: BoolArray,
        *,
        batch_size: int | None,
        memory_limit: int | None,
    ) -> Reading | None:
        """What is to be read for a set of edges; None for what is no attention."""
        layers = layers_behind(one.key, edge_owner(adata, one.key), one.params) if one.is_attention else None
        if layers is None:
            return None
        if one.params.get("model_fingerprint") != model.fingerprint:
            msg = (
                f"`{one.slot}` was read from the model {one.params.get('model', '?')!r}, whose weights are not those "
                f"of {model.name!r}. Pass the model that it is from."
            )
            raise ValueError(msg)
        cells = recorded_mask(adata, one.params, "obs")
        if cells is None:
            msg = f"The cells behind `{one.slot}` cannot be found in `adata` any more; make the edges anew."
            raise ValueError(msg)
        only = _only(adata, cells, natural)
        everything = Choice(np.ones(only.n_obs, dtype=bool), ""), Choice(np.ones(only.n_vars, dtype=bool), "")
        run = attention_run(
            only, model, *everything, layers=layers, scale=one.params["scale"], seed=int(one.params.get("seed", 0)),
            batch_size=batch_size, memory_limit=memory_limit,
        )  # fmt: skip
        return cls(one, run, natural)

    def extract(self, *, show: bool) -> EdgeArray:
        """Edges by their positions in ``adata.var``."""
        everything = Choice(np.ones(self.run.adata.n_vars, dtype=bool), "")
        found = mean_attention(self.run, everything, cells_name="", genes_name="", show=show)
        return EdgeArray(found.values, np.flatnonzero(self.genes)[found.genes], found.params)


def _only(adata: AnnData, cells: BoolArray, genes: BoolArray) -> AnnData:
    """Cells that hold some genes alone: no other is a token, nor counts towards the depth of a cell."""
    import anndata as ad

    if adata.isbacked:
        msg = "`adata` is backed, and is read gene by gene here. Load it with `adata.to_memory()` first."
        raise ValueError(msg)
    matrix = counts(adata).matrix
    return ad.AnnData(
        X=matrix[np.flatnonzero(cells)][:, np.flatnonzero(genes)],
        obs=adata.obs.iloc[np.flatnonzero(cells), :0],
        var=adata.var.iloc[np.flatnonzero(genes)].copy(),
        uns={name: adata.uns[name] for name in CARRIED if name in adata.uns},
    )
