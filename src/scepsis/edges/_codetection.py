"""How often two genes are detected in the same cells, over what independence would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scipy import sparse

    from scepsis._core._types import FloatArray, IntArray


def codetection_lift(blocks: Iterable[sparse.csr_matrix], sources: IntArray, targets: IntArray) -> FloatArray:
    r"""
    Lift of co-detection, sources x targets: :math:`N n_{ij} / (n_i n_j)` over N cells; 1 is independence.

    NaN where one of the two genes is never detected. `sources` and `targets` are columns of the blocks; a value above
    0 is a detection.
    """
    both = np.zeros((len(sources), len(targets)))
    of_sources, of_targets, n_cells = np.zeros(len(sources)), np.zeros(len(targets)), 0
    for block in blocks:
        first, second = ((block[:, genes].toarray() > 0).astype(np.float32) for genes in (sources, targets))
        both += first.T @ second  # whole numbers up to the size of a block, exact in 32 bits
        of_sources += first.sum(axis=0)
        of_targets += second.sum(axis=0)
        n_cells += block.shape[0]
    expected = np.outer(of_sources, of_targets)
    lift: FloatArray = np.divide(n_cells * both, expected, out=np.full(both.shape, np.nan), where=expected > 0)
    return lift
