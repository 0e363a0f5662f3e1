from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

N_REGULATORS = 20
CHEAP = {"n_seeds": 1, "pair_folds": False, "n_boot": 100}


@pytest.fixture
def network() -> pd.DataFrame:
    """Twenty regulators with 12 targets each among 120 genes, some of which have most of them."""
    rng = np.random.default_rng(7)
    popular = rng.gamma(0.4, size=120)
    drawn = [rng.choice(120, 12, replace=False, p=popular / popular.sum()) for _ in range(N_REGULATORS)]
    rows = [(f"G{i}", f"G{j}") for i in range(N_REGULATORS) for j in drawn[i] if i != j]
    return pd.DataFrame(rows, columns=["source", "target"])


@pytest.fixture
def world(
    make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None], network: pd.DataFrame
) -> Callable[..., ad.AnnData]:
    """Maker of data with edges ``made``: of listed pairs (`pair`), of the target's mean (`key`), and noise."""

    def make(*, pair: float = 0.0, key: float = 0.0, noise: float = 1.0, seed: int = 0, **more: Any) -> ad.AnnData:
        adata = make_audit(n_genes=120, n_units=20, companions=(), seed=seed)
        rng = np.random.default_rng(seed + 100)
        if key:  # listed targets are expressed more: the confound
            popular = network["target"].value_counts().reindex(adata.var_names, fill_value=0).to_numpy()
            adata.var["mean"] = popular + 0.01 * rng.random(120)
        values = key * adata.var["mean"].to_numpy() + noise * rng.normal(size=(120, 120))
        place = adata.var_names.get_indexer
        values[place(network["source"]), place(network["target"])] += pair
        store_edges(adata, "made", values, **more)
        return adata

    return make


def _summary(adata: ad.AnnData, key: str = "residualize_edges") -> pd.DataFrame:
    frame = adata.uns[key]["summary"]
    return frame[(frame["variant"] == "magnitude") & (frame["split"] != "pair")].set_index(["edges", "residualizer"])


