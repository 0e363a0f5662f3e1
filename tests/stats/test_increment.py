from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from scepsis.stats._held_out import judge
from scepsis.stats._increment import Comparison, Design, compare
from scepsis.stats._learners import Pairs

N_UNITS, N_GENES = 14, 40


def _pairs(seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    labels = (rng.random((N_UNITS, N_GENES)) < 0.3).astype(np.int8)
    labels[rng.random(labels.shape) < 0.1] = -1
    return Pairs(labels, rng.normal(size=(N_GENES, 3)), np.arange(N_UNITS))


def _influence(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of every pair on the AUROC of its unit, among the pairs with a label, by the definition."""
    result = np.zeros(labels.shape)
    pos, neg = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    if len(pos) and len(neg):
        wins = np.sign(scores[pos][:, None] - scores[neg][None, :]) / 2 + 0.5
        for genes, share in ((pos, wins.mean(axis=1)), (neg, wins.mean(axis=0))):
            n = len(genes)
            result[genes] = np.sqrt(n / max(n - 1, 1)) * (share - wins.mean()) / n
    return result


@pytest.mark.parametrize("several", [False, True])
def test_two_way_interval_is_that_of_loops_over_units_genes_and_models(several: bool) -> None:
    data, rng = _pairs(), np.random.default_rng(1)
    blocks = rng.integers(0, 3, N_GENES) if several else np.zeros(N_GENES, dtype=int)
    shared = rng.normal(size=N_GENES)  # genes that stand high for all units
    one, other = (rng.normal(size=data.labels.shape) + height * shared for height in (1.0, 0.2))
    judged = [judge(scores, data, blocks if several else None, ("auroc",)) for scores in (one, other)]
    found = compare(*judged, "auroc", Comparison(0.005, 6, 10, {}))

    units, phi = [], np.zeros((N_UNITS, N_GENES))
    for unit in range(N_UNITS):
        differences, parts = [], []
        for block in range(blocks.max() + 1):
            own = np.where(blocks == block, data.labels[unit], -1)
            if len(set(own[own >= 0])) < 2:
                continue
            areas = [roc_auc_score(own[own >= 0], scores[unit][own >= 0]) for scores in (one, other)]
            differences.append(areas[0] - areas[1])
            parts.append(_influence(one[unit], own) - _influence(other[unit], own))
        units.append(np.mean(differences))
        phi[unit] = np.mean(parts, axis=0)
    by_unit = np.var(units, ddof=1) / N_UNITS
    squares = [phi[:, gene].sum() ** 2 for gene in range(N_GENES)]
    carriers = sum(squares) ** 2 / sum(square**2 for square in squares)
    by_gene = sum(squares) / N_UNITS**2 * carriers / (carriers - 1)
    by_pair = (phi**2).sum() / N_UNITS**2
    variance = max(by_unit + by_gene - by_pair, by_unit, by_gene)
    half = stats.t.ppf(0.975, min(N_UNITS, N_GENES) - 1) * np.sqrt(variance)
    assert found.difference == pytest.approx(np.mean(units), abs=1e-12)
    np.testing.assert_allclose(found.two_way, [np.mean(units) - half, np.mean(units) + half], atol=1e-12)
    assert variance > by_unit  # genes that all units share do count


def test_other_metrics_have_a_t_interval_over_units_only() -> None:
    data, rng = _pairs(), np.random.default_rng(2)
    judged = [judge(rng.normal(size=data.labels.shape), data, None, ("auprc",)) for _ in range(2)]
    found = compare(*judged, "auprc", Comparison(0.005, 6, 10, {}))
    differences = judged[0].metrics["auprc"] - judged[1].metrics["auprc"]
    expected = stats.ttest_1samp(differences, 0).confidence_interval()
    np.testing.assert_allclose(found.interval, expected, atol=1e-12)
    assert np.isnan(found.two_way).all()


def test_stratum_is_compared_over_its_units() -> None:
    data, rng = _pairs(), np.random.default_rng(3)
    judged = [judge(rng.normal(size=data.labels.shape), data, None, ("auroc",)) for _ in range(2)]
    some = np.arange(N_UNITS) < 8
    found = compare(*judged, "auroc", Comparison(0.005, 6, 10, {}), some)
    differences = (judged[0].metrics["auroc"] - judged[1].metrics["auroc"])[some]
    assert (found.n_units, found.difference) == (8, pytest.approx(differences.mean()))


def test_every_fold_of_every_split_has_both_learners() -> None:
    design = Design(_pairs(), ("perturbation", "gene", "joint"), ("logistic", "gbdt"), ("auroc",))
    assert len(design.tasks) == 2 * (5 + 5 + 25)
    assert design.n_tasks(with_edge=True) == 70 + 5
    assert design.n_tasks(with_edge=False) == 70 + 10
    assert design.detector == ("perturbation", "logistic")
    assert Design(_pairs(), ("gene",), ("gbdt",), ("auroc",)).detector == ("gene", "gbdt")
