from __future__ import annotations

import numpy as np
import pytest

from scepsis.stats._balance import standardised_differences
from scepsis.stats._matching import (
    jittered,
    match_globally,
    match_within,
    nearest,
    pooled_sd,
    rebalanced,
    restricted,
)


@pytest.mark.parametrize(("n", "m", "k"), [(30, 200, 5), (30, 4, 5), (1, 1, 1), (10, 50, 1), (5, 0, 3)])
def test_nearest_are_those_of_brute_force(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(n + m)
    queries, among = rng.normal(size=n), rng.normal(size=m)
    index, distance = nearest(queries, among, k)
    assert index.shape == (n, k)
    for row, query in enumerate(queries):
        expected = np.sort(np.abs(among - query))[:k]
        found = index[row][index[row] >= 0]
        np.testing.assert_array_equal(distance[row, : len(expected)], expected)
        np.testing.assert_array_equal(np.abs(among[found] - query), expected)
        assert np.isinf(distance[row, len(expected) :]).all()
        assert len(set(found)) == len(found)


def test_nearest_at_the_ends_and_among_ties() -> None:
    among = np.array([3.0, 1.0, 1.0, 1.0, 2.0])
    index, distance = nearest(np.array([-5.0, 9.0, 1.0]), among, 2)
    np.testing.assert_array_equal(distance, [[6, 6], [6, 7], [0, 0]])
    assert set(index[1]) == {0, 4}


def _labels(seed: int = 0, shape: tuple[int, int] = (6, 40)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=shape)
    return labels, rng.normal(size=shape) + (labels == 1)


def test_partners_within_a_perturbation_are_those_of_a_slow_loop() -> None:
    labels, logit = _labels()
    matched = match_within(labels, logit, k=3, caliper=0.15)
    weight, links, n_unmatched = {}, set(), np.zeros(6, dtype=int)
    for unit in range(6):
        for positive in np.flatnonzero(labels[unit] == 1):
            negatives = np.flatnonzero(labels[unit] == 0)
            distance = np.abs(logit[unit, negatives] - logit[unit, positive])
            partners = negatives[np.argsort(distance)[:3]][np.sort(distance)[:3] <= 0.15]
            n_unmatched[unit] += not len(partners)
            for partner in partners:
                links.add((unit, positive, partner))
                weight[unit, partner, False] = weight.get((unit, partner, False), 0) + 1 / len(partners)
            if len(partners):
                weight[unit, positive, True] = 1.0
    assert n_unmatched.sum() > 0
    np.testing.assert_array_equal(matched.n_unmatched, n_unmatched)
    rows = zip(matched.unit, matched.target, matched.positive, matched.weight, strict=True)
    found = {(unit, target, positive): w for unit, target, positive, w in rows}
    assert found.keys() == weight.keys()
    assert all(found[key] == pytest.approx(weight[key]) for key in weight)
    assert matched.links is not None
    assert set(zip(*(part.tolist() for part in matched.links[:3]), strict=True)) == links
    for unit in range(6):
        own = matched.unit == unit
        partners, responders = matched.weight[own & ~matched.positive], matched.weight[own & matched.positive]
        assert partners.sum() == pytest.approx(responders.sum())


def test_global_partners_are_those_of_brute_force_each_once() -> None:
    labels, logit = _labels(1)
    matched = match_globally(labels, logit, k=4)
    negatives = np.argwhere(labels == 0)
    values = logit[labels == 0]
    expected = {
        tuple(negatives[index]) for value in logit[labels == 1] for index in np.argsort(np.abs(values - value))[:4]
    }
    pairs = list(zip(matched.unit, matched.target, strict=True))
    assert {pair for pair, positive in zip(pairs, matched.positive, strict=True) if not positive} == expected
    assert len(set(pairs)) == len(pairs)
    assert set(matched.weight) == {1.0}
    assert matched.positive.sum() == (labels == 1).sum()
    assert not matched.n_unmatched.any()


def test_ties_are_spread_and_a_caliper_of_nothing_still_takes_equals() -> None:
    labels = np.zeros((1, 300), dtype=int)
    labels[0, :30] = 1
    logit = jittered(np.zeros((1, 300)), np.random.default_rng(0))
    matched = match_within(labels, logit, k=5, caliper=0.0)
    assert matched.positive.sum() == 30
    assert (~matched.positive).sum() > 80  # in the order of the genes all thirty would share the same five


def test_what_has_no_propensity_is_not_matched() -> None:
    labels, logit = _labels(2)
    logit[0] = np.nan
    for matched in (match_within(labels, logit, k=3, caliper=0.5), match_globally(labels, logit, k=3)):
        assert 0 not in matched.unit
        assert matched.n_unmatched[0] == (labels[0] == 1).sum()
    nothing = match_within(labels, logit, k=3, caliper=np.nan)
    assert not len(nothing.unit)


def test_caliper_is_in_units_of_the_spread_of_both_groups() -> None:
    labels, logit = _labels(3)
    expected = np.sqrt((logit[labels == 1].var(ddof=1) + logit[labels == 0].var(ddof=1)) / 2)
    assert pooled_sd(logit, labels) == pytest.approx(expected)
    assert np.isnan(pooled_sd(logit[:, :1], labels[:, :1] * 0))


def _unbalanced() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    covariates = rng.normal(size=(20, 80, 2)) * [1.0, 30.0]
    labels = (rng.random((20, 80)) < 1 / (1 + np.exp(2 - covariates[:, :, 0]))).astype(int)
    return labels, covariates


def test_rebalanced_partners_have_the_means_of_the_responders_and_the_weight_of_their_unit() -> None:
    labels, covariates = _unbalanced()
    matched = match_within(labels, covariates[:, :, 0] / 3, k=5, caliper=1.0)
    x = covariates[matched.unit, matched.target]
    before = standardised_differences(x, matched.positive, matched.weight)
    after = rebalanced(matched, x)
    assert np.abs(before).max() > 0.03
    np.testing.assert_allclose(standardised_differences(x, after.positive, after.weight), 0, atol=1e-8)
    assert (after.weight > 0).all()
    np.testing.assert_array_equal(after.weight[after.positive], matched.weight[matched.positive])
    own = ~after.positive
    for weights in (after.weight, matched.weight):
        np.testing.assert_allclose(
            np.bincount(after.unit[own], weights[own]), np.bincount(after.unit[~own], after.weight[~own])
        )


def test_rebalanced_weights_are_the_nearest_in_entropy_that_a_solver_finds() -> None:
    from scipy.optimize import minimize

    labels, covariates = _unbalanced()
    matched = match_within(labels[:2, :30], covariates[:2, :30, 0] / 3, k=4, caliper=1.0)
    x = covariates[matched.unit, matched.target]
    own, base = ~matched.positive, matched.weight[~matched.positive]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    wanted = z[matched.positive].sum(axis=0)
    of_unit = np.bincount(matched.unit[~own], minlength=2).astype(float)
    member = matched.unit[own] == np.arange(2)[:, None]
    found = minimize(
        lambda w: float((w * np.log(w / base)).sum()),
        base,
        jac=lambda w: np.log(w / base) + 1,
        method="SLSQP",
        bounds=[(1e-9, None)] * len(base),
        constraints=[
            {"type": "eq", "fun": lambda w: w @ z[own] - wanted},
            {"type": "eq", "fun": lambda w: member @ w - of_unit},
        ],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(rebalanced(matched, x).weight[own], found.x, atol=1e-4)


def test_no_weights_can_balance_what_does_not_overlap() -> None:
    labels = np.array([[1, 1, 0, 0, 0, 0]])
    matched = match_within(labels, np.zeros((1, 6)), k=4, caliper=1.0)
    x = np.array([5.0, 6.0, 0.0, 1.0, 2.0, 3.0])[matched.target][:, None]
    after = rebalanced(matched, x)
    assert np.isfinite(after.weight).all()
    own = ~after.positive
    assert 5.5 - np.average(x[own, 0], weights=after.weight[own]) >= 2.5  # 3 is the best there is
    assert not abs(standardised_differences(x, after.positive, after.weight)[0]) < 1


def test_units_can_be_left_out() -> None:
    labels, logit = _labels()
    matched = match_within(labels, logit, k=3, caliper=0.5)
    part = restricted(matched, np.arange(6) != 2)
    assert 2 not in part.unit
    assert part.links is not None
    assert 2 not in part.links[0]
    assert len(part.unit) == (matched.unit != 2).sum()
