from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

    import anndata as ad


@pytest.fixture
def values(screen: ad.AnnData) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    values[5] = np.nan
    screen.varp["mine"] = values
    return values


def _slow(values: np.ndarray, *, absolute: bool) -> list[tuple[str, str, float]]:
    rows = [
        (f"G{i}", f"G{j}", values[i, j]) for i in range(60) for j in range(60) if i != j and not np.isnan(values[i, j])
    ]
    return sorted(rows, key=lambda row: -(abs(row[2]) if absolute else row[2]))


@pytest.mark.parametrize("absolute", [True, False])
def test_the_strongest_come_first(screen: ad.AnnData, values: np.ndarray, *, absolute: bool) -> None:
    screen.uns["mine"] = {"params": {"signed": absolute, "cells_hash": "", "genes_hash": ""}, "edges_keys": ["mine"]}
    table = sps.get.edges(screen, "mine")
    assert list(table.columns) == ["source", "target", "weight"]
    assert list(table.itertuples(index=False, name=None)) == _slow(values, absolute=absolute)
    pd.testing.assert_frame_equal(sps.get.edges(screen, "mine", top=7), table[:7])
    assert len(sps.get.edges(screen, "mine", top=10**6)) == len(table) == 59 * 59


def test_ties_stand_in_the_order_of_genes(screen: ad.AnnData) -> None:
    screen.varp["mine"] = np.ones((60, 60))
    table = sps.get.edges(screen, "mine", top=60)
    assert table["source"].tolist() == ["G0"] * 59 + ["G1"]
    assert table["target"].tolist() == [*[f"G{j}" for j in range(1, 60)], "G0"]


def test_a_table_goes_out_and_comes_in_unchanged(screen: ad.AnnData, values: np.ndarray) -> None:
    sps.pp.add_edges(screen, sps.get.edges(screen, "mine"), key_added="again")
    expected = values.copy()
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_array_equal(screen.varp["again"], expected)


@pytest.mark.usefixtures("values")
def test_wrong_numbers_are_refused(screen: ad.AnnData) -> None:
    for wrong in (0, -1, True):
        with pytest.raises(ValueError, match="`top`"):
            sps.get.edges(screen, "mine", top=wrong)
    with pytest.raises(KeyError, match="'yours'"):
        sps.get.edges(screen, "yours")


def test_networks_of_groups(screen: ad.AnnData) -> None:
    screen.obs["state"] = np.repeat(["T/B", "all of it"], [150, 130])
    sps.tl.cssi(screen, groupby="state")
    one = sps.get.edges(screen, "cssi", group="T/B", top=5)
    assert list(one.columns) == ["source", "target", "weight", "group"]
    strengths = np.sort(np.abs(screen.varp["cssi_T_B"][~np.eye(60, dtype=bool)]))[::-1]
    np.testing.assert_array_equal(np.abs(one["weight"]), strengths[:5])
    both = sps.get.edges(screen, "cssi", group="all")
    assert both["group"].value_counts().to_dict() == {"T/B": 60 * 59, "all of it": 60 * 59}
    listed = sps.get.edges(screen, "cssi", group=["all of it", "T/B"], top=2)
    assert listed["group"].tolist() == ["all of it"] * 2 + ["T/B"] * 2
    with pytest.raises(ValueError, match=r"'B'.*'T/B', 'all of it'"):
        sps.get.edges(screen, "cssi", group="B")
    sps.tl.correlation_edges(screen)
    with pytest.raises(KeyError, match="'strata'"):
        sps.get.edges(screen, "spearman", group="T/B")


def test_the_table_goes_through_networkx_to_a_file(screen: ad.AnnData, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    screen.obs["state"] = np.repeat(["a", "β"], [150, 130])
    sps.tl.cssi(screen, groupby="state")
    table = sps.get.edges(screen, "cssi", group="all", top=20)
    graph = networkx.from_pandas_edgelist(table, edge_attr=True, create_using=networkx.MultiDiGraph)
    networkx.write_graphml(graph, tmp_path / "states.graphml")
    back = networkx.read_graphml(tmp_path / "states.graphml", force_multigraph=True)
    found = {(a, b, data["group"], round(data["weight"], 5)) for a, b, data in back.edges(data=True)}
    assert found == {(row.source, row.target, row.group, round(row.weight, 5)) for row in table.itertuples()}
