"""
Which components a whole owes its effect to: Shapley values of a game, exact or from permutations.

A game gives every coalition of components a value, cell by cell: 0 to nobody, the total effect to all. Everything here
is linear in those values, so that it is computed per cell and averaged last, and cells tell its uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: Components up to which every coalition is played.
MAX_EXACT = 12
#: Numbers that a permutation and its reverse make for one component: they are averaged before anything else.
PAIR = 2
#: What a single component is measured by: put into nothing, or taken from everything.
Single = Literal["denoise", "ablate"]


@dataclass(frozen=True)
class Coalitions:
    """The coalitions of a game that have to be played, and where among them everything stands."""

    #: Coalitions x components, each coalition once.
    members: BoolArray
    #: Rows of nobody and of all.
    nobody: int
    everybody: int
    #: Rows of every component alone, and of all but that component.
    alone: IntArray
    without: IntArray
    #: Orders in which components come in; None where every coalition is played. Odd ones reverse the one before.
    orders: IntArray | None = None
    #: Orders x (components + 1): the rows that an order passes through, from nobody to all.
    paths: IntArray | None = None

    @property
    def n(self) -> int:
        """Number of components."""
        return int(self.members.shape[1])

    @classmethod
    def every(cls, n: int) -> Coalitions:
        """All of them; the row of a coalition is the number that its members are the bits of."""
        members = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)
        bits = 1 << np.arange(n)
        return cls(members, 0, 2**n - 1, bits, 2**n - 1 - bits)

    @classmethod
    def sampled(cls, n: int, n_permutations: int, rng: np.random.Generator) -> Coalitions:
        """Those that antithetic permutations pass through, and every component alone and left out."""
        half = np.argsort(rng.random((-(-n_permutations // PAIR), n)), axis=1)
        orders = np.stack([half, half[:, ::-1]], axis=1).reshape(-1, n)
        rank = np.argsort(orders, axis=1)
        # On its way an order has let in, after k steps, the components whose rank is below k.
        passed = rank[:, None, :] < np.arange(n + 1)[:, None]
        single = np.eye(n, dtype=bool)
        listed = np.concatenate([passed.reshape(-1, n), single, ~single])
        members, place = np.unique(listed, axis=0, return_inverse=True)
        place = place.ravel()
        paths = place[: len(orders) * (n + 1)].reshape(len(orders), n + 1)
        alone, without = place[-2 * n : -n], place[-n:]
        return cls(members, int(paths[0, 0]), int(paths[0, -1]), alone, without, orders, paths)


def n_sampled(n: int, n_permutations: int) -> int:
    """Coalitions that so many permutations pass through at most, with the single ones."""
    return min(1 << n, 2 + 2 * n + PAIR * -(-n_permutations // PAIR) * max(n - 1, 0))


def bytes_of_sampling(n: int, n_permutations: int) -> int:
    """Memory that drawing so many orders takes: every step of each as a row of booleans, twice, and its number."""
    return n_permutations * (n + 1) * (2 * n + 24)


@dataclass(frozen=True)
class Shapley:
    """Shapley values, cell by cell."""

    #: Components x cells.
    values: FloatArray
    #: By how much the permutations that were drawn leave each component's mean uncertain; 0 where none were drawn.
    sampling_error: FloatArray

    @property
    def mean(self) -> FloatArray:
        mean: FloatArray = self.values.mean(axis=1)
        return mean


def shapley(game: Coalitions, values: FloatArray) -> Shapley:
    r"""
    Share the total effect out among components.

    .. math:: \phi_i = \sum_{S \not\ni i} \frac{|S|! (n - |S| - 1)!}{n!} \left(v(S \cup i) - v(S)\right),

    or, where coalitions were sampled, the mean of what i adds over the orders in which components come in. Either way
    the values of a cell add up to what all add over nobody. An order and its reverse count as one draw for the
    standard error.

    Parameters
    ----------
    game
        The coalitions that were played.
    values
        Coalitions x cells.
    """
    if game.orders is None or game.paths is None:
        return Shapley(_weights(game.members) @ values, np.zeros(game.n))
    n_orders = len(game.orders)
    total = np.zeros((game.n, values.shape[1]))
    means = np.zeros((n_orders, game.n))
    for order, path, mean in zip(game.orders, game.paths, means, strict=True):
        added = np.diff(values[path], axis=0)
        total[order] += added
        mean[order] = added.mean(axis=1)
    draws = means.reshape(n_orders // PAIR, PAIR, game.n).mean(axis=1)
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws)) if len(draws) > 1 else np.full(game.n, np.nan)
    return Shapley(total / n_orders, error)


def _weights(members: BoolArray) -> FloatArray:
    """Components x coalitions: what the value of each coalition counts for in each component's share."""
    n = members.shape[1]
    size = members.sum(axis=1)
    #: Of a coalition with the component, and of one without.
    inside = np.array([0.0, *(1 / (n * comb(n - 1, k - 1)) for k in range(1, n + 1))])
    outside = np.array([*(1 / (n * comb(n - 1, k)) for k in range(n)), 0.0])
    weights: FloatArray = np.where(members, inside[size][:, None], -outside[size][:, None]).T
    return weights


def interactions(game: Coalitions, values: FloatArray) -> FloatArray:
    r"""
    What coalitions have beyond what is in their parts, summed by their size, in the mean over cells.

    :math:`\sum_{|S| = k} \mu(S)` for k = 0 ... n, where :math:`\mu(S) = \sum_{T \subseteq S} (-1)^{|S| - |T|} v(T)`.
    Sizes above 1 add up to what single components, put in one by one, leave of the total effect.

    Only of a game of which every coalition was played.
    """
    mobius = values.mean(axis=1).astype(np.float64)
    for bit in range(game.n):
        halves = mobius.reshape(-1, 2, 2**bit)
        halves[:, 1] -= halves[:, 0]
    by_size = np.bincount(game.members.sum(axis=1), weights=mobius, minlength=game.n + 1)
    return by_size.astype(np.float64)


def singles(game: Coalitions, values: FloatArray, direction: Single) -> FloatArray:
    """Components x cells: what each adds to nobody (`denoise`), or takes along from everybody (`ablate`)."""
    if direction == "denoise":
        return np.asarray(values[game.alone] - values[game.nobody])
    return np.asarray(values[game.everybody] - values[game.without])
