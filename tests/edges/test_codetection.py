from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scepsis.edges._codetection import codetection_lift


@pytest.mark.parametrize("n_blocks", [1, 4])
def test_lift_is_counted_cell_by_cell(n_blocks: int) -> None:
    counts = np.random.default_rng(0).poisson(0.6, size=(40, 9))
    counts[:, 4] = 0
    sources, targets = np.array([0, 4, 8]), np.array([1, 0, 4, 7])
    blocks = [sparse.csr_matrix(block) for block in np.array_split(counts, n_blocks)]
    found = codetection_lift(blocks, sources, targets)
    for row, i in enumerate(sources):
        for column, j in enumerate(targets):
            both = sum(1 for cell in counts if cell[i] > 0 and cell[j] > 0)
            one, other = (sum(1 for cell in counts if cell[gene] > 0) for gene in (i, j))
            expected = 40 * both / (one * other) if one and other else np.nan
            assert found[row, column] == pytest.approx(expected, nan_ok=True)
