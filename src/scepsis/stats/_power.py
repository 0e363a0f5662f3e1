"""How many perturbations a gain needs, when perturbations share genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis.stats._equivalence import minimum_detectable

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray
    from scepsis.stats._intervals import Interval

#: Perturbations beyond which nobody will go.
MAX_UNITS = 1_000_000


@dataclass(frozen=True)
class CrossedError:
    r"""
    Variance of a mean over units that share genes, in two parts.

    With :math:`\sigma_u^2` between units, :math:`\sigma_g^2` between genes and :math:`\sigma_e^2` between pairs, a
    mean over n units and G genes has the variance :math:`\sigma_u^2/n + \sigma_g^2/G + \sigma_e^2/nG`. The first and
    the last are what units differ by; the second stays, however many units there are.
    """

    #: Variance of the mean that comes from units and pairs.
    by_unit: float
    #: Variance of the mean that all units have in common, from their genes.
    shared: float
    n_units: int
    n_genes: int

    @classmethod
    def of(cls, differences: FloatArray, two_way: Interval, n_genes: int, level: float = 0.95) -> CrossedError:
        """
        Take apart what a two-way interval allows for.

        Parameters
        ----------
        differences
            One for each unit, NaN-free.
        two_way
            Their interval clustered by unit and by gene, with the degrees of freedom of the fewer of both, less one.
        n_genes
            Genes that took part.
        """
        from scipy.special import stdtrit

        n_units = len(differences)
        by_unit = float(np.var(differences, ddof=1)) / n_units if n_units > 1 else np.nan
        df = min(n_units, n_genes) - 1
        error = (two_way.high - two_way.low) / 2 / float(stdtrit(df, 0.5 + level / 2)) if df > 0 else np.nan
        return cls(by_unit, max(error**2 - by_unit, 0.0), n_units, n_genes)

    @property
    def standard_error(self) -> float:
        return float(np.sqrt(self.by_unit + self.shared))

    def detectable(self, n_units: float, power: float = 0.8) -> float:
        """Smallest difference that is found with probability `power` among so many units of the same kind."""
        if n_units < 2 or not self.known:
            return np.nan
        variance = self.by_unit * self.n_units / n_units + self.shared
        return minimum_detectable(float(np.sqrt(variance)), int(min(n_units, self.n_genes)) - 1, power)

    def limit(self, power: float = 0.8) -> float:
        """Smallest difference that could be found among any number of units, with these genes."""
        return minimum_detectable(float(np.sqrt(self.shared)), self.n_genes - 1, power) if self.known else np.nan

    def units_for(self, difference: float, power: float = 0.8) -> float:
        """Fewest units that find `difference`; infinite if no number of them does, NaN if nothing is known."""
        if not self.known:
            return np.nan
        if self.detectable(MAX_UNITS, power) > difference:
            return np.inf
        low, high = 1, MAX_UNITS  # more units never detect less: halve the range
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.detectable(middle, power) <= difference else (middle, high)
        return float(high)

    @property
    def known(self) -> bool:
        return bool(np.isfinite(self.by_unit + self.shared))
