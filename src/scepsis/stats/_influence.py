"""
The variance of a mean AUROC when perturbations share genes.

Perturbations share targets and targets share perturbations: neither pairs, nor perturbations, nor genes are
independent. Influence values (how much each pair moves the AUROC of its perturbation, `scepsis.stats._order`), summed
by gene, allow for what perturbations have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray


@dataclass
class ClusterSums:
    """Sums of influence values by gene and over pairs; rows come in blocks, and sums of blocks add up."""

    #: Sum of the influence values of each gene, over the rows added.
    by_gene: FloatArray
    #: Genes that took part in any row.
    took_part: BoolArray
    #: Sum of all squared influence values.
    of_pairs: float = 0.0
    n_units: int = 0

    @classmethod
    def zeros(cls, n_genes: int) -> ClusterSums:
        """Sums over no rows."""
        return cls(np.zeros(n_genes), np.zeros(n_genes, dtype=bool))

    def add(self, influence: FloatArray, took_part: BoolArray) -> None:
        """Add rows of influence values, or of differences of them, and say which genes took part in any row."""
        self.by_gene += influence.sum(axis=0)
        self.took_part |= took_part
        self.of_pairs += float(np.vdot(influence, influence))
        self.n_units += len(influence)


def two_way_variance(units: FloatArray, sums: ClusterSums) -> tuple[float, int]:
    r"""
    Variance of the mean of `units`, clustered by unit and by gene at once, and its degrees of freedom.

    :math:`V = \max(V_\mathrm{unit} + V_\mathrm{gene} - V_\mathrm{pair}, V_\mathrm{unit}, V_\mathrm{gene})`
    (Cameron, Gelbach and Miller 2011; the maximum, because the sum alone can fall short of either and even below 0).
    The first term is the usual squared standard error over units; the second sums influence values by gene before
    squaring, so that a gene that is high for every perturbation counts once; the third, the variance of pairs as if
    they were independent, is contained in both. Degrees of freedom are those of the smaller number of clusters less
    one.

    With :math:`s_j` the sum of gene j, :math:`V_\mathrm{gene} = \frac{H}{H-1} \sum_j s_j^2 / n^2`, where
    :math:`H = (\sum_j s_j^2)^2 / \sum_j s_j^4`, at least 2, is the number of genes that carry this variance. It is
    the number of all genes when each carries as much, which gives the usual correction :math:`G/(G-1)`. But a few
    genes respond to most perturbations: of 200 about seven carry it, the mean follows them and makes their sums
    smaller, and counting 200 leaves intervals that hold the truth in 91.5 % of screens rather than in 94 %
    (``benchmarks/interval_coverage.py``).

    Parameters
    ----------
    units
        One value for each unit, NaN-free: an AUROC, or a difference of two.
    sums
        Sums over the same units.
    """
    n_units, n_genes = len(units), int(sums.took_part.sum())
    if n_units < 2 or n_genes < 2:
        return np.nan, max(min(n_units, n_genes) - 1, 0)
    by_unit = float(np.var(units, ddof=1)) / n_units
    carried = _carriers(sums.by_gene)
    by_gene = float(sums.by_gene @ sums.by_gene) / n_units**2 * carried / (carried - 1)
    by_pair = sums.of_pairs / n_units**2
    return max(by_unit + by_gene - by_pair, by_unit, by_gene), min(n_units, n_genes) - 1


def _carriers(sums: FloatArray) -> float:
    """How many clusters carry the sum of squares: all of them when they are alike, never fewer than two."""
    squares = sums**2
    quartic = float(squares @ squares)
    return max(float(squares.sum()) ** 2 / quartic, 2.0) if quartic > 0 else 2.0
