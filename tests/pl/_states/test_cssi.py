from __future__ import annotations

import numpy as np
import pytest

import scepsis as sps


@pytest.mark.parametrize("aggregation", ["max", "deviation"])
def test_cells_hold_the_weights_of_the_states(aggregation: str) -> None:
    adata = sps.datasets.simulate_cssi(n_states=4, rng=1)
    adata.obs["cell_state"] = adata.obs["cell_state"].cat.rename_categories({"state1": "T/B"})
    sps.tl.cssi(adata, groupby="cell_state", aggregation=aggregation)
    before = adata.copy()
    ax = sps.pl.cssi(adata, top=7)
    assert adata.uns["cssi"].keys() == before.uns["cssi"].keys()
    table = sps.get.edges(adata, "cssi")
    first = table[table["source"].str.startswith("TF") & table["target"].str.startswith("TARGET")].iloc[0]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert rows[0] == f"{first['source']} – {first['target']}"
    assert len(rows) == len(set(rows)) == 7
    states = ["T/B (100)", "state2 (100)", "state3 (100)", "state4 (100)"]
    assert columns == states + (["all cells"] if aggregation == "deviation" else [])
    picture = ax.images[0].get_array()
    for row, label in enumerate(rows):
        source, target = label.split(" – ")
        slugs = ["T_B", "state2", "state3", "state4"] + (["pooled"] if aggregation == "deviation" else [])
        expected = [sps.get.edge_matrix(adata, f"cssi_{slug}").loc[source, target] for slug in slugs]
        np.testing.assert_allclose(picture[row], expected, atol=1e-6)
    dots = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert [int(x) for x, _ in dots] == np.abs(picture[:, :4]).argmax(axis=1).tolist()


def test_one_source_and_what_was_not_evaluated() -> None:
    adata = sps.datasets.simulate_cssi(n_states=3, rng=1)
    values = adata.X.copy()
    values[(adata.obs["cell_state"] == "state2").to_numpy(), 0] = 1.0
    adata.X = values
    sps.tl.cssi(adata, groupby="cell_state", candidates=["TF1"])
    ax = sps.pl.cssi(adata, source="TF1", top=5)
    assert all(label.get_text().startswith("TF1 → ") for label in ax.get_yticklabels())
    assert np.ma.getmaskarray(ax.images[0].get_array())[:, 1].all()
    with pytest.raises(KeyError, match="TF2"):
        sps.pl.cssi(adata, source="TF2")


def test_without_a_result() -> None:
    adata = sps.datasets.simulate_cssi(n_states=3, rng=1)
    with pytest.raises(KeyError, match=r"tl\.cssi"):
        sps.pl.cssi(adata)
    with pytest.raises(ValueError, match="top"):
        sps.pl.cssi(adata, top=0)
