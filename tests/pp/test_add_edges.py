from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Untouched = Callable[[ad.AnnData], Any]

NAMES = [f"G{index}" for index in range(60)]


def _full(names: list[str] = NAMES, seed: int = 0) -> pd.DataFrame:
    pairs = [(source, target) for source in names for target in names if source != target]
    frame = pd.DataFrame(pairs, columns=["source", "target"])
    return frame.assign(weight=np.random.default_rng(seed).random(len(frame)) + 0.01)


def _network() -> pd.DataFrame:
    return pd.DataFrame({"source": ["G3", "G3", "G9"], "target": ["G4", "G5", "G3"]})


def test_a_full_table_comes_back_as_it_was(screen: ad.AnnData) -> None:
    frame = _full().sample(frac=1, random_state=1)
    sps.pp.add_edges(screen, frame, key_added="theirs")
    assert isinstance(screen.varp["theirs"], np.ndarray)
    assert screen.varp["theirs"].dtype == np.float32
    assert np.isnan(np.diagonal(screen.varp["theirs"])).all()
    back = sps.get.edges(screen, "theirs").set_index(["source", "target"])["weight"]
    expected = frame.set_index(["source", "target"])["weight"].astype(np.float32)
    pd.testing.assert_series_equal(back.sort_index(), expected.sort_index())
    params = screen.uns["theirs"]["params"]
    assert (params["signed"], params["truncated"], params["density"]) == (False, False, 1)
    assert (params["scale"], params["layer_rule"], params["cells_hash"]) == ("weight", "single", "")
    assert list(screen.uns["theirs"]["edges_keys"]) == ["theirs"]


def test_a_table_of_few_genes_is_stored_sparse(screen: ad.AnnData) -> None:
    frame = _full(NAMES[10:20])
    frame.loc[3, "weight"] = 0.0
    sps.pp.add_edges(screen, frame, key_added="few")
    assert isinstance(screen.varp["few"], sparse.csr_matrix)
    assert screen.varp["few"].nnz == 90  # the evaluated zero is one of them
    matrix = sps.get.edge_matrix(screen, "few")
    assert list(matrix.index) == NAMES[10:20]
    for row in frame.itertuples():
        assert matrix.loc[row.source, row.target] == np.float32(row.weight)


def test_signs_are_found_or_given(screen: ad.AnnData) -> None:
    frame = _full(NAMES[:10])
    frame["weight"] -= 0.5
    sps.pp.add_edges(screen, frame, key_added="a")
    sps.pp.add_edges(screen, frame, key_added="b", signed=False)
    sps.pp.add_edges(screen, frame.assign(weight=frame["weight"] + 2), key_added="c", signed=True)
    assert [screen.uns[key]["params"]["signed"] for key in "abc"] == [True, False, True]


def test_a_network_of_known_edges_needs_to_say_what_is_not_listed(screen: ad.AnnData) -> None:
    screen.var["edge_panel"] = np.arange(60) < 30
    sps.pp.add_edges(screen, _network(), key_added="known", fill_value=0)
    matrix = sps.get.edge_matrix(screen, "known")
    assert list(matrix.index) == NAMES[:30]
    # rows of the two listed sources are filled over the panel; nothing else was evaluated
    assert matrix.notna().any(axis=1).to_numpy().nonzero()[0].tolist() == [3, 9]
    assert matrix.loc["G3"].drop("G3").notna().all()
    assert matrix.loc["G3"].sum() == 2
    assert matrix.loc["G9", "G3"] == 1
    assert matrix.loc["G9"].sum() == 1
    params = screen.uns["known"]["params"]
    assert (params["scale"], params["fill_value"], params["truncated"]) == ("listed", 0, False)
    with pytest.warns(UserWarning, match=r"nothing can be ranked. Pass `fill_value=0`"):
        sps.pp.add_edges(screen, _network(), key_added="known")
    assert sps.get.edges(screen, "known")["weight"].tolist() == [1, 1, 1]


def test_listed_pairs_outside_the_panel_are_kept(screen: ad.AnnData) -> None:
    screen.var["edge_panel"] = np.arange(60) < 8
    sps.pp.add_edges(screen, _network(), key_added="known", fill_value=0)
    matrix = sps.get.edge_matrix(screen, "known")
    assert list(matrix.index) == [*NAMES[:8], "G9"]
    assert matrix.loc["G9", "G3"] == 1
    assert np.isnan(matrix.loc["G3", "G9"])
    sps.pp.add_edges(screen, _network(), key_added="wide", fill_value=0, mask_var=np.ones(60, dtype=bool))
    assert sps.get.edge_matrix(screen, "wide").loc["G3"].notna().sum() == 59


