from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

FEW = {"residualizers": ["none"], "gene_models": ["chance", "variance"], "show_progress_bar": False}
NUMBERS = ["estimate", "ci_low", "ci_high"]


@pytest.fixture
def adata(make_audit: Callable) -> ad.AnnData:
    return make_audit(n_genes=80, n_units=14, signal=0.8, shared=0.5, rate=0.25, companions=())


@pytest.fixture
def network(adata: ad.AnnData) -> pd.DataFrame:
    """The responders as a network, so that the planted signal is in it too, and regulators of one target beside."""
    target = adata.varm["perturbation_target"]
    gene, unit = np.nonzero(target == 1)
    names = adata.var_names
    frame = pd.DataFrame({"source": names[unit], "target": names[gene]})
    few = pd.DataFrame(
        {"source": [f"G{index}" for index in range(40, 50)], "target": [f"G{index}" for index in range(50, 60)]}
    )
    return pd.concat([frame[frame["source"] != frame["target"]], few], ignore_index=True)


def curve(adata: ad.AnnData, reference: pd.DataFrame | None = None, **more: Any) -> pd.DataFrame:
    options = {"edges": "attention"} | FEW | more
    assert sps.tl.specification_curve(adata, reference, **options) is None
    return adata.uns["specification_curve"]["specifications"]


