from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import spearmanr

import scepsis as sps
from scepsis._core._edge_slots import stale
from scepsis.edges._cssi import AGGREGATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Untouched = Callable[[ad.AnnData], Any]


def _logged(adata: ad.AnnData) -> np.ndarray:
    counts = adata.X.toarray().astype(np.float64)
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32).astype(np.float64)


def _spearman(values: np.ndarray) -> np.ndarray:
    found = spearmanr(values).statistic
    np.fill_diagonal(found, np.nan)
    return found


def _strongest(networks: list[np.ndarray]) -> np.ndarray:
    stack = np.nan_to_num(np.stack(networks))
    return np.take_along_axis(stack, np.abs(stack).argmax(axis=0)[None], axis=0)[0]


@pytest.fixture
def states(screen: ad.AnnData) -> ad.AnnData:
    """The screen with labels: three large groups, a small one, and cells without a label."""
    labels = np.repeat(["T/B cell", "β (rest)", "z", "few", ""], [120, 90, 50, 8, 12]).astype(object)
    labels[labels == ""] = np.nan
    screen.obs["state"] = pd.Categorical(labels)
    return screen


def test_networks_are_scipys_within_each_state(states: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scepsis"):
        sps.tl.cssi(states, groupby="state")
    assert "left out: 'few'" in caplog.text
    values = _logged(states)
    found = {}
    for label, slug in (("T/B cell", "T_B_cell"), ("β (rest)", "rest"), ("z", "group_z")):
        rows = (states.obs["state"] == label).to_numpy()
        found[slug] = _spearman(values[rows])
        np.testing.assert_allclose(states.varp[f"cssi_{slug}"], found[slug], atol=1e-6)
    off = ~np.eye(60, dtype=bool)
    np.testing.assert_allclose(states.varp["cssi"][off], _strongest(list(found.values()))[off], atol=1e-6)
    sizes = (120, 90, 50)
    standard = [
        np.sqrt(n - 3) * np.arctanh(np.clip(one, -1 + 1e-7, 1 - 1e-7))
        for n, one in zip(sizes, found.values(), strict=True)
    ]
    np.testing.assert_allclose(states.varp["cssi_z"][off], _strongest(standard)[off], atol=1e-4)
    entry = states.uns["cssi"]
    assert entry["strata"].to_dict("list") == {
        "group": ["T/B cell", "few", "z", "β (rest)"],
        "slug": ["T_B_cell", "few", "group_z", "rest"],
        "n_obs": [120, 8, 50, 90],
        "status": ["ok", "too_few_units", "ok", "ok"],
    }
    assert entry["edges_keys"] == ["cssi", "cssi_z", "cssi_T_B_cell", "cssi_group_z", "cssi_rest"]
    assert {name: entry["params"][name] for name in ("signed", "scale", "layer_rule", "status", "n_strata")} == {
        "signed": True,
        "scale": "correlation",
        "layer_rule": "single",
        "status": "ok",
        "n_strata": 3,
    }
    assert stale(states, entry["params"]) == []
    used = states.obs["cssi_strata"]
    assert used.isna().sum() == 20
    assert (used.dropna().astype(str) == states.obs["state"][used.notna()].astype(str)).all()


@pytest.mark.parametrize("score", ["spearman", "pearson"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_one_state_is_the_whole_to_the_bit(screen: ad.AnnData, score: Any, aggregation: Any) -> None:
    screen.obs["one"] = "all"
    sps.tl.correlation_edges(screen, method=score)
    sps.tl.cssi(screen, groupby="one", score=score, aggregation=aggregation)
    np.testing.assert_array_equal(screen.varp["cssi"], screen.varp[score])
    assert screen.uns["cssi"]["params"]["status"] == "single_stratum"


def test_names_of_states_say_nothing(states: ad.AnnData) -> None:
    states.obs["other"] = states.obs["state"].map({"T/B cell": "zz", "β (rest)": "aa", "z": "mm", "few": "b"})
    for aggregation in ("max", "mean"):
        sps.tl.cssi(states, groupby="state", aggregation=aggregation)
        sps.tl.cssi(states, groupby="other", aggregation=aggregation, key_added="again")
        np.testing.assert_allclose(states.varp["again"], states.varp["cssi"], atol=1e-7)
        np.testing.assert_array_equal(states.varp["again_z"], states.varp["cssi_z"])


def test_opposite_means_make_pooled_larger(make_screen: Callable[..., ad.AnnData]) -> None:
    """Where states differ in mean, all cells together show correlation that exists in none of them."""
    rng = np.random.default_rng(0)
    state = np.repeat([0, 1], 300)
    values = np.abs(rng.normal(5, 0.3, (600, 4)))
    values[state == 1, :2] += 2
    adata = ad.AnnData(values, obs=pd.DataFrame({"state": state.astype(str)}, index=[f"c{i}" for i in range(600)]))
    adata.uns["log1p"] = {"base": None}
    sps.tl.correlation_edges(adata)
    sps.tl.cssi(adata, groupby="state")
    assert abs(adata.varp["spearman"][0, 1]) > 0.5 > 0.25 > abs(adata.varp["cssi"][0, 1])


def test_deviations_look_at_all_cells_of_the_states(states: ad.AnnData) -> None:
    sps.tl.cssi(states, groupby="state", aggregation="deviation")
    rows = states.obs["cssi_strata"].notna().to_numpy()
    pooled = _spearman(_logged(states)[rows])
    np.testing.assert_allclose(states.varp["cssi_pooled"], pooled, atol=1e-6)
    expected = np.max([np.abs(states.varp[f"cssi_{s}"] - pooled) for s in ("T_B_cell", "rest", "group_z")], axis=0)
    np.testing.assert_allclose(states.varp["cssi"], expected, atol=1e-6)
    sps.tl.cssi(states, groupby="state")
    assert "cssi_pooled" not in states.varp  # of the earlier run


def test_a_gene_that_is_constant_within_a_state_has_no_edge_there(states: ad.AnnData) -> None:
    counts = states.X.toarray()
    counts[(states.obs["state"] == "z").to_numpy(), 7] = 0
    counts[:, 9] = 0
    states.X = sparse.csr_matrix(counts)
    sps.tl.cssi(states, groupby="state")
    assert np.isnan(states.varp["cssi_group_z"][7]).all()
    assert np.isfinite(states.varp["cssi_rest"][7]).sum() == 58
    assert np.isfinite(states.varp["cssi"][7]).sum() == 58
    assert np.isnan(states.varp["cssi"][:, 9]).all()


def test_genes_seen_in_few_cells_of_a_state_have_no_edge_there(states: ad.AnnData, untouched: Untouched) -> None:
    counts = states.X.toarray()
    z = np.flatnonzero(states.obs["state"] == "z")
    counts[z[1:], 7] = 0
    counts[z[1:], 8] = 0
    counts[z[0], [7, 8]] = 3  # two genes in one and the same cell
    counts[z, 9] = 0
    counts[z[:5], 9] = 1
    states.X = sparse.csr_matrix(counts)
    sps.tl.cssi(states, groupby="state", key_added="any")
    assert states.varp["any"][7, 8] == pytest.approx(1)
    sps.tl.cssi(states, groupby="state", min_detected=5, aggregation="deviation")
    assert states.uns["cssi"]["params"]["min_detected"] == 5
    assert np.isnan(states.varp["cssi_group_z"][[7, 8]]).all()
    assert np.isnan(states.varp["cssi_group_z"][:, [7, 8]]).all()
    seen = (counts[z] > 0).sum(axis=0) >= 5
    np.testing.assert_array_equal(np.isfinite(states.varp["cssi_group_z"]).sum(axis=0)[seen], seen.sum() - 1)
    both = np.isfinite(states.varp["cssi_group_z"])
    np.testing.assert_array_equal(states.varp["cssi_group_z"][both], states.varp["any_group_z"][both])
    assert np.isfinite(states.varp["cssi_pooled"][7, 8])  # enough cells in all states together
    # the nulls ask for the same
    network = pd.DataFrame({"source": ["G7", "G1", "G1"], "target": ["G8", "G2", "G3"]})
    sps.tl.cssi_null(states, network, min_targets=1, nulls="size_matched", n_null=2, show_progress_bar=False)
    with untouched(states):
        for options in ({"min_detected": 0}, {"min_detected": 2, "score": "attention"}):
            with pytest.raises(ValueError, match="min_detected"):
                sps.tl.cssi(states, groupby="state", **options)


def test_dask_gives_the_same(states: ad.AnnData) -> None:
    da = pytest.importorskip("dask.array")
    sps.tl.cssi(states, groupby="state")
    lazy = states.copy()
    lazy.X = da.from_array(states.X.toarray(), chunks=(90, -1)).map_blocks(sparse.csr_matrix)
    for key in [*lazy.varp]:
        del lazy.varp[key]
    sps.tl.cssi(lazy, groupby="state")
    for key in ("cssi", "cssi_z", "cssi_rest"):
        np.testing.assert_array_equal(lazy.varp[key], states.varp[key])


def test_candidates_keep_rows(states: ad.AnnData) -> None:
    sps.tl.cssi(states, groupby="state", key_added="full")
    sps.tl.cssi(states, groupby="state", candidates=["G3", "G1"])
    for key in ("", "_z", "_rest"):
        found = sps.get.edge_matrix(states, f"cssi{key}")
        full = sps.get.edge_matrix(states, f"full{key}")
        np.testing.assert_array_equal(found.loc[["G1", "G3"], full.columns], full.loc[["G1", "G3"]])
        assert found.drop(["G1", "G3"]).isna().all(axis=None)
    assert isinstance(states.varp["cssi"], sparse.csr_matrix)
    assert set(sps.get.edges(states, "cssi", group="all")["source"]) == {"G1", "G3"}


def test_own_function(states: ad.AnnData, untouched: Untouched) -> None:
    def covariance(values: np.ndarray) -> np.ndarray:
        return np.cov(values, rowvar=False)

    sps.tl.cssi(states, groupby="state", score=covariance)
    values = _logged(states)[(states.obs["state"] == "z").to_numpy()]
    expected = np.cov(values, rowvar=False)
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(states.varp["cssi_group_z"], expected, atol=1e-5)
    params = states.uns["cssi"]["params"]
    assert (params["score"], params["signed"], params["scale"]) == ("covariance", True, "score")
    assert "cssi_z" not in states.varp
    sps.tl.cssi(states, groupby="state", score=lambda values: np.abs(covariance(values)))
    assert states.uns["cssi"]["params"]["signed"] is False
    with untouched(states), pytest.raises(ValueError, match=r"\(60, 60\) here.*shape \(60,\)"):
        sps.tl.cssi(states, groupby="state", score=lambda values: values.mean(axis=0))


@pytest.mark.filterwarnings("ignore:`adata` has 60 of")
def test_attention_by_a_model_and_from_what_is_stored(states: ad.AnnData, small_model: Any) -> None:
    adata = states[states.obs["state"].notna()].copy()
    options: dict[str, Any] = {"layers": [0, 2], "show_progress_bar": False}
    sps.tl.attention_edges(adata, small_model, groupby="state", **options)
    sps.tl.cssi(adata, groupby="state", score="attention", key_added="stored")
    sps.tl.cssi(adata, groupby="state", score="attention", model=small_model, **options)
    networks = [adata.varp[f"attention_{slug}"] for slug in ("T_B_cell", "rest", "group_z")]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(adata.varp["stored"], np.fmax.reduce(networks))
    np.testing.assert_allclose(adata.varp["cssi"], adata.varp["stored"], rtol=1e-5)
    params = adata.uns["cssi"]["params"]
    assert (params["signed"], params["scale"], params["layer_rule"]) == (False, "probability", "unrecorded")
    assert params["model_fingerprint"] == adata.uns["stored"]["params"]["model_fingerprint"]
    # the whole comes from the same pass; here it lacks the cells of the small state
    sps.tl.attention_edges(adata, small_model, mask_obs=adata.obs["cssi_strata"].notna().to_numpy(), **options)
    np.testing.assert_allclose(adata.varp["cssi_pooled"], adata.varp["attention"], rtol=1e-5)
    # one state is the whole
    adata.obs["one"] = "all"
    sps.tl.attention_edges(adata, small_model, **options)
    sps.tl.cssi(adata, groupby="one", score="attention", model=small_model, **options)
    np.testing.assert_array_equal(adata.varp["cssi"], adata.varp["attention"])


@pytest.mark.filterwarnings("ignore:`adata` has 60 of")
def test_stored_attention_of_other_states_is_refused(
    states: ad.AnnData, small_model: Any, untouched: Untouched
) -> None:
    with untouched(states), pytest.raises(KeyError, match="attention_edges"):
        sps.tl.cssi(states, groupby="state", score="attention")
    sps.tl.attention_edges(states, small_model, layers=[0], groupby="state", show_progress_bar=False)
    with untouched(states):
        with pytest.raises(ValueError, match="of `groupby='state'`, not 'batch'"):
            sps.tl.cssi(states, groupby="batch", score="attention")
        with pytest.raises(ValueError, match="of other cells"):
            sps.tl.cssi(states, groupby="state", score="attention", mask_obs=np.arange(280) < 200)
    states.obs["state"] = states.obs["state"].to_numpy()[::-1]
    with untouched(states), pytest.raises(ValueError, match="of other cells"):
        sps.tl.cssi(states[:200].copy(), groupby="state", score="attention")


def test_states_from_an_embedding(screen: ad.AnnData, untouched: Untouched) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 280)
    screen.obsm["X_pca"] = rng.normal(size=(280, 5)) + 12 * np.eye(3, 5)[true]
    with untouched(screen), pytest.raises(ValueError, match=r"use_rep.*'X_pca'"):
        sps.tl.cssi(screen)
    sps.tl.cssi(screen, use_rep="X_pca", resolution=0.1)
    table = pd.crosstab(screen.obs["cssi_strata"], true)
    assert table.shape == (3, 3)
    assert (table > 0).sum().tolist() == [1, 1, 1]
    params = screen.uns["cssi"]["params"]
    assert (params["use_rep"], params["resolution"], params["n_neighbors"]) == ("X_pca", 0.1, 15)
    first = screen.varp["cssi"]
    sps.tl.cssi(screen, use_rep="X_pca", resolution=0.1)
    np.testing.assert_array_equal(screen.varp["cssi"], first)
    with untouched(screen):
        with pytest.raises(ValueError, match="not both"):
            sps.tl.cssi(screen, groupby="batch", use_rep="X_pca")
        with pytest.raises(KeyError, match="'X_umap'"):
            sps.tl.cssi(screen, use_rep="X_umap")
    screen.obsm["X_pca"][4] = np.nan
    with untouched(screen), pytest.raises(ValueError, match="not finite"):
        sps.tl.cssi(screen, use_rep="X_pca")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_states_of_one_modality_and_edges_of_another(states: ad.AnnData) -> None:
    prot = ad.AnnData(np.ones((280, 1)), obs=pd.DataFrame({"leiden": states.obs["state"]}))[::-1].copy()
    sps.tl.cssi(states, groupby="state")
    expected = states.varp["cssi"]
    rna = states.copy()
    del rna.obs["state"], rna.varp["cssi"], rna.uns["cssi"]
    mdata = md.MuData({"rna": rna, "prot": prot})
    assert sps.tl.cssi(mdata, mod="rna", groupby="prot:leiden") is None
    np.testing.assert_array_equal(mdata["rna"].varp["cssi"], expected)
    assert mdata["rna"].uns["cssi"]["params"]["groupby"] == "prot:leiden"
    mdata["prot"].obs_names = [f"other{name}" for name in mdata["prot"].obs_names]
    with pytest.raises(ValueError, match="None of the 280 chosen cells has a label"):
        sps.tl.cssi(mdata, mod="rna", groupby="prot:leiden")


def test_five_hundred_levels() -> None:
    rng = np.random.default_rng(0)
    levels = [f"type {number}/ä" for number in range(500)]
    adata = ad.AnnData(
        rng.poisson(2, (2000, 5)).astype(np.float32),
        obs=pd.DataFrame({"many": pd.Categorical(levels * 4, categories=levels)}, index=[f"c{i}" for i in range(2000)]),
    )
    sps.tl.cssi(adata, groupby="many", min_cells=4)
    strata = adata.uns["cssi"]["strata"]
    assert strata["slug"].nunique() == adata.uns["cssi"]["params"]["n_strata"] == 500
    assert not strata["slug"].str.contains("[/ ä]").any()
    networks = np.stack([adata.varp[f"cssi_{slug}"] for slug in strata["slug"]])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.abs(adata.varp["cssi"]), np.fmax.reduce(np.abs(networks)))


def test_many_levels_and_numbers_as_labels(screen: ad.AnnData) -> None:
    screen.obs["many"] = pd.Categorical([f"s{number % 500}/ä" for number in range(280)])
    screen.obs["number"] = np.arange(280) % 2
    with pytest.raises(ValueError, match="largest has 1"):
        sps.tl.cssi(screen, groupby="many")
    sps.tl.cssi(screen, groupby="many", min_cells=1, mask_var=np.arange(60) < 3)
    assert screen.uns["cssi"]["params"]["n_strata"] == 280
    assert np.isnan(sps.get.edge_matrix(screen, "cssi").to_numpy()).all()  # one cell correlates with nothing
    sps.tl.cssi(screen, groupby="number")
    assert screen.uns["cssi"]["strata"]["group"].tolist() == ["0", "1"]


def test_wrong_input_is_refused(states: ad.AnnData, untouched: Untouched) -> None:
    states.obs["score"] = np.linspace(0, 1, 280)
    states.obs["elsewhere"] = pd.Categorical([np.nan] * 140 + ["a"] * 140)
    refused: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (TypeError, "continuous", {"groupby": "score"}),
        (KeyError, "'sate'.*Did you mean 'state'", {"groupby": "sate"}),
        (ValueError, "None of the 100 chosen cells", {"groupby": "elsewhere", "mask_obs": np.arange(280) < 100}),
        (ValueError, "No group.*largest has 120", {"min_cells": 121}),
        (ValueError, r"not in the panel: 'G59'.*select_panel", {"candidates": ["G59"], "mask_var": np.arange(60) < 50}),
        (TypeError, "sequence of names", {"candidates": "G1"}),
        (ValueError, "'kendall'", {"score": "kendall"}),
        (ValueError, "'minimum'", {"aggregation": "minimum"}),
        (ValueError, "layers", {"layers": [0]}),
        (ValueError, "without '/'", {"key_added": "a/b"}),
        (MemoryError, r"3 strata x 60 genes.*candidates", {"memory_limit": 1000}),
        (ValueError, "at least 1", {"min_cells": 0}),
        (TypeError, "for MuData", {"mod": "rna"}),
    ]
    with untouched(states):
        for error, message, options in refused:
            with pytest.raises(error, match=message):
                sps.tl.cssi(states, **({"groupby": "state"} | options))


