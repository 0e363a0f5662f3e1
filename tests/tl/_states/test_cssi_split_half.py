from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis._core._rng import child
from scepsis.stats._fisher import strongest_state
from scepsis.stats._multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

    Planted = Callable[..., tuple[ad.AnnData, pd.DataFrame]]
    Untouched = Callable[[ad.AnnData], Any]

QUIET: dict[str, Any] = {"show_progress_bar": False, "min_targets": 1}


def _area(adata: ad.AnnData, network: pd.DataFrame, matrix: np.ndarray) -> float:
    listed = np.zeros(matrix.shape, dtype=int)
    listed[adata.var_names.get_indexer(network["source"]), adata.var_names.get_indexer(network["target"])] = 1
    rows = listed.any(axis=1)
    pairs = rows[:, None] & ~np.eye(len(listed), dtype=bool)
    return roc_auc_score(listed[pairs], np.abs(matrix)[pairs])


def test_what_is_chosen_is_scored_on_other_cells(planted: Planted) -> None:
    adata, network = planted()
    sps.tl.cssi(adata, groupby="cell_state")
    assert sps.tl.cssi_split_half(adata, network, n_splits=2, rng=5, **QUIET) is None
    result = adata.uns["cssi_split_half"]
    codes = adata.obs["cell_state"].cat.codes.to_numpy()
    for split in range(2):
        rng = child(5, "cssi_split_half", split)
        orders = [rng.permutation(np.flatnonzero(codes == code)) for code in range(6)]
        halves = [[order[:50] for order in orders], [order[50:] for order in orders]]
        expected: dict[str, list[float]] = {"max": [], "mean_unweighted": [], "std": [], "pooled": []}
        for half in halves:
            stack = np.stack([spearmanr(adata.X[rows]).statistic for rows in half])
            expected["max"].append(_area(adata, network, np.abs(stack).max(axis=0)))
            expected["mean_unweighted"].append(_area(adata, network, stack.mean(axis=0)))
            expected["std"].append(_area(adata, network, stack.std(axis=0)))
            pooled = spearmanr(adata.X[np.concatenate(half)]).statistic
            expected["pooled"].append(_area(adata, network, pooled))
        table = result["variants"]
        table = table[table["split"] == split].set_index("variant")
        assert len(table) == 10
        for variant, (first, second) in expected.items():
            assert table.loc[variant, "auroc_first"] == pytest.approx(first, abs=1e-6)
            assert table.loc[variant, "auroc_second"] == pytest.approx(second, abs=1e-6)
        row = result["splits"].iloc[split]
        own = table.drop("pooled")
        assert row["variant"] == own["auroc_first"].idxmax()
        assert row["held_out"] == own.loc[row["variant"], "auroc_second"]
        assert row["gain"] == pytest.approx(row["held_out"] - expected["pooled"][1], abs=1e-6)
        assert row["optimism"] == row["auroc_first"] - row["held_out"]
        assert row["gain"] > 0
        assert row["f1"] > row["pooled_f1"]
    test = adata.uns["tests"].set_index("name").loc["split_half/vs_pooled"]
    assert (test["status"], test["role"], test["n_units"]) == ("too_few_units", "confirmatory", 4)


def test_states_that_say_nothing_gain_nothing(planted: Planted) -> None:
    adata, network = planted(n_states=8, cells_per_state=60)
    adata.obs["nothing"] = np.random.default_rng(0).permutation(adata.obs["cell_state"].to_numpy())
    gains = {}
    for groupby in ("cell_state", "nothing"):
        sps.tl.cssi(adata, groupby=groupby)
        sps.tl.cssi_split_half(adata, network, n_splits=4, variants=["max", "std", "rank"], **QUIET)
        gains[groupby] = adata.uns["cssi_split_half"]["splits"]["gain"].mean()
    assert gains["cell_state"] > 0.05 > gains["nothing"]


@pytest.mark.parametrize(("n_states", "size"), [(5, 125), (10, 125), (15, 125)])
def test_called_edges_are_real(n_states: int, size: int) -> None:
    """False discoveries among pairs of regulator and target, and power, with 5, 10 and 15 states."""
    false, called, found, true = 0, 0, 0, 0
    for seed in range(12):
        adata = sps.datasets.simulate_cssi(n_states=n_states, cells_per_state=size, rng=seed)
        sps.tl.cssi(adata, groupby="cell_state")
        networks = [adata.varp[f"cssi_state{state}"][:5, 5:] for state in range(1, n_states + 1)]
        listed = np.zeros((5, 25), dtype=bool)
        network = adata.uns["simulate_cssi"]["network"]
        listed[adata.var_names.get_indexer(network["source"]), adata.var_names.get_indexer(network["target"]) - 5] = (
            True
        )
        p = strongest_state(((size, one) for one in networks), spearman=True).p_value
        calls = benjamini_hochberg(p.ravel()).reshape(p.shape) < 0.05
        false, called = false + int((calls & ~listed).sum()), called + int(calls.sum())
        found, true = found + int((calls & listed).sum()), true + int(listed.sum())
    assert false / called <= 0.11
    assert found / true >= 0.9


def test_called_edges_are_found_again(planted: Planted) -> None:
    adata, network = planted(cells_per_state=400)
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_split_half(adata, network, n_splits=3, variants=["max"], **QUIET)
    table = adata.uns["cssi_split_half"]["edges"]
    assert (table["n_pairs"] == 30 * 29 / 2).all()
    assert (table["n_called"] >= 12).all()  # of 14, and pairs of targets that share a regulator
    assert (table["share"] > 0.8).all()
    rng = np.random.default_rng(0)
    adata.X = rng.permuted(adata.X, axis=0)
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_split_half(adata, network, n_splits=3, variants=["max"], **QUIET)
    assert adata.uns["cssi_split_half"]["edges"]["n_called"].sum() <= 2


