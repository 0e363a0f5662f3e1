from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from scepsis.stats._matched_models import compare, held_out_scores, rank_all, rank_units
from scepsis.stats._matching import Matched
from scepsis.stats._weighted_auroc import weighted_auroc


def _sample(seed: int = 0) -> tuple[Matched, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(10), 40)
    target = np.tile(np.arange(40), 10)
    positive = rng.random(400) < 0.3
    matched = Matched(unit, target, positive, rng.random(400) + 0.1, np.zeros(10, dtype=int))
    features = rng.normal(size=(400, 3)) + 0.3 * positive[:, None]
    edge = rng.normal(size=400) + positive
    return matched, features, edge


def test_held_out_scores_are_scikit_learns() -> None:
    matched, features, edge = _sample()
    fold = matched.unit % 4
    found = held_out_scores(matched, features, [edge, -edge], fold)
    for index, design in enumerate((features, np.column_stack([features, edge]))):
        for number in range(4):
            train, test, weight = fold != number, fold == number, matched.weight
            mean = np.average(design[train], axis=0, weights=weight[train])
            sd = np.sqrt(np.average((design[train] - mean) ** 2, axis=0, weights=weight[train]))
            model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000)
            model.fit((design[train] - mean) / sd, matched.positive[train], sample_weight=weight[train])
            expected = model.decision_function((design[test] - mean) / sd)
            np.testing.assert_allclose(found[index, test], expected, atol=1e-4)
    np.testing.assert_allclose(found[2], found[1], atol=1e-9)  # a sign is nothing to a regression


def test_a_fold_whose_others_lack_a_class_has_no_scores() -> None:
    matched, features, edge = _sample()
    only = Matched(matched.unit, matched.target, matched.positive & (matched.unit == 3), matched.weight, np.zeros(10))
    found = held_out_scores(only, features, [edge], matched.unit)
    assert np.isnan(found[:, matched.unit == 3]).all()
    assert np.isfinite(found[:, matched.unit != 3]).all()


def test_comparison_sums_influence_by_target_as_a_loop_does() -> None:
    matched, features, edge = _sample()
    one, other = (rank_units(matched, scores, 10) for scores in (edge, features[:, 0]))
    units = np.arange(10) != 4
    found, used = compare(matched, one, other, units=units, n_targets=40, margin=0.01, min_units=6)
    np.testing.assert_array_equal(used, units)
    differences = np.array(
        [
            weighted_auroc(edge[rows], matched.positive[rows], matched.weight[rows]).auroc
            - weighted_auroc(features[rows, 0], matched.positive[rows], matched.weight[rows]).auroc
            for rows in (matched.unit == unit for unit in np.flatnonzero(units))
        ]
    )
    assert found.difference == pytest.approx(differences.mean())
    influence = (one.influence - other.influence).reshape(10, 40)[units]
    of_genes = influence.sum(axis=0) ** 2
    carriers = max(of_genes.sum() ** 2 / (of_genes**2).sum(), 2)
    by_gene = of_genes.sum() / 81 * carriers / (carriers - 1)
    by_unit, by_pair = differences.var(ddof=1) / 9, (influence**2).sum() / 81
    variance = max(by_unit + by_gene - by_pair, by_unit, by_gene)
    half = (found.two_way.high - found.two_way.low) / 2
    assert half == pytest.approx(2.306004135 * np.sqrt(variance), rel=1e-8)  # t of 8 degrees of freedom
    few, _ = compare(matched, one, None, units=np.arange(10) < 5, n_targets=40, margin=0.01, min_units=6)
    assert np.isnan([few.two_way.low, few.p_value]).all()
    assert few.difference == pytest.approx(one.auroc[:5].mean() - 0.5)


def test_before_matching_all_pairs_count_the_same() -> None:
    matched, _, edge = _sample()
    labels = np.where(matched.positive, 1, 0).reshape(10, 40)
    area = rank_all(labels, edge.reshape(10, 40))
    rows = matched.unit == 2
    assert area[2] == pytest.approx(weighted_auroc(edge[rows], matched.positive[rows], np.ones(40)).auroc)