def test_copies_and_files(
    states: ad.AnnData, untouched: Untouched, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    with untouched(states):
        copy = sps.tl.cssi(states, groupby="state", copy=True)
    for back in roundtrips(copy):
        np.testing.assert_array_equal(back.varp["cssi"], copy.varp["cssi"])
        pd.testing.assert_frame_equal(back.uns["cssi"]["strata"], copy.uns["cssi"]["strata"], check_dtype=False)
        assert sps.get.edges(back, "cssi", group="β (rest)", top=3)["group"].tolist() == ["β (rest)"] * 3
        assert back.obs["cssi_strata"].isna().sum() == 20


def test_states_recover_what_all_cells_together_lose() -> None:
    """In the simulated screen, edges of one state are lost over all cells, and by labels that say nothing."""
    adata = sps.datasets.simulate_screen(n_genes=200, n_regulators=20, n_other=0, cells_per_perturbation=0, rng=1)
    network = adata.uns["simulate_screen"]["network"]
    own = network[network["state"] != "all"]
    rng = np.random.default_rng(0)
    adata.obs["shuffled"] = rng.permutation(adata.obs["cell_state"].to_numpy())
    sps.tl.correlation_edges(adata)
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi(adata, groupby="shuffled", key_added="shuffled")
    regulators = adata.var_names[adata.var["is_regulator"]]
    found = {}
    for key in ("spearman", "cssi", "shuffled"):
        table = sps.get.edges(adata, key)
        top = table[table["source"].isin(regulators) & ~table["target"].isin(regulators)].head(len(own))
        found[key] = len(top.merge(own, on=["source", "target"])) / len(own)
    assert found["cssi"] > 2 * found["spearman"]
    assert found["shuffled"] < 1.2 * found["spearman"]
