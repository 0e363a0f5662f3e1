"""How many listed pairs are among the strongest, against chance and against genes with other names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray, IntArray
    from scepsis.stats._pair_space import PairSpace


@dataclass(frozen=True)
class Overlap:
    """Listed pairs among the first ones of a ranking."""

    top: int
    hits: int
    expected: float
    #: Of being listed, among the first against all others; NaN where it is 0/0.
    odds_ratio: float
    #: Fisher's exact test, one-sided each: at least, and at most, as many.
    p_greater: float
    p_less: float
    #: The same against pairs of genes with permuted names.
    p_genes_greater: float = np.nan
    p_genes_less: float = np.nan


def fisher_overlap(top: int, hits: int, n_pos: int, n: int) -> Overlap:
    """Fisher's exact test of `hits` listed pairs among `top` out of n, of which `n_pos` are listed."""
    from scipy.stats import hypergeom

    others = top - hits, n_pos - hits, n - n_pos - top + hits
    numerator, denominator = hits * others[2], others[0] * others[1]
    odds = numerator / denominator if denominator else np.inf if numerator else np.nan
    greater = float(hypergeom.sf(hits - 1, n, n_pos, top))
    less = float(hypergeom.cdf(hits, n, n_pos, top))
    return Overlap(top, hits, top * n_pos / n if n else np.nan, odds, min(greater, 1.0), min(less, 1.0))


def permuted_hits(
    listed: BoolArray, space: PairSpace, tops: list[IntArray], n_null: int, rng: np.random.Generator
) -> IntArray:
    """
    Listed pairs among the pairs of every top when genes change places, permutations x tops.

    Genes that are in any pair are permuted among themselves: both places alike where pairs have no direction, else
    rows among rows and columns among columns. `listed` is rows x columns, symmetric where pairs have no direction.
    """
    rows, columns = space.took_part
    first = np.flatnonzero(rows | columns) if space.dyadic else np.flatnonzero(rows)
    second = np.flatnonzero(columns)
    pairs = np.concatenate(tops) if tops else np.arange(0)
    ends = np.cumsum([len(top) for top in tops], dtype=np.int64)
    row, column = space.row[pairs].view(np.uint32), space.column[pairs].view(np.uint32)
    bits = np.packbits(listed, axis=1, bitorder="little")  # an eighth of the memory stays in the processor's own
    hits = np.zeros((n_null, len(tops)), dtype=np.int64)
    of_row, of_column = (np.arange(size, dtype=np.uint32) for size in space.shape)
    for draw in range(n_null):
        of_row[first] = rng.permutation(first)
        if not space.dyadic:
            of_column[second] = rng.permutation(second)
        _count(bits, of_row, of_row if space.dyadic else of_column, row, column, ends, hits[draw])
    return hits


@numba.njit(cache=True, nogil=True)
def _count(
    bits: NDArray[np.uint8],
    of_row: NDArray[np.uint32],
    of_column: NDArray[np.uint32],
    row: NDArray[np.uint32],
    column: NDArray[np.uint32],
    ends: NDArray[np.int64],
    hits: NDArray[np.int64],
) -> None:
    pair = 0
    for top in range(len(ends)):
        found = 0
        while pair < ends[top]:
            target = of_column[column[pair]]
            found += (bits[of_row[row[pair]], target >> 3] >> (target & 7)) & 1
            pair += 1
        hits[top] = found
