"""Sets of heads that another set could have been: as many in every layer, of like entropy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice, product
from math import comb, prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: Sets looked at for each that is kept: the nearest in entropy are.
POOL = 5


@dataclass(frozen=True)
class HeadSets:
    """Sets that a set of heads is held against, in random order."""

    #: Sets x heads: positions of heads, each set ascending.
    sets: IntArray
    #: Sets of the same heads per layer that there are, without the one given.
    n_possible: int
    #: Whether all of them are here.
    enumerated: bool
    #: Mean entropy of each set less that of the set given.
    entropy_difference: FloatArray

    @property
    def floor(self) -> float:
        """Smallest p-value that they can give."""
        return 1 / (1 + len(self.sets))


def matched_sets(
    chosen: Sequence[int],
    layer: IntArray,
    entropy: FloatArray | None,
    n: int,
    rng: np.random.Generator,
    *,
    by_layer: bool = True,
    among: BoolArray | None = None,
) -> HeadSets:
    """
    Draw up to `n` different sets of as many heads in every layer, the nearest in mean entropy of five times as many.

    The set itself is never among them, its heads may be: under the null hypothesis it is one of them. Where no more
    than `n` exist, all are given, whatever their entropy.

    Parameters
    ----------
    chosen
        Positions of the heads of the set.
    layer
        Layer of every head.
    entropy
        Mean entropy of every head; None does not match it.
    n
        Sets wanted.
    rng
        What draws, and orders.
    by_layer
        Whether there are to be as many heads in every layer; else as many in all.
    among
        Heads that a set may be made of, those of the set itself among them; all when not given.
    """
    own = tuple(sorted(int(one) for one in chosen))
    strata = layer if by_layer else np.zeros_like(layer)
    may_be = np.ones(len(layer), dtype=bool) if among is None else among
    parts: list[tuple[IntArray, int]] = [
        (np.flatnonzero((strata == stratum) & may_be), int((strata[list(own)] == stratum).sum()))
        for stratum in np.unique(strata[list(own)])
    ]
    n_possible = prod(comb(len(heads), k) for heads, k in parts) - 1
    wanted = n if entropy is None else POOL * n
    # Beyond this a draw seldom repeats an earlier one; below it, listing all is cheap.
    if n_possible <= 10 * wanted:
        found = [one for one in _every(parts) if one != own]
        found = [found[index] for index in rng.permutation(len(found))[:wanted]]
    else:
        found = _drawn(parts, own, wanted, rng)
    sets = np.array(found, dtype=np.int64).reshape(len(found), len(own))
    differences = np.zeros(len(sets))
    if entropy is not None and len(sets):
        differences = entropy[sets].mean(axis=1) - float(entropy[list(own)].mean())
        nearest = np.argsort(np.abs(differences), kind="stable")[:n]
        nearest = rng.permutation(nearest)
        sets, differences = sets[nearest], differences[nearest]
    return HeadSets(sets[:n], n_possible, len(sets) == n_possible, differences[:n])


def _every(parts: Sequence[tuple[IntArray, int]]) -> Iterator[tuple[int, ...]]:
    each = [list(combinations(heads.tolist(), k)) for heads, k in parts]
    return (tuple(sorted(sum(some, ()))) for some in product(*each))


def _drawn(
    parts: Sequence[tuple[IntArray, int]], own: tuple[int, ...], n: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    def draws() -> Iterator[tuple[int, ...]]:
        seen = {own}
        while True:
            picked = np.concatenate([rng.choice(heads, k, replace=False) for heads, k in parts])
            one = tuple(sorted(picked.tolist()))
            if one not in seen:
                seen.add(one)
                yield one

    return list(islice(draws(), n))


def nearest_in_entropy(chosen: Sequence[int], entropy: FloatArray) -> IntArray:
    """
    For each head in turn, the head outside the set, not taken before, whose entropy is nearest.

    Fewer where heads run out. Of equally near ones the first is taken; heads without an entropy are not.
    """
    free = np.ones(len(entropy), dtype=bool)
    free[list(chosen)] = False
    free &= ~np.isnan(entropy)
    taken: list[int] = []
    for head in chosen:
        if not free.any() or np.isnan(entropy[head]):
            continue
        distance = np.where(free, np.abs(entropy - entropy[head]), np.inf)
        best = int(np.argmin(distance))
        free[best] = False
        taken.append(best)
    return np.array(taken, dtype=np.int64)
