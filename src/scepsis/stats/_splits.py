"""Folds of pairs: a model is tested on perturbations, targets, or both, that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray, IntArray

Split = Literal["perturbation", "gene", "joint"]
JointMode = Literal["full", "diagonal"]
#: Stands for every block.
ALL = -1


@dataclass(frozen=True)
class Blocks:
    """A block for every unit (perturbation) and every gene (target)."""

    unit: IntArray
    gene: IntArray

    @property
    def n_units(self) -> int:
        return int(self.unit.max(initial=-1)) + 1

    @property
    def n_genes(self) -> int:
        return int(self.gene.max(initial=-1)) + 1


@dataclass(frozen=True)
class Fold:
    """
    One block of units, of genes, or of both, held out.

    Tested are pairs in both blocks; fitted on are pairs in neither. What shares one of two blocks takes no part.
    """

    unit: int
    gene: int

    def test(self, units: IntArray, genes: IntArray) -> BoolArray:
        """Which pairs, given the blocks of their unit and of their gene, are tested."""
        return np.logical_and(self._in(units, self.unit), self._in(genes, self.gene))

    def train(self, units: IntArray, genes: IntArray) -> BoolArray:
        """Which pairs are fitted on."""
        result: BoolArray = np.logical_and(units != self.unit, genes != self.gene)
        return result

    @staticmethod
    def _in(blocks: IntArray, block: int) -> BoolArray:
        result: BoolArray = np.ones(np.shape(blocks), dtype=bool) if block == ALL else blocks == block
        return result


def draw_blocks(group: IntArray, weight: FloatArray, n_blocks: int, rng: np.random.Generator) -> IntArray:
    """
    Deal groups into blocks of about equal weight, at random.

    Groups are shuffled, and each goes to the block that is lightest by then; all members of a group share its block.
    Fewer groups than blocks give as many blocks as there are groups.

    Parameters
    ----------
    group
        Number of the group of each member.
    weight
        Pairs of each member.
    """
    names, place = np.unique(group, return_inverse=True)
    load = np.zeros(min(n_blocks, len(names)))
    of_group = np.bincount(place, weight, minlength=len(names))
    block = np.zeros(len(names), dtype=np.int64)
    for index in rng.permutation(len(names)):
        block[index] = lightest = int(load.argmin())
        load[lightest] += of_group[index] + 1e-9  # members without pairs are spread too
    return block[place]


def folds_of(split: Split, blocks: Blocks, joint_mode: JointMode = "full") -> list[Fold]:
    """
    Folds of one split.

    ``joint`` tests every block of units against every block of genes (``full``), so that every pair is tested once,
    or only those of the same number (``diagonal``), a fifth of the pairs with five blocks.
    """
    if split == "perturbation":
        return [Fold(unit, ALL) for unit in range(blocks.n_units)]
    if split == "gene":
        return [Fold(ALL, gene) for gene in range(blocks.n_genes)]
    if joint_mode == "diagonal":
        return [Fold(index, index) for index in range(min(blocks.n_units, blocks.n_genes))]
    return [Fold(unit, gene) for unit in range(blocks.n_units) for gene in range(blocks.n_genes)]
