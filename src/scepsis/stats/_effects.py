"""Which genes respond to a perturbation, and how often the same rule calls a response where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

from scepsis._core._rng import child
from scepsis.stats._moments import group_moments
from scepsis.stats._multiplicity import benjamini_hochberg
from scepsis.stats._two_sample import mann_whitney, student, welch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._moments import Moments

Test: TypeAlias = Literal["student", "welch", "mannwhitney"]
TESTS: tuple[Test, ...] = ("student", "welch", "mannwhitney")
#: Added to both means of a fold change, so that it is finite where one group has nothing.
PSEUDOCOUNT = 1e-9
#: Sizes of control splits, as quantiles of the sizes of the perturbations: the smallest fares worst.
SIZE_QUANTILES = (0, 0.5, 1)


@dataclass(frozen=True)
class CallRule:
    """When a gene counts as a responder."""

    test: Test = "student"
    #: Smallest number of perturbed cells expected to express a gene, were it to express as in control; 0 for any.
    min_expected: float = 5
    #: Smallest absolute log2 fold change.
    lfc_threshold: float = 0.5
    #: False discovery rate within one perturbation.
    fdr: float = 0.05

    def testable(self, perturbed: Moments, control: Moments) -> BoolArray:
        """Genes with enough expected expressing cells, and with a variance somewhere."""
        expected = perturbed.n * control.detection_rate
        return (expected >= self.min_expected) & ((perturbed.variance > 0) | (control.variance > 0))


class Calls(NamedTuple):
    """Effects on every gene; NaN where a gene was not testable."""

    lfc: FloatArray
    qval: FloatArray
    #: 1 for a responder, 0 for a gene that was tested and is none.
    target: FloatArray


def call_responders(
    perturbed: Moments,
    control: Moments,
    rule: CallRule,
    cells: tuple[sparse.csr_matrix, sparse.csr_matrix] | None = None,
) -> Calls:
    """
    Test every testable gene, correct over them by Benjamini-Hochberg, and call the responders.

    `cells` are the values of both groups, perturbed first (cells x genes), which only the rank test needs.
    """
    testable = rule.testable(perturbed, control)
    perturbed, control = perturbed.of_genes(testable), control.of_genes(testable)
    if cells is not None:
        p = mann_whitney(cells[0][:, testable], cells[1][:, testable])
    else:
        p = {"student": student, "welch": welch}[rule.test](perturbed, control).p
    qval = benjamini_hochberg(p)
    lfc = log_fold_change(perturbed.mean, control.mean)
    target = (qval < rule.fdr) & (np.abs(lfc) > rule.lfc_threshold)
    calls = Calls(*np.full((3, len(testable)), np.nan))
    for column, found in zip(calls, (lfc, qval, target), strict=True):
        column[testable] = found
    return calls


def log_fold_change(perturbed: FloatArray, control: FloatArray) -> FloatArray:
    """Fold change on the scale of counts, in log2, from means of log1p values."""
    return np.log2((np.expm1(perturbed) + PSEUDOCOUNT) / (np.expm1(control) + PSEUDOCOUNT))


class NullSplit(NamedTuple):
    """Control cells that stand for a perturbation without effects; the other control cells stay control."""

    n_cells: int
    #: Positions among the control cells, ascending.
    members: IntArray


def null_splits(n_control: int, sizes: Sequence[int], n_splits: int, seed: int) -> list[NullSplit]:
    """
    Draw `n_splits` sets of control cells at the smallest, the median and the largest of `sizes`.

    At most half of the control cells are taken away. Each set has a generator of its own, so it depends on nothing
    but the seed, its size and its number.
    """
    wanted = np.quantile(sizes, SIZE_QUANTILES, method="nearest").astype(int)
    return [
        NullSplit(int(size), np.sort(child(seed, "null_split", size, split).permutation(n_control)[:size]))
        for size in np.unique(np.minimum(wanted, n_control // 2))
        for split in range(n_splits)
        if size >= 2
    ]


@dataclass(frozen=True)
class Contrasts:
    """Cells to be compared: each perturbation with the control, and each null split with the rest of the control."""

    perturbed: Sequence[IntArray]
    control: IntArray
    splits: Sequence[NullSplit]
    #: Whether perturbed cells are control cells of all other perturbations, as null splits are.
    complement: bool = False

    @property
    def groups(self) -> list[IntArray]:
        """Cells of every group that moments are needed of: the perturbations, the control, the splits."""
        return [*self.perturbed, self.control, *(self.control[split.members] for split in self.splits)]

    def cells(self, n_cells: int) -> IntArray:
        """Those of `n_cells` cells that take part, ascending."""
        taking_part = np.zeros(n_cells, dtype=bool)
        for group in (*self.perturbed, self.control):
            taking_part[group] = True
        return np.flatnonzero(taking_part)

    def __len__(self) -> int:
        """Comparisons to be made."""
        return len(self.perturbed) + len(self.splits)


def run_contrasts(
    contrasts: Contrasts,
    blocks: Iterable[tuple[IntArray, sparse.csr_matrix]],
    rule: CallRule,
    *,
    n_cells: int,
    n_genes: int,
    moments: Moments | None = None,
) -> Iterator[Calls]:
    """
    Yield the calls of each perturbation, then of each null split.

    `blocks` are the values of ``contrasts.cells(n_cells)`` in their order, read once; only the rank test keeps them.
    With the `moments` of ``contrasts.groups`` known, the t tests read none.
    """
    kept: list[sparse.csr_matrix] | None = [] if rule.test == "mannwhitney" else None
    groups, n_perturbed = contrasts.groups, len(contrasts.perturbed)
    if moments is None or kept is not None:
        moments = group_moments(_keeping(blocks, kept), groups, n_cells=n_cells, n_genes=n_genes)
    all_control = moments[n_perturbed]
    values = None if kept is None else sparse.vstack(kept, format="csr")
    rows = None if kept is None else np.searchsorted(contrasts.cells(n_cells), np.arange(n_cells))
    for index, group in enumerate(groups):
        if index == n_perturbed:
            continue
        is_part = contrasts.complement or index > n_perturbed
        control = all_control - moments[index] if is_part else all_control
        samples = None
        if values is not None and rows is not None:
            others = np.setdiff1d(contrasts.control, group) if is_part else contrasts.control
            samples = (values[rows[group]], values[rows[others]])
        yield call_responders(moments[index], control, rule, samples)


def _keeping(
    blocks: Iterable[tuple[IntArray, sparse.csr_matrix]], kept: list[sparse.csr_matrix] | None
) -> Iterator[tuple[IntArray, sparse.csr_matrix]]:
    for rows, block in blocks:
        if kept is not None:
            kept.append(block)
        yield rows, block


class FalseCalls(NamedTuple):
    """How often the test alone (no fold change asked for) calls a gene on control against control."""

    n_cells: int
    n_splits: int
    #: Called genes among testable ones, mean over splits; NaN when no gene was testable.
    share_of_genes: float
    #: Splits with at least one called gene; under independence this is the false discovery rate asked for.
    share_of_splits: float


def false_calls(splits: Sequence[NullSplit], calls: Iterable[Calls], fdr: float) -> list[FalseCalls]:
    """Summarise the calls made on each split, one row for each size."""
    shares: dict[int, list[float]] = {}
    for split, found in zip(splits, calls, strict=True):
        tested = ~np.isnan(found.qval)
        share = float((found.qval[tested] < fdr).mean()) if tested.any() else np.nan
        shares.setdefault(split.n_cells, []).append(share)
    rows = []
    for n_cells, values in shares.items():
        known = np.array([value for value in values if not np.isnan(value)])
        genes, any_gene = (known.mean(), (known > 0).mean()) if len(known) else (np.nan, np.nan)
        rows.append(FalseCalls(n_cells, len(known), float(genes), float(any_gene)))
    return rows
