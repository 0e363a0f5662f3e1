from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from scepsis.stats._influence import ClusterSums, dyadic_variance, pooled_variance, two_way_variance
from scepsis.stats._intervals import t_interval
from scepsis.stats._order import Order, Ranked
from scepsis.stats._win_matrix import WinMatrix


def _sums(influence: np.ndarray, valid: np.ndarray, *, blocks: int = 1) -> ClusterSums:
    sums = ClusterSums.zeros(influence.shape[1])
    for rows in np.array_split(np.arange(len(influence)), blocks):
        sums.add(influence[rows], valid[rows].any(axis=0))
    return sums


def _carriers(sums: list[float]) -> float:
    return max(sum(one**2 for one in sums) ** 2 / sum(one**4 for one in sums), 2.0)


def _corrected(sums: list[float]) -> float:
    """Sum of squares, with the usual correction for as many clusters as carry it."""
    return sum(one**2 for one in sums) * _carriers(sums) / (_carriers(sums) - 1)


def test_variance_is_the_three_sums_of_cameron_gelbach_and_miller() -> None:
    rng = np.random.default_rng(0)
    influence, units = rng.normal(size=(7, 30)) + rng.normal(size=30), rng.random(7)
    valid = np.ones_like(influence, dtype=bool)
    valid[:, :4] = influence[:, :4] = 0
    by_unit = sum((unit - units.mean()) ** 2 for unit in units) / 6 / 7
    by_gene = _corrected([influence[:, t].sum() for t in range(30)]) / 49
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


def _pooled_influence(scores: np.ndarray, positive: np.ndarray, valid: np.ndarray) -> tuple[float, np.ndarray]:
    ranked = Ranked(Order.of(scores.reshape(1, -1)), positive.reshape(1, -1), valid.reshape(1, -1))
    return float(ranked.auroc[0]), ranked.influence().reshape(scores.shape)


def test_pooled_variance_is_the_three_sums() -> None:
    rng = np.random.default_rng(10)
    influence = rng.normal(size=(7, 30)) + rng.normal(size=30) + rng.normal(size=(7, 1))
    valid = np.ones_like(influence, dtype=bool)
    valid[:, :4] = valid[6] = False
    influence[~valid] = 0
    of_units = [influence[u].sum() for u in range(7)]
    by_unit = _corrected(of_units)
    by_gene = _corrected([influence[:, t].sum() for t in range(30)])
    by_pair = sum(value**2 for value in influence.ravel())
    found = pooled_variance(influence, valid)
    assert found.two_way == pytest.approx(max(by_unit + by_gene - by_pair, by_unit, by_gene), rel=1e-12)
    assert found.by_unit == pytest.approx(by_unit, rel=1e-12)
    assert found.df == 5
    assert found.df_unit == pytest.approx(min(5, 2 * (_carriers(of_units) - 1)), rel=1e-12)


def test_variance_by_unit_is_near_that_of_the_jackknife() -> None:
    """Another way to the same variance: leave each unit out."""
    rng = np.random.default_rng(11)
    scores = rng.normal(size=(40, 60)) + rng.normal(size=(40, 1))
    positive = rng.random(scores.shape) < 0.1
    valid = np.ones(scores.shape, dtype=bool)
    _, influence = _pooled_influence(scores, positive, valid)
    matrix = WinMatrix.of(scores.ravel(), positive.ravel(), np.repeat(np.arange(40), 60), 40)
    assert pooled_variance(influence, valid).by_unit == pytest.approx(matrix.jackknife_variance(), rel=0.05)


def test_dyadic_variance_sums_over_couples_of_pairs_that_share_a_gene() -> None:
    rng = np.random.default_rng(12)
    influence = np.triu(rng.normal(size=(8, 8)) + rng.normal(size=8), 1)
    places = list(zip(*np.triu_indices(8, 1), strict=True))
    # couples sharing exactly one gene, and each pair with itself, the first with the correction for few clusters
    total = sum(influence[a] * influence[b] * len({*a} & {*b}) for a in places for b in places)
    own = sum(influence[a] ** 2 for a in places)
    of_genes = [influence[g].sum() + influence[:, g].sum() for g in range(8)]
    assert total == pytest.approx(sum(one**2 for one in of_genes), rel=1e-12)
    found = dyadic_variance(influence, influence != 0)
    assert found.two_way == pytest.approx(_corrected(of_genes) - own, rel=1e-12)
    assert found.df == 7


@pytest.mark.parametrize("valid", [np.eye(1, 5, dtype=bool), np.zeros((3, 5), dtype=bool), np.ones((3, 1), dtype=bool)])
def test_too_few_clusters_have_no_pooled_variance(valid: np.ndarray) -> None:
    assert np.isnan(pooled_variance(np.zeros(valid.shape), valid).two_way)


def test_pooled_interval_covers_crossed_effects_and_that_of_pairs_does_not() -> None:
    """
    Planted truth: normal scores with an effect of the unit and one of the gene, positives 0.6 higher on average.

    The number of positives differs by unit and by gene, as in networks.
    """
    rng = np.random.default_rng(13)
    n_units, n_genes, n_runs = 20, 80, 250
    truth = norm.cdf(0.6 / np.sqrt(2 * 2.09))
    covered = {"two-way": 0, "pairs": 0}
    for _ in range(n_runs):
        chance = rng.beta(0.2, 0.8, size=n_genes) * rng.uniform(0.4, 1.0, size=(n_units, 1))
        positive = rng.random((n_units, n_genes)) < chance
        scores = rng.normal(size=positive.shape) + 0.3 * rng.normal(size=(n_units, 1)) + rng.normal(size=n_genes)
        area, influence = _pooled_influence(scores + 0.6 * positive, positive, positive | True)
        variance = pooled_variance(influence, positive | True)
        for name, error in (("two-way", variance.two_way), ("pairs", float(np.vdot(influence, influence)))):
            interval = t_interval(area, np.sqrt(error), variance.df)
            covered[name] += interval.low <= truth <= interval.high
    assert covered["two-way"] / n_runs > 0.91
    assert covered["pairs"] / n_runs < 0.8