def test_pair_signal_is_kept(world: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = world(pair=1.0)
    sps.tl.residualize_edges(adata, edges="made", reference=network, **CHEAP)
    found = _summary(adata).loc["made"]
    assert set(found.index) == {"ols", "gbdt", "node"}
    assert (found["auroc_raw"] > 0.7).all()
    assert (found["retention"] > 0.9).all()
    assert (found["retention_low"] > 0.8).all()
    assert found["is_smallest"].sum() == 1


def test_pure_effect_of_the_target_is_taken_away(world: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = world(key=0.3)
    sps.tl.residualize_edges(adata, edges="made", reference=network, **CHEAP)
    found = _summary(adata).loc["made"]
    assert (found["auroc_raw"] > 0.6).all()
    assert (found["auroc"] < 0.53).all()
    assert (found["ci_low"] < 0.5).all()
    assert (found["retention"] < 0.25).all()


def test_edges_that_are_nothing_but_targets_leave_a_constant(
    world: Callable[..., ad.AnnData], network: pd.DataFrame
) -> None:
    """A_ij = b_j exactly: nothing is left under node effects, and nothing is half of all rankings."""
    adata = world(key=0.3, noise=0.0)
    sps.tl.residualize_edges(adata, edges="made", reference=network, residualizers="node", **CHEAP)
    found = _summary(adata).loc[("made", "node")]
    assert found["auroc"] == 0.5
    assert found["retention"] == 0
    left = sps.get.edge_matrix(adata, "made_residual_node").to_numpy()
    assert (left[~np.isnan(left)] == 0).all()


def test_stored_edges_are_what_was_scored(world: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = world(pair=0.5, key=0.1)
    sps.tl.residualize_edges(adata, edges="made", reference=network, n_seeds=2, n_boot=50)
    row, column = (adata.var_names.get_indexer(network[side]) for side in ("source", "target"))
    listed = np.zeros((120, 120), dtype=bool)
    listed[row, column] = True
    rows = np.flatnonzero(listed.sum(axis=1) >= 3)
    inside = ~np.eye(120, dtype=bool)[rows]
    for name in ("ols", "gbdt", "node"):
        key = f"made_residual_{name}"
        left = sps.get.edge_matrix(adata, key).to_numpy()[rows]
        found = _summary(adata).loc[("made", name)]
        assert found["edges_key"] == key
        assert found["auroc"] == pytest.approx(roc_auc_score(listed[rows][inside], left[inside]), abs=1e-12)
        assert adata.uns[key]["params"]["signed"] is False
        assert adata.uns[key]["params"]["cells_hash"] == adata.uns["made"]["params"]["cells_hash"]
        assert found["n_seeds"] == (0 if name == "node" else 2)
    raw = np.asarray(adata.varp["made"])[rows]
    assert found["auroc_raw"] == pytest.approx(roc_auc_score(listed[rows][inside], raw[inside]), abs=1e-12)
    per = adata.uns["residualize_edges"]["per_regulator"].query("residualizer == 'node'").set_index("regulator")
    one = roc_auc_score(listed[5][np.arange(120) != 5], np.delete(np.asarray(adata.varp["made_residual_node"])[5], 5))
    assert per.loc["G5", "auroc"] == pytest.approx(one, abs=1e-12)
    by_split = adata.uns["residualize_edges"]["summary"]
    assert set(zip(by_split["residualizer"], by_split["split"], strict=True)) == {
        ("node", "own_pair"), ("ols", "gene"), ("ols", "pair"), ("gbdt", "gene"), ("gbdt", "pair"),
    }  # fmt: skip


def test_other_tools_score_residuals_by_value(world: Callable[..., ad.AnnData]) -> None:
    adata = world(pair=0.5)
    sps.tl.residualize_edges(adata, edges="made", residualizers=("ols", "node"))
    sps.tl.perturbation_auroc(adata, edges=["made_residual_ols", "made_residual_node"], n_boot=10, baselines=())
    predictors = adata.uns["perturbation_auroc"]["summary"]["predictor"].tolist()
    assert predictors == ["made_residual_ols", "made_residual_node"]  # no signed twin, no companions
    top = sps.get.edges(adata, "made_residual_node", top=5)["weight"].to_numpy()
    assert (top == np.sort(np.asarray(adata.varp["made_residual_node"])[~np.eye(120, dtype=bool)])[::-1][:5]).all()


def test_signed_edges_are_taken_by_magnitude_with_the_value_beside(
    world: Callable[..., ad.AnnData], network: pd.DataFrame, store_edges: Callable[..., None]
) -> None:
    adata = world(pair=1.0)
    rng = np.random.default_rng(0)
    values = np.abs(np.nan_to_num(np.asarray(adata.varp["made"], dtype=float)))
    store_edges(adata, "signed", values * rng.choice([-1, 1], size=values.shape), signed=True)
    store_edges(adata, "magnitude", values)
    options = {"reference": network, "residualizers": ("ols", "node"), **CHEAP}
    sps.tl.residualize_edges(adata, edges=["signed", "magnitude"], **options)
    np.testing.assert_array_equal(adata.varp["signed_residual_ols"], adata.varp["magnitude_residual_ols"])
    frame = adata.uns["residualize_edges"]["summary"]
    by_value = frame[frame["variant"] == "signed"]
    assert by_value["edges"].tolist() == ["signed"] * 2
    assert (by_value["edges_key"] == "").all()
    assert (np.abs(by_value["auroc"] - 0.5) < 0.1).all()  # signs at random carry nothing
    assert (_summary(adata).loc["signed", "auroc"] > 0.6).all()
    assert set(adata.uns["tests"]["edges"]) == {"signed", "magnitude"}


def test_rows_of_the_registry(world: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = world(pair=0.7, layer_rule="frozen")
    sps.tl.residualize_edges(adata, edges="made", reference=network, reference_name="truth", **CHEAP)
    tests = adata.uns["tests"].set_index("name")
    assert set(tests.index) == {
        f"{what}/{name}" for what in ("residual", "retention", "residual_minus_raw") for name in ("ols", "gbdt", "node")
    }
    assert tests.index[tests["is_primary"]].tolist() == ["residual_minus_raw/ols"]
    assert (tests["reference"] == "truth").all()
    assert (tests["layer_rule"] == "frozen").all()
    assert (tests["effects"] == "").all()
    assert (tests["labels_hash"] == adata.uns["residualize_edges"]["params"]["labels_hash"]).all()
    assert tests["p_raw"].notna().equals(tests["role"] == "confirmatory")
    found = _summary(adata).loc["made"]
    for name in ("ols", "gbdt", "node"):
        assert tests.loc[f"retention/{name}", "effect_size"] == found.loc[name, "retention"]
        assert tests.loc[f"residual/{name}", "effect_size"] == found.loc[name, "auroc"]
        assert tests.loc[f"residual/{name}", "minimum_detectable"] > 0
    assert (tests["status"] == "ok").all()


def test_detection_curve_rises_where_there_is_nothing(world: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = world()
    sps.tl.residualize_edges(adata, edges="made", reference=network, **CHEAP)
    curve = adata.uns["residualize_edges"]["detection"].set_index(["delta", "residualizer"])
    for name in ("ols", "gbdt", "node"):
        of_one = curve.xs(name, level="residualizer")
        assert of_one.index.tolist() == [0.25, 0.5, 1.0, 2.0]
        assert of_one["statistic"].is_monotonic_increasing
        assert of_one.loc[2.0, "detected"]
    rows = adata.uns["tests"].set_index("name").loc[["retention/ols", "retention/gbdt", "retention/node"]]
    assert rows["effect_size"].isna().all()
    assert (rows["status"] == "ok").all()
    assert rows["reason"].str.contains(r"not above 0\.52").all()


def test_planted_ols_and_node_residuals_are_those_of_a_second_call(
    world: Callable[..., ad.AnnData], network: pd.DataFrame, store_edges: Callable[..., None]
) -> None:
    """The curve against the whole pipeline, run on edges planted by hand."""
    from scepsis._core._rng import child
    from scepsis.stats._planted import planted

    adata = world()
    options = {"reference": network, "residualizers": ("ols", "node"), **CHEAP}
    sps.tl.residualize_edges(adata, edges="made", **options)
    listed = np.zeros((120, 120), dtype=bool)
    listed[tuple(adata.var_names.get_indexer(network[side]) for side in ("source", "target"))] = True
    values = np.asarray(adata.varp["made"], dtype=np.float64)
    by_hand = planted(values, listed, 1.0, child(0, "residualize_edges", "planted"))
    store_edges(adata, "planted", by_hand)
    sps.tl.residualize_edges(adata, edges="planted", key_added="again", **options)
    curve = adata.uns["residualize_edges"]["detection"].query("delta == 1").set_index("residualizer")["statistic"]
    for name in ("ols", "node"):
        assert curve[name] == pytest.approx(_summary(adata, "again").loc[("planted", name), "auroc"], abs=1e-5)


def test_result_does_not_depend_on_threads_order_or_company(
    world: Callable[..., ad.AnnData], network: pd.DataFrame
) -> None:
    adata, other = world(pair=0.5), world(pair=0.5)
    options = {"reference": network, "n_seeds": 1, "n_boot": 50, "max_train": 1000}
    sps.tl.residualize_edges(adata, edges=["made", "attention"], n_jobs=2, **options)
    sps.tl.residualize_edges(other, edges=["attention", "made"], **options)
    for name in ("ols", "gbdt", "node"):
        np.testing.assert_array_equal(adata.varp[f"made_residual_{name}"], other.varp[f"made_residual_{name}"])
    pd.testing.assert_frame_equal(_summary(adata).sort_index(), _summary(other).sort_index())
    sps.tl.residualize_edges(other, edges=["attention", "made"], residualizers="ols", rng=1)
    assert (adata.varp["made_residual_ols"] != other.varp["made_residual_ols"]).mean() > 0.9  # other blocks


def test_pairs_are_those_that_all_sets_have(world: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = world(pair=0.5)
    made = np.asarray(adata.varp["made"]).copy()
    made[:, 110:] = np.nan
    adata.varp["part"] = made
    adata.uns["part"] = {"params": dict(adata.uns["made"]["params"]), "edges_keys": ["part"]}
    sps.tl.residualize_edges(adata, edges=["made", "part"], reference=network, **CHEAP)
    left = np.asarray(sps.get.edge_matrix(adata, "made_residual_node").reindex(columns=adata.var_names))
    assert np.isnan(left[:, 110:]).all()
    frame = _summary(adata)
    assert len(set(frame["n_pairs"])) == 1
    np.testing.assert_array_equal(frame.loc["made", "auroc"], frame.loc["part", "auroc"])


@pytest.mark.parametrize("universe", ["all_pairs", "unordered"])
def test_other_universes(world: Callable[..., ad.AnnData], network: pd.DataFrame, universe: str) -> None:
    adata = world(pair=1.0)
    sps.tl.residualize_edges(
        adata, edges="made", reference=network, universe=universe, residualizers=("ols", "node"), **CHEAP
    )
    listed = np.zeros((120, 120), dtype=bool)
    listed[tuple(adata.var_names.get_indexer(network[side]) for side in ("source", "target"))] = True
    left = np.asarray(adata.varp["made_residual_node"], dtype=float)
    inside = ~np.eye(120, dtype=bool)
    if universe == "unordered":
        left, listed, inside = (left + left.T) / 2, listed | listed.T, np.triu(inside)
    found = _summary(adata).loc[("made", "node")]
    assert found["auroc"] == pytest.approx(roc_auc_score(listed[inside], left[inside]), abs=1e-12)
    assert found["n_pairs"] == inside.sum()
    tests = adata.uns["tests"].set_index("name")
    changed = tests.loc["residual_minus_raw/ols"]
    assert (changed["status"] == "not_applicable") == (universe == "unordered")
    assert np.isnan(changed["p_raw"]) == (universe == "unordered")


def test_without_a_reference_there_are_edges_and_no_rows(world: Callable[..., ad.AnnData]) -> None:
    adata = world()
    sps.tl.residualize_edges(adata, edges="made", residualizers=("ols", "node"))
    assert {"made_residual_ols", "made_residual_node"} <= set(adata.varp)
    assert "tests" not in adata.uns
    assert set(adata.uns["residualize_edges"]) == {"params", "summary"}
    assert (_summary(adata)["status"] == "not_run").all()
    assert _summary(adata)["r2"].notna().all()


def test_degenerate_data_give_statuses(
    world: Callable[..., ad.AnnData], network: pd.DataFrame, store_edges: Callable[..., None]
) -> None:
    adata = world()
    store_edges(adata, "flat", np.full((120, 120), 0.3))
    options = {"residualizers": ("ols", "node"), **CHEAP}
    sps.tl.residualize_edges(adata, edges="flat", reference=network, **options)
    flat = _summary(adata).loc["flat"]
    assert (flat["status"] == "constant_score").all()
    assert (flat["auroc"] == 0.5).all()
    assert flat["retention"].isna().all()
    assert flat["r2"].isna().all()
    assert adata.uns["tests"]["p_raw"].isna().all()

    few = network[network["source"].isin(["G0", "G1"])]
    sps.tl.residualize_edges(adata, edges="made", reference=few, **options)
    assert (_summary(adata)["status"] == "too_few_units").all()
    assert _summary(adata)["auroc"].notna().all()
    assert _summary(adata)["ci_low"].isna().all()

    sps.tl.residualize_edges(adata, edges="made", reference=network.iloc[:2], **options)  # no gene has three targets
    assert (_summary(adata)["status"] == "no_positives").all()
    assert _summary(adata)["auroc"].isna().all()

    empty = np.full((120, 120), np.nan)
    empty[0, 1:4] = 1.0, 2.0, 3.0
    store_edges(adata, "scarce", empty)
    sps.tl.residualize_edges(adata, edges="scarce", reference=network, **options)
    assert (_summary(adata)["status"] == "too_few_units").all()


def test_wrong_input_raises_before_any_work(
    world: Callable[..., ad.AnnData], network: pd.DataFrame, untouched: Callable[[ad.AnnData], Any]
) -> None:
    adata = world()
    sps.tl.residualize_edges(adata, edges="made", residualizers="ols")
    foreign = network.assign(source="ENSG" + network["source"])
    with untouched(adata):
        with pytest.raises(ValueError, match="residualizers"):
            sps.tl.residualize_edges(adata, edges="made", residualizers=["lasso"])
        with pytest.raises(ValueError, match="is empty"):
            sps.tl.residualize_edges(adata, edges="made", residualizers=[])
        with pytest.raises(ValueError, match="n_seeds"):
            sps.tl.residualize_edges(adata, edges="made", n_seeds=0)
        with pytest.raises(ValueError, match="overwrite"):
            sps.tl.residualize_edges(adata, edges=["made", "made_residual_ols"])
        with pytest.raises(ValueError, match="reference"):
            sps.tl.residualize_edges(adata, edges="made", reference=foreign)
        with pytest.raises(KeyError, match="source"):
            sps.tl.residualize_edges(adata, edges="made", reference=network.rename(columns={"source": "tf"}))
    del adata.var["variance"]
    with untouched(adata), pytest.raises(KeyError, match="gene_features"):
        sps.tl.residualize_edges(adata, edges="made")


def test_results_survive_writing(
    world: Callable[..., ad.AnnData], network: pd.DataFrame, roundtrips: Callable[..., Any]
) -> None:
    adata = world(pair=0.5)
    sps.tl.residualize_edges(adata, edges="made", reference=network, **CHEAP)
    for back in roundtrips(adata):
        for name in ("summary", "per_regulator", "detection"):
            pd.testing.assert_frame_equal(
                back.uns["residualize_edges"][name], adata.uns["residualize_edges"][name], check_dtype=False
            )
        pd.testing.assert_frame_equal(
            sps.get.edge_matrix(back, "made_residual_node"), sps.get.edge_matrix(adata, "made_residual_node")
        )
        assert back.uns["made_residual_node"]["params"]["residual_of"] == "made"


def test_copy_and_mudata(world: Callable[..., ad.AnnData], untouched: Callable[[ad.AnnData], Any]) -> None:
    import mudata as md

    adata = world()
    with untouched(adata):
        changed = sps.tl.residualize_edges(adata, edges="made", residualizers="node", copy=True)
    assert "made_residual_node" in changed.varp
    with md.set_options(pull_on_update=False):
        mdata = md.MuData({"rna": adata})
    sps.tl.residualize_edges(mdata, edges="made", residualizers="node", mod="rna")
    assert "made_residual_node" in mdata.mod["rna"].varp
