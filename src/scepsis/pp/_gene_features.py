from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_slots import provenance
from scepsis._core._keys import DETECTION_RATE, GENE_FEATURES, MEAN, VARIANCE, EdgeKeys
from scepsis._core._resolve import Choice, choose_cells, resolve
from scepsis._core._store import record, write
from scepsis._core._values import lognorm
from scepsis.stats._column_moments import column_moments

if TYPE_CHECKING:
    from scepsis._core._types import Data, Mask


def gene_features(
    adata: Data,
    *,
    mask_obs: Mask = None,
    layer: str | None = None,
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    """
    Describe every gene by its mean, variance and detection rate :cite:p:`kendiukhov2026`.

    These three know nothing of regulation: edges that rank responding genes no better than they do have not shown
    any (Kendiukhov (2026), analysis A04).

    Parameters
    ----------
    adata
        Cells x genes.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    layer
        Log-normalised values; ``layers["lognorm"]`` when not given and present, else ``X`` when ``uns["log1p"]``
        says so, else computed from counts.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``var["mean"]``
        float64, mean log-normalised value.
    ``var["variance"]``
        float64, its population variance.
    ``var["detection_rate"]``
        float64, share of cells in which the gene was seen; dropout is one less this.
    ``uns["gene_features"]["params"]``
        with number and hashes of cells and genes.
    ``obs["gene_features_cells"]``
        bool, only when `mask_obs` is an array.

    Raises
    ------
    ValueError
        Values that are not log-normalised, or a mask that chooses nothing.
    KeyError
        `layer` or `mask_obs` does not exist.

    Notes
    -----
    One pass over the stored values.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.gene_features(adata)
    >>> bool((adata.var["detection_rate"] <= 1).all())
    True
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    cells = choose_cells(target, mask_obs)
    values = lognorm(target, layer)
    moments = column_moments((block for _, block in values.log_blocks(cells.index)), target.n_vars)

    keys = EdgeKeys(GENE_FEATURES)
    everything = Choice(np.ones(target.n_vars, dtype=bool), "")
    params = record(
        values=values.slot,
        lognormalized_on_reading=values.totals is not None,
        **provenance(target, cells, everything, cells_name=keys.cells, genes_name=keys.genes),
    )
    write(
        target,
        obs={keys.cells: cells.mask} if cells.name is None else {},
        var={MEAN: moments.mean, VARIANCE: moments.variance, DETECTION_RATE: moments.detection_rate},
        uns={GENE_FEATURES: {"params": params}},
    )
    return data if copy else None
