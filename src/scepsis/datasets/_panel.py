"""Genes of a simulated screen: their roles, how strongly they are expressed, and how noisily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._rng import child

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray
    from scepsis.datasets._knobs import Knobs

#: Log mean under which perturbed genes are not drawn: a knock-down must be visible.
_PERTURBED_FLOOR = -1.2
_HOUSEKEEPING_SD = 0.5


@dataclass(frozen=True)
class Panel:
    """Genes in the order regulators, other perturbed genes, ordinary genes, housekeeping genes."""

    names: list[str]
    n_regulators: int
    n_perturbed: int
    n_housekeeping: int
    #: Natural logarithm of the mean count at depth 1.
    log_mean: FloatArray
    #: `log_mean`, standardised over all but the housekeeping genes, which have 0.
    expression: FloatArray
    #: phi of ``variance = mean + phi * mean**2``.
    dispersion: FloatArray

    @property
    def n_genes(self) -> int:
        return len(self.names)

    @property
    def housekeeping(self) -> BoolArray:
        return np.arange(self.n_genes) >= self.n_genes - self.n_housekeeping

    @property
    def perturbed(self) -> BoolArray:
        return np.arange(self.n_genes) < self.n_perturbed


def draw_panel(knobs: Knobs, seed: int) -> Panel:
    """Draw the genes; the floor imitates the choice of variable genes, which leaves out the faintest."""
    n, n_perturbed = knobs.n_genes, knobs.n_perturbed
    bulk = n - knobs.n_housekeeping
    floor = knobs.log_mean_floor + 0.3 * np.abs(child(seed, "expression floor").normal(size=n))
    level = np.maximum(child(seed, "expression").normal(knobs.log_mean, knobs.log_mean_sd, n), floor)
    perturbed = child(seed, "expression of perturbed genes").normal(0.4, 0.6, n_perturbed)
    level[:n_perturbed] = np.maximum(perturbed, _PERTURBED_FLOOR)
    level[bulk:] = child(seed, "expression of housekeeping genes").normal(
        knobs.housekeeping_log_mean, _HOUSEKEEPING_SD, n - bulk
    )
    expression = np.zeros(n)
    expression[:bulk] = level[:bulk] - level[:bulk].mean()
    expression[:bulk] /= max(level[:bulk].std(), np.finfo(float).tiny)
    return Panel(
        names=_names(n, knobs.n_regulators, knobs.n_housekeeping),
        n_regulators=knobs.n_regulators,
        n_perturbed=n_perturbed,
        n_housekeeping=knobs.n_housekeeping,
        log_mean=level,
        expression=expression,
        dispersion=knobs.dispersion + knobs.dispersion_low * np.exp(-level),
    )


def _names(n_genes: int, n_regulators: int, n_housekeeping: int) -> list[str]:
    """Name genes after their roles; a perturbed gene that regulates nothing is a gene like any other."""
    sizes = {"TF": n_regulators, "GENE": n_genes - n_regulators - n_housekeeping, "HK": n_housekeeping}
    return [
        f"{stem}{number:0{max(2, len(str(size)))}d}" for stem, size in sizes.items() for number in range(1, size + 1)
    ]
