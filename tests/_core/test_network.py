from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from scepsis._core._edge_sets import gather_edges
from scepsis._core._network import read_network
from scepsis._core._network_pairs import STEPS, read_network_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

    from scepsis._core._network import Network

PANEL = np.array([0, 1, 2, 3, 4, 5, 8])


@pytest.fixture
def reference() -> pd.DataFrame:
    """Repeated rows, rows that differ in their mode, self-pairs, genes outside the panel and outside the data."""
    rows = [
        ("G0", "G1", "Activation"), ("G0", "G1", "Unknown"), ("G0", "G2", "Repression"), ("G0", "G2", "Repression"),
        ("G0", "G3", "Unknown"), ("G0", "G0", "Unknown"), ("G1", "G0", "Activation"), ("G1", "G8", "Unknown"),
        ("G5", "G4", "Unknown"), ("G5", "G5", "Activation"), ("G0", "G7", "Activation"), ("G6", "G1", "Activation"),
        ("TP53", "G1", "Activation"), ("G1", "MYC", "Unknown"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "target", "mode"])


def _pairs(network: Network, matrix: np.ndarray) -> set[tuple[str, str]]:
    row, column = np.nonzero(matrix)
    return {(f"G{network.sources[r]}", f"G{network.targets[c]}") for r, c in zip(row, column, strict=True)}


def _in_panel(frame: pd.DataFrame) -> pd.DataFrame:
    genes = [f"G{index}" for index in PANEL]
    unique = frame.drop_duplicates(["source", "target"])
    unique = unique[unique["source"] != unique["target"]]
    return unique[unique["source"].isin(genes) & unique["target"].isin(genes)]


def test_counts_are_those_of_pandas(make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame) -> None:
    network = read_network(make_audit(n_genes=20, n_units=4), reference, PANEL, min_targets=2)
    unique = reference.drop_duplicates(["source", "target"])
    inside = _in_panel(reference)
    degrees = inside["source"].value_counts()
    assert network.counts == {
        "n_rows": len(reference),
        "n_unique": len(unique),
        "n_non_self": int((unique["source"] != unique["target"]).sum()),
        "n_in_panel": len(inside),
        "n_listed": int(degrees[degrees >= 2].sum()),
        "n_sources": int((degrees >= 2).sum()),
    }


@pytest.mark.parametrize("min_targets", [1, 2, 3, 9])
def test_regulators_are_sources_with_enough_targets(
    make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame, min_targets: int
) -> None:
    network = read_network(make_audit(n_genes=20, n_units=4), reference, PANEL, min_targets=min_targets)
    inside = _in_panel(reference)
    degrees = inside["source"].value_counts()
    kept = sorted(degrees.index[degrees >= min_targets])
    assert [f"G{index}" for index in network.sources] == kept
    expected = inside[inside["source"].isin(kept)]
    assert _pairs(network, network.listed) == set(zip(expected["source"], expected["target"], strict=True))
    assert network.candidate.sum() == len(kept) * (len(PANEL) - 1)
    assert not network.candidate[network.sources[:, None] == network.targets].any()


def test_the_other_universes(make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame) -> None:
    adata, inside = make_audit(n_genes=20, n_units=4), _in_panel(reference)
    every = read_network(adata, reference, PANEL, universe="all_pairs")
    assert _pairs(every, every.listed) == set(zip(inside["source"], inside["target"], strict=True))
    assert every.candidate.sum() == 7 * 6
    once = read_network(adata, reference, PANEL, universe="unordered")
    assert _pairs(once, once.listed) == {
        tuple(sorted(pair)) for pair in zip(inside["source"], inside["target"], strict=True)
    }
    assert once.candidate.sum() == 7 * 6 / 2
    (attention,) = gather_edges(adata, "attention", companions=False).sets
    scores = once.scores(attention)
    values = adata.varp["attention"]
    assert scores[0, 3] == pytest.approx((values[0, 3] + values[3, 0]) / 2)
    assert np.isnan(scores[3, 0])
    assert every.scores(attention)[3, 0] == values[3, 0]


def test_a_pair_with_one_known_row_is_known(make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame) -> None:
    adata = make_audit(n_genes=20, n_units=4)
    network = read_network(adata, reference, PANEL, min_targets=1)
    assert network.known_mode is not None
    assert _pairs(network, network.known_mode) == {("G0", "G1"), ("G0", "G2"), ("G1", "G0")}
    assert read_network(adata, reference[["source", "target"]], PANEL).known_mode is None
    positive = reference[["source", "target"]].assign(weight=1.0)
    assert read_network(adata, positive, PANEL).known_mode is None
    signed = positive.assign(weight=np.where(reference["mode"] == "Repression", -1.0, 1.0))
    assert (read_network(adata, signed, PANEL).known_mode == read_network(adata, signed, PANEL).listed).all()


def test_a_weight_of_zero_lists_no_edge(make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame) -> None:
    frame = reference.assign(weight=(reference["target"] != "G3").astype(float))
    network = read_network(make_audit(n_genes=20, n_units=4), frame, PANEL, min_targets=1)
    assert ("G0", "G3") not in _pairs(network, network.listed)


