"""From what the caller has to the one AnnData that is worked on, and the cells and genes chosen in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._keys import EDGE_CELLS, EDGE_PANEL
from scepsis._core._validate import listing, require_column, require_unique_names

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import BoolArray, Data, IntArray, Mask

logger = logging.getLogger(__name__)
#: Genes taken without a panel; more must be asked for.
MAX_GENES_UNASKED = 5000


def resolve(adata: Data, mod: str | None = None) -> AnnData:
    """Give the AnnData of a modality, or `adata` itself; names must be unique."""
    from anndata import AnnData

    if isinstance(adata, AnnData):
        if mod is not None:
            msg = f"`mod={mod!r}` is for MuData; this is an AnnData."
            raise TypeError(msg)
        result = adata
    elif hasattr(adata, "mod"):
        if mod is None:
            msg = f"MuData needs `mod=`, one of {listing(adata.mod)}."
            raise TypeError(msg)
        if mod not in adata.mod:
            msg = f"`mdata.mod[{mod!r}]` does not exist; there are: {listing(adata.mod)}."
            raise KeyError(msg)
        result = adata.mod[mod]
    else:
        msg = f"`adata` must be an AnnData or MuData, not {type(adata).__name__}."
        raise TypeError(msg)
    require_unique_names(result, "obs")
    require_unique_names(result, "var")
    return result


@dataclass(frozen=True)
class Choice:
    """Cells or genes that were chosen, and under which name the choice is on record."""

    mask: BoolArray
    #: Name of the column that holds the choice; "" when everything is taken; None when an array was given.
    name: str | None

    @property
    def index(self) -> IntArray:
        return np.flatnonzero(self.mask)


def choose_cells(adata: AnnData, mask_obs: Mask = None) -> Choice:
    """Cells behind edges and features: `mask_obs`, else ``obs["edge_cells"]``, else all of them (logged)."""
    choice = _choose(adata.obs, mask_obs, default=EDGE_CELLS, slot="obs", argument="mask_obs")
    if choice.name == "" and mask_obs is None:
        logger.warning(
            "all %d cells are used, perturbed ones included if there are any: "
            "call `scepsis.pp.select_cells(adata, ...)` first to use control cells only",
            adata.n_obs,
        )
    return choice


def choose_genes(adata: AnnData, mask_var: Mask = None) -> Choice:
    """Genes of the panel: `mask_var`, else ``var["edge_panel"]``, else all of them when they are few enough."""
    choice = _choose(adata.var, mask_var, default=EDGE_PANEL, slot="var", argument="mask_var")
    if choice.name == "" and adata.n_vars > MAX_GENES_UNASKED:
        msg = (
            f"`adata` has {adata.n_vars} genes and no panel was chosen (`adata.var['edge_panel']` does not exist). "
            "Call `scepsis.pp.select_panel(adata, model, n_top_genes=2000)` first, or pass `mask_var=`."
        )
        raise ValueError(msg)
    return choice


def _choose(frame: pd.DataFrame, mask: Mask, *, default: str, slot: str, argument: str) -> Choice:
    name: str | None
    if mask is None:
        name = default if default in frame.columns else ""
    elif isinstance(mask, str):
        name = mask
    else:
        name = None
    if name == "":
        return Choice(np.ones(len(frame), dtype=bool), "")
    values = np.asarray(mask) if name is None else require_column(frame, name, slot=slot).to_numpy()
    where = f"`{argument}`" if name is None else f"`adata.{slot}[{name!r}]`"
    if values.dtype != bool:
        msg = f"{where} must be boolean, not {values.dtype}."
        raise TypeError(msg)
    if values.shape != (len(frame),):
        msg = f"{where} has shape {values.shape}; `adata` needs ({len(frame)},)."
        raise ValueError(msg)
    if not values.any():
        msg = f"{where} chooses nothing."
        raise ValueError(msg)
    return Choice(values, name)
