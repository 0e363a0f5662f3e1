from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad, read_zarr
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

UNIT = {"n_genes": 400, "n_regulators": 40, "n_other": 10, "n_controls": 1500, "cells_per_perturbation": 70}
SMALL = {"n_genes": 80, "n_regulators": 6, "n_other": 2, "n_controls": 60, "cells_per_perturbation": 20}
WORLDS = {"A": 0.2, "B": 1.0}
TESTS = ("student", "welch")


@dataclass(frozen=True)
class Battery:
    """What a screen looks like to someone who has only scipy and scikit-learn."""

    #: Perturbation x score: AUROC over that perturbation's responders.
    auroc: pd.DataFrame
    #: Positives over testable genes, all perturbations taken together.
    positive_rate: float
    #: Gain of a logistic model of gene features from the pair's absolute correlation, and from its true edge.
    gain: dict[str, float]


def label_responders(values: np.ndarray, control: np.ndarray, test: str) -> np.ndarray:
    """1, 0 or NaN per gene: scipy's t test, BH, and a log2 fold change over .5."""
    testable = np.isfinite(stats.ttest_ind(values, control, axis=0).pvalue)
    if test == "student":
        testable &= len(values) * (control > 0).mean(axis=0) >= 5
    p = stats.ttest_ind(values[:, testable], control[:, testable], equal_var=test == "student").pvalue
    fold = np.log2(np.expm1(values.mean(axis=0)) + 1e-9) - np.log2(np.expm1(control.mean(axis=0)) + 1e-9)
    label = np.full(len(fold), np.nan)
    label[testable] = (stats.false_discovery_control(p) < 0.05) & (np.abs(fold[testable]) > 0.5)
    return label


def examine(adata: AnnData, test: str) -> Battery:
    counts = adata.X.toarray().astype(float)
    values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    label = adata.obs["perturbation"].to_numpy(dtype=str)
    control = values[label == "non-targeting"]
    genes = [
        name for name in adata.uns["simulate_screen"]["perturbations"]["perturbation"] if (label == name).sum() >= 50
    ]
    rows = adata.var_names.get_indexer(genes)
    target = np.array([label_responders(values[label == gene], control, test) for gene in genes])
    target[np.arange(len(rows)), rows] = np.nan

    strength = np.abs(adata.varp["regulation"])
    noise = np.random.default_rng(0).normal(0, 0.35, strength.shape)
    pairs = {
        "abs_rho": np.abs(stats.spearmanr(control).statistic),
        "true": np.where(strength > 0, 0.7 + 0.3 * strength / strength.max(), 0) + noise,
    }
    features = {
        "variance": control.var(axis=0),
        "mean": control.mean(axis=0),
        "detection": (control > 0).mean(axis=0),
    }
    positives = np.nansum(target, axis=1)
    evaluable = np.flatnonzero(positives >= 2)
    auroc = []
    for i in evaluable:
        use = np.isfinite(target[i])
        elsewhere = np.delete(target, i, axis=0)
        seen = np.isfinite(elsewhere).sum(axis=0)
        scores = features | {name: matrix[rows[i]] for name, matrix in pairs.items()}
        scores["elsewhere"] = np.nansum(elsewhere, axis=0) / np.maximum(seen, 1)
        auroc.append({name: roc_auc_score(target[i][use], score[use]) for name, score in scores.items()})
    gain = {name: added(target[evaluable], features, matrix[rows[evaluable]]) for name, matrix in pairs.items()}
    return Battery(pd.DataFrame(auroc), positives.sum() / np.isfinite(target).sum(), gain)


def added(target: np.ndarray, features: dict[str, np.ndarray], pairs: np.ndarray) -> float:
    """Pooled AUROC with the pair score less that without, logistic models, five folds of perturbations."""
    perturbation, gene = np.nonzero(np.isfinite(target))
    y = target[perturbation, gene]
    columns = stats.zscore(np.column_stack([np.log(values + 1e-3) for values in features.values()]))[gene]
    with_pairs = np.column_stack([columns, stats.zscore(pairs[perturbation, gene])])
    held_out = {}
    for name, X in (("without", columns), ("with", with_pairs)):
        prediction = np.zeros(len(y))
        for fold in range(5):
            test = perturbation % 5 == fold
            prediction[test] = LogisticRegression().fit(X[~test], y[~test]).predict_proba(X[test])[:, 1]
        held_out[name] = roc_auc_score(y, prediction)
    return held_out["with"] - held_out["without"]


