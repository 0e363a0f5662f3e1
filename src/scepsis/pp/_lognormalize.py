from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from scepsis._core._keys import LOGNORM, LOGNORMALIZE
from scepsis._core._resolve import resolve
from scepsis._core._store import record, write
from scepsis._core._validate import require_column
from scepsis._core._values import TARGET_SUM, Values, cell_totals, counts

if TYPE_CHECKING:
    from anndata import AnnData

    from scepsis._core._types import Data, FloatArray

logger = logging.getLogger(__name__)


def lognormalize(
    adata: Data,
    *,
    totals: str | None = None,
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    r"""
    Log-normalise counts: :math:`\log(1 + 10^4 x / n)`, with :math:`n` the total of the cell.

    Parameters
    ----------
    adata
        Cells x genes with raw counts in ``layers["counts"]`` or ``X``.
    totals
        Column of ``obs`` with the total of each cell over the whole transcriptome. Needed when `adata` holds only
        some of the measured genes: their sum rises and falls with the genes under study. Without it, totals are
        sums over the genes of `adata`.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``layers["lognorm"]``
        CSR, float32, natural logarithm. Cells without counts stay empty.
    ``uns["lognormalize"]["params"]``
        where counts and totals came from.

    Raises
    ------
    ValueError
        Values that are no counts, or totals that cannot be totals of these cells (missing, negative, or below the
        sum over the genes present in most cells).
    KeyError
        `totals` is no column of ``obs``.

    Notes
    -----
    Two passes over the stored values, in blocks of cells.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.lognormalize(adata)
    >>> adata.layers["lognorm"].dtype
    dtype('float32')
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    given = None if totals is None else _given_totals(target, totals)
    raw = counts(target)
    sums = cell_totals(raw, target.n_obs)
    if given is not None:
        _compare(given, sums, f"adata.obs[{totals!r}]")
    if not (sums > 0).all():
        logger.info("%d cells have no counts and stay empty", int((sums == 0).sum()))
    layer = _normalised(Values(raw.matrix, raw.slot, totals=sums if given is None else given), target.n_obs)
    params = record(counts=raw.slot, totals=totals, target_sum=TARGET_SUM)
    write(target, layers={LOGNORM: layer}, uns={LOGNORMALIZE: {"params": params}})
    return data if copy else None


def _given_totals(adata: AnnData, column: str) -> FloatArray:
    values = require_column(adata.obs, column, slot="obs")
    if values.dtype.kind not in "iuf":
        msg = f"`adata.obs[{column!r}]` must hold numbers, not {values.dtype}."
        raise TypeError(msg)
    result: FloatArray = values.to_numpy(dtype=np.float64)
    if not np.isfinite(result).all() or (result < 0).any():
        n_wrong = int((~np.isfinite(result) | (result < 0)).sum())
        msg = f"`adata.obs[{column!r}]` is missing, infinite or negative in {n_wrong} cells: totals are counts."
        raise ValueError(msg)
    return result


def _compare(totals: FloatArray, sums: FloatArray, slot: str) -> None:
    """A total over the whole transcriptome is never below the sum over some of its genes."""
    below = totals < sums * (1 - 1e-6)
    if 2 * int(below.sum()) > len(sums):
        msg = (
            f"`{slot}` is below the sum over the genes of `adata` in {int(below.sum())} of {len(sums)} cells, so it "
            "does not hold totals of these counts (log-transformed, perhaps, or of another matrix). "
            "Pass the column with total counts, or leave `totals` out."
        )
        raise ValueError(msg)
    if below.any():
        warnings.warn(
            f"`{slot}` is below the sum over the genes of `adata` in {int(below.sum())} of {len(sums)} cells; "
            "it is used as it is.",
            UserWarning,
            stacklevel=3,
        )


def _normalised(values: Values, n_obs: int) -> sparse.csr_matrix:
    blocks = [block.astype(np.float32) for _, block in values.blocks(np.arange(n_obs))]
    return sparse.vstack(blocks, format="csr")
