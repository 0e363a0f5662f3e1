from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from scepsis._core._edge_sets import gather_edges
from scepsis._core._gene_table import FEATURES, feature_params, gene_features, require_same_cells
from scepsis._core._screen_pairs import oriented, read_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

N_GENES, N_UNITS = 30, 6


@pytest.fixture
def adata(make_audit: Callable[..., ad.AnnData]) -> ad.AnnData:
    return make_audit(n_genes=N_GENES, n_units=N_UNITS, rate=0.3, outside=3, companions=())


def matrix(adata: ad.AnnData, key: str, panel: list[str] | None = None) -> pd.DataFrame:
    values = pd.DataFrame(np.asarray(adata.varp[key], dtype=float), index=adata.var_names, columns=adata.var_names)
    return values if panel is None else values[panel]


def slow_score(adata: ad.AnnData, key: str, perturbed: str, target: str, direction: str) -> float:
    edges = matrix(adata, key)
    forward, backward = edges.loc[perturbed, target], edges.loc[target, perturbed]
    if key == "spearman":
        forward, backward = abs(forward), abs(backward)
    return {
        "source": forward,
        "target": backward,
        "mean": (forward + backward) / 2,
        "max": np.nan if np.isnan(forward) or np.isnan(backward) else max(forward, backward),
    }[direction]


@pytest.mark.parametrize("direction", ["source", "target", "mean", "max"])
def test_pairs_are_those_of_a_loop_over_perturbations_and_genes(adata: ad.AnnData, direction: str) -> None:
    adata.varm["perturbation_target"][20, 2] = np.nan  # not testable
    adata.var.loc["G7", "mean"] = np.nan  # no feature
    pairs = read_pairs(adata, ["attention", "spearman"], direction=direction)
    names = list(adata.var_names[pairs.genes])
    assert names == list(adata.var_names)
    scores = {one.name: pairs.scores(one) for one in pairs.sets}
    truth = np.asarray(adata.varm["perturbation_target"])
    n_pos = 0
    for row, perturbed in enumerate(pairs.screen.names):
        for column, target in enumerate(names):
            expected = {key: slow_score(adata, key, perturbed, target, direction) for key in scores}
            for key, value in expected.items():
                np.testing.assert_allclose(scores[key][row, column], value, rtol=1e-6)
            missing = perturbed == target or target == "G7" or (row, column) == (2, 20)
            missing |= any(np.isnan(value) for value in expected.values())
            label = -1 if missing else truth[column, row]
            assert pairs.labels[row, column] == label
            n_pos += label == 1
    assert n_pos > 10
    np.testing.assert_array_equal(pairs.features[:, 1], adata.var["mean"])


def test_features_are_those_of_the_candidates_in_the_order_of_their_names(adata: ad.AnnData) -> None:
    assert FEATURES == ("variance", "mean", "detection_rate")
    np.testing.assert_array_equal(gene_features(adata), adata.var[list(FEATURES)].to_numpy())
    adata.var["edge_panel"] = np.arange(N_GENES) >= 2
    adata.uns.pop("attention")
    with pytest.warns(UserWarning, match="no record"):
        pairs = read_pairs(adata, "attention")
    assert pairs.genes.tolist() == list(range(2, N_GENES))
    np.testing.assert_array_equal(pairs.features, adata.var[list(FEATURES)].to_numpy()[2:])


def test_perturbed_gene_outside_the_panel_keeps_its_pairs(adata: ad.AnnData) -> None:
    adata.var["edge_panel"] = np.arange(N_GENES) >= 2
    adata.uns.pop("attention")
    with pytest.warns(UserWarning, match="no record"):
        pairs = read_pairs(adata, "attention")
    known = ~np.isnan(matrix(adata, "attention").loc["G0", list(adata.var_names[pairs.genes])])
    np.testing.assert_array_equal(pairs.labels[0] >= 0, known)


def test_signed_edges_count_by_their_size(adata: ad.AnnData) -> None:
    pairs = read_pairs(adata, "spearman")
    raw = matrix(adata, "spearman").iloc[:N_UNITS].to_numpy()
    assert (raw[~np.isnan(raw)] < 0).any()
    np.testing.assert_allclose(pairs.scores(pairs.sets[0]), np.abs(raw), rtol=1e-6)


