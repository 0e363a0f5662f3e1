"""
Edges against features of their two genes, and what is left of them.

A pair is always predicted by a model that has not seen it. How much else that model may know decides what is left: in
folds of pairs both genes are known from other pairs, in gene-disjoint blocks neither is, and additive node effects are
what the other pairs of the two genes say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import BoolArray, FloatArray, IntArray

#: The seven lines of the projective plane of order 2: of seven points, every two lie on exactly one.
N_BLOCKS = 7
LINES = np.array([[(line + step) % N_BLOCKS for step in (0, 1, 3)] for line in range(N_BLOCKS)])
#: Folds of pairs.
N_FOLDS = 5
#: A source is told by its variance and mean, a target by variance, mean and detection rate (columns of features).
SOURCE_COLUMNS = 2
#: Residuals smaller than this share of the largest value are rounding, and 0.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Pairs:
    """Pairs of genes that every set of edges has, and what is known of the genes."""

    #: Genes x genes, false on the diagonal.
    mask: BoolArray
    #: Genes x features, standardised over the genes with any pair; 0 for others and for a constant feature.
    features: FloatArray

    @classmethod
    def of(cls, mask: BoolArray, features: FloatArray) -> Pairs:
        """Standardise `features`, genes x (variance, mean, detection rate)."""
        has_pairs = mask.any(axis=0) | mask.any(axis=1)
        standard = np.zeros(features.shape)
        if has_pairs.any():
            known = features[has_pairs]
            spread = known.std(axis=0)
            spread[spread <= ROUNDING * np.abs(known).max(axis=0)] = np.inf
            standard[has_pairs] = (known - known.mean(axis=0)) / spread
        return cls(mask, standard)

    @property
    def n(self) -> int:
        return int(self.mask.sum())


@dataclass(frozen=True)
class Split:
    """Which model predicts which pair, and from which pairs it learns."""

    #: Genes x genes: number of the model that predicts the pair.
    model: IntArray
    n_models: int
    #: Models x genes: genes among whose pairs the model learns; None: from all pairs that it does not predict.
    learns_from: BoolArray | None = None

    def training(self, number: int, mask: BoolArray) -> tuple[IntArray, BoolArray]:
        """Genes, and which of the pairs among them a model learns from."""
        if self.learns_from is None:
            return np.arange(len(mask)), mask & (self.model != number)
        genes = np.flatnonzero(self.learns_from[number])
        return genes, mask[np.ix_(genes, genes)]

    def predicted(self, number: int, mask: BoolArray) -> BoolArray:
        """Pairs that a model predicts."""
        predicted: BoolArray = mask & (self.model == number)
        return predicted


def gene_blocks(n_genes: int, rng: np.random.Generator) -> Split:
    """
    Deal genes into seven blocks, so that every pair is predicted by a model that has seen neither of its genes.

    One model for each line of a projective plane: it predicts the pairs among its three blocks and learns from those
    among the other four. Every two blocks are on one line, so every pair is predicted once; a pair within a
    block, which is on three lines, by that of its own number. Seven fits do what five blocks need fifteen for.
    """
    line_of = np.empty((N_BLOCKS, N_BLOCKS), dtype=np.int8)
    for number, line in enumerate(LINES):
        line_of[np.ix_(line, line)] = number
    np.fill_diagonal(line_of, np.arange(N_BLOCKS))  # line k holds block k
    block = rng.permutation(n_genes) % N_BLOCKS
    learns = np.array([~np.isin(block, line) for line in LINES])
    return Split(line_of[block[:, None], block[None, :]], N_BLOCKS, learns)


def pair_folds(mask: BoolArray, n_folds: int, rng: np.random.Generator) -> Split:
    """Deal pairs into folds at random; the genes of a pair are known from other pairs."""
    model = np.zeros(mask.shape, dtype=np.int8)
    model[mask] = rng.permutation(int(mask.sum())) % n_folds
    return Split(model, n_folds)


@dataclass(frozen=True)
class Explained:
    """What a learner says of one set of edges."""

    #: Genes x genes: what is left of a pair when its prediction is taken away; NaN where there is none.
    residual: FloatArray
    #: Share of the variance that the models explain among the pairs they learned from, mean over models.
    r2_train: float

    def r2(self, values: FloatArray) -> float:
        """Share of the variance of `values` explained out of fold, over the predicted pairs; NaN without variance."""
        known = ~np.isnan(self.residual)
        return share_explained(values[known], self.residual[known])


def share_explained(values: FloatArray, residuals: FloatArray) -> float:
    """``1 - sum(residuals^2) / sum((values - mean)^2)``; NaN where the values do not vary."""
    return share_of_squares(values, float(residuals @ residuals))


def share_of_squares(values: FloatArray, squares: float) -> float:
    """The same of a sum of squared residuals."""
    if not len(values):
        return np.nan
    deviations = values - values.mean()
    total = float(deviations @ deviations)
    if total <= len(values) * (ROUNDING * float(np.abs(values).max())) ** 2:
        return np.nan
    return 1 - squares / total


def rounded(residual: FloatArray, values: FloatArray, mask: BoolArray) -> FloatArray:
    """`residual` with what is only rounding set to 0, in place: an exact fit leaves nothing to be ranked."""
    largest = float(np.abs(values, where=mask, out=np.zeros(values.shape)).max(initial=0))
    residual[np.abs(residual) <= ROUNDING * largest] = 0.0
    return residual


def ols(values: Sequence[FloatArray], pairs: Pairs, split: Split) -> list[Explained]:
    """
    Regress edges on variance and mean of the source and variance, mean and detection rate of the target.

    Parameters
    ----------
    values
        One matrix for each set of edges, genes x genes; pairs outside ``pairs.mask`` are not read.
    pairs
        Pairs and features.
    split
        Who predicts what.

    Notes
    -----
    The cross products of a design made of features of rows and of columns need no design: they are sums over rows
    and columns of the mask and of the edges. ``K G^2`` for each of K sets and each model.
    """
    design = np.column_stack([np.ones(len(pairs.mask)), pairs.features])
    sources, targets = design[:, : 1 + SOURCE_COLUMNS], design[:, 1:]
    centres = [float(one[pairs.mask].mean()) if pairs.n else 0.0 for one in values]
    centred = [np.where(pairs.mask, one - centre, 0.0) for one, centre in zip(values, centres, strict=True)]
    # what a model says of a pair is the sum of what it says of the source and of the target
    of_source, of_target = np.full((2, len(values), split.n_models, len(design)), np.nan)
    trained = np.full((len(values), split.n_models), np.nan)
    for number in range(split.n_models):
        genes, mask = split.training(number, pairs.mask)
        if int(mask.sum()) <= sources.shape[1] + targets.shape[1]:
            continue
        inverse = np.linalg.pinv(_gram(mask.astype(np.float64), sources[genes], targets[genes]), hermitian=True)
        for index, one in enumerate(centred):
            y = one if split.learns_from is not None else np.where(mask, one, 0.0)
            y = y[np.ix_(genes, genes)] if len(genes) < len(y) else y
            product = np.concatenate([sources[genes].T @ y.sum(axis=1), targets[genes].T @ y.sum(axis=0)])
            slopes = inverse @ product
            of_source[index, number] = sources @ slopes[: sources.shape[1]]
            of_target[index, number] = targets @ slopes[sources.shape[1] :]
            total = float(np.vdot(y, y)) - float(y.sum()) ** 2 / float(mask.sum())
            if total > 0:
                trained[index, number] = 1 - (float(np.vdot(y, y)) - float(slopes @ product)) / total
    result = []
    for index, one in enumerate(centred):
        every = np.arange(len(one))
        prediction = of_source[index][split.model, every[:, None]] + of_target[index][split.model, every[None, :]]
        residual = np.where(pairs.mask, one - prediction, np.nan)
        result.append(Explained(rounded(residual, values[index], pairs.mask), mean_known(trained[index])))
    return result


def _gram(mask: FloatArray, sources: FloatArray, targets: FloatArray) -> FloatArray:
    within = sources.T @ (mask.sum(axis=1)[:, None] * sources)
    across = sources.T @ (mask @ targets)
    beyond = targets.T @ (mask.sum(axis=0)[:, None] * targets)
    gram: FloatArray = np.block([[within, across], [across.T, beyond]])
    return gram


def mean_known(values: FloatArray) -> float:
    """Mean of what is not NaN; NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
