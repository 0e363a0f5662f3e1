"""Log-normalised values of a panel's genes in chosen cells, held sparse, from wherever the matrix lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from scepsis._core._partitions import sum_log_parts
from scepsis._core._rows import is_dask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scipy import sparse

    from scepsis._core._types import IntArray
    from scepsis._core._values import Values

    Blocks: TypeAlias = Iterable[tuple[IntArray, sparse.csr_matrix]]


def panel_values(values: Values, cells: IntArray, genes: IntArray) -> Iterable[sparse.csr_matrix]:
    """Cells x genes, float32, in blocks that come one after the other; dask's chunks are read where dask has them."""
    if is_dask(values.matrix):
        return sum_log_parts(values, cells, _listed, shared=(genes,))
    return of_panel(values.log_blocks(cells), genes)


def of_panel(blocks: Blocks, genes: IntArray) -> Iterator[sparse.csr_matrix]:
    """Columns of the panel, float32."""
    return (block[:, genes].astype(np.float32) for _, block in blocks)


def _listed(blocks: Blocks, genes: IntArray) -> list[sparse.csr_matrix]:
    return list(of_panel(blocks, genes))
