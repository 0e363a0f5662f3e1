from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from scepsis.stats._boosted import Trees, boosted
from scepsis.stats._residual import Pairs, gene_blocks, ols, pair_folds

SMALL = Trees(n_trees=10)


def _made(n: int = 45, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = (rng.random((n, n)) > 0.1) & ~np.eye(n, dtype=bool)
    pairs = Pairs.of(mask, rng.normal(size=(n, 3)))
    bent = (pairs.features[:, 0] > 0)[:, None] * np.abs(pairs.features[:, 1])
    return pairs, np.where(mask, 3 * bent + rng.normal(size=(n, n)), np.nan)


def _design(pairs: Pairs, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.hstack([pairs.features[source], pairs.features[target]])


@pytest.mark.parametrize("kind", ["gene", "pair"])
def test_models_are_those_of_a_loop_over_folds(kind: str) -> None:
    pairs, values = _made()
    rng = np.random.default_rng(1)
    split = gene_blocks(45, rng) if kind == "gene" else pair_folds(pairs.mask, 5, rng)
    (found,) = boosted([values], pairs, split, trees=SMALL, seed=0, name="x", in_sample=True)
    trained = []
    for number in range(split.n_models):
        genes, mask = split.training(number, pairs.mask)
        source, target = (genes[part] for part in np.nonzero(mask))
        model = HistGradientBoostingRegressor(
            max_iter=10, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False
        ).fit(_design(pairs, source, target), values[source, target])
        trained.append(model.score(_design(pairs, source, target), values[source, target]))
        source, target = np.nonzero(split.predicted(number, pairs.mask))
        expected = values[source, target] - model.predict(_design(pairs, source, target))
        np.testing.assert_allclose(found.residual[source, target], expected, atol=1e-10)
    assert found.r2_train == pytest.approx(np.mean(trained), abs=1e-10)
    assert np.isnan(found.residual[~pairs.mask]).all()


def test_trees_see_what_a_line_does_not() -> None:
    pairs, values = _made(n=80)
    split = gene_blocks(80, np.random.default_rng(2))
    (bent,) = boosted([values], pairs, split, trees=Trees(), seed=0, name="x")
    (straight,) = ols([values], pairs, split)
    assert bent.r2(values) > straight.r2(values) + 0.2
    assert np.isnan(bent.r2_train)


def test_only_what_is_wanted_is_predicted_and_all_sets_learn_from_the_same_pairs() -> None:
    pairs, values = _made()
    split = gene_blocks(45, np.random.default_rng(3))
    few = Trees(n_trees=10, max_train=200)
    wanted = np.zeros_like(pairs.mask)
    wanted[:4] = True
    (part,) = boosted([values], pairs, split, trees=few, seed=5, name="x", wanted=wanted)
    alone, twice = boosted([values, 2 * values], pairs, split, trees=few, seed=5, name="x", n_jobs=3)
    np.testing.assert_array_equal(part.residual[:4], alone.residual[:4])
    assert np.isnan(part.residual[4:]).all()
    np.testing.assert_allclose(twice.residual, 2 * alone.residual, atol=1e-9)
    (other,) = boosted([values], pairs, split, trees=few, seed=6, name="x")
    assert not np.array_equal(other.residual, alone.residual, equal_nan=True)


def test_too_few_pairs_to_learn_from_give_none() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[0, 1:] = True
    pairs = Pairs.of(mask, np.random.default_rng(0).normal(size=(20, 3)))
    split = gene_blocks(20, np.random.default_rng(0))
    (found,) = boosted([np.ones((20, 20))], pairs, split, trees=SMALL, seed=0, name="x", in_sample=True)
    assert np.isnan(found.residual).all()
    assert np.isnan(found.r2_train)
