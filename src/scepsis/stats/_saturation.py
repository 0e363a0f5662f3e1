"""How a curve rises with the number of cells: three shapes, fitted by least squares."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis._core._types import FloatArray


class Fit(NamedTuple):
    """One shape fitted to points."""

    name: str
    formula: str
    #: Parameters a, b, c (NaN for one that the shape does not have) and their standard errors.
    values: tuple[float, float, float]
    errors: tuple[float, float, float]
    r_squared: float
    converged: bool


def _saturating(n: FloatArray, a: float, b: float, c: float) -> FloatArray:
    rising: FloatArray = -np.expm1(-b * n)
    return a * rising + c


def _logarithmic(n: FloatArray, a: float, c: float) -> FloatArray:
    return a * np.log(n) + c


def _linear(n: FloatArray, a: float, c: float) -> FloatArray:
    return a * n + c


def saturation_fits(n: FloatArray, values: FloatArray) -> list[Fit]:
    r"""Fit :math:`a (1 - e^{-bn}) + c`, :math:`a \ln n + c` and :math:`a n + c`; NaN where there are too few points."""
    from scipy.optimize import OptimizeWarning, curve_fit

    here = ~np.isnan(values)
    n, values = n[here].astype(np.float64), values[here].astype(np.float64)
    rise = float(np.ptp(values)) if len(values) else 0.0
    shapes: list[tuple[str, str, Callable[..., FloatArray], list[float], tuple[int, ...]]] = [
        ("saturating", "a (1 - exp(-b n)) + c", _saturating, [rise or 0.1, 3 / max(n, default=1), 0.5], (0, 1, 2)),
        ("logarithmic", "a ln(n) + c", _logarithmic, [0.0, 0.5], (0, 2)),
        ("linear", "a n + c", _linear, [0.0, 0.5], (0, 2)),
    ]
    total = float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
    fits = []
    for name, formula, function, start, places in shapes:
        found, errors, r_squared, converged = np.full(3, np.nan), np.full(3, np.nan), np.nan, False
        if len(np.unique(n)) > len(start) - 1 and len(n) > len(start) and total > 0:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", OptimizeWarning)
                    best, covariance = curve_fit(function, n, values, p0=start, maxfev=5000)
            except (RuntimeError, OptimizeWarning):
                converged = False
            else:
                found[list(places)], errors[list(places)] = best, np.sqrt(np.diag(covariance))
                r_squared = 1 - float(((values - function(n, *best)) ** 2).sum()) / total
                converged = True
        fits.append(Fit(name, formula, tuple(found.tolist()), tuple(errors.tolist()), r_squared, converged))
    return fits
