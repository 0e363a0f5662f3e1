"""Which matrix holds counts, which holds log-normalised values, and how to read either in blocks."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from scepsis._core._keys import COUNTS, LOGNORM
from scepsis._core._partitions import sum_parts
from scepsis._core._rows import BLOCK, is_dask, iter_blocks, require_rows
from scepsis._core._validate import check_counts, listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

    from scepsis._core._types import FloatArray, IntArray

logger = logging.getLogger(__name__)
TARGET_SUM = 1e4


@dataclass
class Scale:
    """What values met so far say of their scale; that of parts adds up."""

    any_value: bool = False
    any_fraction: bool = False

    def see(self, block: sparse.csr_matrix, slot: str) -> None:
        """Take note of a block, and raise `ValueError` for values below zero."""
        if not block.data.size:
            return
        if block.data.min() < 0:
            msg = (
                f"`{slot}` holds negative values, so it looks scaled or corrected, where log-normalised "
                "values are needed. Put raw counts in `adata.layers['counts']` and call "
                "`scepsis.pp.lognormalize(adata)`."
            )
            raise ValueError(msg)
        self.any_value = True
        self.any_fraction = self.any_fraction or bool((block.data != np.rint(block.data)).any())

    def __add__(self, other: Scale) -> Scale:
        return Scale(self.any_value or other.any_value, self.any_fraction or other.any_fraction)

    def require_log(self, slot: str) -> None:
        """Raise `ValueError` when all that was met are whole numbers."""
        if self.any_value and not self.any_fraction:
            msg = (
                f"`{slot}` holds whole numbers only, so it looks like raw counts, where log-normalised values are "
                "needed. Call `scepsis.pp.lognormalize(adata)`, or pass `layer=` if they are elsewhere."
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class Values:
    """A cells x genes matrix, and what is done to it on reading."""

    matrix: Any
    slot: str
    #: Totals per cell when the values are counts to be log-normalised on reading, else None.
    totals: FloatArray | None = None
    #: Whether blocks are checked to be counts as they are read.
    are_counts: bool = False

    def __post_init__(self) -> None:
        require_rows(self.matrix, self.slot)

    def blocks(self, rows: IntArray, *, size: int = BLOCK) -> Iterator[tuple[IntArray, sparse.csr_matrix]]:
        """Yield ``(rows, block)``: CSR, float64 when log-normalised on the way."""
        for chosen, block in iter_blocks(self.matrix, rows, size=size):
            if self.are_counts or self.totals is not None:
                check_counts(block.data, slot=self.slot)
            elif not np.isfinite(block.data).all():
                msg = f"`{self.slot}` holds NaN or infinite values."
                raise ValueError(msg)
            yield chosen, block if self.totals is None else lognormalized(block, self.totals[chosen])

    def log_blocks(self, rows: IntArray, scale: Scale | None = None) -> Iterator[tuple[IntArray, sparse.csr_matrix]]:
        """
        Yield ``(rows, block)``, and raise `ValueError` for values that cannot be on a log1p scale.

        With a `scale`, whether there are whole numbers only is left to whoever sees all parts.
        """
        met = Scale() if scale is None else scale
        for chosen, block in self.blocks(rows):
            if self.totals is None:
                met.see(block, self.slot)
            yield chosen, block
        if scale is None:
            met.require_log(self.slot)

    def dense(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """Cells x genes asked for, as float32."""
        parts = [block[:, columns].toarray() for _, block in self.blocks(rows)]
        if not parts:
            return np.zeros((0, len(columns)), dtype=np.float32)
        return np.concatenate(parts).astype(np.float32, copy=False)


def lognormalized(block: sparse.csr_matrix, totals: FloatArray) -> sparse.csr_matrix:
    """``log1p(count / total * 1e4)``; a cell without counts stays empty."""
    factor = np.divide(TARGET_SUM, totals, out=np.zeros(len(totals)), where=totals > 0)
    data = np.log1p(block.data * np.repeat(factor, np.diff(block.indptr)))
    return sparse.csr_matrix((data, block.indices, block.indptr), shape=block.shape)


def counts(adata: AnnData) -> Values:
    """Raw counts: ``layers["counts"]``, else ``X``. Blocks are checked as they are read."""
    if COUNTS in adata.layers:
        return Values(adata.layers[COUNTS], f"adata.layers[{COUNTS!r}]", are_counts=True)
    if adata.X is None:
        msg = "`adata.X` is empty and `adata.layers['counts']` does not exist: raw counts are needed."
        raise ValueError(msg)
    return Values(adata.X, "adata.X", are_counts=True)


def lognorm(adata: AnnData, layer: str | None = None) -> Values:
    """
    Log-normalised values: `layer`, else ``layers["lognorm"]``, else ``X`` when ``uns["log1p"]`` says so, else computed.

    Computed means from counts with totals over all genes of `adata`, on reading, in float64; nothing is stored.
    """
    if layer is not None:
        if layer not in adata.layers:
            msg = f"`adata.layers[{layer!r}]` does not exist; there are: {listing(adata.layers)}."
            raise KeyError(msg)
        return Values(adata.layers[layer], f"adata.layers[{layer!r}]")
    if LOGNORM in adata.layers:
        return Values(adata.layers[LOGNORM], f"adata.layers[{LOGNORM!r}]")
    if "log1p" in adata.uns:
        base = adata.uns["log1p"].get("base")
        if base is not None and not np.isclose(float(base), math.e):
            msg = (
                f"`adata.X` was log-transformed to base {base} (`adata.uns['log1p']`), natural logarithms are needed. "
                "Call `scepsis.pp.lognormalize(adata)` on counts."
            )
            raise ValueError(msg)
        return Values(adata.X, "adata.X")
    raw = counts(adata)
    try:
        totals = cell_totals(raw, adata.n_obs)
    except ValueError as error:
        msg = (
            f"{error} There are no log-normalised values either: neither `adata.layers['lognorm']` nor a record of "
            "`scanpy.pp.log1p` in `adata.uns['log1p']`. Pass `layer=` if they are elsewhere."
        )
        raise ValueError(msg) from error
    logger.info("log-normalised values are computed from %s, with totals over the genes of adata", raw.slot)
    return Values(raw.matrix, raw.slot, totals=totals)


def cell_totals(values: Values, n_obs: int) -> FloatArray:
    """Sum of every cell, as float64."""
    rows = np.arange(n_obs)
    if not is_dask(values.matrix):
        return _totals(values, rows)
    parts = [totals for _, totals in sum_parts(values, rows, _totals, _joined)]
    return np.concatenate([np.zeros(0), *parts])


def _totals(values: Values, rows: IntArray) -> FloatArray:
    sums = [np.asarray(block.sum(axis=1), dtype=np.float64).ravel() for _, block in values.blocks(rows, size=8 * BLOCK)]
    return np.concatenate([np.zeros(0), *sums])


def _joined(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.concatenate([first, second])
