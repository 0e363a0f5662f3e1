"""The labels of a screen, as the numerics take them, and who has seen them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_slots import recorded_mask
from scepsis._core._keys import EffectKeys
from scepsis._core._validate import listing

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import BoolArray, IntArray

logger = logging.getLogger(__name__)
MAKER = "scepsis.tl.perturbation_effects(adata)"
#: Statuses of a perturbation that leave its labels as good as any other's.
SCORABLE = ("ok", "underpowered", "label_leak")


@dataclass(frozen=True)
class Screen:
    """Which of the candidate genes respond to each perturbation."""

    names: list[str]
    #: Status of each perturbation, as the effects have it.
    status: list[str]
    #: Position in ``adata.var`` of each perturbed gene; -1 where it is not there.
    gene: IntArray
    #: Perturbations x candidates: 1 responds, 0 does not, -1 is not testable or is the perturbed gene itself.
    labels: IntArray
    params: dict[str, Any]

    @property
    def scorable(self) -> BoolArray:
        return np.isin(self.status, SCORABLE)

    def group(self) -> IntArray:
        """Number of each perturbed gene; a perturbation without a gene has a number of its own."""
        unknown = -1 - np.arange(len(self.gene))
        group: IntArray = np.unique(np.where(self.gene < 0, unknown, self.gene), return_inverse=True)[1]
        return group


def read_screen(adata: AnnData, effects: str, panel: IntArray) -> Screen:
    """Perturbations under the label set `effects`, with their labels over the genes at `panel`."""
    keys = EffectKeys(effects)
    if keys.uns not in adata.uns or keys.target not in adata.varm:
        found = [key.removesuffix("_effects") for key in adata.uns if key.endswith("_effects")]
        msg = (
            f"There are no effects {effects!r}: `adata.uns[{keys.uns!r}]` and `adata.varm[{keys.target!r}]` are needed "
            f"(label sets found: {listing(found)}). Call `{MAKER}` first."
        )
        raise KeyError(msg)
    table: pd.DataFrame = adata.uns[keys.uns]["perturbations"]
    target = np.asarray(adata.varm[keys.target], dtype=np.float32)
    if target.shape != (adata.n_vars, len(table)):
        msg = (
            f"`adata.varm[{keys.target!r}]` has shape {target.shape}; {adata.n_vars} genes and the {len(table)} "
            f"perturbations of `adata.uns[{keys.uns!r}]` are needed. Call `{MAKER}` anew."
        )
        raise ValueError(msg)
    if not np.isin(target[~np.isnan(target)], (0, 1)).all():
        msg = f"`adata.varm[{keys.target!r}]` must hold 1, 0 and NaN only. Call `{MAKER}` anew."
        raise ValueError(msg)
    names = [str(name) for name in table["gene"]]
    gene = adata.var_names.get_indexer(names)
    if not (gene >= 0).any():
        msg = (
            f"None of the perturbed genes in `adata.uns[{keys.uns!r}]['perturbations']['gene']` "
            f"({listing([name for name in names if name], limit=3)}) is in `adata.var_names` "
            f"({listing(adata.var_names, limit=3)}). Call `scepsis.tl.perturbation_effects(adata, gene_symbols=...)` "
            "with the column of `adata.var` that the labels are written in, and with the names that `adata` has now."
        )
        raise ValueError(msg)
    chosen = target[panel].T
    labels = np.where(np.isnan(chosen), -1, chosen).astype(np.int8)
    place = np.full(adata.n_vars, -1)
    place[panel] = np.arange(len(panel))
    own = np.where(gene < 0, -1, place[gene])
    labels[np.flatnonzero(own >= 0), own[own >= 0]] = -1
    return Screen(
        names=[str(name) for name in table["perturbation"]],
        status=[str(one) for one in table["status"]],
        gene=gene,
        labels=labels,
        params=dict(adata.uns[keys.uns]["params"]),
    )


def saw_perturbed_cells(adata: AnnData, params: dict[str, Any], screen: Screen) -> bool:
    """Whether perturbed cells are among those behind a record; False when that cannot be known."""
    groupby, control = screen.params.get("groupby"), screen.params.get("control")
    if not params.get("cells_hash") or groupby is None or groupby not in adata.obs:
        return False
    cells = recorded_mask(adata, params, "obs")
    if cells is None:
        return False
    found = adata.obs.loc[cells, groupby].unique()
    unperturbed = {"", str(screen.params.get("unperturbed", control))}
    return any(isinstance(label, str) and label not in unperturbed for label in found)
