from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._keys import EDGE_CELLS, SELECT_CELLS
from scepsis._core._resolve import resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_column, require_label, require_positive

if TYPE_CHECKING:
    from scepsis._core._types import Data, Seed

logger = logging.getLogger(__name__)
REMEDY = (
    "Pass the column of labels as `groupby=`. Where nothing was perturbed there is nothing to choose: all cells are "
    "taken, or those of a boolean `adata.obs['edge_cells']` that you write."
)


def select_cells(
    adata: Data,
    *,
    groupby: str = "perturbation",
    control: str = "non-targeting",
    n_cells: int = 2000,
    rng: Seed = 0,
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    """
    Choose the unperturbed cells that edges, features and baselines are made from :cite:p:`kendiukhov2026`.

    Control cells are put into one random order and the first `n_cells` are taken, so that with the same seed a
    smaller choice is part of a larger one.

    Parameters
    ----------
    adata
        Cells x genes.
    groupby
        Column of ``obs`` that says what was done to each cell.
    control
        Its value for unperturbed cells.
    n_cells
        Number of cells to take; all control cells when there are fewer.
    rng
        Seed.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``obs["edge_cells"]``
        bool.
    ``uns["select_cells"]["params"]``
        with the number of cells chosen (``n_selected``) and of control cells (``n_control``).

    Raises
    ------
    KeyError
        `groupby` is no column of ``obs``.
    ValueError
        `control` does not occur in it, or `n_cells` is not positive.

    Notes
    -----
    Perturbed cells among them would leak the labels that edges are scored against.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, n_cells=500)
    >>> int(adata.obs["edge_cells"].sum())
    500
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    labels = require_column(target.obs, groupby, slot="obs", remedy=REMEDY)
    require_label([str(label) for label in labels.dropna().unique()], control, slot=_slot(groupby), argument="control")
    require_positive(n_cells, argument="n_cells")
    seed = resolve_seed(rng)

    controls = np.flatnonzero((labels == control).to_numpy(dtype=bool))
    chosen = child(seed, SELECT_CELLS).permutation(controls)[: int(n_cells)]
    mask = np.zeros(target.n_obs, dtype=bool)
    mask[chosen] = True
    if len(controls) < n_cells:
        logger.info("all %d control cells are chosen (%d were asked for)", len(controls), n_cells)
    params = record(
        groupby=groupby,
        control=control,
        n_cells=n_cells,
        n_selected=len(chosen),
        n_control=len(controls),
        seed=seed,
    )
    write(target, obs={EDGE_CELLS: mask}, uns={SELECT_CELLS: {"params": params}})
    return data if copy else None


def _slot(groupby: str) -> str:
    return f"adata.obs[{groupby!r}]"
