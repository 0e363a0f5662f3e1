"""Boosted trees from gene features to edges, cross-fitted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._rng import child
from scepsis.stats._residual import Explained, mean_known, rounded, share_of_squares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.ensemble import HistGradientBoostingRegressor

    from scepsis._core._types import BoolArray, FloatArray, IntArray
    from scepsis.stats._residual import Pairs, Split

#: Pairs predicted at a time.
BLOCK = 1 << 18
#: Pairs that a model must have to learn from.
MIN_TRAINING = 40


@dataclass(frozen=True)
class Trees:
    """
    Size of the models. Nothing is held out to stop early: random rows would be of the same genes.

    The paper's analysis took 200 trees of 31 leaves at a rate of 0.1. Between genes that were not seen these learn no
    more (R2 of attention 0.783 against 0.795 with the size below, of correlation 0.096 against 0.114, on the demo
    screen), at five times the cost.
    """

    n_trees: int = 50
    learning_rate: float = 0.2
    max_leaf_nodes: int = 15
    #: Pairs that one model learns from at most; drawn at random.
    max_train: int = 100_000

    def fit(self, design: FloatArray, values: FloatArray, *, keep_loss: bool = False) -> HistGradientBoostingRegressor:
        """Fit one model; `keep_loss`: with ``train_score_``, minus half the mean square of what each tree leaves."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            max_iter=self.n_trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            # scikit-learn keeps the loss of what it fits only where that might stop it; this never does
            early_stopping=keep_loss,
            scoring="loss",
            validation_fraction=None,
            n_iter_no_change=self.n_trees + 1,
            random_state=0,
        )
        return model.fit(design, values)


def boosted(
    values: Sequence[FloatArray],
    pairs: Pairs,
    split: Split,
    *,
    trees: Trees,
    seed: int,
    name: object,
    wanted: BoolArray | None = None,
    in_sample: bool = False,
    n_jobs: int = 1,
) -> list[Explained]:
    """
    Fit gradient-boosted regression trees on variance, mean and detection rate of both genes.

    Parameters
    ----------
    values
        One matrix for each set of edges, genes x genes; pairs outside ``pairs.mask`` are not read.
    pairs
        Pairs and features.
    split
        Who predicts what.
    trees
        Size of the models.
    seed, name
        Where the draw of training pairs comes from; all sets learn from the same pairs.
    wanted
        Pairs whose residual is needed; None for all.
    in_sample
        Whether to tell how well the models fit the pairs that they learned from.
    n_jobs
        Models fitted at a time, each by one thread.

    Notes
    -----
    A model of 100,000 pairs predicts much as one of all does (r = 0.998 against 450,000), and costs a fraction.
    """
    from threadpoolctl import ThreadpoolController

    wanted = pairs.mask if wanted is None else pairs.mask & wanted
    limits = ThreadpoolController()
    residuals = [np.full(one.shape, np.nan) for one in values]
    trained = np.full((len(values), split.n_models), np.nan)

    def work(number: int) -> None:
        source, target = _training_pairs(pairs, split, number, trees.max_train, child(seed, name, "training", number))
        goal = np.flatnonzero(split.predicted(number, wanted))
        if len(source) < MIN_TRAINING or not len(goal):
            return
        design = _design(pairs.features, source, target)
        with limits.limit(limits=1):  # in the thread that fits: the limit is its own
            for index, one in enumerate(values):
                known = one[source, target]
                model = trees.fit(design, known, keep_loss=in_sample)
                if in_sample:
                    trained[index, number] = share_of_squares(known, -2 * len(known) * float(model.train_score_[-1]))
                for start in range(0, len(goal), BLOCK):
                    here = goal[start : start + BLOCK]
                    predicted = model.predict(_design(pairs.features, *np.divmod(here, len(one))))
                    residuals[index].flat[here] = one.flat[here] - predicted

    with ThreadPoolExecutor(n_jobs) as pool:
        list(pool.map(work, range(split.n_models)))
    return [
        Explained(rounded(residual, one, pairs.mask), mean_known(of_models))
        for residual, one, of_models in zip(residuals, values, trained, strict=True)
    ]


def _training_pairs(
    pairs: Pairs, split: Split, number: int, most: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    genes, mask = split.training(number, pairs.mask)
    places = np.flatnonzero(mask)
    if len(places) > most:
        places = places[np.sort(rng.choice(len(places), most, replace=False, shuffle=False))]
    source, target = np.divmod(places, len(genes))
    return genes[source], genes[target]


def _design(features: FloatArray, source: IntArray, target: IntArray) -> FloatArray:
    design: FloatArray = np.concatenate([features[source], features[target]], axis=1)
    return design
