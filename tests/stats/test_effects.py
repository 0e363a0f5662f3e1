from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from scepsis.stats._effects import (
    CallRule,
    Calls,
    Contrasts,
    NullSplit,
    call_responders,
    false_calls,
    null_splits,
    run_contrasts,
)
from scepsis.stats._moments import group_moments

N_CELLS, N_GENES = 900, 120
PERTURBED = [np.arange(0, 60), np.arange(60, 200)]
CONTROL = np.arange(200, N_CELLS)


@pytest.fixture(scope="module")
def values() -> sparse.csr_matrix:
    """Genes from rare to frequent; the first perturbation raises genes 100 to 109 fourfold."""
    rng = np.random.default_rng(0)
    rate = np.tile(np.exp(np.linspace(-5, 1, N_GENES)), (N_CELLS, 1))
    rate[:60, 100:110] *= 4
    return sparse.csr_matrix(np.log1p(rng.poisson(rate) * rng.uniform(2, 3, (N_CELLS, 1))))


def run(values: sparse.csr_matrix, rule: CallRule, splits: list[NullSplit] | None = None) -> list[Calls]:
    contrasts = Contrasts(PERTURBED, CONTROL, splits or [])
    assert len(contrasts) == 2 + len(splits or [])
    blocks = ((rows, values[rows]) for rows in np.array_split(contrasts.cells(N_CELLS), 7))
    return list(run_contrasts(contrasts, blocks, rule, n_cells=N_CELLS, n_genes=N_GENES))


def slow(values: sparse.csr_matrix, cells: np.ndarray, control: np.ndarray, rule: CallRule) -> tuple[np.ndarray, ...]:
    """The definition, gene by gene."""
    x, y = values.toarray()[cells], values.toarray()[control]
    p = np.full(N_GENES, np.nan)
    for gene in range(N_GENES):
        if len(cells) * (y[:, gene] > 0).mean() < rule.min_expected or x[:, gene].std() + y[:, gene].std() == 0:
            continue
        if rule.test == "mannwhitney":
            p[gene] = stats.mannwhitneyu(x[:, gene], y[:, gene], method="asymptotic").pvalue
        else:
            p[gene] = stats.ttest_ind(x[:, gene], y[:, gene], equal_var=rule.test == "student").pvalue
    tested = np.flatnonzero(~np.isnan(p))
    q = np.full(N_GENES, np.nan)
    q[tested] = stats.false_discovery_control(p[tested])
    lfc = np.log2((np.expm1(x.mean(axis=0)) + 1e-9) / (np.expm1(y.mean(axis=0)) + 1e-9))
    target = np.where(np.isnan(q), np.nan, (q < rule.fdr) & (np.abs(lfc) > rule.lfc_threshold))
    return np.where(np.isnan(q), np.nan, lfc), q, target


@pytest.mark.parametrize("min_expected", [0, 5, 20])
@pytest.mark.parametrize("test", ["student", "welch", "mannwhitney"])
def test_calls_are_the_definition_gene_by_gene(values, test, min_expected: float) -> None:
    rule = CallRule(test, min_expected)
    splits = null_splits(len(CONTROL), [60, 140], 2, seed=0)
    found = run(values, rule, splits)
    pairs = [(cells, CONTROL) for cells in PERTURBED]
    pairs += [(CONTROL[split.members], np.delete(CONTROL, split.members)) for split in splits]
    assert len(found) == len(pairs) == 6
    for calls, (cells, control) in zip(found, pairs, strict=True):
        for mine, oracle in zip(calls, slow(values, cells, control, rule), strict=True):
            np.testing.assert_allclose(mine, oracle, rtol=1e-8, atol=1e-12)
    assert found[0].target[100:110].sum() == 10


