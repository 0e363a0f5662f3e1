from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from scepsis.stats._overlap import fisher_overlap, permuted_hits
from scepsis.stats._pair_space import PairSpace


@pytest.mark.parametrize(("top", "hits", "n_pos", "n"), [(20, 6, 40, 500), (10, 0, 12, 90), (30, 30, 30, 60)])
def test_tails_and_odds_are_those_of_scipy(top: int, hits: int, n_pos: int, n: int) -> None:
    table = [[hits, top - hits], [n_pos - hits, n - n_pos - top + hits]]
    found = fisher_overlap(top, hits, n_pos, n)
    assert found.p_greater == pytest.approx(fisher_exact(table, "greater").pvalue)
    assert found.p_less == pytest.approx(fisher_exact(table, "less").pvalue)
    assert found.odds_ratio == pytest.approx(fisher_exact(table).statistic)
    assert found.expected == pytest.approx(top * n_pos / n)


@pytest.mark.parametrize("dyadic", [True, False])
def test_permuted_genes_are_counted_as_by_hand(dyadic: bool) -> None:
    rng = np.random.default_rng(0)
    shape = (12, 12) if dyadic else (5, 12)
    listed = rng.random(shape) < 0.3
    listed = np.triu(listed, 1) | np.triu(listed, 1).T if dyadic else listed
    valid = np.triu(np.ones(shape, dtype=bool), 1) if dyadic else np.ones(shape, dtype=bool)
    space = PairSpace.of(valid, dyadic=dyadic)
    tops = [np.arange(7), np.arange(20, 45)]
    found = permuted_hits(listed, space, tops, 6, np.random.default_rng(3))
    generator = np.random.default_rng(3)
    for hits in found:
        rows = generator.permutation(shape[0])
        columns = rows if dyadic else generator.permutation(shape[1])
        expected = [sum(listed[rows[space.row[pair]], columns[space.column[pair]]] for pair in top) for top in tops]
        assert hits.tolist() == expected
