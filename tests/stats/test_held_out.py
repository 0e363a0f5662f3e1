from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from scepsis.stats._auroc import placements
from scepsis.stats._held_out import encoded_frequency, judge, permuted, recall_at, rows_of
from scepsis.stats._learners import Pairs
from scepsis.stats._splits import ALL, Blocks, Fold

METRICS = ("auroc", "auprc", "recall@3", "recall@10")


def _pairs(labels: np.ndarray, group: np.ndarray | None = None) -> Pairs:
    features = np.zeros((labels.shape[1], 3))
    return Pairs(labels.astype(np.int8), features, np.arange(len(labels)) if group is None else group)


def _random(seed: int, n_units: int = 12, n_genes: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((n_units, n_genes)) < 0.25).astype(int)
    labels[rng.random(labels.shape) < 0.1] = -1
    scores = rng.integers(0, 8, labels.shape).astype(float) + labels  # many ties
    scores[labels < 0] = np.nan
    return scores, labels, rng.integers(0, 4, n_genes)


def _slow(scores: np.ndarray, labels: np.ndarray, blocks: np.ndarray, score: object) -> np.ndarray:
    """Mean over the blocks in which a unit has both classes."""
    result = np.full(len(labels), np.nan)
    for unit in range(len(labels)):
        found = []
        for block in range(blocks.max() + 1):
            some = (blocks == block) & (labels[unit] >= 0)
            if len(set(labels[unit, some])) == 2:
                found.append(score(labels[unit, some], scores[unit, some]))
        result[unit] = np.mean(found) if found else np.nan
    return result


@pytest.mark.parametrize("several", [False, True])
def test_metrics_are_those_of_sklearn_within_unit_and_model(several: bool) -> None:
    scores, labels, blocks = _random(0)
    found = judge(scores, _pairs(labels), blocks if several else None, METRICS)
    blocks = blocks if several else np.zeros_like(blocks)
    np.testing.assert_allclose(found.metrics["auroc"], _slow(scores, labels, blocks, roc_auc_score), atol=1e-12)
    np.testing.assert_allclose(
        found.metrics["auprc"], _slow(scores, labels, blocks, average_precision_score), atol=1e-12
    )
    known = labels >= 0
    assert found.pooled == pytest.approx(roc_auc_score(labels[known], scores[known]), abs=1e-12)


