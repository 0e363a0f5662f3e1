"""Choosing on one half and looking at the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import FloatArray, IntArray


def halves(strata: IntArray, rng: np.random.Generator) -> IntArray:
    """
    Assign units to half 0 or 1 at random, as evenly as can be within each stratum and in all.

    Strata are taken in ascending order; one of an odd number gives its last unit to the half that has fewer by then.
    """
    result = np.zeros(len(strata), dtype=np.int64)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        fewer = int((result[strata < stratum] == 1).sum() * 2 < (strata < stratum).sum())
        result[members] = (np.arange(len(members)) + fewer) % 2
    return result


class HeldOut(NamedTuple):
    """What the best by one half are worth on the other, beside what they seem to be worth."""

    k: int
    #: Mean of the best `k` on the units that they were chosen on, all of them.
    in_sample: float
    #: Mean over both halves of what the best `k` of the one reach on the other.
    held_out: float
    #: Mean of all candidates.
    of_all: float


def held_out(whole: FloatArray, by_half: FloatArray, sizes: Sequence[int]) -> list[HeldOut]:
    """
    Compare in-sample and held-out values of the best candidates.

    Parameters
    ----------
    whole
        Value of each candidate on all units.
    by_half
        2 x candidates: the same on either half.
    sizes
        Numbers of best candidates.
    """
    result = []
    for k in sizes:
        across = [float(by_half[1 - half, best(by_half[half], k)].mean()) for half in (0, 1)]
        in_sample = float(whole[best(whole, k)].mean())
        result.append(HeldOut(k, in_sample, float(np.mean(across)), float(np.nanmean(whole))))
    return result


def best(values: FloatArray, k: int) -> IntArray:
    """Positions of the `k` highest values, the earlier of equals first; a NaN is never among them."""
    order = np.argsort(-values, kind="stable")  # NaN last
    chosen: IntArray = order[: min(k, int((~np.isnan(values)).sum()))]
    return chosen


def ranks(values: FloatArray) -> IntArray:
    """Rank of each value, 1 for the highest, the earlier of equals first; 0 for NaN."""
    result = np.zeros(len(values), dtype=np.int64)
    order = best(values, len(values))
    result[order] = np.arange(1, len(order) + 1)
    return result
