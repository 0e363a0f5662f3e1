from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from scepsis.stats._influence import ClusterSums, two_way_variance
from scepsis.stats._intervals import t_interval
from scepsis.stats._order import Order, Ranked


def _sums(influence: np.ndarray, valid: np.ndarray, *, blocks: int = 1) -> ClusterSums:
    sums = ClusterSums.zeros(influence.shape[1])
    for rows in np.array_split(np.arange(len(influence)), blocks):
        sums.add(influence[rows], valid[rows].any(axis=0))
    return sums


def test_variance_is_the_three_sums_of_cameron_gelbach_and_miller() -> None:
    rng = np.random.default_rng(0)
    influence, units = rng.normal(size=(7, 30)) + rng.normal(size=30), rng.random(7)
    valid = np.ones_like(influence, dtype=bool)
    valid[:, :4] = influence[:, :4] = 0
    by_unit = sum((unit - units.mean()) ** 2 for unit in units) / 6 / 7
    squares = [influence[:, t].sum() ** 2 for t in range(30)]
    carriers = sum(squares) ** 2 / sum(square**2 for square in squares)
    by_gene = sum(squares) / 49 * carriers / (carriers - 1)
    by_pair = sum(influence[g, t] ** 2 for g in range(7) for t in range(30)) / 49
    variance, df = two_way_variance(units, _sums(influence, valid))
    assert variance == pytest.approx(max(by_unit + by_gene - by_pair, by_unit, by_gene), rel=1e-12)
    assert df == 6


def test_genes_that_carry_alike_count_whole_and_few_that_carry_count_alone() -> None:
    """The usual correction G/(G-1) over the genes that differ from 0; at most doubled, as for two."""
    units = np.zeros(6)
    for heavy in (1, 2, 5, 40):
        influence = np.zeros((6, 40))
        influence[:, :heavy] = 0.5
        variance, df = two_way_variance(units, _sums(influence, influence < np.inf))
        heavy_or_two = max(heavy, 2)
        by_gene, by_pair = heavy * 9 / 36 * heavy_or_two / (heavy_or_two - 1), heavy * 6 * 0.25 / 36
        assert variance == pytest.approx(max(by_gene - by_pair, by_gene), rel=1e-12)
        assert df == 5


def test_variance_is_never_below_that_of_one_way() -> None:
    rng = np.random.default_rng(1)
    influence = rng.normal(size=(20, 40))
    influence -= influence.mean(axis=0)  # genes cancel out: the sum of the three falls short
    units = rng.normal(size=20)
    variance, _ = two_way_variance(units, _sums(influence, influence < np.inf))
    assert variance == pytest.approx(units.var(ddof=1) / 20, rel=1e-12)


def test_sums_of_blocks_add_up() -> None:
    rng = np.random.default_rng(2)
    influence = rng.normal(size=(11, 9))
    valid = influence < 1
    one, many = _sums(influence, valid), _sums(influence, valid, blocks=4)
    np.testing.assert_allclose(one.by_gene, many.by_gene)
    np.testing.assert_array_equal(one.took_part, many.took_part)
    assert one.of_pairs == pytest.approx(many.of_pairs)
    assert one.n_units == many.n_units == 11


def test_too_few_clusters_have_no_variance() -> None:
    influence = np.zeros((1, 5))
    variance, df = two_way_variance(np.array([0.3]), _sums(influence, influence == 0))
    assert np.isnan(variance)
    assert df == 0


def test_interval_covers_when_genes_are_shared_and_that_over_perturbations_does_not() -> None:
    """
    Planted truth: a positive scores normal with mean 0.5 + a perturbation's own shift, plus an effect of its gene.

    Responders are the same genes for all perturbations, so that a gene's effect is in every AUROC.
    """
    rng = np.random.default_rng(5)
    n_units, n_genes, n_runs = 12, 80, 250
    shift, gene_sd, unit_sd = 0.5, 1.0, 0.15
    truth = np.mean(norm.cdf((shift + unit_sd * rng.normal(size=200_000)) / np.sqrt(2 * (1 + gene_sd**2))))
    responders = np.arange(n_genes) < 16
    covered = {"two-way": 0, "perturbations": 0}
    for _ in range(n_runs):
        gene = gene_sd * rng.normal(size=n_genes)
        own = shift + unit_sd * rng.normal(size=(n_units, 1))
        scores = rng.normal(size=(n_units, n_genes)) + gene + own * responders
        positive = np.broadcast_to(responders, scores.shape)
        valid = np.ones(scores.shape, dtype=bool)
        ranked = Ranked(Order.of(scores), positive, valid)
        units = ranked.auroc
        variance, df = two_way_variance(units, _sums(ranked.influence(), valid))
        for name, error, freedom in (
            ("two-way", np.sqrt(variance), df),
            ("perturbations", units.std(ddof=1) / np.sqrt(n_units), n_units - 1),
        ):
            interval = t_interval(units.mean(), error, freedom)
            covered[name] += interval.low <= truth <= interval.high
    assert covered["two-way"] / n_runs > 0.90
    assert covered["perturbations"] / n_runs < 0.70


def test_interval_is_not_wasteful_when_pairs_are_independent() -> None:
    rng = np.random.default_rng(6)
    n_units, n_genes, n_runs = 20, 60, 200
    truth = norm.cdf(0.5 / np.sqrt(2))
    covered, ratio = 0, []
    for _ in range(n_runs):
        positive = rng.random((n_units, n_genes)) < 0.25
        scores = rng.normal(size=(n_units, n_genes)) + 0.5 * positive
        valid = np.ones(scores.shape, dtype=bool)
        ranked = Ranked(Order.of(scores), positive, valid)
        units = ranked.auroc
        variance, df = two_way_variance(units, _sums(ranked.influence(), valid))
        interval = t_interval(units.mean(), np.sqrt(variance), df)
        covered += interval.low <= truth <= interval.high
        ratio.append(np.sqrt(variance) / (units.std(ddof=1) / np.sqrt(n_units)))
    assert 0.92 <= covered / n_runs <= 1
    assert np.mean(ratio) < 1.25  # a product-weight bootstrap would give 1.7