def test_metrics_of_a_table_that_can_be_counted_by_hand() -> None:
    labels = np.array([[1, 0, 1, 0, 0], [0, 1, -1, 0, 1]])
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, np.nan, 3.0, 3.0]])
    found = judge(scores, _pairs(labels), None, ("auroc", "auprc", "recall@1", "recall@2"))
    # unit 0: responders stand first and third of five; 3 + 2 of 6 comparisons won
    # unit 1: 2 loses to 3 and beats 1, 3 ties with 3 and beats 1: 1 + 1.5 of 4
    np.testing.assert_allclose(found.metrics["auroc"], [5 / 6, 2.5 / 4])
    np.testing.assert_allclose(found.metrics["auprc"], [(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2])
    np.testing.assert_allclose(found.metrics["recall@1"], [0.5, 0.25])
    np.testing.assert_allclose(found.metrics["recall@2"], [0.5, 0.5])


@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
def test_recall_is_the_mean_over_all_orders_of_ties(k: int) -> None:
    scores = np.array([[2.0, 2, 2, 1, 1, 3, 0], [1.0, 1, 1, 1, 1, 1, 1]])
    positive = np.array([[1, 0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0]]).astype(bool)
    expected = []
    for row, responds in zip(scores, positive, strict=True):
        found = []
        for order in permutations(range(7)):
            ranked = sorted(order, key=lambda item, row=row: -row[item])  # stable: ties stay as they came
            found.append(responds[ranked[:k]].sum() / responds.sum())
        expected.append(np.mean(found))
    np.testing.assert_allclose(recall_at(placements(scores, positive), k), expected, atol=1e-12)


def test_recall_counts_all_candidates_of_a_unit_whatever_model_scored_them() -> None:
    scores, labels, blocks = _random(3)
    several = judge(scores, _pairs(labels), blocks, METRICS).metrics["recall@3"]
    one = judge(scores, _pairs(labels), None, METRICS).metrics["recall@3"]
    np.testing.assert_array_equal(several, one)


@pytest.mark.parametrize("several", [False, True])
def test_influence_is_that_of_the_definition_averaged_over_models(several: bool) -> None:
    scores, labels, blocks = _random(1)
    found = judge(scores, _pairs(labels), blocks if several else None, ("auroc",))
    blocks = blocks if several else np.zeros_like(blocks)
    expected = np.zeros(labels.shape)
    for unit in range(len(labels)):
        both = []
        for block in range(blocks.max() + 1):
            pos = np.flatnonzero((blocks == block) & (labels[unit] == 1))
            neg = np.flatnonzero((blocks == block) & (labels[unit] == 0))
            if not len(pos) or not len(neg):
                continue
            wins = np.sign(scores[unit, pos][:, None] - scores[unit, neg][None, :]) / 2 + 0.5
            own = np.zeros(labels.shape[1])
            for genes, share in ((pos, wins.mean(axis=1)), (neg, wins.mean(axis=0))):
                n = len(genes)
                own[genes] = np.sqrt(n / max(n - 1, 1)) * (share - wins.mean()) / n
            both.append(own)
        expected[unit] = np.mean(both, axis=0) if both else 0
    np.testing.assert_allclose(found.influence, expected, atol=1e-12)


def test_permutation_keeps_what_each_unit_has_and_leaves_the_rest() -> None:
    scores, labels, _ = _random(2)
    scores[labels < 0] = 77.0
    found = permuted(scores, labels, np.random.default_rng(0))
    known = labels >= 0
    np.testing.assert_array_equal(found[~known], scores[~known])
    for before, after, pairs in zip(scores, found, known, strict=True):
        np.testing.assert_array_equal(np.sort(before[pairs]), np.sort(after[pairs]))
    assert (found != scores).any()


def _encoded(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unit = np.arange(len(labels)) % 3
    blocks = Blocks(unit, np.zeros(labels.shape[1], dtype=int))
    return encoded_frequency(_pairs(labels), blocks, Fold(0, ALL), seed=5), unit == 0


def test_frequency_of_held_out_units_is_the_share_over_all_others() -> None:
    _, labels, _ = _random(4, n_units=30)
    found, held_out = _encoded(labels)
    others = labels[~held_out]
    for gene in range(labels.shape[1]):
        tested = others[:, gene] >= 0
        expected = (others[tested, gene] == 1).mean()
        np.testing.assert_allclose(found[held_out, gene], expected)


def test_frequency_never_sees_the_responses_that_it_is_to_predict() -> None:
    _, labels, _ = _random(5, n_units=30)
    found, held_out = _encoded(labels)
    flipped = labels.copy()
    flipped[held_out] = np.where(flipped[held_out] >= 0, 1 - flipped[held_out], -1)
    np.testing.assert_array_equal(_encoded(flipped)[0], found)  # nothing comes from held-out units
    for unit in np.flatnonzero(~held_out):
        changed = labels.copy()
        changed[unit] = np.where(changed[unit] >= 0, 1 - changed[unit], -1)
        np.testing.assert_array_equal(_encoded(changed)[0][unit], found[unit])  # nor from the unit itself


def test_frequency_of_noise_does_not_give_labels_away_where_leaving_out_one_unit_does() -> None:
    rng = np.random.default_rng(6)
    labels = (rng.random((40, 200)) < 0.3).astype(int)
    found, held_out = _encoded(labels)
    fitted = labels[~held_out]
    left_out = (fitted.sum(axis=0) - fitted) / (len(fitted) - 1)
    leak = np.corrcoef(left_out.ravel(), fitted.ravel())[0, 1]
    inside = np.corrcoef(found[~held_out].ravel(), fitted.ravel())[0, 1]
    within = np.mean([np.corrcoef(left_out[:, gene], fitted[:, gene])[0, 1] for gene in range(200)])
    assert within == pytest.approx(-1, abs=1e-9)  # within a gene the label is read off exactly
    assert abs(leak) < 0.1
    assert abs(inside) < 0.1
    ours = [np.corrcoef(found[~held_out][:, gene], fitted[:, gene])[0, 1] for gene in range(200)]
    assert np.mean(ours) > -0.6


def test_fold_that_lacks_a_class_is_skipped() -> None:
    labels = np.zeros((4, 10), dtype=int)
    labels[:2, :3] = 1
    blocks = Blocks(np.array([0, 0, 1, 1]), np.zeros(10, dtype=int))
    assert rows_of(_pairs(labels), blocks, Fold(0, ALL)) is None  # no responder is left to fit on
    assert rows_of(_pairs(labels), blocks, Fold(1, ALL)) is None  # none to be tested
    labels[2:, 0] = 1
    train, test = rows_of(_pairs(labels), blocks, Fold(0, ALL))
    assert set(train) == set(range(20, 40))
    assert set(test) == set(range(20))
