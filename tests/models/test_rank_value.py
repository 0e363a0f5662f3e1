from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scepsis.models._rank_value import rank_value_encode


def by_the_book(counts: np.ndarray, tokens: np.ndarray, medians: np.ndarray, max_tokens: int) -> list[list[int]]:
    """The published encoding, one cell and one gene at a time, with cell totals and the factor of 10,000."""
    cells = []
    for row in counts:
        total = row.sum()
        summed: dict[int, float] = {}
        for gene, token in enumerate(tokens):
            if token >= 0 and row[gene] > 0:
                summed[token] = summed.get(token, 0) + row[gene]
        value = {token: count / total * 10_000 / medians[token] for token, count in summed.items()}
        ranked = sorted(value, key=lambda token: (-round(value[token], 9), token))
        cells.append(ranked[:max_tokens])
    return cells


@pytest.fixture
def counts() -> np.ndarray:
    rng = np.random.default_rng(3)
    result = rng.poisson(rng.gamma(0.5, 3, (40, 25)))
    result[7] = 0
    return result


def test_order_equals_an_independent_encoding(counts: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    tokens = rng.permutation(np.r_[np.arange(2, 22), [-1] * 5])
    medians = rng.uniform(0.3, 4, 30)
    encoded = rank_value_encode(sparse.csr_matrix(counts), tokens, medians, 12)
    assert [cell.tolist() for cell in encoded] == by_the_book(counts, tokens, medians, 12)
    assert max(map(len, encoded)) == 12, "some cells are long enough to be cut"


def test_ties_do_not_depend_on_the_order_of_genes(counts: np.ndarray) -> None:
    tokens = np.arange(25) + 4
    medians = np.ones(29)
    order = np.random.default_rng(0).permutation(25)
    plain = rank_value_encode(sparse.csr_matrix(counts), tokens, medians, 25)
    shuffled = rank_value_encode(sparse.csr_matrix(counts[:, order]), tokens[order], medians, 25)
    for one, other, row in zip(plain, shuffled, counts, strict=True):
        np.testing.assert_array_equal(one, other)
        values = row[one - 4]
        tied = np.diff(values) == 0
        assert (np.diff(one)[tied] > 0).all()


def test_order_does_not_depend_on_depth(counts: np.ndarray) -> None:
    tokens = np.arange(25)
    medians = np.random.default_rng(1).uniform(0.5, 2, 25)
    once = rank_value_encode(sparse.csr_matrix(counts), tokens, medians, 25)
    thrice = rank_value_encode(sparse.csr_matrix(3 * counts), tokens, medians, 25)
    for one, other in zip(once, thrice, strict=True):
        np.testing.assert_array_equal(one, other)


def test_genes_that_share_a_token_are_summed(counts: np.ndarray) -> None:
    tokens = np.arange(25)
    tokens[[3, 9]] = 5
    medians = np.random.default_rng(1).uniform(0.5, 2, 25)
    merged = counts.copy()
    merged[:, 5] += merged[:, 3] + merged[:, 9]
    merged[:, [3, 9]] = 0
    collapsed = rank_value_encode(sparse.csr_matrix(counts), tokens, medians, 25)
    by_hand = rank_value_encode(sparse.csr_matrix(merged), np.arange(25), medians, 25)
    for one, other in zip(collapsed, by_hand, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cells_without_genes_and_stored_zeros_are_empty() -> None:
    counts = sparse.csr_matrix((np.array([0.0, 2.0]), np.array([0, 1]), np.array([0, 1, 2, 2])), shape=(3, 2))
    encoded = rank_value_encode(counts, np.array([7, 8]), np.ones(9), 5)
    assert [cell.tolist() for cell in encoded] == [[], [8], []]
