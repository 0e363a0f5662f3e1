"""Scores of targets by perturbation, made a block of rows at a time so that no large matrix is ever copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, Direction, FloatArray, IntArray


class RowScores(Protocol):
    """Anything that scores the targets of perturbations."""

    @property
    def narrows(self) -> bool:
        """Whether a pair that has no score here is left out of the comparison of all others."""

    def rows(self, block: slice) -> FloatArray:
        """Perturbations of `block` x targets; NaN where there is no score."""


@dataclass(frozen=True)
class EdgeRows:
    """
    Scores read from a matrix of edges.

    ``source`` scores target t of perturbation g by the edge from g to t, ``target`` by the edge from t to g, ``mean``
    and ``max`` by both together (no score where one of them is missing).
    """

    #: Genes x genes, sources in rows; weights or counts.
    values: FloatArray
    #: Position of each perturbation's gene in `values`; -1 where it has none.
    sources: IntArray
    #: Position of each target in `values`; -1 where it has none.
    targets: IntArray
    direction: Direction = "source"
    #: Whether the sign of an edge is left aside.
    absolute: bool = False
    narrows: bool = True

    def rows(self, block: slice) -> FloatArray:
        if self.direction in {"source", "target"}:
            return self._oriented(block, self.values if self.direction == "source" else self.values.T)
        forward, backward = self._oriented(block, self.values), self._oriented(block, self.values.T)
        if self.direction == "max":
            return np.maximum(forward, backward)
        return np.add(forward, backward, dtype=np.float64) / 2  # exact, so that equal means are ties

    def _oriented(self, block: slice, values: FloatArray) -> FloatArray:
        sources = self.sources[block]
        # with -1 for "none", this reads the last gene in its stead; it is blanked below
        rows = values[sources] if self._in_order() else values[sources[:, None], self.targets]
        if self.absolute:
            rows = np.abs(rows)
        elif rows.dtype.kind != "f":  # counts
            rows = rows.astype(np.float64)
        rows[sources < 0] = np.nan
        if (self.targets < 0).any():
            rows[:, self.targets < 0] = np.nan
        return rows

    def _in_order(self) -> bool:
        return len(self.targets) == len(self.values) and bool((self.targets == np.arange(len(self.targets))).all())


@dataclass(frozen=True)
class GeneRows:
    """One score for each target, whatever was perturbed."""

    values: FloatArray
    n_rows: int
    narrows: bool = False

    def rows(self, block: slice) -> FloatArray:
        n_rows = len(range(self.n_rows)[block])
        return np.broadcast_to(self.values, (n_rows, len(self.values)))


class FrequencyRows:
    """
    How often each target responds to the *other* perturbations that it was tested in.

    Others are perturbations of other genes: a second perturbation of the same gene would give the answer away.
    A target that no other perturbation tested has no score.
    """

    narrows = False

    def __init__(self, labels: IntArray, group: IntArray) -> None:
        """Take labels (rows x targets: 1, 0, -1 = not tested) and the group, one for each gene, of each row."""
        self._tested = (labels >= 0).astype(np.float32)
        self._responds = (labels == 1).astype(np.float32)
        member = sparse.csr_matrix((np.ones(len(group), dtype=np.float32), (np.arange(len(group)), group)))
        self._same: sparse.csr_matrix = (member @ member.T).tocsr()
        # fractions of up to 2,048 are told apart, and equal ones are equal, in 32 bits
        precision = np.float32 if len(labels) <= 2048 else np.float64
        self._n_tested = self._tested.sum(axis=0, dtype=precision)
        self._n_responds = self._responds.sum(axis=0, dtype=precision)

    def rows(self, block: slice) -> FloatArray:
        same = self._same[block]
        tested = self._n_tested - same @ self._tested
        responds = self._n_responds - same @ self._responds
        share: FloatArray = np.divide(responds, tested, out=np.full_like(tested, np.nan), where=tested > 0)
        return share


def complete_cases(scores: list[RowScores], blocks: list[FloatArray], labelled: BoolArray) -> BoolArray:
    """Pairs with a label and with a score in every set that narrows the comparison; `blocks` are their rows."""
    complete = labelled.copy()
    for one, block in zip(scores, blocks, strict=True):
        if one.narrows:
            complete &= ~np.isnan(block)
    return complete
