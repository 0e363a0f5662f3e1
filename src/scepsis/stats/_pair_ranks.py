"""
Many scores against many sets of positives, on the same pairs of genes.

A score is sorted once, whatever the sets. Along that order only the pairs of some set change anything: what lies
between two of them has one influence, so that the influence of all pairs is a table with a few entries for each pair
of a set, and for every pair its place in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scepsis._core._types import FloatArray, IntArray

#: Where a sorted number has its pair: the upper half is the score.
_LOWER, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@dataclass(frozen=True)
class Members:
    """Which pairs are positives of which sets."""

    #: Number of every pair among those of any set; that of nothing, the last column of `belongs`, for all others.
    number: NDArray[np.uint32]
    #: Sets x pairs of any set, and nothing.
    belongs: NDArray[np.bool_]
    #: Pairs of every set.
    positives: list[NDArray[np.int64]]

    @classmethod
    def of(cls, n: int, sets: Sequence[NDArray[np.int64]]) -> Members:
        """Sets as positions among `n` pairs, each once."""
        listed = np.zeros(n, dtype=bool)
        for positives in sets:
            listed[positives] = True
        everyone = np.flatnonzero(listed)
        number = np.full(n, len(everyone), dtype=np.uint32)
        number[everyone] = np.arange(len(everyone), dtype=np.uint32)
        belongs = np.zeros((len(sets), len(everyone) + 1), dtype=bool)
        for row, positives in zip(belongs, sets, strict=True):
            row[number[positives]] = True
        return cls(number, belongs, list(sets))


@dataclass(frozen=True)
class Ranks:
    """Order of one score."""

    #: Ascending: the score, as a whole number that ascends with it, above the position of the pair.
    packed: NDArray[np.uint64]

    @classmethod
    def of(cls, scores: FloatArray) -> Ranks:
        """
        Rank scores without NaN, in 32 bits.

        They are sorted by the lower and then by the upper half of their bits, by counting: an eighth of the time that a
        sort by comparison takes.
        """
        narrow = scores.astype(np.float32) + np.float32(0)  # no negative zeros
        bits = narrow.view(np.int32)
        bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
        keys = bits.view(np.uint32) ^ np.uint32(0x80000000)
        half, packed = (np.empty(len(keys), dtype=np.uint64) for _ in range(2))
        _sort(keys, half, packed)
        return cls(packed)

    @property
    def n(self) -> int:
        return len(self.packed)

    @property
    def constant(self) -> bool:
        """Whether there is one score only."""
        return not self.n or bool((self.packed[0] ^ self.packed[-1]) >> _HALF == 0)

    def top(self, k: int) -> IntArray:
        """Pairs of the k highest scores, ascending; a tie that the cut goes through is left out."""
        above = self.packed[max(self.n - k, 0) :]
        if len(above) < self.n:
            cut = self.packed[self.n - k - 1] | _LOWER
            above = above[np.searchsorted(above, cut, side="right") :]
        pairs: IntArray = np.sort((above & _LOWER).astype(np.int64))
        return pairs


@numba.njit(cache=True, nogil=True)
def _sort(keys: NDArray[np.uint32], half: NDArray[np.uint64], packed: NDArray[np.uint64]) -> None:
    """Put positions under their keys, sorted by the lower 16 bits of keys into `half`, by all into `packed`."""
    ends = np.zeros((2, 65_537), dtype=np.int64)
    for key in keys:
        ends[0, (key & 0xFFFF) + 1] += 1
        ends[1, (key >> 16) + 1] += 1
    for place in range(1, 65_537):
        ends[0, place] += ends[0, place - 1]
        ends[1, place] += ends[1, place - 1]
    for position in range(len(keys)):
        key = keys[position]
        half[ends[0, key & 0xFFFF]] = np.uint64(key) << np.uint64(32) | np.uint64(position)
        ends[0, key & 0xFFFF] += 1
    for number in half:
        upper = np.int64(number >> np.uint64(48))
        packed[ends[1, upper]] = number
        ends[1, upper] += 1


@dataclass(frozen=True)
class Standings:
    """How several sets of positives stand among all pairs of one score."""

    auroc: FloatArray
    #: Entry of every pair in `table`.
    place: NDArray[np.uint32]
    #: Sets x entries: influence on the AUROC.
    table: NDArray[np.float32]

    @classmethod
    def of(cls, ranks: Ranks, members: Members) -> Standings:
        r"""
        Rank the positives of each set against all other pairs; ties count one half.

        The influence is DeLong's: :math:`\sqrt{n/(n-1)}\,(V - \mathrm{AUROC})/n`, with V the share of the other
        class on the right side of the pair and n the size of its own class.
        """
        n, nobody = ranks.n, members.belongs.shape[1] - 1
        place = np.empty(n, dtype=np.uint32)
        owner, first = (np.empty(min(3 * nobody, n + nobody) + 2, dtype=np.uint32) for _ in range(2))
        n_entries = _enter(ranks.packed, members.number, nobody, place, owner, first)
        owner, first = owner[:n_entries], first[: n_entries + 1]
        table = np.zeros((len(members.positives), n_entries), dtype=np.float32)
        auroc = np.full(len(table), np.nan)
        for index, positives in enumerate(members.positives):
            n_pos, n_neg = len(positives), n - len(positives)
            if n_pos and n_neg:
                belongs, entries = members.belongs[index], table[index]
                area = auroc[index] = int(_count(owner, first, belongs, entries)) / (2 * n_pos * n_neg)
                _influence(owner, belongs, entries, area, (_weight(n_pos), _weight(n_neg)), (n_pos, n_neg))
        return cls(auroc, place, table)

    def influence(self) -> NDArray[np.float32]:
        """Influence of every pair, sets x pairs."""
        return self.table.take(self.place, axis=1)


def _weight(n: int) -> float:
    return float(np.sqrt(n / (n - 1)) / n) if n > 1 else 0.0


@numba.njit(cache=True, nogil=True)
def _enter(
    packed: NDArray[np.uint64],
    number: NDArray[np.uint32],
    nobody: int,
    place: NDArray[np.uint32],
    owner: NDArray[np.uint32],
    first: NDArray[np.uint32],
) -> np.int64:
    """
    Give every pair an entry of the table: one for each pair of a set, one for all others that are alike.

    Those are the pairs of no set between two pairs of sets, and those with the same score as some pair of one.
    Entries ascend; `owner` is the number of the entry's pair, `first` the number of pairs that stand before its score
    (of a run of pairs: before its lowest), ended by the number of all.
    """
    n = np.uint64(len(packed))
    one, low, half = np.uint64(1), np.uint64(0xFFFFFFFF), np.uint64(32)
    whose = np.empty(len(packed), dtype=np.uint32)
    for index in range(n):  # by themselves, look-ups do not wait for each other
        whose[index] = number[packed[index] & low]
    n_entries, start, run = np.uint64(0), np.uint64(0), np.uint64(0)
    in_run = False
    while start < n:
        stop = start + one
        anybody = whose[start] != nobody
        while stop < n and not (packed[stop] ^ packed[start]) >> half:
            anybody |= whose[stop] != nobody
            stop += one
        if stop - start > one if anybody else not in_run:
            run = n_entries
            owner[run], first[run] = nobody, start
            n_entries += one
        in_run = not anybody
        for index in range(start, stop):
            entry = run
            if whose[index] != nobody:
                entry = n_entries
                owner[entry], first[entry] = whose[index], start
                n_entries += one
            place[packed[index] & low] = entry
        start = stop
    first[n_entries] = n
    return np.int64(n_entries)


@numba.njit(cache=True, nogil=True)
def _count(
    owner: NDArray[np.uint32], first: NDArray[np.uint32], belongs: NDArray[np.bool_], entries: NDArray[np.float32]
) -> np.int64:
    """Enter negatives below each positive and positives below each negative, ties one half; return twice all wins."""
    n = np.uint64(len(owner))
    one, start = np.uint64(1), np.uint64(0)
    before, twice = np.int64(0), np.int64(0)
    while start < n:
        lower = np.int64(first[start])
        own = np.int64(belongs[owner[start]])
        stop = start + one
        while stop < n and first[stop] == first[start]:
            own += belongs[owner[stop]]
            stop += one
        wins = 2 * (lower - before) + (np.int64(first[stop]) - lower - own)
        below = np.float32(0.5 * wins)
        upto = np.float32(before + 0.5 * own)
        for entry in range(start, stop):
            entries[entry] = below if belongs[owner[entry]] else upto
        twice += own * wins
        before += own
        start = stop
    return twice


@numba.njit(cache=True, nogil=True)
def _influence(
    owner: NDArray[np.uint32],
    belongs: NDArray[np.bool_],
    entries: NDArray[np.float32],
    area: float,
    weights: tuple[float, float],
    sizes: tuple[int, int],
) -> None:
    """Turn counts into influences."""
    of_positive, of_negative = weights[0] / sizes[1], -weights[1] / sizes[0]
    level, base = -weights[0] * area, weights[1] * (1 - area)
    for entry in range(len(owner)):
        count = np.float64(entries[entry])
        entries[entry] = level + of_positive * count if belongs[owner[entry]] else base + of_negative * count
