"""What guides do to the expression of their own targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import ttest_ind_from_stats

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray


class Efficacy(NamedTuple):
    """One entry for each guide; NaN where there is nothing to compare."""

    #: Mean normalised expression of the target in cells with the guide, over that in control cells.
    remaining: FloatArray
    #: Pooled-variance t test on log values, two-sided.
    p_value: FloatArray
    n_cells: IntArray
    n_control: IntArray
    #: Whether `min_expected` cells with the guide would express the target at the rate of control cells.
    testable: BoolArray


class OwnExpression:
    """
    Sums of the expression of each guide's target, over cells with the guide and over control cells.

    Cells may come in blocks of any size.
    """

    def __init__(self, gene: IntArray, control: BoolArray) -> None:
        """Take the position of each guide's target among the genes that blocks have, and the control cells."""
        self._gene = gene
        self._control = control
        n_guides, n_genes = len(gene), int(gene.max(initial=-1)) + 1
        self._guide = np.zeros((4, n_guides))
        self._all = np.zeros((4, n_genes))
        self._n_control = 0

    def add(self, rows: IntArray, values: FloatArray, cell: IntArray, guide: IntArray) -> None:
        """Take log values (cells of `rows` x genes), and which cell (position in `rows`) has which guide."""
        own = _powers(values[cell, self._gene[guide]])
        n_guides = self._guide.shape[1]
        self._guide += np.stack([np.bincount(guide, weights=part, minlength=n_guides) for part in own])
        chosen = values[self._control[rows]]
        self._n_control += len(chosen)
        self._all += np.stack([part.sum(axis=0) for part in _powers(chosen)])

    def result(self, n_cells: IntArray, min_expected: float, taken: IntArray | None = None) -> Efficacy:
        """
        Compare; `n_cells` have each guide.

        `taken` names, for each guide, the one whose cells are taken away from its control cells.
        """
        n_control = np.full(len(n_cells), self._n_control)
        there = self._all[:, self._gene]
        if taken is not None:
            there, n_control = there - self._guide[:, taken], n_control - n_cells[taken]
        with np.errstate(divide="ignore", invalid="ignore"):
            linear, of_control = self._guide[0] / n_cells, there[0] / n_control
            remaining = np.where(of_control > 0, linear / of_control, np.nan)
            moments = [_mean_sd(sums, n) for sums, n in ((self._guide, n_cells), (there, n_control))]
            enough = (n_cells > 1) & (n_control > 1)
            p_value = np.full(len(n_cells), np.nan)
            if enough.any():
                (m1, s1), (m0, s0) = moments
                p_value[enough] = ttest_ind_from_stats(
                    m1[enough], s1[enough], n_cells[enough], m0[enough], s0[enough], n_control[enough]
                ).pvalue
            expected = n_cells * there[3] / n_control
        testable = np.nan_to_num(expected) >= max(min_expected, np.finfo(float).tiny)
        return Efficacy(remaining, p_value, n_cells, n_control, testable & np.isfinite(remaining))


def _powers(values: FloatArray) -> list[FloatArray]:
    """Normalised expression, log values, their squares, and whether there is any."""
    exact = values.astype(np.float64)
    return [np.expm1(exact), exact, exact**2, (exact > 0).astype(np.float64)]


def _mean_sd(sums: FloatArray, n: IntArray) -> tuple[FloatArray, FloatArray]:
    mean = sums[1] / n
    return mean, np.sqrt(np.maximum(sums[2] - sums[1] * mean, 0.0) / (n - 1))
