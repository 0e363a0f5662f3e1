from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import mudata
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis.stats import _learners
from scepsis.stats._intervals import t_interval
from scepsis.stats._paired import signed_rank

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

KEY = "incremental_value"
CELL = ["edges", "split", "learner", "metric"]


def run(adata: ad.AnnData, edges: Any = "attention", **more: Any) -> dict[str, Any]:
    options = {"joint_mode": "diagonal", "n_boot": 100} | more
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is no record of the cells", category=UserWarning)
        assert sps.tl.incremental_value(adata, edges=edges, **options) is None
    return adata.uns[options.get("key_added", KEY)]


def quick(adata: ad.AnnData, edges: Any = "attention", **more: Any) -> dict[str, Any]:
    options = {"splits": "perturbation", "learners": "logistic", "n_placebo": 2}
    return run(adata, edges, **(options | more))


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five trees in the place of fifty, where it is asked what is made of scores and not how good they are."""
    monkeypatch.setitem(_learners.BOOSTING, "max_iter", 5)


@pytest.fixture
def small(make_audit: Callable[..., ad.AnnData]) -> ad.AnnData:
    return make_audit(n_genes=60, n_units=14, signal=0.7, shared=0.6, companions=())


def responds(adata: ad.AnnData) -> np.ndarray:
    return np.asarray(adata.varm["perturbation_target"]).T == 1


# Planted truth, both ways


def test_planted_pair_signal_passes_everywhere(make_audit: Callable[..., ad.AnnData]) -> None:
    gains = run(make_audit(n_genes=120, signal=1.5, shared=0.6, companions=()), n_placebo=2)["gains"]
    assert len(gains) == 3 * 2 * 5
    logistic, trees = (gains[gains["learner"] == learner] for learner in ("logistic", "gbdt"))
    ranked = ["auroc", "auprc"]
    assert (logistic.loc[logistic["metric"].isin(ranked), "ci_low"] > 0).all()
    assert (trees.loc[trees["metric"].isin(ranked), "placebo_low"] > 0).all()
    assert (gains.loc[gains["metric"] == "recall@10", "gain"] > 0.1).all()
    assert gains.loc[gains["metric"].isin(ranked), "material"].all()
    assert (gains.loc[gains["metric"] == "auroc", "equivalence"] == "different").all()


def test_pure_property_of_the_target_adds_nothing(
    make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit(n_genes=120, shared=1.2, companions=())
    noise = np.random.default_rng(0).normal(size=(120, 120))
    property_of_target = np.log(adata.var["mean"].to_numpy())
    store_edges(adata, "key", property_of_target + 0.05 * noise)
    sps.tl.perturbation_auroc(adata, edges="key", baselines=(), n_boot=10, key_added="raw")
    assert adata.uns["raw"]["summary"]["ci_low"].iloc[0] > 0.6  # far above chance ...
    gains = run(adata, "key", n_placebo=2, metrics="auroc")["gains"].set_index(["learner", "metric"]).sort_index()
    for learner, low, gain in (("logistic", "ci_low", "gain"), ("gbdt", "placebo_low", "gain_placebo")):
        of_learner = gains.loc[(learner, "auroc")]
        assert not (of_learner[low] > 0).all()  # ... and nothing in addition
        assert (of_learner[gain] < 0.02).all()


def test_noise_costs_trees_something_and_the_placebo_pays_the_same(make_audit: Callable[..., ad.AnnData]) -> None:
    gain, against_placebo = [], []
    for seed in range(8):
        adata = make_audit(n_genes=80, n_units=20, shared=1.0, companions=(), seed=seed)
        options = {"splits": "perturbation", "learners": "gbdt", "metrics": "auroc", "n_placebo": 2, "n_folds": 3}
        row = run(adata, {"noise": "attention"}, **options)["gains"].iloc[0]
        gain.append(row["gain"])
        against_placebo.append(row["gain_placebo"])
    error = np.std(against_placebo, ddof=1) / np.sqrt(len(gain))
    assert abs(np.mean(against_placebo)) < 3 * error
    assert np.mean(gain) < -2 * np.std(gain, ddof=1) / np.sqrt(len(gain))


def test_planted_signals_are_found_the_more_the_stronger(make_audit: Callable[..., ad.AnnData]) -> None:
    frame = quick(make_audit(n_genes=120, shared=0.6, companions=()))["detection"]
    assert frame["delta"].tolist() == [0.25, 0.5, 1.0, 2.0]
    assert frame["statistic"].is_monotonic_increasing
    assert frame["detected"].iloc[-1]
    assert (frame["detected"] == (frame["ci_low"] > 0)).all()


# What the numbers are


@pytest.mark.usefixtures("few_trees")
def test_gains_are_means_over_perturbations(small: ad.AnnData) -> None:
    result = run(small, n_placebo=2)
    units = result["per_perturbation"].groupby(CELL)
    for key, part in units:
        row = result["gains"].set_index(CELL).sort_index().loc[key]
        gain = (part["augmented"] - part["gene_only"]).dropna()
        assert row["gene_only"] == pytest.approx(part["gene_only"].mean())
        assert row["gain"] == pytest.approx(gain.mean(), abs=1e-12)
        assert row["gain_placebo"] == pytest.approx((part["augmented"] - part["placebo"]).mean(), abs=1e-12)
        assert row["p_value"] == pytest.approx(signed_rank(gain.to_numpy()).p_value)
        error = gain.std() / np.sqrt(len(gain))
        expected = t_interval(gain.mean(), error, len(gain) - 1)
        np.testing.assert_allclose([row["t_low"], row["t_high"]], expected, atol=1e-12)
        if key[-1] != "auroc":
            np.testing.assert_allclose([row["ci_low"], row["ci_high"]], expected, atol=1e-12)
        else:
            assert row["ci_high"] - row["ci_low"] >= expected[1] - expected[0] - 1e-12
        assert row["n_units"] == len(gain)


@pytest.mark.usefixtures("few_trees")
def test_strongest_learner_is_the_comparator(small: ad.AnnData) -> None:
    result = run(small, n_placebo=1)
    alone = (
        result["gene_only"].query("features == 'gene'").set_index(["split", "metric", "learner"])["value"].sort_index()
    )
    for _, row in result["gains"].iterrows():
        of_cell = alone.loc[row["split"], row["metric"]]
        assert alone.loc[row["split"], row["metric"], row["strongest"]] == of_cell.max()
        assert row["gain_strongest"] == pytest.approx(row["augmented"] - of_cell.max(), abs=1e-12)


@pytest.mark.usefixtures("few_trees")
def test_all_cells_of_the_joint_split_test_every_pair_and_the_diagonal_a_fifth(small: ad.AnnData) -> None:
    options = {"splits": "joint", "learners": "logistic", "n_placebo": 1}
    full, diagonal = (run(small, joint_mode=mode, **options)["gains"].iloc[0] for mode in ("full", "diagonal"))
    assert (full["n_folds"], full["n_pairs"]) == (25, 14 * 59)
    assert diagonal["n_folds"] == 5
    assert 100 < diagonal["n_pairs"] <= 14 * 60 / 5  # less the perturbed genes, and units of one class among 12 targets


@pytest.mark.usefixtures("few_trees")
def test_worst_of_three_splits_is_marked(small: ad.AnnData) -> None:
    gains = run(small, n_placebo=1)["gains"]
    for (learner, _), part in gains.groupby(["learner", "metric"]):
        column = "gain" if learner == "logistic" else "gain_placebo"
        assert part["worst_of_three"].sum() == 1
        assert part.loc[part["worst_of_three"], column].iloc[0] == part[column].min()
    assert not quick(small)["gains"]["worst_of_three"].any()


def test_a_recall_without_room_is_saturated(small: ad.AnnData) -> None:
    gains = quick(small, metrics=["recall@10", "recall@59"])["gains"].set_index("metric")
    assert gains["saturated"].tolist() == [False, True]
    assert gains.loc["recall@59", ["gene_only", "gain"]].tolist() == [1.0, 0.0]
    assert gains["reason"].tolist() == ["", "saturated"]
    rows = small.uns["tests"].set_index("name")
    assert rows.loc["gain/perturbation/logistic/recall@59", "reason"] == "saturated"


def test_frequency_of_response_takes_the_gain_of_edges_that_are_nothing_else(
    make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit(n_genes=150, n_units=40, companions=())
    rng = np.random.default_rng(0)
    often = rng.random(150) < 0.15  # responsive genes that their own expression does not tell
    found = rng.random((40, 150)) < np.where(often, 0.6, 0.03)
    adata.varm["perturbation_target"] = found.T.astype(np.float32)
    store_edges(adata, "often", often + rng.normal(size=(150, 150)))
    row = quick(adata, "often", metrics="auroc")["gains"].iloc[0]
    assert row["ci_low"] > 0.05
    assert row["de_frequency_high"] < 0.01
    alone = adata.uns[KEY]["gene_only"].set_index("features")["value"]
    assert alone["gene+de_frequency"] > 0.8 > alone["gene"]


def test_strata_are_means_over_their_perturbations(small: ad.AnnData) -> None:
    small.var["is_tf"] = [index < 7 for index in range(60)]
    by_column = quick(small, regulators="is_tf")["strata"]
    by_name = quick(small, regulators=[f"G{index}" for index in range(7)])["strata"]
    pd.testing.assert_frame_equal(by_column, by_name)
    small.var["symbol"] = [f"S{index}" for index in range(60)]
    by_symbol = quick(small, regulators=[f"S{index}" for index in range(7)], gene_symbols="symbol")["strata"]
    pd.testing.assert_frame_equal(by_column, by_symbol)
    units = small.uns[KEY]["per_perturbation"].query("metric == 'auroc'")
    is_tf = units["perturbation"].isin([f"G{index}" for index in range(7)])
    rows = by_column.query("metric == 'auroc'").set_index("stratum")
    assert rows.loc["regulator", "gain"] == pytest.approx(units.loc[is_tf, "gain"].mean(), abs=1e-12)
    assert rows.loc["other", "gain"] == pytest.approx(units.loc[~is_tf, "gain"].mean(), abs=1e-12)
    assert rows["n_units"].tolist() == [7, 7]
    assert quick(small)["strata"].empty


# One result, however it is made


def test_result_does_not_depend_on_jobs_nor_on_what_else_is_scored(small: ad.AnnData) -> None:
    options = {"n_placebo": 1, "splits": ["perturbation", "joint"]}
    first = run(small, ["attention", "spearman"], **options)
    again = run(small, ["spearman", "attention"], n_jobs=2, key_added="again", **options)
    for name in ("gains", "gene_only", "per_perturbation", "detection"):
        frames = [one[name] for one in (first, again)]
        if "edges" in frames[0]:
            frames = [frame.sort_values("edges", kind="stable").reset_index(drop=True) for frame in frames]
        pd.testing.assert_frame_equal(*frames, check_exact=True)
    other = run(small, ["attention", "spearman"], rng=1, key_added="other", **options | {"learners": "logistic"})
    mine = first["gains"].query("learner == 'logistic'")
    assert (mine["gain_placebo"].to_numpy() != other["gains"]["gain_placebo"].to_numpy()).any()


def test_sets_share_the_pairs_that_all_have(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=60, n_units=14, outside=5, companions=())
    together = quick(adata, ["attention", "spearman"])["gains"].set_index(CELL).sort_index()
    assert len(set(together["n_pairs"])) == 1
    assert together["n_pairs"].iloc[0] < quick(adata, "spearman")["gains"]["n_pairs"].iloc[0]
    alone = quick(adata, "attention")["gains"].set_index(CELL).sort_index()
    pd.testing.assert_frame_equal(together.loc[["attention"]], alone, check_exact=True)


def test_result_survives_disk(small: ad.AnnData, roundtrips: Callable[..., Any]) -> None:
    small.var["is_tf"] = [index < 7 for index in range(60)]
    quick(small, regulators="is_tf")
    for back in roundtrips(small):
        for name, frame in small.uns[KEY].items():
            if name != "params":
                pd.testing.assert_frame_equal(frame, back.uns[KEY][name], check_dtype=True)
        assert back.uns[KEY]["params"]["n_placebo"] == 2
        assert len(back.uns["tests"]) == len(small.uns["tests"])


def test_copy_and_modality(small: ad.AnnData, untouched: Callable[..., Any]) -> None:
    with untouched(small):
        copied = sps.tl.incremental_value(
            small, edges="attention", splits="perturbation", learners="logistic", n_boot=20, copy=True
        )
    assert KEY in copied.uns
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": small})
    quick(mdata["rna"], key_added="direct")
    sps.tl.incremental_value(
        mdata, edges="attention", splits="perturbation", learners="logistic", n_placebo=2, n_boot=100, mod="rna"
    )
    pd.testing.assert_frame_equal(mdata["rna"].uns[KEY]["gains"], mdata["rna"].uns["direct"]["gains"])


@pytest.mark.usefixtures("few_trees")
def test_rows_of_the_registry(small: ad.AnnData) -> None:
    gains = run(small, n_placebo=1)["gains"]
    rows = small.uns["tests"]
    assert len(rows) == 2 * len(gains)
    assert (rows["analysis"] == "A05").sum() == 4  # two learners, against gene features and placebo
    confirmatory = rows[rows["role"] == "confirmatory"]
    assert set(confirmatory["analysis"]) == {"A05"}
    assert rows.loc[rows["is_primary"], "name"].tolist() == ["gain/perturbation/logistic/auroc"]
    named = rows.set_index("name")
    for _, gain in gains.iterrows():
        cell = "/".join([gain["split"], gain["learner"], gain["metric"]])
        one, placebo = named.loc[f"gain/{cell}"], named.loc[f"gain_placebo/{cell}"]
        assert (one["effect_size"], one["ci_low"], one["p_raw"]) == (gain["gain"], gain["ci_low"], gain["p_value"])
        assert (placebo["effect_size"], placebo["ci_low"]) == (gain["gain_placebo"], gain["placebo_low"])
        deciding = one if gain["learner"] == "logistic" else placebo
        assert deciding["equivalence"] == gain["equivalence"]
        if gain["saturated"]:
            assert gain["equivalence"] == ""
            assert np.isnan(deciding["minimum_detectable"])
        else:
            assert deciding["equivalence"] in {"equivalent", "different", "inconclusive"}
            assert deciding["minimum_detectable"] == gain["minimum_detectable"] > 0
        assert one["unit"] == ("perturbation x gene" if gain["metric"] == "auroc" else "perturbation")
    run(small, n_placebo=1)
    assert (small.uns["tests"]["n_runs"] == 2).all()
    assert (small.uns["tests"]["n_distinct_params"] == 1).all()


# What data cannot say


def statuses(adata: ad.AnnData, edges: Any = "attention", **more: Any) -> pd.DataFrame:
    result = quick(adata, edges, **more)
    assert len(result["gains"]) == 5 * (1 if isinstance(edges, str | dict) else len(edges))
    assert (adata.uns["tests"]["status"].isin(result["gains"]["status"])).all()
    return result["gains"].set_index("edges")


def test_constant_edges_are_named_and_the_others_scored(small: ad.AnnData, store_edges: Callable[..., None]) -> None:
    store_edges(small, "flat", np.full((60, 60), 3.0))
    found = statuses(small, ["flat", "attention"])
    assert set(found.loc["flat", "status"]) == {"constant_score"}
    assert found.loc["flat", "gain"].isna().all()
    assert set(found.loc["attention", "status"]) == {"ok"}


def test_edges_that_no_perturbed_gene_has(small: ad.AnnData, store_edges: Callable[..., None]) -> None:
    values = np.random.default_rng(0).normal(size=(60, 60))
    values[:14] = np.nan
    store_edges(small, "none", values)
    found = statuses(small, ["none", "attention"])
    assert set(found.loc["none", "status"]) == {"missing_vocab"}
    assert set(found.loc["attention", "status"]) == {"too_few_units"}  # no pair has both
    assert found["gain"].isna().all()
    store_edges(small, "none", np.full((60, 60), np.nan))
    found = quick(small, "none")["gains"]  # edges that nobody evaluated
    assert set(found["status"]) == {"missing_vocab"}
    assert found["gain"].isna().all()


@pytest.mark.parametrize(("value", "status"), [(0.0, "no_positives"), (1.0, "no_negatives")])
def test_labels_of_one_class(small: ad.AnnData, value: float, status: str) -> None:
    small.varm["perturbation_target"] = np.full((60, 14), value, dtype=np.float32)
    found = statuses(small)
    assert set(found["status"]) == {status}
    assert found[["gain", "gene_only", "p_value"]].isna().all(axis=None)


def test_perturbation_to_which_every_gene_responds_does_not_count(small: ad.AnnData) -> None:
    target = np.asarray(small.varm["perturbation_target"]).copy()
    target[:, 3] = 1
    small.varm["perturbation_target"] = target
    result = quick(small)
    assert set(result["gains"]["n_units"]) == {13}
    units = result["per_perturbation"].set_index("perturbation")
    assert set(units.loc["G3", "status"]) == {"no_negatives"}
    assert units.loc["G3", "gain"].isna().all()
    assert units.drop("G3")["gain"].notna().all()


def test_few_perturbations_have_gains_without_p_values(make_audit: Callable[..., ad.AnnData]) -> None:
    found = statuses(make_audit(n_genes=60, n_units=5, companions=()))
    assert set(found["status"]) == {"too_few_units"}
    assert found["gain"].notna().all()
    assert found[["p_value", "ci_low", "boot_low", "placebo_low", "minimum_detectable"]].isna().all(axis=None)


def test_fewer_perturbations_than_folds_make_fewer_folds(make_audit: Callable[..., ad.AnnData]) -> None:
    result = quick(make_audit(n_genes=60, n_units=3, companions=()), splits=["perturbation", "gene"])
    assert result["params"]["folds_reduced"]
    assert result["params"]["n_blocks_perturbation"] == 3
    assert result["gains"].groupby("split")["n_folds"].first().to_dict() == {"perturbation": 3, "gene": 5}


def test_one_perturbation_cannot_be_held_out(make_audit: Callable[..., ad.AnnData]) -> None:
    found = statuses(make_audit(n_genes=60, n_units=1, companions=()))
    assert set(found["status"]) == {"too_few_units"}
    assert set(found["n_skipped"]) == {1}
    assert found["gain"].isna().all()


def test_edges_and_features_that_saw_perturbed_cells(small: ad.AnnData, store_edges: Callable[..., None]) -> None:
    noise = np.random.default_rng(0).normal(size=(60, 60))
    store_edges(small, "leaky", noise, cells="all_cells")
    found = statuses(small, ["leaky", "attention"], allow_different_cells=True)
    assert set(found.loc["leaky", "status"]) == {"label_leak"}
    assert found.loc["leaky", "gain"].notna().all()
    assert set(found.loc["attention", "status"]) == {"ok"}


# Wrong input


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"edges": "absent"}, KeyError, "absent"),
        ({"effects": "absent"}, KeyError, "perturbation_effects"),
        ({"splits": "cell"}, ValueError, "splits"),
        ({"splits": ()}, ValueError, "splits"),
        ({"learners": ["forest"]}, ValueError, "learners"),
        ({"metrics": ["recall@0"]}, ValueError, "recall@"),
        ({"metrics": ["recall"]}, ValueError, "recall@"),
        ({"metrics": []}, ValueError, "metrics"),
        ({"joint_mode": "half"}, ValueError, "joint_mode"),
        ({"direction": "up"}, ValueError, "direction"),
        ({"n_folds": 1}, ValueError, "n_folds"),
        ({"n_placebo": 0}, ValueError, "n_placebo"),
        ({"margin": -1}, ValueError, "margin"),
        ({"regulators": "absent"}, KeyError, "absent"),
        ({"regulators": "mean"}, TypeError, "boolean"),
        ({"regulators": ["ENSG1"]}, ValueError, "gene_symbols"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
        ({"rng": -1}, TypeError, "rng"),
    ],
)
def test_wrong_input_raises_before_any_work(
    small: ad.AnnData, untouched: Callable[..., Any], options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with untouched(small), pytest.raises(error, match=match):
        sps.tl.incremental_value(small, **({"edges": "attention"} | options))


def test_missing_features_and_different_cells_raise(
    small: ad.AnnData, untouched: Callable[..., Any], store_edges: Callable[..., None]
) -> None:
    store_edges(small, "other", np.ones((60, 60)), cells="other_cells")
    with untouched(small), pytest.raises(ValueError, match="different cells"):
        sps.tl.incremental_value(small, edges="other")
    del small.var["variance"]
    with untouched(small), pytest.raises(KeyError, match="gene_features"):
        sps.tl.incremental_value(small, edges="attention")
