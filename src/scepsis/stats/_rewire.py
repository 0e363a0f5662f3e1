"""
Networks drawn at random with the degrees of a given one.

Two edges that are chosen at random trade their targets, unless that would set an edge that is there already or one
that may not be (a gene with itself): such a step leaves the network as it is. Every step is as likely as its reverse,
so that after enough of them all networks within reach are equally likely. What is enough is not known beforehand: it
is measured, by the share of the observed edges that are still there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from scepsis._core._rng import child

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: Chains from which it is judged whether they have mixed.
MIN_CHAINS = 50
#: Steps for which random numbers are drawn at a time.
STEPS = 1 << 18


@dataclass(frozen=True)
class Mixing:
    """Share of the observed edges left after some number of steps, over the chains, and whether it still falls."""

    n_steps: list[int]
    overlap: list[float]
    #: Standard error of the change since the length before; NaN for the first.
    standard_error: list[float]
    #: Whether the overlap at the last length is that at half of it, within two standard errors.
    mixed: bool
    #: Whether any chain ever left the observed network.
    moved: bool


@dataclass(frozen=True)
class Rewired:
    """Networks with the degrees of the observed one."""

    #: Networks x edges: place of each edge in the flattened matrix of pairs.
    cells: IntArray
    #: Share of the observed edges in each network.
    overlap: FloatArray
    mixing: Mixing


def rewire(
    listed: BoolArray,
    allowed: BoolArray,
    n_networks: int,
    *,
    seed: int,
    swaps_per_edge: float = 10,
    max_doublings: int = 5,
    n_jobs: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> Rewired:
    """
    Rewire a network, keeping how many edges every row and every column has.

    Each network is the end of a chain of its own from the observed one, with a generator of its own. All chains are
    run for ``swaps_per_edge`` steps for each edge and then twice as far, until the mean overlap with the observed
    network no longer changes (or `max_doublings` is reached).

    Parameters
    ----------
    listed
        Rows x columns: the observed edges, all of them allowed.
    allowed
        Rows x columns: where an edge may be.
    n_networks
        Networks wanted; at least 50 chains are run.
    seed
        Seed of all chains.
    swaps_per_edge
        Length of the chains that is tried first, in steps for each edge.
    max_doublings
        How often the length may be doubled.
    n_jobs
        Threads.
    advance
        Told how many chains have come to the end of a length.

    Notes
    -----
    About 10 ns for each step. Memory is the edges of all networks and, for each thread, one byte for each pair.
    """
    row, column = np.nonzero(listed)
    row, column = row.astype(np.int32), column.astype(np.int32)
    n_chains = max(n_networks, MIN_CHAINS)
    ends = np.tile(column, (n_chains, 1))
    generators = [child(seed, "rewire", chain) for chain in range(n_chains)]
    taken = (~allowed).view(np.uint8)
    moved = np.zeros(n_chains, dtype=np.int64)

    def run(chain: int, n_steps: int) -> None:
        state = taken.copy()
        state[row, ends[chain]] = 1
        for start in range(0, n_steps, STEPS):
            words = generators[chain].bit_generator.random_raw(min(STEPS, n_steps - start))
            moved[chain] += _trade(row, ends[chain], state, words)
        advance(1)

    steps, overlap, errors, shares = [0], [1.0], [np.nan], np.ones(n_chains)
    mixed = False
    with ThreadPoolExecutor(max(n_jobs, 1)) as pool:
        for doubling in range(max_doublings + 1):
            total = int(np.ceil(swaps_per_edge * 2**doubling * len(row)))
            list(pool.map(run, range(n_chains), [total - steps[-1]] * n_chains))
            now = listed[row, ends].mean(axis=1)
            error = float(np.std(now - shares, ddof=1) / np.sqrt(n_chains))
            mixed = doubling > 0 and abs(float(np.mean(now)) - overlap[-1]) <= 2 * error
            steps.append(total)
            overlap.append(float(np.mean(now)))
            errors.append(error)
            shares = now
            if mixed:
                break
    cells = row * np.int64(listed.shape[1]) + ends[:n_networks]
    mixing = Mixing(steps, overlap, errors, mixed, bool(moved.any()))
    return Rewired(cells, shares[:n_networks], mixing)


@numba.njit(cache=True, nogil=True)
def _trade(row: IntArray, column: IntArray, taken: IntArray, words: IntArray) -> int:
    """
    Let couples of edges trade columns where both new places are free; return how many did.

    The halves of each 64-bit word choose the couple (no edge is likelier than another by more than one in 4e9 / E).
    """
    done = 0
    n = np.uint64(len(row))
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    for word in words:
        first, second = ((word >> half) * n) >> half, ((word & low) * n) >> half
        one, other = row[first], row[second]
        left, right = column[first], column[second]
        if taken[one, right] or taken[other, left]:  # also if they share the row or the column
            continue
        taken[one, left] = taken[other, right] = 0
        taken[one, right] = taken[other, left] = 1
        column[first], column[second] = right, left
        done += 1
    return done


def shuffle_within(
    groups: IntArray, n_chosen: IntArray, members: IntArray, n_draws: int, *, seed: int, name: str
) -> IntArray:
    """
    Draw members of every group without replacement, draws x chosen.

    Parameters
    ----------
    groups
        Where each group begins in `members`, and their number.
    n_chosen
        How many are drawn from each group.
    members
        Members of all groups, one group after the other.
    n_draws
        Number of draws, each with a generator of its own.
    seed, name
        Seed of all draws, and what tells them from others.
    """
    chosen = np.empty((n_draws, int(n_chosen.sum())), dtype=np.int64)
    pool = members.astype(np.int64)
    for draw in range(n_draws):
        _choose(groups, n_chosen, pool, child(seed, name, draw).random(chosen.shape[1]), chosen[draw])
    return chosen


@numba.njit(cache=True, nogil=True)
def _choose(groups: IntArray, n_chosen: IntArray, pool: IntArray, uniform: FloatArray, chosen: IntArray) -> None:
    """Begin Fisher and Yates' shuffle of every group, keep what comes first, and undo it."""
    at = 0
    for group in range(len(n_chosen)):
        first, size, k = groups[group], groups[group + 1] - groups[group], n_chosen[group]
        for item in range(k):
            other = item + int(uniform[at + item] * (size - item))
            pool[first + item], pool[first + other] = pool[first + other], pool[first + item]
            chosen[at + item] = pool[first + item]
        for item in range(k - 1, -1, -1):
            other = item + int(uniform[at + item] * (size - item))
            pool[first + item], pool[first + other] = pool[first + other], pool[first + item]
        at += k
