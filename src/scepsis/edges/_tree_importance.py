"""Importances of source genes in forests that predict each target: what GENIE3 does, with scikit-learn's trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scepsis._core._types import FloatArray, IntArray


def tree_importance(
    values: FloatArray,
    sources: IntArray,
    seeds: Sequence[int],
    *,
    n_trees: int = 100,
    n_jobs: int = 1,
    on_target: Callable[[], object] = lambda: None,
) -> FloatArray:
    """
    Predict every gene from all sources but itself by extremely randomised trees; genes x genes, float32.

    Row i, column j holds the share of the variance that trees take away from target j by splitting on source i (the
    importances of a target add up to 1). Each split chooses among the square root of the number of sources. NaN on the
    diagonal, in rows of genes that are no source, and for genes that do not vary.

    Parameters
    ----------
    values
        Cells x genes.
    sources
        Columns that others are predicted from.
    seeds
        One for each gene, so that no result depends on which others are predicted, or in what order.
    n_trees
        Trees of a forest.
    n_jobs
        Processes.
    on_target
        Called when a target is done.

    Notes
    -----
    The same algorithm as GENIE3 (Huynh-Thu et al. 2010) with its extra trees, not its code, and a tenth of its trees:
    ranks are alike, numbers are not. Time grows with targets x trees x cells log cells x square root of sources.
    """
    from sklearn.utils.parallel import Parallel, delayed

    n_genes = values.shape[1]
    narrow = np.asfortranarray(values, dtype=np.float32)
    varies = narrow.max(axis=0) > narrow.min(axis=0)
    result = np.full((n_genes, n_genes), np.nan, dtype=np.float32)
    own = sources[varies[sources]]
    targets = [int(gene) for gene in np.flatnonzero(varies) if (own != gene).any()]
    calls = (delayed(_importances)(narrow, own, target, n_trees, int(seeds[target])) for target in targets)
    found = Parallel(n_jobs=n_jobs, return_as="generator")(calls)
    for target, importances in zip(targets, found, strict=True):
        result[own[own != target], target] = importances
        on_target()
    np.fill_diagonal(result, np.nan)
    return result


def tree_bytes(n_cells: int, n_genes: int) -> int:
    """Memory that it takes: dense values in 32 bits twice, one target's sources, the matrix of all pairs."""
    return 12 * n_cells * n_genes + 4 * n_genes**2


def _importances(values: FloatArray, sources: IntArray, target: int, n_trees: int, seed: int) -> FloatArray:
    """Importances of the sources other than the target, in their order; all 0 where no tree could split."""
    from sklearn.ensemble import ExtraTreesRegressor

    others = sources[sources != target]
    forest = ExtraTreesRegressor(n_estimators=n_trees, max_features="sqrt", random_state=seed, n_jobs=1)
    forest.fit(values[:, others], values[:, target])
    importances: FloatArray = forest.feature_importances_
    return importances