def test_rare_genes_are_not_testable_and_never_negative(values) -> None:
    strict, all_genes = run(values, CallRule(min_expected=5)), run(values, CallRule(min_expected=0))
    detected = (values[CONTROL].toarray() > 0).mean(axis=0)
    np.testing.assert_array_equal(np.isnan(strict[0].target), 60 * detected < 5)
    np.testing.assert_array_equal(np.isnan(strict[1].target), 140 * detected < 5)
    silent = (values.toarray() == 0).all(axis=0)
    np.testing.assert_array_equal(np.isnan(all_genes[1].target) & silent, silent)


def test_a_gene_without_variance_is_not_testable() -> None:
    cells = sparse.csr_matrix(np.column_stack([np.full(40, 2.5), np.zeros(40), np.r_[np.ones(20), np.full(20, 2.0)]]))
    groups = [np.arange(20), np.arange(20, 40)]
    moments = group_moments([(np.arange(40), cells)], groups, n_cells=40, n_genes=3)
    calls = call_responders(moments[0], moments[1], CallRule(min_expected=0))
    assert all(np.isnan(column).all() for column in calls)


def test_splits_are_of_the_sizes_seeded_and_leave_half() -> None:
    splits = null_splits(200, [30, 50, 50, 500], n_splits=4, seed=3)
    assert [split.n_cells for split in splits] == [30] * 4 + [50] * 4 + [100] * 4
    for split in splits:
        assert len(np.unique(split.members)) == split.n_cells
        assert (np.diff(split.members) > 0).all()
        assert split.members.max() < 200
    again, other = null_splits(200, [30, 50, 50, 500], 4, seed=3), null_splits(200, [30, 50, 50, 500], 4, seed=4)
    assert all(np.array_equal(one.members, two.members) for one, two in zip(splits, again, strict=True))
    assert not all(np.array_equal(one.members, two.members) for one, two in zip(splits, other, strict=True))
    more = null_splits(200, [30], n_splits=9, seed=3)
    assert all(np.array_equal(one.members, two.members) for one, two in zip(splits[:4], more, strict=False))
    assert null_splits(3, [50], 4, seed=0) == []


def test_false_calls_by_hand() -> None:
    nothing = np.zeros(4)
    q = [[0.01, 0.5, 0.5, np.nan], [0.5, 0.5, 0.5, 0.5], [np.nan] * 4, [0.01, 0.02, 0.5, 0.5]]
    calls = [Calls(nothing, np.array(row), nothing) for row in q]
    splits = [NullSplit(size, nothing.astype(int)) for size in (50, 50, 50, 80)]
    small, large = false_calls(splits, calls, fdr=0.05)
    assert small == (50, 2, pytest.approx(1 / 6), 0.5)
    assert large == (80, 1, 0.5, 1.0)
    (unknown,) = false_calls(splits[:1], calls[2:3], fdr=0.05)
    assert unknown.n_splits == 0
    assert np.isnan(unknown.share_of_splits)


def test_student_is_calibrated_on_sparse_counts_and_welch_is_not() -> None:
    """Control against control in one population of sparse counts: every call is false."""
    rng = np.random.default_rng(7)
    rate = np.exp(rng.normal(-2.5, 1.5, 400))
    depth = np.exp(rng.normal(0, 0.4, (1200, 1)))
    control = sparse.csr_matrix(np.log1p(rng.poisson(rate * depth) * 3 / depth))
    cells = np.arange(1200)
    splits = null_splits(1200, [60], 60, seed=0)
    found = {}
    for test, min_expected in (("student", 5), ("welch", 5), ("welch", 0)):
        rule = CallRule(test, min_expected)
        contrasts = Contrasts([], cells, splits)
        calls = run_contrasts(contrasts, [(cells, control)], rule, n_cells=1200, n_genes=400)
        (found[test, min_expected],) = false_calls(splits, calls, 0.05)
    assert found["student", 5].share_of_splits < 0.15
    assert found["student", 5].share_of_splits < found["welch", 5].share_of_splits
    assert found["welch", 0].share_of_splits > 0.9
    assert found["welch", 0].share_of_genes > 0.05