def test_repeated_rows_and_their_order_change_nothing(
    make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame
) -> None:
    adata = make_audit(n_genes=20, n_units=4)
    one = read_network(adata, reference, PANEL)
    other = read_network(adata, pd.concat([reference, reference]).sample(frac=1, random_state=0), PANEL)
    np.testing.assert_array_equal(one.listed, other.listed)
    assert one.hash == other.hash
    assert one.hash != read_network(adata, reference, PANEL, min_targets=1).hash


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.rename(columns={"source": "TF"}), KeyError, "`reference` lacks 'source'"),
        (lambda f: f.assign(target=f["source"]), ValueError, "lists no pair of two different genes"),
        (lambda f: f.assign(source="TP53"), ValueError, r"None of the 1 names in `reference\['source'\]`"),
        (lambda f: f.assign(weight=0), ValueError, "lists no pair"),
        (lambda f: f[:0], ValueError, "has no names"),
        (lambda f: f.to_dict(), TypeError, "must be a frame"),
        (lambda f: f.assign(weight="1"), TypeError, r"`reference\['weight'\]` must be numeric, not object"),
        (lambda f: f.assign(directed="False"), TypeError, r"`reference\['directed'\]` must be boolean"),
    ],
)
def test_wrong_references_are_refused(
    make_audit: Callable[..., ad.AnnData],
    reference: pd.DataFrame,
    untouched: Callable[..., Any],
    change: Callable[[pd.DataFrame], Any],
    error: type[Exception],
    message: str,
) -> None:
    adata = make_audit(n_genes=20, n_units=4)
    with untouched(adata), pytest.raises(error, match=message):
        read_network_pairs(adata, change(reference), "attention")


def test_rows_without_a_direction_are_no_pairs_of_a_source(
    make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame
) -> None:
    adata = make_audit(n_genes=20, n_units=4)
    directed = np.arange(len(reference)) % 3 > 0
    mixed = reference.assign(directed=directed)
    for frame in (mixed, mixed.assign(directed=pd.array(np.where(directed, True, None), dtype="boolean"))):
        one, other = (read_network(adata, part, PANEL, min_targets=1) for part in (frame, reference[directed]))
        assert _pairs(one, one.listed) == _pairs(other, other.listed)
    unordered = read_network(adata, mixed, PANEL, universe="unordered")
    everything = read_network(adata, reference, PANEL, universe="unordered")
    np.testing.assert_array_equal(unordered.listed, everything.listed)


def test_a_pair_that_is_listed_both_ways_is_one_pair_where_it_has_no_direction(
    make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame
) -> None:
    adata = make_audit(n_genes=20, n_units=4)
    both = pd.concat([reference, reference.rename(columns={"source": "target", "target": "source"})])
    found = read_network(adata, both, PANEL, universe="unordered").counts
    inside = {frozenset(pair) for pair in _in_panel(reference)[["source", "target"]].to_numpy().tolist()}
    named = {frozenset(pair) for pair in reference[["source", "target"]].to_numpy().tolist()}
    assert found["n_in_panel"] == found["n_listed"] == len(inside)
    assert found["n_unique"] == len(named)
    assert found["n_non_self"] == sum(len(pair) == 2 for pair in named)


def test_a_sign_that_is_a_guess_is_no_known_mode(make_audit: Callable[..., ad.AnnData]) -> None:
    frame = pd.DataFrame(
        {
            "source": "G0", "target": ["G1", "G2", "G3"], "weight": [1.0, -1.0, 1.0],
            "sign_decision": ["PMID", "regulon", "default activation"],  # as decoupler gives CollecTRI
        }
    )  # fmt: skip
    network = read_network(make_audit(n_genes=20, n_units=4), frame, PANEL, min_targets=1)
    assert network.known_mode is not None
    assert _pairs(network, network.known_mode) == {("G0", "G1"), ("G0", "G2")}


def test_another_namespace_is_named_with_the_argument_that_mends_it(
    make_audit: Callable[..., ad.AnnData], reference: pd.DataFrame
) -> None:
    adata = make_audit(n_genes=20, n_units=4)
    adata.var["symbol"] = adata.var_names.str.replace("G", "SYM")
    renamed = reference.replace(r"^G", "SYM", regex=True)
    with pytest.raises(ValueError, match=r"pass `reference` to the same call, gene_symbols='symbol'"):
        read_network(adata, renamed, PANEL)
    found = read_network(adata, renamed, PANEL, gene_symbols="symbol")
    np.testing.assert_array_equal(found.listed, read_network(adata, reference, PANEL).listed)


def test_pairs_are_those_that_every_set_has(
    make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None], reference: pd.DataFrame
) -> None:
    adata = make_audit(n_genes=20, n_units=4, outside=2, companions=())
    gaps = np.random.default_rng(0).normal(size=(20, 20))
    gaps[0, 1] = gaps[1, 5] = np.nan
    store_edges(adata, "gaps", gaps)
    found = read_network_pairs(adata, reference, ["attention", "gaps"], min_targets=2)
    everything = read_network_pairs(adata, reference, ["gaps"], min_targets=2)
    assert found.counts["n_listed"] == everything.counts["n_listed"] == 6  # G7 is in the panel now
    assert found.counts["n_evaluated"] == 5
    assert found.counts["n_sources"] == 2
    assert found.counts["n_negatives"] == 2 * 19 - 2 * 2 - 2 - 5  # no token: two columns; two gaps
    for one in found.sets:
        np.testing.assert_array_equal(np.isnan(found.scores(one)), ~found.candidate)
    assert found.frame()["step"].tolist() == STEPS
    few = read_network_pairs(adata, reference, ["attention", "gaps"], min_targets=4)
    assert len(few.sources) == 0
    assert few.scores(few.sets[0]).shape == (0, 20)