@pytest.fixture(scope="module")
def screens() -> dict[str, AnnData]:
    return {world: sps.datasets.simulate_screen(**UNIT, wiring=wiring) for world, wiring in WORLDS.items()}


@pytest.fixture(scope="module")
def batteries(screens: dict[str, AnnData]) -> dict[tuple[str, str], Battery]:
    return {(world, test): examine(adata, test) for world, adata in screens.items() for test in TESTS}


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize(
    ("world", "quantity", "low", "high"),
    [
        ("A", "variance", 0.75, 0.89),
        ("A", "mean", 0.71, 0.91),
        ("A", "detection", 0.69, 0.90),
        ("A", "elsewhere", 0.83, 0.98),
        ("A", "abs_rho", 0.63, 0.79),
        ("A", "true", 0.48, 0.56),
        ("B", "variance", 0.57, 0.75),
        ("B", "mean", 0.49, 0.65),
        ("B", "detection", 0.47, 0.62),
        ("B", "elsewhere", 0.54, 0.78),
        ("B", "abs_rho", 0.80, 0.90),
        ("B", "true", 0.75, 0.91),
    ],
)
def test_auroc_is_in_its_band(
    batteries: dict[tuple[str, str], Battery], test: str, world: str, quantity: str, low: float, high: float
) -> None:
    assert low <= batteries[world, test].auroc[quantity].mean() <= high


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize(("world", "low", "high"), [("A", 0.017, 0.055), ("B", 0.004, 0.022)])
def test_positive_rate_is_in_its_band(
    batteries: dict[tuple[str, str], Battery], test: str, world: str, low: float, high: float
) -> None:
    assert low <= batteries[world, test].positive_rate <= high


@pytest.mark.parametrize("test", TESTS)
def test_wiring_decides_whether_genes_or_edges_win(batteries: dict[tuple[str, str], Battery], test: str) -> None:
    features, edges = batteries["A", test].auroc, batteries["B", test].auroc
    assert len(features) >= 20
    assert len(edges) >= 20
    assert stats.wilcoxon(features["variance"], features["true"], alternative="greater").pvalue < 1e-4
    assert stats.wilcoxon(edges["true"], edges["variance"], alternative="greater").pvalue < 0.05


@pytest.mark.parametrize("test", TESTS)
def test_pairs_add_to_a_gene_model_only_where_the_network_carries_the_response(
    batteries: dict[tuple[str, str], Battery], test: str
) -> None:
    for name in ("abs_rho", "true"):
        assert abs(batteries["A", test].gain[name]) < 0.01
        assert batteries["B", test].gain[name] > 0.02


def test_same_seed_same_bytes() -> None:
    one, two = (sps.datasets.simulate_screen(**SMALL, rng=7) for _ in range(2))
    assert one.X.data.tobytes() == two.X.data.tobytes()
    assert one.X.indices.tobytes() == two.X.indices.tobytes()
    pd.testing.assert_frame_equal(one.obs, two.obs)
    pd.testing.assert_frame_equal(one.var, two.var)
    other = sps.datasets.simulate_screen(**SMALL, rng=8)
    assert (one.X[:60] != other.X[:60]).nnz > 0


def test_a_generator_gives_its_seed_away() -> None:
    adata = sps.datasets.simulate_screen(**SMALL, rng=np.random.default_rng(3))
    again = sps.datasets.simulate_screen(**SMALL, rng=adata.uns["simulate_screen"]["params"]["seed"])
    assert (adata.X != again.X).nnz == 0


def test_controls_and_network_are_the_same_in_both_worlds(screens: dict[str, AnnData]) -> None:
    a, b = screens["A"], screens["B"]
    controls = [adata[adata.obs["perturbation"] == "non-targeting"] for adata in (a, b)]
    assert (controls[0].X != controls[1].X).nnz == 0
    pd.testing.assert_frame_equal(controls[0].obs, controls[1].obs)
    pd.testing.assert_frame_equal(a.var, b.var)
    for key in a.varp:
        np.testing.assert_array_equal(a.varp[key], b.varp[key])


def test_cells_rng_draws_other_cells_from_the_same_world() -> None:
    one, two = (sps.datasets.simulate_screen(**SMALL, rng=1, cells_rng=seed) for seed in (1, 2))
    same = sps.datasets.simulate_screen(**SMALL, rng=1)
    assert (one.X != same.X).nnz == 0
    assert (one.X[:60] != two.X[:60]).nnz > 0
    pd.testing.assert_frame_equal(one.var, two.var)
    np.testing.assert_array_equal(one.varp["total_effect"], two.varp["total_effect"])
    np.testing.assert_array_equal(one.varm["responsiveness"], two.varm["responsiveness"])
    pd.testing.assert_frame_equal(one.uns["simulate_screen"]["guides"], two.uns["simulate_screen"]["guides"])


