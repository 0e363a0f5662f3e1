"""Networks of cell states put together, one after the other: what is held does not grow with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scepsis._core._types import FloatArray

Aggregation = Literal[
    "max", "mean", "mean_unweighted", "range", "std", "median", "deviation", "weighted_deviation", "rank"
]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
#: Aggregations that compare a stratum with all cells together.
NEED_POOLED: tuple[Aggregation, ...] = ("deviation", "weighted_deviation")
#: The largest correlation that is kept apart from 1, whose Fisher transform is infinite.
BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
#: Rows that a median is taken over at a time.
_ROWS = 256


class Aggregator(Protocol):
    """Takes networks one by one; a pair counts in the strata where it was evaluated (is not NaN)."""

    def add(self, network: FloatArray, n_cells: int) -> None:
        """Take the network of a stratum of `n_cells` cells."""

    def result(self) -> FloatArray:
        """Aggregate, float32; NaN for pairs that no stratum evaluated."""


class _Extremes:
    """Largest and smallest value of every pair."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.highest = np.full(shape, np.nan, dtype=np.float32)
        self.lowest = np.full(shape, np.nan, dtype=np.float32)

    def add(self, network: FloatArray, n_cells: int) -> None:
        np.fmax(self.highest, network, out=self.highest)
        np.fmin(self.lowest, network, out=self.lowest)


class _Strongest(_Extremes):
    """The value that is largest in size, with its sign; of two that differ in sign alone, the positive one."""

    def result(self) -> FloatArray:
        strongest: FloatArray = np.where(self.highest >= -self.lowest, self.highest, self.lowest)
        return strongest


class _Highest:
    """The largest value."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.highest = np.full(shape, np.nan, dtype=np.float32)

    def add(self, network: FloatArray, n_cells: int) -> None:
        np.fmax(self.highest, network, out=self.highest)

    def result(self) -> FloatArray:
        return self.highest


class _Range(_Extremes):
    def result(self) -> FloatArray:
        return self.highest - self.lowest


class _Mean:
    """Mean of a transform of the networks, weighted by cells or not."""

    def __init__(
        self, shape: tuple[int, ...], *, by_cells: bool, of: Callable[[FloatArray], FloatArray] = np.asarray
    ) -> None:
        self.total, self.weight = np.zeros(shape), np.zeros(shape)
        self.by_cells, self.of = by_cells, of

    def add(self, network: FloatArray, n_cells: int) -> None:
        weight = float(n_cells) if self.by_cells else 1.0
        values = self.of(network)
        here = ~np.isnan(values)
        np.add(self.total, weight * values.astype(np.float64), out=self.total, where=here)
        np.add(self.weight, weight, out=self.weight, where=here)

    def result(self) -> FloatArray:
        return _ratio(self.total, self.weight)


class _Deviation:
    """Standard deviation over strata (divided by their number), by Welford's updates."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n, self.mean, self.squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def add(self, network: FloatArray, n_cells: int) -> None:
        here = ~np.isnan(network)
        self.n += here
        step = np.where(here, network - self.mean, 0.0)
        self.mean += step / np.maximum(self.n, 1)
        self.squares += step * np.where(here, network - self.mean, 0.0)

    def result(self) -> FloatArray:
        return np.sqrt(_ratio(self.squares, self.n))


