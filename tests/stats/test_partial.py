from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from scepsis.stats._pair_space import PairSpace
from scepsis.stats._partial import Given, balanced_sample, normal_scores, pair_covariates, partial_correlations


def dyads(n_genes: int) -> PairSpace:
    return PairSpace.of(np.triu(np.ones((n_genes, n_genes), dtype=bool), 1), dyadic=True)


def one(scores: np.ndarray, member: np.ndarray, covariates: np.ndarray, space: PairSpace, max_df: int = 999):
    (found,) = partial_correlations(scores[:, None], Given.of(member, covariates), space, max_df=max_df)
    return found


def test_with_one_covariate_it_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    space = dyads(20)
    similarity = rng.normal(size=space.n)
    member = rng.random(space.n) < norm.cdf(similarity)
    scores = similarity + 0.4 * member + rng.normal(size=space.n)
    am, a_s, ms = (
        np.corrcoef(first, second)[0, 1]
        for first, second in ((scores, member), (scores, similarity), (member, similarity))
    )
    expected = (am - a_s * ms) / np.sqrt((1 - a_s**2) * (1 - ms**2))
    assert one(scores, member, similarity[:, None], space).r == pytest.approx(expected)
    assert one(scores, member, np.zeros((space.n, 0)), space).r == pytest.approx(am)


def test_the_paper_s_p_value_takes_pairs_as_independent() -> None:
    """r = .353 over 175 listed pairs and as many others was given p = 1.1e-11."""
    rng = np.random.default_rng(1)
    space = PairSpace.of(np.ones((2, 175), dtype=bool), dyadic=False)
    member = np.arange(350) < 175
    centred = member - 0.5
    noise = rng.normal(size=350)
    noise -= noise.mean() + centred * (noise @ centred) / (centred @ centred)
    noise /= np.linalg.norm(noise)
    scores = 0.353 * centred / np.linalg.norm(centred) + np.sqrt(1 - 0.353**2) * noise
    found = one(scores, member, np.zeros((350, 0)), space)
    assert found.r == pytest.approx(0.353)
    assert found.p_pairs == pytest.approx(1.1e-11, rel=0.06)


def test_clustered_error_is_that_of_a_loop_over_pairs_that_share_a_gene() -> None:
    rng = np.random.default_rng(2)
    n_genes = 9
    space = dyads(n_genes)
    covariate = rng.normal(size=space.n)
    effect = rng.normal(size=n_genes)
    member = rng.random(space.n) < 0.5
    scores = effect[space.row] + effect[space.column] + rng.normal(size=space.n)
    design = np.stack([np.ones(space.n), covariate], axis=1)

    def left(values: np.ndarray) -> np.ndarray:
        return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]

    m, y = left(member.astype(float)), left(scores)
    slope = (m @ y) / (m @ m)
    terms = m * (y - slope * m) / (m @ m)
    genes = np.stack([space.row, space.column], axis=1)
    sums = np.array([terms[(genes == gene).any(axis=1)].sum() for gene in range(n_genes)])
    carriers = max((sums**2).sum() ** 2 / (sums**4).sum(), 2)
    variance = carriers / (carriers - 1) * (sums**2).sum() - (terms**2).sum()
    variance = max(variance, (terms**2).sum()) * space.n / (space.n - 3)
    expected = np.sqrt(variance * (m @ m) / (y @ y))
    assert one(scores, member, covariate[:, None], space).standard_error == pytest.approx(expected)


def confounded(seed: int, signal: float, *, tail: bool) -> tuple[float, float]:
    """
    Give p of a score that is the sum of both genes' heights (and of a pair signal): given nothing, and given genes.

    Highly expressed genes are listed with each other the more the higher they are, or, with `tail`, alone.
    """
    rng = np.random.default_rng(seed)
    n_genes = 80
    space = dyads(n_genes)
    height = rng.normal(size=n_genes)
    odds = height[space.row] + height[space.column]
    listed = rng.random(space.n) < 0.1 * np.exp(odds) / (1 + 0.1 * np.exp(odds))
    if tail:
        high = height > np.quantile(height, 0.75)
        listed = high[space.row] & high[space.column] & (rng.random(space.n) < 0.7)
    rank = rankdata(height) / n_genes
    known = 5 * (rank[space.row] + rank[space.column]) if tail else 1.5 * odds
    scores = np.exp(known + signal * listed + rng.normal(size=space.n))
    features = np.stack([np.exp(height), np.exp(height + 0.3 * rng.normal(size=n_genes))], axis=1)
    sample = balanced_sample(listed, 5000, rng)
    space = PairSpace(space.row[sample], space.column[sample], space.shape, dyadic=True)
    genes = pair_covariates(features, space.row, space.column, dyadic=True)
    both = (np.zeros((space.n, 0)), genes)
    plain, given = (one(normal_scores(scores[sample]), listed[sample], some, space, n_genes - 1) for some in both)
    return plain.p_value, given.p_value


@pytest.mark.parametrize("tail", [False, True])
def test_a_pure_gene_level_confound_fails_and_a_pair_signal_passes(tail: bool) -> None:
    null = np.array([confounded(seed, 0.0, tail=tail) for seed in range(40)])
    assert (null[:, 0] < 0.001).mean() > 0.9  # looks like knowledge of pairs
    assert (null[:, 1] < 0.05).sum() <= 6  # and is none; at 5 % seven or more are as rare as 1 in 300
    real = np.array([confounded(seed, 2.5, tail=tail) for seed in range(8)])
    assert np.median(real[:, 1]) < 1e-3
    assert (real[:, 1] < 0.05).all()


def test_covariates_of_a_direction_tell_the_two_genes_apart() -> None:
    """A function of the first gene alone is explained where pairs have a direction, and not where they have none."""
    rng = np.random.default_rng(0)
    space = PairSpace.of(~np.eye(30, dtype=bool), dyadic=False)
    feature = rng.normal(size=(30, 1))
    scores = feature[space.row, 0] + 1e-3 * rng.normal(size=space.n)
    member = rng.random(space.n) < 1 / (1 + np.exp(-2 * feature[space.row, 0]))
    r = [
        one(normal_scores(scores), member, pair_covariates(feature, space.row, space.column, dyadic=dyadic), space).r
        for dyadic in (False, True)
    ]
    assert abs(r[0]) < 0.1
    assert r[1] > 0.3


def test_what_covariates_explain_entirely_has_no_correlation() -> None:
    space = dyads(12)
    rng = np.random.default_rng(3)
    covariates = rng.normal(size=(space.n, 2))
    member = rng.random(space.n) < 0.3
    doubled = np.concatenate([covariates, covariates @ [[1.0], [2.0]], np.ones((space.n, 1))], axis=1)
    assert np.isnan(one(covariates @ [3.0, -1.0], member, doubled, space).r)
    noise = rng.normal(size=space.n)
    assert one(noise, member, doubled, space).r == pytest.approx(one(noise, member, covariates, space).r)
    assert np.isnan(one(noise, covariates[:, 0], covariates, space).r)


def test_sample_is_balanced_and_scores_are_normal() -> None:
    rng = np.random.default_rng(4)
    listed = rng.random(500) < 0.1
    sample = balanced_sample(listed, 30, rng)
    assert listed[sample].sum() == 30
    assert len(np.unique(sample)) == 60
    assert listed[balanced_sample(listed, 1000, rng)].sum() == listed.sum()
    values = np.round(rng.normal(size=(50, 1)), 1)
    np.testing.assert_allclose(normal_scores(values)[:, 0], norm.ppf(rankdata(values[:, 0]) / 51))
