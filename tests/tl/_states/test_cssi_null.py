from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, wilcoxon
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis._core._rng import child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

    Planted = Callable[..., tuple[ad.AnnData, pd.DataFrame]]
    Untouched = Callable[[ad.AnnData], Any]

QUIET: dict[str, Any] = {"show_progress_bar": False, "min_targets": 1}


def _areas(adata: ad.AnnData, network: pd.DataFrame, matrix: np.ndarray) -> tuple[float, dict[str, float]]:
    """AUROC by scikit-learn: of all pairs of a listed source, and of each source."""
    frame = pd.DataFrame(np.abs(matrix), index=adata.var_names, columns=adata.var_names)
    listed = pd.DataFrame(0, index=adata.var_names, columns=adata.var_names)
    for row in network.itertuples():
        listed.loc[row.source, row.target] = 1
    rows = [source for source in adata.var_names if source in set(network["source"])]
    pairs = {source: adata.var_names != source for source in rows}
    one = {s: roc_auc_score(listed.loc[s, pairs[s]], frame.loc[s, pairs[s]]) for s in rows}
    truth = np.concatenate([listed.loc[s, pairs[s]] for s in rows])
    return roc_auc_score(truth, np.concatenate([frame.loc[s, pairs[s]] for s in rows])), one


def _networks(values: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    return np.abs(np.stack([spearmanr(values[rows]).statistic for rows in members])).max(axis=0)


def test_numbers_are_those_of_a_slow_loop(planted: Planted) -> None:
    adata, network = planted()
    sps.tl.cssi(adata, groupby="cell_state")
    assert sps.tl.cssi_null(adata, network, n_null=7, rng=3, **QUIET) is None
    values, codes = adata.X, adata.obs["cell_state"].cat.codes.to_numpy()
    members = [np.flatnonzero(codes == code) for code in range(6)]
    observed, by_source = _areas(adata, network, _networks(values, members))
    pooled, pooled_by_source = _areas(adata, network, spearmanr(values).statistic)
    table = adata.uns["cssi_null"]["nulls"].set_index("null")
    draws = adata.uns["cssi_null"]["draws"]
    assert table["observed"].to_numpy() == pytest.approx(observed, abs=1e-6)
    assert table["pooled"].to_numpy() == pytest.approx(pooled, abs=1e-6)
    expected: dict[str, list[float]] = {"size_matched": [], "shuffled": [], "genes": [], "random": []}
    for draw in range(7):
        rng = child(3, "cssi_null", "size_matched", draw)
        chosen = [np.sort(rng.choice(600, size=100, replace=False)) for _ in range(6)]
        expected["size_matched"].append(_areas(adata, network, _networks(values, chosen))[0])
        order = child(3, "cssi_null", "shuffled", draw).permutation(600)
        chosen = [np.sort(order[100 * k : 100 * k + 100]) for k in range(6)]
        expected["shuffled"].append(_areas(adata, network, _networks(values, chosen))[0])
        code = child(3, "cssi_null", "random", draw).integers(6, size=600)
        chosen = [np.flatnonzero(code == k) for k in range(6)]
        expected["random"].append(_areas(adata, network, _networks(values, chosen))[0])
    for null in ("size_matched", "shuffled", "random"):
        np.testing.assert_allclose(draws["auroc"][draws["null"] == null], expected[null], atol=1e-6)
        assert table.loc[null, "p_value"] == (1 + sum(value >= observed for value in expected[null])) / 8
        assert table.loc[null, "null_mean"] == pytest.approx(np.mean(expected[null]), abs=1e-6)
        assert table.loc[null, "z"] == pytest.approx(
            (observed - np.mean(expected[null])) / np.std(expected[null], ddof=1), rel=1e-4
        )
        assert table.loc[null, "above_pooled"] == np.mean(np.array(expected[null]) > pooled)
    rows = adata.uns["tests"].set_index("name")
    assert rows["is_primary"].to_dict() == {
        "null/size_matched": True,
        "null/shuffled": False,
        "null/random": False,
        "null/genes": False,
        "vs_pooled": False,
    }
    assert (rows["analysis"] == "A24").all()
    differences = [by_source[source] - pooled_by_source[source] for source in by_source]
    assert rows.loc["vs_pooled", "effect_size"] == pytest.approx(np.mean(differences), abs=1e-6)
    assert rows.loc["vs_pooled", "status"] == "too_few_units"  # of 5 regulators


def test_states_pass_and_strata_that_say_nothing_fail(planted: Planted) -> None:
    adata, network = planted(n_states=8, cells_per_state=60)
    adata.obs["nothing"] = np.random.default_rng(0).permutation(adata.obs["cell_state"].to_numpy())
    found = {}
    for groupby in ("cell_state", "nothing"):
        sps.tl.cssi(adata, groupby=groupby)
        sps.tl.cssi_null(adata, network, n_null=39, **QUIET)
        found[groupby] = adata.uns["cssi_null"]["nulls"].set_index("null")
    true, nothing = found["cell_state"], found["nothing"]
    assert (true["p_value"] <= 0.05).all()
    assert (nothing.loc[["size_matched", "shuffled", "random"], "p_value"] > 0.05).all()
    assert nothing.loc["size_matched", "gain"] < 0 < true.loc["size_matched", "gain"]
    # no null is better than all cells together
    assert (true["null_mean"] < true["pooled"]).all()


def test_states_recover_what_groups_of_their_size_do_not() -> None:
    """In the simulated screen: edges of one state come up by states, not over all cells nor in groups of their size."""
    adata = sps.datasets.simulate_screen(n_genes=150, n_regulators=20, n_other=0, cells_per_perturbation=0, rng=1)
    network = adata.uns["simulate_screen"]["network"]
    own = network[network["state"] != "all"]
    sps.tl.cssi(adata, groupby="cell_state", min_detected=5)
    sps.tl.cssi_null(adata, own, nulls="size_matched", n_null=19, **QUIET)
    row = adata.uns["cssi_null"]["nulls"].iloc[0]
    draws = adata.uns["cssi_null"]["draws"]
    assert row["p_value"] == 0.05
    assert row["observed"] > row["pooled"] + 0.05
    assert draws["auroc"].mean() < row["pooled"] + 0.01


@pytest.mark.parametrize("n_states", [2, 5, 10, 20])
def test_no_null_is_better_than_all_cells_together(planted: Planted, n_states: int) -> None:
    """On average over simulations; all numbers of states from 2 to 20 are in ``benchmarks/README.md``."""
    found = []
    for seed in range(4):
        adata, network = planted(n_states=n_states, rng=seed)
        sps.tl.cssi(adata, groupby="cell_state")
        sps.tl.cssi_null(adata, network, n_null=3, **QUIET)
        table = adata.uns["cssi_null"]["nulls"].set_index("null")
        found.append(table["null_mean"] - table["pooled"])
    assert (pd.concat(found, axis=1).mean(axis=1) <= 0).all()


def test_planted_signals_are_seen_by_the_same_test(planted: Planted) -> None:
    """Where states say nothing, a signal of known strength in their aggregate is found, and rightly counted."""
    adata, network = planted(n_states=8, cells_per_state=60)
    adata.obs["nothing"] = np.random.default_rng(0).permutation(adata.obs["cell_state"].to_numpy())
    sps.tl.cssi(adata, groupby="nothing")
    sps.tl.cssi_null(adata, network, n_null=39, nulls=["size_matched", "genes"], rng=4, **QUIET)
    seen = adata.uns["cssi_null"]["detection"]
    assert set(seen["test"]) == {"null/size_matched", "null/genes", "vs_pooled"}
    draws = adata.uns["cssi_null"]["draws"].query("null == 'size_matched'")["auroc"].to_numpy()
    # by hand: half of the listed pairs raised
    place = adata.var_names.get_indexer
    listed = np.zeros((30, 30), dtype=bool)
    listed[place(network["source"]), place(network["target"])] = True
    pairs = listed.any(axis=1)[:, None] & ~np.eye(30, dtype=bool)
    rows = np.flatnonzero(pairs.any(axis=1))
    scores = np.where(pairs, np.abs(adata.varp["cssi"].astype(np.float64)), np.nan)[rows]
    chosen = child(4, "cssi_null", "planted").permutation(np.flatnonzero(listed[rows]))[: listed.sum() // 2]
    found = []
    for delta in (0.25, 0.5, 1.0, 2.0):
        signal = scores.copy()
        signal.flat[chosen] += delta * np.nanstd(scores)
        area = roc_auc_score(listed[rows][pairs[rows]], signal[pairs[rows]])
        row = seen[(seen["test"] == "null/size_matched") & (seen["delta"] == delta)].iloc[0]
        assert row["statistic"] == pytest.approx(area - draws.mean(), abs=1e-6)
        assert row["p_value"] == (1 + (draws >= area).sum()) / 40
        assert row["detected"] == (row["p_value"] < 0.05)
        found.append(row["statistic"])
    assert found == sorted(found)
    assert (seen.query("test == 'vs_pooled'")["detected"] == False).all()  # noqa: E712 - five regulators are too few


def test_signed_ranks_over_regulators() -> None:
    adata = sps.datasets.simulate_cssi(design="types", n_cells=1500, rng=0)
    network = adata.uns["simulate_cssi"]["network"]
    sps.tl.cssi(adata, groupby="cell_state", mask_var=np.arange(245) < 60)
    sps.tl.cssi_null(adata, network, n_null=2, nulls="genes", **QUIET)
    values = adata.X[:, :60]
    codes = adata.obs["cell_state"].cat.codes.to_numpy()
    small = adata[:, :60]
    members = [np.flatnonzero(codes == code) for code in range(8)]
    _, cssi = _areas(small, network, _networks(values, members))
    _, pooled = _areas(small, network, spearmanr(values).statistic)
    row = adata.uns["tests"].set_index("name").loc["vs_pooled"]
    differences = np.array([cssi[source] - pooled[source] for source in cssi])
    assert row["n_units"] == len(differences) >= 6
    moved = differences[np.abs(differences) > 1e-9]  # zeros are dropped
    assert row["p_raw"] == pytest.approx(wilcoxon(moved, alternative="greater").pvalue, rel=1e-3)


def test_one_seed_one_result_whatever_else_is_asked(planted: Planted) -> None:
    adata, network = planted()
    sps.tl.cssi(adata, groupby="cell_state")
    draws = []
    for nulls in (("genes", "shuffled"), ("shuffled",)):
        sps.tl.cssi_null(adata, network, nulls=nulls, n_null=3, **QUIET)
        table = adata.uns["cssi_null"]["draws"]
        draws.append(table["auroc"][table["null"] == "shuffled"].to_numpy())
    np.testing.assert_array_equal(*draws)


@pytest.mark.filterwarnings("ignore:`adata` has 60 of")
def test_attention_needs_its_model(screen: ad.AnnData, small_model: Any, untouched: Untouched) -> None:
    screen.obs["state"] = np.repeat(["a", "b"], [130, 150])
    network = pd.DataFrame({"source": ["G0"] * 3 + ["G1"] * 3, "target": [f"G{number}" for number in range(10, 16)]})
    sps.tl.attention_edges(screen, small_model, layers=[0], groupby="state", show_progress_bar=False)
    sps.tl.cssi(screen, groupby="state", score="attention")
    sps.tl.cssi_null(screen, network, n_null=4, **QUIET)
    table = screen.uns["cssi_null"]["nulls"].set_index("null")
    assert table["status"].to_dict() == {
        "size_matched": "not_run", "shuffled": "not_run", "random": "not_run", "genes": "ok",
    }  # fmt: skip
    assert table.loc["size_matched", ["null_mean", "p_value"]].isna().all()
    assert table["pooled"].notna().all()
    with untouched(screen), pytest.raises(MemoryError, match=r"60 genes in 280 cells"):  # networks that are there
        sps.tl.cssi_null(screen, network, nulls="genes", memory_limit=12 * 4 * 60**2 - 1, **QUIET)
    sps.tl.cssi_null(screen, network, nulls="genes", n_null=1, memory_limit=12 * 4 * 60**2, **QUIET)
    sps.tl.cssi_null(screen, network, n_null=2, model=small_model, nulls=["size_matched", "random"], **QUIET)
    again = screen.uns["cssi_null"]["nulls"].set_index("null")
    assert (again["status"] == "ok").all()
    assert again["observed"].iloc[0] == table["observed"].iloc[0]
    assert again["pooled"].iloc[0] == pytest.approx(table["pooled"].iloc[0])


def test_functions_have_to_be_given_again(planted: Planted, untouched: Untouched) -> None:
    def score(values: np.ndarray) -> np.ndarray:
        return np.corrcoef(values, rowvar=False)

    adata, network = planted()
    sps.tl.cssi(adata, groupby="cell_state", score="pearson")
    sps.tl.cssi_null(adata, network, n_null=2, **QUIET)
    expected = adata.uns["cssi_null"]["draws"]["auroc"].to_numpy()
    sps.tl.cssi(adata, groupby="cell_state", score=score)
    with untouched(adata), pytest.raises(ValueError, match="`score=`"):
        sps.tl.cssi_null(adata, network, n_null=2, **QUIET)
    sps.tl.cssi_null(adata, network, n_null=2, score=score, **QUIET)
    np.testing.assert_allclose(adata.uns["cssi_null"]["draws"]["auroc"], expected, atol=1e-3)


def test_degenerate_data_give_a_status(planted: Planted) -> None:
    adata, network = planted()
    adata.obs["one"] = "a"
    sps.tl.cssi(adata, groupby="one")
    sps.tl.cssi_null(adata, network, n_null=2, **QUIET)
    table = adata.uns["cssi_null"]["nulls"]
    assert (table["status"] == "single_stratum").all()
    assert (table["gain"] == 0).all()
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_null(adata, network, n_null=2, show_progress_bar=False, min_targets=30)
    assert (adata.uns["cssi_null"]["nulls"]["status"] == "no_positives").all()
    assert adata.uns["cssi_null"]["nulls"][["observed", "p_value"]].isna().all(axis=None)
    assert adata.uns["tests"].set_index("name").loc["vs_pooled", "status"] == "no_positives"


def test_wrong_input_is_refused(planted: Planted, untouched: Untouched) -> None:
    adata, network = planted()
    with untouched(adata), pytest.raises(KeyError, match=r"tl\.cssi"):
        sps.tl.cssi_null(adata, network)
    sps.tl.correlation_edges(adata)
    sps.tl.cssi(adata, groupby="cell_state")
    with untouched(adata):
        with pytest.raises(KeyError, match="no networks per state"):
            sps.tl.cssi_null(adata, network, key="spearman")
        with pytest.raises(KeyError, match="'target'"):
            sps.tl.cssi_null(adata, network[["source"]])
        with pytest.raises(ValueError, match="no pair of two different genes"):
            sps.tl.cssi_null(adata, network.assign(target=network["source"]))
        with pytest.raises(ValueError, match="'labels'"):
            sps.tl.cssi_null(adata, network, nulls="labels")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="n_null"):
            sps.tl.cssi_null(adata, network, n_null=0)
        with pytest.raises(MemoryError, match=r"30 genes in 600 cells.*select_panel"):
            sps.tl.cssi_null(adata, network, memory_limit=1000)
    changed = adata[:500].copy()
    with untouched(changed), pytest.raises(ValueError, match=r"cells behind .* have changed"):
        sps.tl.cssi_null(changed, network)


def test_it_survives_writing(planted: Planted, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    adata, network = planted()
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_null(adata, network, n_null=2, **QUIET)
    for back in roundtrips(adata):
        for name in ("nulls", "draws", "detection"):
            pd.testing.assert_frame_equal(back.uns["cssi_null"][name], adata.uns["cssi_null"][name], check_dtype=False)
        sps.tl.cssi_null(back, network, n_null=2, **QUIET)
        np.testing.assert_array_equal(back.uns["tests"]["n_runs"], 2)
