from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from scepsis.stats._residual import Pairs, gene_blocks, ols, pair_folds, rounded, share_explained


def _made(n: int = 40, seed: int = 0, missing: float = 0.15) -> tuple[Pairs, np.ndarray, np.random.Generator]:
    """Features on very different scales, edges that they explain in part, pairs missing at random."""
    rng = np.random.default_rng(seed)
    features = np.exp(rng.normal(size=(n, 3))) * [1, 100, 0.01] + [0, 1000, 0]
    mask = (rng.random((n, n)) > missing) & ~np.eye(n, dtype=bool)
    pairs = Pairs.of(mask, features)
    signal = pairs.features[:, 1][:, None] * 0.5 + pairs.features @ [1.0, -0.3, 0.7] + 5
    return pairs, np.where(mask, signal + rng.normal(size=(n, n)), np.nan), rng


def _design(features: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.hstack([features[source, :2], features[target]])


def test_every_two_blocks_are_predicted_once_by_a_model_that_has_seen_neither() -> None:
    split = gene_blocks(50, np.random.default_rng(0))
    everything = ~np.eye(50, dtype=bool)
    times = np.zeros((50, 50), dtype=int)
    for number in range(split.n_models):
        predicted = split.predicted(number, everything)
        times += predicted
        genes, _ = split.training(number, everything)
        tested = np.unique(np.nonzero(predicted))
        assert not set(genes) & set(tested)
        assert len(genes) + len(tested) == 50
        assert len(genes) in {28, 29}  # four blocks of seven
    np.testing.assert_array_equal(times, everything)


def test_folds_of_pairs_are_even_and_predict_every_pair_once() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((30, 30)) < 0.7
    split = pair_folds(mask, 5, rng)
    sizes = [int(split.predicted(number, mask).sum()) for number in range(5)]
    assert sum(sizes) == mask.sum()
    assert max(sizes) - min(sizes) <= 1
    for number in range(5):
        _, training = split.training(number, mask)
        np.testing.assert_array_equal(training, mask & ~split.predicted(number, mask))


@pytest.mark.parametrize("kind", ["gene", "pair"])
def test_ols_is_a_regression_on_rows_for_each_model(kind: str) -> None:
    """Another library, with a design written out, one fit for each model."""
    pairs, values, rng = _made()
    split = gene_blocks(40, rng) if kind == "gene" else pair_folds(pairs.mask, 5, rng)
    other = np.where(pairs.mask, rng.normal(size=values.shape), np.nan)
    found = ols([values, other], pairs, split)
    for one, explained in zip((values, other), found, strict=True):
        expected, trained = np.full(values.shape, np.nan), []
        for number in range(split.n_models):
            genes, mask = split.training(number, pairs.mask)
            source, target = (genes[part] for part in np.nonzero(mask))
            design = _design(pairs.features, source, target)
            model = LinearRegression().fit(design, one[source, target])
            trained.append(model.score(design, one[source, target]))
            source, target = np.nonzero(split.predicted(number, pairs.mask))
            expected[source, target] = one[source, target] - model.predict(_design(pairs.features, source, target))
        np.testing.assert_allclose(explained.residual, expected, atol=1e-10)
        assert explained.r2_train == pytest.approx(np.mean(trained), abs=1e-10)
        known = pairs.mask
        total = ((one[known] - one[known].mean()) ** 2).sum()
        assert explained.r2(one) == pytest.approx(1 - (expected[known] ** 2).sum() / total, abs=1e-10)


def test_ols_bears_features_that_say_the_same_or_nothing() -> None:
    pairs, values, rng = _made()
    doubled = pairs.features.copy()
    doubled[:, 2] = doubled[:, 0]
    twice = Pairs(pairs.mask, doubled)
    split = gene_blocks(40, rng)
    (found,) = ols([values], twice, split)
    constant = Pairs.of(pairs.mask, np.column_stack([doubled[:, :2], np.full(40, 0.1)]))
    (without,) = ols([values], constant, split)
    assert (constant.features[:, 2] == 0).all()
    np.testing.assert_allclose(found.residual, without.residual, atol=1e-8)


def test_too_few_pairs_have_no_residual() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[0, 1:4] = True
    (found,) = ols([np.ones((40, 40))], Pairs.of(mask, np.ones((40, 3))), gene_blocks(40, np.random.default_rng(0)))
    assert np.isnan(found.residual).all()
    assert np.isnan(found.r2_train)


def test_constant_edges_are_explained_to_no_extent() -> None:
    pairs, _, rng = _made()
    values = np.full(pairs.mask.shape, 0.1)
    (found,) = ols([values], pairs, gene_blocks(40, rng))
    assert (found.residual[pairs.mask] == 0).all()
    assert np.isnan(found.r2(values))
    assert np.isnan(found.r2_train)


def test_share_explained_is_negative_when_worse_than_the_mean() -> None:
    assert share_explained(np.array([1.0, 2, 3]), np.array([3.0, 0, 0])) == pytest.approx(1 - 9 / 2)
    assert np.isnan(share_explained(np.array([]), np.array([])))


def test_rounding_is_told_from_what_is_left() -> None:
    values = np.array([[np.nan, 1.0], [2.0, np.nan]])
    left = rounded(np.array([[np.nan, 1e-12], [1e-6, np.nan]]), values, ~np.isnan(values))
    np.testing.assert_array_equal(left, [[np.nan, 0], [1e-6, np.nan]])
