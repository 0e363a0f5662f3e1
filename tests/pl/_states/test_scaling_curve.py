from __future__ import annotations

import numpy as np
import pytest

import scepsis as sps


@pytest.mark.parametrize("composition", ["random", "varied"])
def test_curves_are_the_table(composition: str) -> None:
    adata = sps.datasets.simulate_cssi(n_states=4, rng=1)
    network = adata.uns["simulate_cssi"]["network"]
    sps.tl.scaling_curve(
        adata, reference=network, n_cells=[80, 200, 400], n_seeds=3, min_targets=1, composition=composition,
        groupby="cell_state", show_progress_bar=False,
    )  # fmt: skip
    ax = sps.pl.scaling_curve(adata)
    table = adata.uns["scaling_curve"]["curve"]
    lines = {line.get_label(): line for line in ax.lines}
    column = "n_cells" if composition == "random" else "n_types"
    mean = table[table["metric"] == "auroc"].groupby(column)["value"].mean()
    np.testing.assert_allclose(lines["AUROC"].get_ydata(), mean)
    np.testing.assert_allclose(lines["AUROC"].get_xdata(), mean.index)
    part = table[(table["metric"] == "top_k") & (table["k"] == 14)]
    np.testing.assert_allclose(lines["F1 of the top 14"].get_ydata(), part.groupby(column)["value"].mean())
    assert ax.get_xlabel() == ("cells" if composition == "random" else "types of cells")


def test_without_a_result() -> None:
    with pytest.raises(KeyError, match=r"tl\.scaling_curve"):
        sps.pl.scaling_curve(sps.datasets.simulate_cssi(n_states=2, rng=1))