class _Median:
    """Median over strata; holds on to the networks, which are results anyway."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.networks: list[FloatArray] = []

    def add(self, network: FloatArray, n_cells: int) -> None:
        self.networks.append(network)

    def result(self) -> FloatArray:
        median = np.full(self.shape, np.nan, dtype=np.float32)
        for start in range(0, self.shape[0], _ROWS):
            rows = slice(start, start + _ROWS)
            values = np.sort(np.stack([network[rows] for network in self.networks]), axis=0)  # NaN last
            n = np.count_nonzero(~np.isnan(values), axis=0)
            low, high = (
                np.take_along_axis(values, place[None], axis=0)[0] for place in ((n - 1) // 2, n // 2 % len(values))
            )
            median[rows] = np.where(n > 0, (low.astype(np.float64) + high) / 2, np.nan)
        return median


def aggregator(
    how: Aggregation, shape: tuple[int, ...], *, signed: bool, pooled: FloatArray | None = None
) -> Aggregator:
    r"""
    Give what aggregates networks :math:`w^{(k)}` of strata with :math:`n_k` cells.

    ``max`` :math:`\max_k w^{(k)}`, of signed networks the value of largest size; ``mean``
    :math:`\sum_k n_k w^{(k)} / \sum_k n_k`; ``mean_unweighted``; ``median``; ``range``
    :math:`\max_k w^{(k)} - \min_k w^{(k)}`; ``std``; ``deviation`` :math:`\max_k |w^{(k)} - w|` and
    ``weighted_deviation`` :math:`\sum_k n_k |w^{(k)} - w| / \sum_k n_k` from the network :math:`w` of all strata
    together; ``rank``, the mean over strata of the rank of a pair (by size where signed) as a share of all pairs.

    Parameters
    ----------
    how
        Which.
    shape
        That of the networks.
    signed
        Whether a network is scored by its absolute values.
    pooled
        Network of all strata together, for the deviations.
    """
    if how in NEED_POOLED:
        if pooled is None:
            msg = f"The aggregation {how!r} needs the network of all cells together."
            raise ValueError(msg)
        base = pooled

        def from_pooled(network: FloatArray) -> FloatArray:
            return np.abs(network - base)

        return _Mean(shape, by_cells=True, of=from_pooled) if how == "weighted_deviation" else _Of(shape, from_pooled)
    makers: dict[str, Callable[[], Aggregator]] = {
        "max": lambda: _Strongest(shape) if signed else _Highest(shape),
        "mean": lambda: _Mean(shape, by_cells=True),
        "mean_unweighted": lambda: _Mean(shape, by_cells=False),
        "range": lambda: _Range(shape),
        "std": lambda: _Deviation(shape),
        "median": lambda: _Median(shape),
        "rank": lambda: _Mean(
            shape, by_cells=False, of=lambda network: rank_shares(np.abs(network) if signed else network)
        ),
    }
    return makers[how]()


class _Of(_Highest):
    """The largest value of a transform."""

    def __init__(self, shape: tuple[int, ...], of: Callable[[FloatArray], FloatArray]) -> None:
        super().__init__(shape)
        self.of = of

    def add(self, network: FloatArray, n_cells: int) -> None:
        super().add(self.of(network), n_cells)


def aggregate(
    networks: Iterable[tuple[int, FloatArray]],
    how: Aggregation,
    *,
    signed: bool,
    pooled: FloatArray | None = None,
) -> FloatArray | None:
    """
    Aggregate ``(cells, network)`` of strata as they come; None without any.

    A single stratum is its own aggregate, whatever `how` is: there is nothing to compare it with.
    """
    first: FloatArray | None = None
    taken: Aggregator | None = None
    n_strata = 0
    for n_cells, network in networks:
        if taken is None:
            first = network
            taken = aggregator(how, network.shape, signed=signed, pooled=pooled)
        taken.add(network, n_cells)
        n_strata += 1
    return first if taken is None or n_strata == 1 else taken.result()


def rank_shares(network: FloatArray) -> FloatArray:
    """Average rank of every evaluated pair among all of them, divided by their number; NaN stays."""
    from scipy.stats import rankdata

    shares = np.full(network.shape, np.nan, dtype=np.float32)
    here = ~np.isnan(network)
    shares[here] = rankdata(network[here]) / max(int(here.sum()), 1)
    return shares


class FisherMaximum:
    r"""
    The value of largest size over strata of :math:`\sqrt{n_k - 3}\,\operatorname{atanh} \rho^{(k)}`, with its sign.

    Under independence each is about standard normal, so a small stratum does not win by its noise alone. It also
    takes from a rare state what makes its edges seen, which is why it stands beside the raw maximum, not in its place.
    A correlation of 1 counts as the largest number below 1.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.strongest = np.full(shape, np.nan, dtype=np.float32)

    def add(self, network: FloatArray, n_cells: int) -> None:
        if n_cells > 3:
            _keep_strongest(
                np.ascontiguousarray(network, dtype=np.float32).ravel(),
                float(np.sqrt(n_cells - 3)),
                self.strongest.ravel(),
            )

    def result(self) -> FloatArray:
        return self.strongest


@numba.njit(cache=True, nogil=True)
def _keep_strongest(network: FloatArray, scale: float, strongest: FloatArray) -> None:
    """
    Update in place.

    As atanh(x) <= x + 4/9 x^3 up to 1/2, most pairs need no logarithm once a stronger stratum was seen.
    """
    for pair in range(len(network)):
        value = np.float64(network[pair])
        if np.isnan(value):
            continue
        size = min(abs(value), BELOW_ONE)
        before = np.float64(strongest[pair])
        if size < 0.5 and scale * size * (1 + 4 / 9 * size * size) < abs(before):  # never of a pair not seen before
            continue
        z = np.float32(scale * np.arctanh(size))
        if np.isnan(before) or z > abs(before) or (z == abs(before) and value > 0):
            strongest[pair] = z if value >= 0 else -z


def _ratio(total: FloatArray, weight: FloatArray) -> FloatArray:
    mean = np.full(total.shape, np.nan, dtype=np.float32)
    np.divide(total, weight, out=mean, where=weight > 0, casting="same_kind")
    return mean
