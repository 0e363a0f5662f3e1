from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from scepsis._core._edge_slots import (
    edge_owner,
    edge_params,
    pack,
    provenance,
    read_edges,
    recorded_mask,
    stale,
    superseded,
    unpack,
)
from scepsis._core._resolve import choose_cells, choose_genes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad


def _values(n: int, holes: float, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, n)).astype(np.float32)
    values[rng.random((n, n)) < 0.1] = 0
    values[rng.random((n, n)) < holes] = np.nan
    np.fill_diagonal(values, np.nan)
    return values


@pytest.mark.parametrize("holes", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("genes", [np.arange(40), np.arange(0, 40, 3), np.array([2, 39])])
def test_what_is_packed_comes_back(genes: np.ndarray, holes: float) -> None:
    values = _values(len(genes), holes)
    packed = pack(values, genes, 40)
    evaluated = int((~np.isnan(values)).sum())
    assert sparse.issparse(packed) == (2 * evaluated < 40 * 40)
    assert packed.shape == (40, 40)
    assert packed.dtype == np.float32
    if sparse.issparse(packed):
        assert packed.nnz == evaluated  # zeros that were evaluated are explicit
    np.testing.assert_array_equal(unpack(packed, genes)[0], values)
    # without the genes: those with any evaluated pair
    touched = (~np.isnan(values)).any(axis=0) | (~np.isnan(values)).any(axis=1)
    back, found = unpack(packed)
    np.testing.assert_array_equal(found, genes[touched])
    np.testing.assert_array_equal(back, values[np.ix_(touched, touched)])


def test_counts_are_packed_with_zero_for_nothing() -> None:
    counts = np.array([[3, 0], [1, 2]], dtype=np.int32)
    for n_vars in (2, 30):
        packed = pack(counts, np.array([0, 1]), n_vars)
        assert packed.dtype == np.int32
        np.testing.assert_array_equal(unpack(packed, np.array([0, 1]))[0], counts)


def test_the_diagonal_is_never_read(screen: ad.AnnData) -> None:
    screen.varp["mine"] = np.ones((60, 60))
    found = read_edges(screen, "mine")
    assert np.isnan(np.diagonal(found.values)).all()
    assert np.isfinite(found.values).sum() == 60 * 59
    assert found.params == {}
    assert screen.varp["mine"].all()  # and what is stored stays as it was


def test_an_absent_key_lists_what_there_is(screen: ad.AnnData) -> None:
    screen.varp["mine"] = np.ones((60, 60))
    with pytest.raises(KeyError, match=r"adata.varp\['yours'\].*there are: 'mine'.*add_edges"):
        read_edges(screen, "yours")


def _recorded(screen: ad.AnnData) -> None:
    screen.obs["edge_cells"] = np.arange(280) < 100
    screen.var["edge_panel"] = np.arange(60) < 30
    cells, genes = choose_cells(screen), choose_genes(screen)
    params = provenance(screen, cells, genes, cells_name="k_cells", genes_name="k_genes") | {"signed": True}
    screen.varp["k"] = pack(_values(30, 0.0), genes.index, 60)
    screen.varp["k_L1"] = screen.varp["k"].copy()
    screen.uns["k"] = {"params": params, "edges_keys": ["k", "k_L1"]}


def test_records_are_found_for_the_key_and_its_parts(screen: ad.AnnData) -> None:
    _recorded(screen)
    assert edge_owner(screen, "k") == "k"
    assert edge_owner(screen, "k_L1") == "k"
    assert edge_owner(screen, "k_L2") == ""
    assert edge_owner(screen, "other") == ""
    assert edge_params(screen, "k_L1")["n_cells"] == 100
    assert edge_params(screen, "k_L1")["n_genes"] == 30
    assert edge_params(screen, "other") == {}


@pytest.mark.parametrize(
    ("key", "layers", "rule", "expected"),
    [
        ("k", [0, 1], "single", "single"),
        ("k_L1", [0, 1], "single", "unrecorded"),
        ("k_L1", [1], "single", "single"),
        ("k_L1", [0, 1], "frozen", "frozen"),
    ],
)
def test_one_layer_out_of_several_was_chosen(
    screen: ad.AnnData, key: str, layers: list[int], rule: str, expected: str
) -> None:
    _recorded(screen)
    screen.uns["k"]["params"] |= {"layers": layers, "layer_rule": rule}
    assert edge_params(screen, key)["layer_rule"] == expected
    assert screen.uns["k"]["params"]["layer_rule"] == rule


def test_unchanged_data_is_read_without_a_word(
    screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    _recorded(screen)
    assert len(read_edges(screen, "k").genes) == 30
    for back in roundtrips(screen):
        np.testing.assert_array_equal(read_edges(back, "k").values, read_edges(screen, "k").values)
        assert edge_owner(back, "k_L1") == "k"


def test_changed_cells_or_genes_are_noticed(screen: ad.AnnData) -> None:
    _recorded(screen)
    fewer = screen[:, 5:].copy()
    assert stale(fewer, edge_params(fewer, "k")) == ["genes"]
    with pytest.warns(UserWarning, match="other genes"):
        found = read_edges(fewer, "k")
    np.testing.assert_array_equal(found.values, read_edges(screen, "k").values[5:, 5:])
    assert recorded_mask(screen, edge_params(screen, "k"), "obs").sum() == 100

    others = screen.copy()
    others.obs["edge_cells"] = np.arange(280) < 99
    assert stale(others, edge_params(others, "k")) == ["cells"]
    del others.obs["edge_cells"]
    with pytest.warns(UserWarning, match="other cells"):
        read_edges(others, "k")
    assert recorded_mask(others, edge_params(others, "k"), "obs") is None

    same = screen[:270, :40].copy()  # what was left out was not behind the edges
    assert stale(same, edge_params(same, "k")) == []


def test_slots_of_an_earlier_run(screen: ad.AnnData) -> None:
    _recorded(screen)
    found = superseded(screen, "k")
    assert found["varp"] == ["k", "k_L1", "k_n_cells", "k_L1_n_cells"]
    assert found["obs"] == ["k_cells", "k_strata"]
    assert superseded(screen, "absent")["varp"] == ["absent", "absent_n_cells"]


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_edges_that_were_never_evaluated_have_one_gene_and_no_pair(make: Callable[..., object]) -> None:
    matrix = np.full((5, 5), np.nan, dtype=np.float32) if make is np.asarray else np.zeros((5, 5), dtype=np.float32)
    values, genes = unpack(make(matrix))
    assert genes.tolist() == [0]
    assert values.shape == (1, 1)
    assert np.isnan(values).all()