def test_table_of_edges_with_gaps(adata: ad.AnnData) -> None:
    table = pd.DataFrame({"source": ["G0", "G0", "G9"], "target": ["G9", "G3", "G1"], "weight": [0.5, -2.0, 3.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        one = gather_edges(adata, table, companions=False).sets[0]
    sources, targets = np.array([0, 9, -1]), np.array([9, 3, 1, 20, -1])
    none = np.nan
    expected = [[0.5, 2.0, none, none, none], [none, none, 3.0, none, none], [none] * 5]
    np.testing.assert_array_equal(oriented(one, sources, targets), expected)
    backward = oriented(one, sources, targets, "target")
    np.testing.assert_array_equal(backward[0], [none] * 5)
    np.testing.assert_array_equal(backward[1], [none] * 5)
    np.testing.assert_array_equal(oriented(one, np.array([1]), np.array([9]), "target"), [[3.0]])


def test_perturbations_that_cannot_be_scored_take_no_part(adata: ad.AnnData) -> None:
    table = adata.uns["perturbation_effects"]["perturbations"]
    table.loc[1, "status"] = "multi_target"
    table.loc[2, "status"] = "underpowered"
    pairs = read_pairs(adata, "attention")
    assert (pairs.labels[1] == -1).all()
    assert (pairs.labels[2] >= 0).any()


def test_perturbations_that_count(adata: ad.AnnData) -> None:
    target = np.asarray(adata.varm["perturbation_target"]).copy()
    target[:, :4] = 0
    target[10:12, 1] = 1
    target[:, 2] = 1
    target[:, 3] = np.nan
    target[10:15, 3] = [1, 1, 0, 0, 0]
    adata.varm["perturbation_target"] = target
    pairs = read_pairs(adata, "attention")
    counted = pairs.counted(min_positives=2, min_candidates=10)
    assert counted[:4].tolist() == [False, True, False, False]  # none, two, all respond; too few candidates
    assert not pairs.counted(min_positives=3, min_candidates=10)[1]
    assert pairs.counted(min_positives=2, min_candidates=5)[3]


def test_leaks_are_told_of_edges_and_of_features(adata: ad.AnnData, store_edges: Callable[..., None]) -> None:
    store_edges(adata, "leaky", np.ones((N_GENES, N_GENES)), cells="all_cells")
    pairs = read_pairs(adata, ["attention", "leaky"], allow_different_cells=True)
    assert pairs.leaks == {"attention": False, "leaky": True}
    assert not pairs.features_leak
    adata.uns["gene_features"]["params"] = adata.uns["leaky"]["params"]
    assert read_pairs(adata, "leaky").features_leak
    assert pairs.records["leaky"]["cells_hash"] == adata.uns["leaky"]["params"]["cells_hash"]


def test_different_cells_are_refused_unless_allowed(
    adata: ad.AnnData, store_edges: Callable[..., None], untouched: Callable[..., Any]
) -> None:
    store_edges(adata, "other", np.ones((N_GENES, N_GENES)), cells="other_cells", method="spearman")
    with untouched(adata), pytest.raises(ValueError, match=r"different cells.*select_cells"):
        read_pairs(adata, ["attention", "other"])
    with untouched(adata), pytest.raises(ValueError, match="correlation_edges"):
        read_pairs(adata, "other")  # against the features
    assert read_pairs(adata, ["attention", "other"], allow_different_cells=True).sets[1].name == "other"
    sets = gather_edges(adata, ["attention", "other"], companions=False).sets
    assert not require_same_cells(adata, sets, features=True, allow=True)
    assert require_same_cells(adata, sets[:1], features=True, allow=False)
    assert require_same_cells(adata, sets[1:], features=False, allow=False)


def test_features_without_a_record_are_taken_and_absent_ones_named(
    adata: ad.AnnData, untouched: Callable[..., Any]
) -> None:
    del adata.uns["gene_features"]
    assert feature_params(adata) == {}
    assert not read_pairs(adata, "attention").features_leak
    del adata.var["variance"]
    with untouched(adata), pytest.raises(KeyError, match=r"variance.*scepsis\.pp\.gene_features"):
        read_pairs(adata, "attention")


def test_companions_of_attention_are_not_scored(make_audit: Callable[..., ad.AnnData]) -> None:
    pairs = read_pairs(make_audit(n_genes=N_GENES, n_units=N_UNITS), "attention")
    assert [one.name for one in pairs.sets] == ["attention"]
