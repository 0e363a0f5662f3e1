"""
The variance of an AUROC when units share genes: of the mean over units, and of one ranking of all pairs.

Perturbations (or regulators) share targets and targets share perturbations: neither pairs, nor units, nor genes are
independent. Influence values (how much each pair moves the AUROC, `scepsis.stats._order`), summed by unit and by gene,
allow for what pairs have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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
    by_gene = _clustered(sums.by_gene) / n_units**2
    by_pair = sums.of_pairs / n_units**2
    return max(by_unit + by_gene - by_pair, by_unit, by_gene), min(n_units, n_genes) - 1


class PooledVariance(NamedTuple):
    """Variance of a pooled AUROC, or of a difference of two, and degrees of freedom; NaN with fewer than 2 clusters."""

    two_way: float
    df: int
    #: Clustered by unit alone.
    by_unit: float
    df_unit: float


def pooled_variance(influence: FloatArray, took_part: BoolArray) -> PooledVariance:
    r"""
    Variance of the AUROC of one ranking of all pairs, clustered by unit and by gene at once, and by unit alone.

    As `two_way_variance`, but here every pair was ranked with all others, so that the first term sums influence
    values by unit: :math:`V_\mathrm{unit} = \frac{H}{H - 1} \sum_u (\sum_t \phi_{ut})^2`, with H the units that carry
    it. Regulators with many targets carry most of it, and by unit alone nothing else makes up for their small number:
    degrees of freedom are :math:`2 (H - 1)`, at most those of all units. (H falls short of the number of alike, normal
    sums by a factor of up to 3; the 2 was chosen by coverage, ``benchmarks/pooled_coverage.py``.)

    Parameters
    ----------
    influence
        Units x genes: influence of every pair on the pooled AUROC (or differences of two such influences), 0 for
        pairs that take no part.
    took_part
        Units x genes: pairs that take part.
    """
    sums = influence.sum(axis=1), influence.sum(axis=0)
    part = np.asarray(took_part.any(axis=1)), np.asarray(took_part.any(axis=0))
    return variance_of_sums(*sums, float(np.vdot(influence, influence)), took_part=part, dyadic=False)


def dyadic_variance(influence: FloatArray, took_part: BoolArray) -> PooledVariance:
    r"""
    The same where both members of a pair are genes of one set, and no pair has a direction.

    A gene is a cluster in whichever place it stands: with :math:`s_g` the sum over all pairs of gene g,
    :math:`V = \max(\sum_g s_g^2 - \sum \phi^2, \sum \phi^2)` (each pair is in the sums of two genes; Aronow,
    Samii and Assenova 2015). There is no variance by unit alone.

    Parameters
    ----------
    influence
        Genes x genes, each pair once.
    took_part
        Genes x genes: pairs that take part.
    """
    sums = influence.sum(axis=1), influence.sum(axis=0)
    part = np.asarray(took_part.any(axis=1)), np.asarray(took_part.any(axis=0))
    return variance_of_sums(*sums, float(np.vdot(influence, influence)), took_part=part, dyadic=True)


def variance_of_sums(
    by_row: FloatArray,
    by_column: FloatArray,
    of_pairs: float,
    *,
    took_part: tuple[BoolArray, BoolArray],
    dyadic: bool,
) -> PooledVariance:
    """
    Variance of a sum over pairs, from the sums of its terms by row and by column and the sum of their squares.

    That of `dyadic_variance`, where rows and columns are the same genes, or that of `pooled_variance`. `took_part`
    tells which rows and columns have any pair.
    """
    rows, columns = took_part
    if dyadic:
        n_genes = int((rows | columns).sum())
        if n_genes < 2:
            return PooledVariance(np.nan, 0, np.nan, 0)
        return PooledVariance(max(_clustered(by_row + by_column) - of_pairs, of_pairs), n_genes - 1, np.nan, 0)
    n_units, n_genes = int(rows.sum()), int(columns.sum())
    if n_units < 2 or n_genes < 2:
        return PooledVariance(np.nan, max(min(n_units, n_genes) - 1, 0), np.nan, max(n_units - 1, 0))
    by_unit, by_gene = _clustered(by_row), _clustered(by_column)
    two_way = max(by_unit + by_gene - of_pairs, by_unit, by_gene)
    df_unit = min(n_units - 1.0, 2 * (_carriers(by_row) - 1))
    return PooledVariance(two_way, min(n_units, n_genes) - 1, by_unit, df_unit)


def _clustered(sums: FloatArray) -> float:
    """Sum of squared cluster sums, corrected for how few clusters carry it."""
    carriers = _carriers(sums)
    return float(sums @ sums) * carriers / (carriers - 1)


def _carriers(sums: FloatArray) -> float:
    """How many clusters carry a sum of squares: all of them when they are alike, never fewer than two."""
    squares = sums**2
    quartic = float(squares @ squares)
    return max(float(squares.sum()) ** 2 / quartic, 2.0) if quartic > 0 else 2.0