def of(frame: pd.DataFrame, **chosen: Any) -> pd.Series:
    for column, value in chosen.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def turned(adata: ad.AnnData, direction: str) -> np.ndarray:
    values = adata.varp["attention"].astype(np.float64)
    return {"source": values, "target": values.T, "mean": (values + values.T) / 2, "max": np.maximum(values, values.T)}[
        direction
    ]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_screen_specifications_are_those_of_a_call_with_that_direction(adata: ad.AnnData) -> None:
    frame = curve(adata)
    assert len(frame) == 4 * 2
    for direction in ("source", "target", "mean", "max"):
        sps.tl.perturbation_auroc(adata, edges="attention", direction=direction, baselines=["variance"], n_boot=1)
        found = adata.uns["perturbation_auroc"]
        own = found["summary"].set_index("predictor").loc["attention"]
        chance = of(frame, direction=direction, gene_model="chance")
        expected = [own["auroc"] - 0.5, own["ci_low"] - 0.5, own["ci_high"] - 0.5]
        np.testing.assert_allclose(chance[NUMBERS].astype(float), expected, rtol=1e-6)
        versus = found["contrasts"].set_index("versus").loc["variance"]
        single = of(frame, direction=direction, gene_model="variance")
        expected = versus[["difference", "twoway_low", "twoway_high"]].astype(float)
        np.testing.assert_allclose(single[NUMBERS].astype(float), expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_reference_specifications_are_those_of_calls_with_turned_edges(
    adata: ad.AnnData, network: pd.DataFrame, store_edges: Callable
) -> None:
    frame = curve(adata, network, effects=None, min_targets=(1, 3), directions=["source", "max"])
    assert len(frame) == 2 * 2 * 2 * 2
    assert set(frame["endpoint"]) == {"reference"}
    store_edges(adata, "turned", turned(adata, "max"), method="spearman")
    for size in (1, 3):
        sps.tl.reference_auroc(
            adata, network, edges=["turned", "attention"], baselines=["variance"], min_targets=size, n_boot=1
        )
        found = adata.uns["reference_auroc"]
        for statistic in ("pooled", "per_regulator"):
            place = {"direction": "max", "min_targets": size, "statistic": statistic}
            own = found["summary"].query("predictor == 'turned' and statistic == @statistic").iloc[0]
            expected = [own["auroc"] - 0.5, own["ci_low"] - 0.5, own["ci_high"] - 0.5]
            row = of(frame, gene_model="chance", **place)
            np.testing.assert_allclose(row[NUMBERS].astype(float), expected, rtol=1e-5)
            assert row["n_units"] == own["n_units"]
            versus = found["contrasts"].query("edges == 'turned' and versus == 'variance' and statistic == @statistic")
            expected = versus.iloc[0][["difference", "ci_low", "ci_high"]].astype(float)
            np.testing.assert_allclose(
                of(frame, gene_model="variance", **place)[NUMBERS].astype(float), expected, rtol=1e-5
            )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_residual_specifications_are_residuals_of_turned_edges(adata: ad.AnnData, store_edges: Callable) -> None:
    frame = curve(adata, residualizers=["none", "node"], directions=["source", "mean"], gene_models=["chance"])
    assert len(frame) == 4
    store_edges(adata, "turned", turned(adata, "mean"), method="spearman")
    sps.tl.residualize_edges(adata, edges=["turned", "attention"], residualizers=["node"])
    sps.tl.perturbation_auroc(adata, edges=["turned_residual_node", "turned", "attention"], baselines=(), n_boot=1)
    own = adata.uns["perturbation_auroc"]["summary"].set_index("predictor").loc["turned_residual_node"]
    row = of(frame, direction="mean", residualizer="node")
    assert row["estimate"] == pytest.approx(own["auroc"] - 0.5, abs=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fitted_gene_models_are_gains(adata: ad.AnnData) -> None:
    frame = curve(adata, directions=["source"], gene_models=["logistic", "gbdt"])
    sps.tl.incremental_value(adata, edges="attention", splits="perturbation", metrics=["auroc"], n_boot=1)
    gains = adata.uns["incremental_value"]["gains"].set_index("learner")
    for learner, columns in (
        ("logistic", ["gain", "ci_low", "ci_high"]),
        ("gbdt", ["gain_placebo", "placebo_low", "placebo_high"]),
    ):
        row = of(frame, gene_model=learner)
        if learner == "logistic":  # placebos are drawn by the name of the edges
            np.testing.assert_allclose(row[NUMBERS].astype(float), gains.loc[learner, columns].astype(float), rtol=1e-5)
        assert row["auroc"] == pytest.approx(gains.loc[learner, "augmented"], rel=1e-5)
        assert row["ci_low"] < row["estimate"] < row["ci_high"]


def test_rows_ascend_and_the_summary_counts_them(adata: ad.AnnData, network: pd.DataFrame) -> None:
    frame = curve(adata, network, edges=["attention", "spearman"], gene_models=["chance", "mean"])
    for _, part in frame.groupby(["edges", "endpoint"]):
        assert part["order"].tolist() == list(range(1, len(part) + 1))
        assert part["estimate"].dropna().is_monotonic_increasing
    symmetric = frame[frame["edges"] == "spearman"]
    assert set(symmetric["direction"]) == {"source"}  # all directions of a symmetric matrix are one
    for row in adata.uns["specification_curve"]["summary"].itertuples():
        part = frame[
            (frame["edges"] == row.edges)
            & (frame["endpoint"] == row.endpoint)
            & (frame["gene_model"] == row.gene_model)
        ]
        assert row.n_specifications == len(part)
        assert row.n_above == (part["ci_low"] > 0).sum()
        assert row.n_below == (part["ci_high"] < 0).sum()
        assert row.median == pytest.approx(np.nanmedian(part["estimate"]))
    assert "tests" not in adata.uns


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_other_thresholds_are_called_anew_where_that_gives_what_is_stored(make_screen: Callable) -> None:
    adata = make_screen(perturbed=tuple(f"G{index}" for index in range(9)))
    sps.pp.select_cells(adata, n_cells=150)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    calls = {"min_cells": 30, "n_null_splits": 2, "show_progress_bar": False}
    sps.tl.perturbation_effects(adata, **calls)
    frame = curve(adata, edges="spearman", lfc_thresholds=[0.1, 1.0], gene_models=["chance"])
    assert sorted(set(frame["lfc_threshold"])) == [0.1, 0.5, 1.0]
    sps.tl.perturbation_effects(adata, lfc_threshold=1.0, key_added="strict", **calls)
    sps.tl.perturbation_auroc(adata, edges="spearman", effects="strict", baselines=(), n_boot=1)
    own = adata.uns["perturbation_auroc"]["summary"].set_index("predictor").loc["spearman"]
    assert of(frame, lfc_threshold=1.0)["estimate"] == pytest.approx(own["auroc"] - 0.5)

    adata.obs["edge_cells"] = np.roll(adata.obs["edge_cells"].to_numpy(), 7)
    with pytest.warns(UserWarning, match=r"`lfc_thresholds` '0.1', '1.0' are left out"):
        sps.tl.specification_curve(
            adata, edges="spearman", lfc_thresholds=[0.1, 1.0], allow_different_cells=True, **FEW
        )
    result = adata.uns["specification_curve"]
    assert set(result["specifications"]["lfc_threshold"]) == {0.5}
    assert list(result["params"]["thresholds_left_out"]) == [0.1, 1.0]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("control", ["complement", "non-targeting"])
def test_cells_with_several_perturbations_are_called_anew_too(make_screen: Callable, control: str) -> None:
    """The same calls as by hand, from the assignment; without it other thresholds are left out."""
    perturbed = tuple(f"G{index}" for index in range(9))
    adata = make_screen(perturbed=perturbed, n_controls=200, n_perturbed=60)
    label = adata.obs.pop("perturbation").astype(str).to_numpy()
    guides = pd.DataFrame({f"{gene}_g1": label == gene for gene in perturbed}, index=adata.obs_names)
    guides["non-targeting_1"] = label == "non-targeting"
    second = np.random.default_rng(0).random(adata.n_obs) < 0.3
    guides["G1_g1"] |= second & (label != "non-targeting")  # three in ten of the perturbed cells have two
    sps.pp.assign_perturbations(adata, guides.astype(int) * 40, max_targets=None)
    sps.pp.select_cells(adata)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    calls = {"overlapping": True, "control": control, "min_cells": 30, "n_null_splits": 2, "show_progress_bar": False}
    sps.tl.perturbation_effects(adata, **calls)
    assert adata.uns["perturbation_effects"]["perturbations"]["n_cells"][1] > 100
    frame = curve(adata, edges="spearman", lfc_thresholds=[0.1, 1.0], gene_models=["chance"])
    assert sorted(set(frame["lfc_threshold"])) == [0.1, 0.5, 1.0]
    sps.tl.perturbation_effects(adata, lfc_threshold=0.1, key_added="loose", **calls)
    sps.tl.perturbation_auroc(adata, edges="spearman", effects="loose", baselines=(), n_boot=1)
    own = adata.uns["perturbation_auroc"]["summary"].set_index("predictor").loc["spearman"]
    assert of(frame, lfc_threshold=0.1)["estimate"] == pytest.approx(own["auroc"] - 0.5)

    del adata.obsm["perturbation"]
    with pytest.warns(UserWarning, match=r"`lfc_thresholds` '0.1', '1.0' are left out"):
        sps.tl.specification_curve(adata, edges="spearman", lfc_thresholds=[0.1, 1.0], **FEW)
    assert set(adata.uns["specification_curve"]["specifications"]["lfc_threshold"]) == {0.5}


def test_nothing_but_the_result_is_written(adata: ad.AnnData, network: pd.DataFrame, untouched: Callable) -> None:
    with untouched(adata):
        changed = sps.tl.specification_curve(
            adata, network, edges="attention", copy=True, **(FEW | {"residualizers": ["none", "ols"]})
        )
    assert set(changed.uns) - set(adata.uns) == {"specification_curve"}
    assert set(changed.varp) == set(adata.varp)


def test_the_result_survives_the_disk(
    adata: ad.AnnData, network: pd.DataFrame, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    frame = curve(adata, network, directions=["source"])
    for back in roundtrips(adata):
        read = back.uns["specification_curve"]["specifications"].reset_index(drop=True)
        pd.testing.assert_frame_equal(read, frame, check_dtype=False)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"edges": "nothing"}, KeyError, "nothing"),
        ({"effects": None}, ValueError, "nothing to score edges against"),
        ({"effects": "other"}, KeyError, "other_effects"),
        ({"directions": []}, ValueError, "`directions`"),
        ({"directions": ["both"]}, ValueError, "`directions`"),
        ({"residualizers": ["pca"]}, ValueError, "`residualizers`"),
        ({"gene_models": ["length"]}, ValueError, "`gene_models`"),
        ({"lfc_thresholds": [-1.0]}, ValueError, "`lfc_thresholds`"),
        ({"min_units": 1}, ValueError, "`min_units`"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
    ],
)
def test_bad_input_raises_before_any_work(
    adata: ad.AnnData, untouched: Callable, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with untouched(adata), pytest.raises(error, match=text):
        sps.tl.specification_curve(adata, **({"edges": "attention"} | FEW | arguments))