def test_cut_tables_are_named_and_recorded(screen: ad.AnnData) -> None:
    cut = _full().sort_values("weight", ascending=False).groupby("source").head(10)
    with pytest.warns(UserWarning, match=r"`frame` looks truncated.*every source has 10 of 60 targets"):
        sps.pp.add_edges(screen, cut, key_added="cut")
    assert screen.uns["cut"]["params"]["truncated"] is True
    assert screen.uns["cut"]["params"]["density"] == pytest.approx(10 / 59)
    with pytest.warns(UserWarning, match="looks truncated"):
        sps.pp.add_edges(screen, cut, key_added="filled", fill_value=0)
    assert screen.uns["filled"]["params"]["truncated"] is True


def test_symbols_and_what_is_not_there(screen: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    frame = _full([*screen.var["ensembl_id"][:6], "ENSGX"])
    with caplog.at_level(logging.WARNING):
        sps.pp.add_edges(screen, frame, key_added="theirs", gene_symbols="ensembl_id")
    assert list(sps.get.edge_matrix(screen, "theirs").index) == NAMES[:6]
    assert "'ENSGX'" in caplog.text
    params = screen.uns["theirs"]["params"]
    assert (params["n_unmapped"], params["unmapped"], params["gene_symbols"]) == (1, "ENSGX", "ensembl_id")
    assert (params["n_rows"], params["n_edges"]) == (42, 30)


def test_a_second_table_takes_the_place_of_the_first(screen: ad.AnnData) -> None:
    screen.varp["k_L1"] = np.zeros((60, 60))
    screen.varp["k_n_cells"] = np.zeros((60, 60), dtype=np.int32)
    screen.var["k_position"] = 1.0
    screen.uns["k"] = {"params": {"cells_hash": "x"}, "edges_keys": ["k", "k_L1"]}
    sps.pp.add_edges(screen, _full(), key_added="k")
    assert set(screen.varp) == {"k"}
    assert "k_position" not in screen.var
    assert screen.uns["k"]["params"]["method"] == "frame"


def test_wrong_input_is_refused(screen: ad.AnnData, untouched: Untouched) -> None:
    frame = _full(NAMES[:6])

    def refused(error: type[Exception], message: str, table: pd.DataFrame = frame, **options: Any) -> None:
        with untouched(screen), pytest.raises(error, match=message):
            sps.pp.add_edges(screen, table, **({"key_added": "k"} | options))

    refused(KeyError, "lacks 'source', 'target'", frame.rename(columns={"source": "TF", "target": "gene"}))
    refused(ValueError, r"more than once: 'G0 -> G1'", pd.concat([frame, frame[:1]]))
    refused(TypeError, "must be numeric", frame.assign(weight="high"))
    refused(ValueError, "infinite", frame.assign(weight=np.inf))
    refused(ValueError, r"tells 2 networks apart \('a', 'b'\)", frame.assign(group=["a", "b"] * 15))
    refused(ValueError, r"two namespaces.*gene_symbols='ensembl_id'", _full(list(screen.var["ensembl_id"][:4])))
    refused(ValueError, "translate one of the two", _full(["X", "Y"]))
    refused(KeyError, "'symbol'", gene_symbols="symbol")
    refused(ValueError, "without '/'", key_added="a/b")
    refused(ValueError, "key_added", key_added="")
    refused(ValueError, "fill_value", fill_value=np.nan)
    refused(MemoryError, "6 genes", memory_limit=10)
    refused(TypeError, "must be boolean", fill_value=0, mask_var=np.arange(60))


def test_views_files_and_copies(screen: ad.AnnData, untouched: Untouched, tmp_path: Path) -> None:
    view = screen[:, :20]
    with untouched(screen), pytest.warns(UserWarning, match="is a view"):
        sps.pp.add_edges(view, _full(NAMES[:20]), key_added="k")
    with untouched(screen):
        copy = sps.pp.add_edges(screen, _full(), key_added="k", copy=True)
    np.testing.assert_array_equal(sps.get.edge_matrix(copy, "k").shape, (60, 60))
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    sps.pp.add_edges(backed, _full(), key_added="k")
    np.testing.assert_array_equal(backed.varp["k"], copy.varp["k"])
    backed.file.close()


@pytest.mark.parametrize("names", [NAMES, NAMES[:10]], ids=["dense", "sparse"])
def test_it_survives_writing_and_subsetting(
    screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]], names: list[str]
) -> None:
    sps.pp.add_edges(screen, _full(names), key_added="k")
    expected = sps.get.edge_matrix(screen, "k")
    for back in roundtrips(screen):
        pd.testing.assert_frame_equal(sps.get.edge_matrix(back, "k"), expected)
        pd.testing.assert_frame_equal(
            sps.get.edge_matrix(back[:, NAMES[:5]].copy(), "k"), expected.loc[NAMES[:5], NAMES[:5]]
        )