@pytest.mark.parametrize(
    ("knob", "untouched"),
    [
        ({"resp_bias": 0.0}, ["regulation", "total_effect"]),
        ({"n_programs": 2}, ["regulation", "total_effect"]),
        ({"depth": 2.0, "q_sd": 0.0, "u_sd": 0.1}, ["regulation", "responsiveness", "obs"]),
        ({"out_degree": 20.0}, ["responsiveness", "obs"]),
        ({"cells_per_perturbation": 40}, ["regulation", "responsiveness", "controls"]),
        ({"guides": 5, "efficiency": 0.5, "escape": 0.4}, ["regulation", "responsiveness", "controls"]),
    ],
)
def test_a_knob_leaves_alone_what_it_is_not_about(knob: dict[str, float], untouched: list[str]) -> None:
    base = sps.datasets.simulate_screen(**SMALL)
    other = sps.datasets.simulate_screen(**(SMALL | knob))
    labels = ["perturbation", "guide", "cell_state", "donor", "batch", "knockdown"]
    for what in untouched:
        if what == "obs":
            pd.testing.assert_frame_equal(base.obs[labels], other.obs[labels])
        elif what == "controls":
            assert (base.X[:60] != other.X[:60]).nnz == 0
        elif what == "responsiveness":
            np.testing.assert_array_equal(base.varm[what], other.varm[what])
        else:
            np.testing.assert_array_equal(base.varp[what], other.varp[what])


def test_shape_of_the_result(screens: dict[str, AnnData]) -> None:
    adata = screens["A"]
    assert sparse.isspmatrix_csr(adata.X)
    assert adata.X.dtype == np.float32
    assert (adata.X.data == np.rint(adata.X.data)).all()
    assert adata.X.data.min() > 0
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert adata.var["ensembl_id"].is_unique
    assert all(re.fullmatch(r"ENSG9\d{10}", name) for name in adata.var["ensembl_id"])
    assert adata.var["is_regulator"].sum() == 40
    assert adata.var["is_perturbed"].sum() == 50
    assert adata.var["is_housekeeping"].sum() == 10
    assert (adata.obs["perturbation"] == "non-targeting").sum() == 1500
    assert set(adata.obs["perturbation"].cat.categories[1:]) == set(adata.var_names[:50])
    assert adata.varm["responsiveness"].shape == (400, 4)
    sizes = adata.obs["perturbation"].value_counts()
    perturbations = adata.uns["simulate_screen"]["perturbations"].set_index("perturbation")
    assert (perturbations["n_cells"] == sizes[perturbations.index]).all()
    assert perturbations["n_cells"].min() >= 20
    assert abs(np.log(perturbations["n_cells"].mean() / 70)) < 0.15


def test_housekeeping_genes_hold_most_of_the_counts(screens: dict[str, AnnData]) -> None:
    adata = screens["A"]
    bulk = adata[:, adata.var["is_housekeeping"]].X.sum() / adata.X.sum()
    assert 0.7 < bulk < 0.95
    assert not adata[:, adata.var["is_housekeeping"]].var["is_responder"].any()


def test_states_come_in_evenly_falling_shares_or_those_given() -> None:
    adata = sps.datasets.simulate_screen(**(SMALL | {"n_controls": 6000, "cells_per_perturbation": 0}))
    expected = np.array([0.30, 0.25, 0.20, 0.15, 0.10])
    np.testing.assert_allclose(adata.uns["simulate_screen"]["states"]["share"], expected)
    seen = adata.obs["cell_state"].value_counts(sort=False)
    assert stats.chisquare(seen, expected * 6000).pvalue > 1e-3
    for column, n in (("donor", 3), ("batch", 4)):
        assert len(adata.obs[column].cat.categories) == n
        assert stats.chisquare(adata.obs[column].value_counts()).pvalue > 1e-3
    given = sps.datasets.simulate_screen(**SMALL, n_states=2, shares=[0.9, 0.1])
    assert given.obs["cell_state"].value_counts()["state1"] > 60
    np.testing.assert_allclose(
        given.varp["total_effect"],
        (0.9 * _total(given.varp["regulation_state1"]) + 0.1 * _total(given.varp["regulation_state2"])),
        atol=1e-6,
    )