@pytest.mark.filterwarnings("ignore:`adata` has 60 of")
def test_layers_of_a_model_are_variants(screen: ad.AnnData, small_model: Any, untouched: Untouched) -> None:
    screen.obs["state"] = np.repeat(["a", "b"], [130, 150])
    network = pd.DataFrame({"source": ["G0"] * 3 + ["G1"] * 3, "target": [f"G{number}" for number in range(10, 16)]})
    sps.tl.cssi(screen, groupby="state", score="attention", model=small_model, layers=[0, 2], show_progress_bar=False)
    with untouched(screen), pytest.raises(ValueError, match="`model=`"):
        sps.tl.cssi_split_half(screen, network, **QUIET)
    with untouched(screen), pytest.raises(MemoryError, match="x 4 groups"):
        sps.tl.cssi_split_half(screen, network, model=small_model, memory_limit=14 * 4 * 60**2, **QUIET)
    sps.tl.cssi_split_half(screen, network, n_splits=1, variants=["max", "mean"], model=small_model, rng=1, **QUIET)
    table = screen.uns["cssi_split_half"]["variants"]
    assert table[["layer", "variant"]].apply(tuple, axis=1).tolist() == [
        (layer, variant) for layer in ("L0", "L2") for variant in ("pooled", "max", "mean")
    ]
    assert "edges" not in screen.uns["cssi_split_half"]
    # all cells of a half together are what attention_edges reads of them, and the weighted mean is the same
    rng = child(1, "cssi_split_half", 0)
    orders = [rng.permutation(np.flatnonzero(screen.obs["state"] == state)) for state in ("a", "b")]
    mask = np.zeros(280, dtype=bool)
    mask[np.concatenate([order[: len(order) // 2] for order in orders])] = True
    sps.tl.attention_edges(screen, small_model, layers=[0, 2], mask_obs=mask, show_progress_bar=False)
    matrix = sps.get.edge_matrix(screen, "attention_L2").reindex(index=screen.var_names, columns=screen.var_names)
    listed = np.zeros((60, 60), dtype=int)
    listed[[0] * 3 + [1] * 3, range(10, 16)] = 1
    rows = matrix.to_numpy()[:2]
    known = ~np.isnan(rows)
    pooled = table[(table["layer"] == "L2") & (table["variant"] == "pooled")].iloc[0]
    assert pooled["auroc_first"] == pytest.approx(roc_auc_score(listed[:2][known], rows[known]), abs=2e-3)


def test_planted_signals_are_seen_by_the_same_test() -> None:
    """Cells that know nothing gain nothing; a signal in what was chosen is found."""
    adata = sps.datasets.simulate_cssi(design="types", n_cells=1200, rng=0)
    network = adata.uns["simulate_cssi"]["network"]
    adata.X = np.random.default_rng(0).permuted(adata.X, axis=0)
    sps.tl.cssi(adata, groupby="cell_state", mask_var=np.arange(245) < 60)
    sps.tl.cssi_split_half(adata, network, n_splits=2, variants=["max"], **QUIET)
    seen = adata.uns["cssi_split_half"]["detection"]
    assert seen["delta"].tolist() == [0.25, 0.5, 1.0, 2.0]
    row = adata.uns["tests"].set_index("name").loc["split_half/vs_pooled"]
    assert row["status"] == "ok"
    assert row["p_raw"] > 0.05 > seen["p_value"].iloc[-1]
    assert (seen["statistic"] > row["effect_size"]).all()
    assert seen["statistic"].is_monotonic_increasing
    assert (seen["detected"] == (seen["p_value"] < 0.05)).all()
    assert (seen["ci_low"] < seen["statistic"]).all()


def test_degenerate_data_give_a_status(planted: Planted, untouched: Untouched) -> None:
    adata, network = planted()
    adata.obs["one"] = "a"
    sps.tl.cssi(adata, groupby="one")
    sps.tl.cssi_split_half(adata, network, n_splits=2, **QUIET)
    table = adata.uns["cssi_split_half"]["splits"]
    assert (table["status"] == "single_stratum").all()
    assert table["gain"].isna().all()
    assert adata.uns["tests"].set_index("name").loc["split_half/vs_pooled", "status"] == "single_stratum"
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_split_half(adata, network, n_splits=2, min_targets=30, show_progress_bar=False)
    assert (adata.uns["cssi_split_half"]["splits"]["status"] == "no_positives").all()
    with untouched(adata):
        for options, message in (
            ({"variants": ["best"]}, "'best'"),
            ({"variants": []}, "variants"),
            ({"n_splits": 0}, "n_splits"),
        ):
            with pytest.raises(ValueError, match=message):
                sps.tl.cssi_split_half(adata, network, **options)
        with pytest.raises(MemoryError, match=r"30 genes in 600 cells.*select_panel"):
            sps.tl.cssi_split_half(adata, network, memory_limit=1000)


def test_it_survives_writing(planted: Planted, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    adata, network = planted()
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_split_half(adata, network, n_splits=2, variants=["max"], **QUIET)
    for back in roundtrips(adata):
        for name in ("variants", "splits", "edges", "detection"):
            frames = back.uns["cssi_split_half"][name], adata.uns["cssi_split_half"][name]
            pd.testing.assert_frame_equal(*frames, check_dtype=False)
