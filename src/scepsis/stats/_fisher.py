"""Significance of correlations: of one, and of the strongest of several states."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepsis._core._types import FloatArray, IntArray

#: Variance of Fisher's transform of Spearman's correlation, in units of that of Pearson's (Fieller, Hartley, Pearson).
SPEARMAN_VARIANCE = 1.06


def correlation_z(rho: FloatArray, n_cells: int, *, spearman: bool) -> FloatArray:
    r"""Give :math:`\sqrt{(n - 3) / v} \operatorname{atanh} \rho`, about standard normal at 0; v is 1.06 or 1."""
    limit = 1 - 2.0**-24
    z: FloatArray = np.arctanh(np.clip(rho.astype(np.float64), -limit, limit))
    z *= np.sqrt(max(n_cells - 3, 0) / (SPEARMAN_VARIANCE if spearman else 1.0))
    return z


class StrongestState(NamedTuple):
    """The state in which every pair is most significant."""

    #: Two-sided p in that state, corrected for having been the smallest of those in which there was one (Sidak).
    p_value: FloatArray
    #: Number of the state, -1 for none; z in it.
    state: IntArray
    z: FloatArray


def strongest_state(networks: Iterable[tuple[int, FloatArray]], *, spearman: bool) -> StrongestState | None:
    """Find it for every pair, from ``(cells, correlations)`` of states as they come; None without any."""
    from scipy.special import ndtr

    z = state = n_tests = None
    for number, (n_cells, network) in enumerate(networks):
        here = correlation_z(network, n_cells, spearman=spearman)
        if z is None or state is None or n_tests is None:
            z, state = np.full(network.shape, np.nan), np.full(network.shape, -1)
            n_tests = np.zeros(network.shape, dtype=np.int64)
        known = ~np.isnan(here)
        n_tests += known
        better = known & (np.isnan(z) | (np.abs(here) > np.abs(z)))
        z[better], state[better] = here[better], number
    if z is None or state is None or n_tests is None:
        return None
    single = 2 * ndtr(-np.abs(z))
    return StrongestState(-np.expm1(n_tests * np.log1p(-np.minimum(single, 1 - 1e-16))), state, z)