def _total(direct: np.ndarray) -> np.ndarray:
    """Sum over paths of any length, by the power series."""
    effect = term = np.array(direct, dtype=float)
    for _ in range(200):
        term = term @ direct
        effect = effect + term
    np.fill_diagonal(effect, 0.0)
    return effect


def test_no_cells_per_perturbation_is_a_screen_of_controls() -> None:
    adata = sps.datasets.simulate_screen(**(SMALL | {"cells_per_perturbation": 0}))
    assert adata.n_obs == 60
    assert (adata.obs["knockdown"] == 0).all()


def test_edge_table_and_matrices_agree() -> None:
    adata = sps.datasets.simulate_screen(**SMALL)
    edges = adata.uns["simulate_screen"]["network"]
    matrix = adata.varp["regulation"]
    assert len(edges) == (matrix != 0).sum()
    for edge in edges.itertuples():
        i, j = adata.var_names.get_loc(edge.source), adata.var_names.get_loc(edge.target)
        assert matrix[i, j] == pytest.approx(edge.weight)
        there = [state for state in adata.obs["cell_state"].cat.categories if adata.varp[f"regulation_{state}"][i, j]]
        assert there == (list(adata.obs["cell_state"].cat.categories) if edge.state == "all" else [edge.state])


@pytest.mark.filterwarnings("ignore:Writing zarr v2:UserWarning")
def test_survives_writing_and_reading(tmp_path: Path) -> None:
    adata = sps.datasets.simulate_screen(**SMALL, log_mean_floor=-np.inf)
    adata.write_h5ad(tmp_path / "screen.h5ad")
    adata.write_zarr(tmp_path / "screen.zarr")
    for back in (read_h5ad(tmp_path / "screen.h5ad"), read_zarr(tmp_path / "screen.zarr")):
        assert (back.X != adata.X).nnz == 0
        pd.testing.assert_frame_equal(back.obs, adata.obs)
        pd.testing.assert_frame_equal(back.var, adata.var)
        for key in adata.varp:
            np.testing.assert_array_equal(back.varp[key], adata.varp[key])
        for name in ("states", "network", "perturbations", "guides"):
            frame = back.uns["simulate_screen"][name]
            pd.testing.assert_frame_equal(
                frame.reset_index(drop=True), adata.uns["simulate_screen"][name], check_dtype=False
            )
        assert back.uns["simulate_screen"]["params"]["wiring"] == 0.2


def test_parameters_on_record_make_the_same_screen() -> None:
    adata = sps.datasets.simulate_screen(
        **SMALL, hub_sd=2.0, log_mean_floor=-np.inf, shares=[0.2] * 5, rng=5, cells_rng=6
    )
    params = dict(adata.uns["simulate_screen"]["params"])
    params.pop("scepsis_version")
    again = sps.datasets.simulate_screen(rng=params.pop("seed"), cells_rng=params.pop("cells_seed"), **params)
    assert (adata.X != again.X).nnz == 0


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ({"wiring": 1.5}, "`wiring` must be between 0 and 1"),
        ({"resp_frac": -0.1}, "`resp_frac` must be between 0 and 1"),
        ({"u_sd": -1.0}, "`u_sd` must be finite and not negative"),
        ({"n_regulators": 0}, "`n_regulators` must be a whole number, at least 1"),
        ({"n_controls": 2.5}, "`n_controls` must be a whole number"),
        ({"resp_bias": np.nan}, "`resp_bias` must be finite"),
        ({"depth": 0.0}, "`depth` must be finite and positive"),
        ({"dispersion": 0.0}, "`dispersion` must be finite and positive"),
        ({"efficiency": 1.0}, "`efficiency` must be between 0 and 1"),
        ({"spectral_radius": 1.0}, "`spectral_radius` must be at least 0 and below 1"),
        ({"n_genes": 50, "n_regulators": 45}, "`n_genes=50` is too few"),
        ({"shares": [0.5, 0.5]}, "`shares` must be 5 numbers"),
        ({"n_states": 2, "shares": [0.5, 0.4]}, "sum to 1"),
    ],
)
def test_a_knob_out_of_range_is_named(knob: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        sps.datasets.simulate_screen(**(SMALL | knob))


def test_a_seed_must_be_a_seed() -> None:
    with pytest.raises(TypeError, match="`rng`"):
        sps.datasets.simulate_screen(**SMALL, rng="seven")
