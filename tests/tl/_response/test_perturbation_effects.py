from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("lfc", "qval", "target")
#: Responders that the screen's maker plants: perturbing G<k> triples five genes, and halts its own.
PLANTED = {f"G{k}": {f"G{10 + 5 * k + step}" for step in range(5)} | {f"G{k}"} for k in range(3)}


@pytest.fixture
def planted(make_screen) -> ad.AnnData:
    """Log-normalised with totals over far more than the panel, so that responders do not push others down."""
    adata = make_screen(n_controls=400, n_perturbed=80)
    totals = adata.obs["n_umis_total"].to_numpy(float) + 2000
    adata.layers["lognorm"] = sparse.csr_matrix(np.log1p(adata.X.toarray() * (1e4 / totals)[:, None]))
    return adata


def arrays(adata: ad.AnnData, key: str = "perturbation") -> dict[str, np.ndarray]:
    return {kind: adata.varm[f"{key}_{kind}"] for kind in KINDS}


def assert_same(left: ad.AnnData, right: ad.AnnData, **tolerance: float) -> None:
    for kind in KINDS:
        np.testing.assert_allclose(arrays(left)[kind], arrays(right)[kind], **({"rtol": 0} | tolerance))
    for frame in ("perturbations", "false_calls"):
        pd.testing.assert_frame_equal(left.uns["perturbation_effects"][frame], right.uns["perturbation_effects"][frame])


# What is called


@pytest.mark.parametrize("test", ["student", "welch", "mannwhitney"])
def test_planted_responders_are_found_and_nothing_else(planted, test: str) -> None:
    sps.tl.perturbation_effects(planted, test=test)
    targets = sps.get.effects(planted, "target")
    lfc = sps.get.effects(planted, "lfc")
    for name, expected in PLANTED.items():
        found = set(targets.index[targets[name] == 1])
        assert expected <= found
        assert len(found - expected) <= 2
        # a mean of logarithms moves by more than the mean does, where there are zeros
        np.testing.assert_allclose(lfc.loc[sorted(expected - {name}), name], np.log2(3), atol=0.8)
        assert lfc.loc[name, name] < -5
    table = planted.uns["perturbation_effects"]["perturbations"]
    assert table["perturbation"].tolist() == table["gene"].tolist() == ["G0", "G1", "G2"]
    assert table["status"].tolist() == ["ok"] * 3
    np.testing.assert_array_equal(table["n_cells"], 80)
    np.testing.assert_array_equal(table["n_targets"], (targets == 1).sum())
    np.testing.assert_array_equal(table["n_testable"], targets.notna().sum())


def test_a_screen_without_effects_has_no_responders(planted) -> None:
    """The control cells alone, a part of them called a perturbation."""
    control = planted[planted.obs["perturbation"] == "non-targeting"].copy()
    labels = np.where(np.arange(control.n_obs) < 80, "G3", "non-targeting")
    control.obs["perturbation"] = pd.Categorical(labels)
    sps.tl.perturbation_effects(control)
    assert control.uns["perturbation_effects"]["perturbations"]["n_targets"].tolist() == [0]


@pytest.mark.parametrize(("test", "equal_var"), [("student", True), ("welch", False)])
def test_values_are_scipys(planted, test: str, equal_var: bool) -> None:
    sps.tl.perturbation_effects(planted, test=test, min_expected=0, lfc_threshold=0.3, fdr=0.1)
    values, labels = planted.layers["lognorm"].toarray(), planted.obs["perturbation"].to_numpy()
    y = values[labels == "non-targeting"]
    for index, name in enumerate(PLANTED):
        x = values[labels == name]
        q = stats.false_discovery_control(stats.ttest_ind(x, y, equal_var=equal_var).pvalue)
        lfc = np.log2((np.expm1(x.mean(axis=0)) + 1e-9) / (np.expm1(y.mean(axis=0)) + 1e-9))
        found = {kind: array[:, index] for kind, array in arrays(planted).items()}
        np.testing.assert_allclose(found["qval"], q, rtol=1e-5, atol=1e-37)
        np.testing.assert_allclose(found["lfc"], lfc, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["target"], (q < 0.1) & (np.abs(lfc) > 0.3))


def test_rare_genes_are_not_testable_unless_asked_for(planted) -> None:
    values = planted.layers["lognorm"].toarray()
    rare = np.flatnonzero(planted.obs["perturbation"] == "non-targeting")[:4]  # 1 % of control, 0.8 expected of 80
    values[:, [40, 41]] = 0
    values[rare, 40] = 2.0
    planted.layers["lognorm"] = values
    sps.tl.perturbation_effects(planted)
    assert all(np.isnan(array[40]).all() for array in arrays(planted).values())
    sps.tl.perturbation_effects(planted, min_expected=0)
    assert all(np.isfinite(array[40]).all() for array in arrays(planted).values())
    assert all(np.isnan(array[41]).all() for array in arrays(planted).values())  # no variance anywhere


def test_welch_trap_a_group_of_zeros_is_called_by_welch_alone(planted) -> None:
    values = planted.layers["lognorm"].toarray()
    seen = np.flatnonzero(planted.obs["perturbation"] == "non-targeting")[:14]  # 3.5 %, 2.8 expected of 80, none seen
    values[:, 40] = 0
    values[seen, 40] = 1.5
    planted.layers["lognorm"] = values
    called = {}
    for test in ("student", "welch", "mannwhitney"):
        sps.tl.perturbation_effects(planted, test=test, min_expected=0)
        called[test] = sps.get.effects(planted).loc["G40"].tolist()
    assert called == {"student": [0, 0, 0], "welch": [1, 1, 1], "mannwhitney": [0, 0, 0]}


# Which cells


def test_controls_are_those_that_edges_are_made_from(planted) -> None:
    is_control = (planted.obs["perturbation"] == "non-targeting").to_numpy()
    every = planted.copy()
    sps.tl.perturbation_effects(every)
    assert every.uns["perturbation_effects"]["params"]["n_cells"] == 400
    planted.obs["edge_cells"] = is_control & (np.arange(planted.n_obs) % 2 == 0)
    sps.tl.perturbation_effects(planted)
    params = planted.uns["perturbation_effects"]["params"]
    assert params["cells"] == "edge_cells"
    assert params["n_cells"] == planted.obs["edge_cells"].sum() < 400
    kept = planted[planted.obs["edge_cells"] | ~is_control].copy()
    del kept.obs["edge_cells"], kept.varm, kept.uns
    sps.tl.perturbation_effects(kept)
    assert_same(planted, kept)
    assert kept.uns["perturbation_effects"]["params"]["cells_hash"] == params["cells_hash"]


def test_perturbed_cells_count_whether_edges_are_made_from_them_or_not(planted) -> None:
    alone = planted.copy()
    sps.tl.perturbation_effects(alone)
    planted.obs["edge_cells"] = True
    sps.tl.perturbation_effects(planted)
    assert_same(planted, alone)


def test_labels_that_are_missing_are_left_out_and_said(planted, caplog) -> None:
    planted.obs["perturbation"] = planted.obs["perturbation"].cat.remove_categories(["G1"])
    with caplog.at_level(logging.INFO, logger="scepsis"):
        sps.tl.perturbation_effects(planted)
    assert "80 cells without a label" in caplog.text
    table = planted.uns["perturbation_effects"]["perturbations"]
    assert table["perturbation"].tolist() == ["G0", "G2"]


def test_every_status(make_screen) -> None:
    adata = make_screen(perturbed=("G0", "G0+G1", "elsewhere"), n_controls=150, n_perturbed=60)
    few = np.flatnonzero(adata.obs["perturbation"] == "G0")[:20]
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.add_categories("G5")
    adata.obs.iloc[few, adata.obs.columns.get_loc("perturbation")] = "G5"
    sps.tl.perturbation_effects(adata, min_cells=30)
    table = adata.uns["perturbation_effects"]["perturbations"].set_index("perturbation")
    assert table["status"].to_dict() == {
        "G0": "ok",
        "G0+G1": "multi_target",
        "elsewhere": "ok",
        "G5": "too_few_units",
    }
    assert table["gene"].to_dict() == {"G0": "G0", "G0+G1": "", "elsewhere": "", "G5": "G5"}
    target = sps.get.effects(adata)
    assert target["G5"].isna().all()
    assert target[["G0", "G0+G1", "elsewhere"]].notna().any().all()
    assert sps.get.effects(adata, "qval")["G5"].isna().all()
    assert sps.get.effects(adata, "lfc")["G5"].isna().all()


def test_too_few_controls_give_statuses_not_an_error(make_screen) -> None:
    adata = make_screen(n_controls=20)
    with pytest.warns(UserWarning, match="20 control cells"):
        sps.tl.perturbation_effects(adata, min_cells=30)
    result = adata.uns["perturbation_effects"]
    assert set(result["perturbations"]["status"]) == {"too_few_units"}
    assert np.isnan(adata.varm["perturbation_target"]).all()
    one = make_screen(n_controls=1)
    with pytest.warns(UserWarning, match="1 control cells"):
        sps.tl.perturbation_effects(one, min_cells=30)
    false = one.uns["perturbation_effects"]["false_calls"]
    assert false["status"].tolist() == ["too_few_units"]
    assert false[["share_of_genes", "share_of_splits"]].isna().all(axis=None)


# False calls


def test_false_calls_at_the_sizes_of_the_perturbations(planted, caplog) -> None:
    labels = planted.obs["perturbation"].astype(str).to_numpy()
    labels[np.flatnonzero(labels == "G0")[30:]] = ""
    labels[np.flatnonzero(labels == "G1")[50:]] = ""
    planted.obs["perturbation"] = labels
    with caplog.at_level(logging.INFO, logger="scepsis"):
        sps.tl.perturbation_effects(planted, min_cells=30, n_null_splits=10)
    false = planted.uns["perturbation_effects"]["false_calls"]
    assert false["n_cells"].tolist() == [30, 50, 80]
    assert false["test"].tolist() == ["student"] * 3
    assert false["n_splits"].tolist() == [10] * 3
    assert (false["share_of_splits"] <= 0.2).all()
    assert (false["share_of_genes"] <= false["share_of_splits"]).all()
    assert sum("control-against-control" in record.message for record in caplog.records) == 1


def test_a_test_that_is_not_calibrated_is_named(make_screen) -> None:
    """Many rare genes: Welch calls some of them on nearly every split, the default does not."""
    rng = np.random.default_rng(0)
    rate = np.exp(rng.normal(-3, 1, 300)) * np.exp(rng.normal(0, 0.4, (700, 1)))
    obs = pd.DataFrame({"perturbation": ["G1"] * 60 + ["non-targeting"] * 640}, index=[f"c{i}" for i in range(700)])
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rate)), obs=obs)
    adata.var_names = [f"G{index}" for index in range(300)]
    adata.layers["lognorm"] = sparse.csr_matrix(np.log1p(adata.X.toarray() * 2.5))
    with pytest.warns(UserWarning, match="`test='welch'` calls genes where nothing responds.*The default"):
        sps.tl.perturbation_effects(adata, test="welch", min_expected=0)
    assert adata.uns["perturbation_effects"]["false_calls"]["share_of_splits"].iloc[0] > 0.8
    sps.tl.perturbation_effects(adata)
    assert adata.uns["perturbation_effects"]["false_calls"]["share_of_splits"].iloc[0] <= 0.25


def test_seed_moves_the_splits_and_nothing_else(planted) -> None:
    runs = []
    for seed in (0, 0, 1):
        sps.tl.perturbation_effects(planted, rng=seed, fdr=0.6)
        runs.append({kind: array.tobytes() for kind, array in arrays(planted).items()})
        runs[-1]["false"] = planted.uns["perturbation_effects"]["false_calls"].to_csv()
    assert runs[0] == runs[1]
    assert runs[0]["false"] != runs[2].pop("false")
    assert {kind: runs[0][kind] for kind in KINDS} == runs[2]


# Where the values are


def dense(matrix: sparse.csr_matrix) -> np.ndarray:
    return matrix.toarray()


@pytest.mark.parametrize("test", ["student", "mannwhitney"])
@pytest.mark.parametrize("storage", [dense, sparse.csc_matrix, sparse.csr_matrix])
def test_storage_makes_no_difference(planted, storage, test: str) -> None:
    other = planted.copy()
    other.layers["lognorm"] = storage(planted.layers["lognorm"])
    for adata in (planted, other):
        sps.tl.perturbation_effects(adata, test=test)
    assert_same(planted, other)


def test_computed_from_counts_equals_the_layer(screen) -> None:
    counts = screen.X.toarray()
    other = screen.copy()
    other.layers["mine"] = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    sps.tl.perturbation_effects(screen, min_cells=30)
    sps.tl.perturbation_effects(other, min_cells=30, layer="mine")
    assert_same(screen, other, rtol=1e-3, atol=1e-6)  # the layer is float32
    assert screen.uns["perturbation_effects"]["params"]["values"] == "adata.X, log-normalised"
    assert other.uns["perturbation_effects"]["params"]["values"] == "adata.layers['mine']"


def test_log_values_in_x_when_uns_says_so(planted) -> None:
    other = ad.AnnData(planted.layers["lognorm"], obs=planted.obs, var=planted.var, uns={"log1p": {}})
    for adata in (planted, other):
        sps.tl.perturbation_effects(adata)
    assert_same(planted, other)


@pytest.mark.parametrize("test", ["student", "mannwhitney"])
def test_backed(planted, tmp_path: Path, test: str) -> None:
    disk = ad.AnnData(planted.layers["lognorm"], obs=planted.obs, var=planted.var, uns={"log1p": {}})
    disk.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    for adata in (planted, backed):
        sps.tl.perturbation_effects(adata, test=test)
    assert backed.isbacked
    assert_same(planted, backed)
    backed.file.close()


def test_view_becomes_a_copy_and_leaves_its_parent_alone(planted, untouched) -> None:
    chosen = planted.obs["perturbation"] != "G1"
    alone = planted[chosen].copy()
    sps.tl.perturbation_effects(alone)
    view = planted[chosen]
    with untouched(planted), pytest.warns(UserWarning, match="is a view"):
        sps.tl.perturbation_effects(view)
    assert_same(view, alone)
    assert sps.get.effects(view).columns.tolist() == ["G0", "G2"]


def test_mudata(planted) -> None:
    mudata = pytest.importorskip("mudata")
    with mudata.set_options(pull_on_update=False):
        both = mudata.MuData({"rna": planted.copy()})
        copied = sps.tl.perturbation_effects(both, mod="rna", copy=True)
        assert "perturbation_target" not in both["rna"].varm
        assert sps.tl.perturbation_effects(both, mod="rna") is None
    sps.tl.perturbation_effects(planted)
    assert_same(both["rna"], planted)
    assert_same(copied["rna"], planted)


def test_copy_and_key(planted, untouched) -> None:
    with untouched(planted):
        copied = sps.tl.perturbation_effects(planted, copy=True)
    assert sps.tl.perturbation_effects(planted) is None
    assert_same(planted, copied)
    before = arrays(planted)["target"].copy()
    sps.tl.perturbation_effects(planted, test="welch", key_added="paper")
    np.testing.assert_array_equal(arrays(planted)["target"], before)
    assert planted.uns["paper_effects"]["params"]["test"] == "welch"
    assert arrays(planted, "paper")["target"].shape == before.shape


def test_names_survive_the_disk(make_screen, roundtrips) -> None:
    names = ("CD4/CD8", "G0+G1", "G0", "a name / with + all")
    adata = make_screen(perturbed=names, n_perturbed=30)
    sps.tl.perturbation_effects(adata, min_cells=30)
    assert adata.uns["perturbation_effects"]["perturbations"]["perturbation"].tolist() == sorted(names)
    for back in roundtrips(adata):
        for kind in KINDS:
            assert back.varm[f"perturbation_{kind}"].dtype == np.float32
            pd.testing.assert_frame_equal(sps.get.effects(back, kind), sps.get.effects(adata, kind))
        for name in ("perturbations", "false_calls"):
            pd.testing.assert_frame_equal(
                back.uns["perturbation_effects"][name],
                adata.uns["perturbation_effects"][name],
                check_dtype=False,
                check_index_type=False,
            )
        kept = back.uns["perturbation_effects"]["params"]
        for name, value in adata.uns["perturbation_effects"]["params"].items():
            assert kept[name] == value, name


def test_params_tell_label_sets_apart(planted) -> None:
    sps.tl.perturbation_effects(planted)
    first = planted.uns["perturbation_effects"]["params"]
    assert first["test"] == "student"
    assert first["seed"] == 0
    assert first["control"] == "non-targeting"
    assert "gene_symbols" not in first
    sps.tl.perturbation_effects(planted, rng=5)
    assert planted.uns["perturbation_effects"]["params"]["labels_hash"] == first["labels_hash"]
    sps.tl.perturbation_effects(planted, lfc_threshold=1.8)
    assert planted.uns["perturbation_effects"]["params"]["labels_hash"] != first["labels_hash"]


def test_gene_symbols(planted) -> None:
    by_name = planted.copy()
    sps.tl.perturbation_effects(by_name)
    planted.var["symbol"] = planted.var_names
    planted.var_names = planted.var["ensembl_id"].tolist()
    with pytest.warns(UserWarning, match="gene_symbols="):
        sps.tl.perturbation_effects(planted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sps.tl.perturbation_effects(planted, gene_symbols="symbol")
    table = planted.uns["perturbation_effects"]["perturbations"]
    assert table["gene"].tolist() == ["ENSG00000000000", "ENSG00000000001", "ENSG00000000002"]
    np.testing.assert_array_equal(arrays(planted)["target"], arrays(by_name)["target"])


# Bad input


def scale(adata: ad.AnnData) -> None:
    values = adata.layers["lognorm"].toarray()
    adata.layers["lognorm"] = (values - values.mean(axis=0)) / (values.std(axis=0) + 1)


def break_value(adata: ad.AnnData) -> None:
    adata.layers["lognorm"] = adata.layers["lognorm"].copy()
    adata.layers["lognorm"].data[5] = np.nan


def counts_as_layer(adata: ad.AnnData) -> None:
    adata.layers["lognorm"] = adata.X.copy()


def neither(adata: ad.AnnData) -> None:
    adata.X = adata.layers.pop("lognorm")


def wrong_cells(adata: ad.AnnData) -> None:
    adata.obs["edge_cells"] = (adata.obs["perturbation"] == "G0").to_numpy()


def numbers(adata: ad.AnnData) -> None:
    adata.obs["perturbation"] = np.linspace(0, 1, adata.n_obs)


def only_control(adata: ad.AnnData) -> None:
    adata.obs["perturbation"] = "non-targeting"


def twice_the_same_gene(adata: ad.AnnData) -> None:
    adata.var_names = ["G0", *adata.var_names[:-1]]


@pytest.mark.parametrize(
    ("spoil", "kwargs", "error", "words"),
    [
        (None, {"groupby": "guide"}, KeyError, "adata.obs\\['guide'\\]"),
        (None, {"control": "non-targetting"}, ValueError, "Did you mean `control='non-targeting'`"),
        (only_control, {}, ValueError, "no label other than the control"),
        (numbers, {}, TypeError, "must hold labels as strings"),
        (None, {"layer": "missing"}, KeyError, "adata.layers\\['missing'\\]"),
        (None, {"gene_symbols": "missing"}, KeyError, "adata.var\\['missing'\\]"),
        (scale, {}, ValueError, "negative values"),
        (break_value, {}, ValueError, "NaN or infinite"),
        (counts_as_layer, {}, ValueError, "whole numbers only.*lognormalize"),
        (neither, {}, ValueError, "adata.X.*fractions.*lognorm"),
        (wrong_cells, {}, ValueError, "select_cells"),
        (twice_the_same_gene, {}, ValueError, "var_names_make_unique"),
        (None, {"test": "wilcoxon"}, ValueError, "`test`"),
        (None, {"min_expected": -1}, ValueError, "min_expected"),
        (None, {"lfc_threshold": np.nan}, ValueError, "lfc_threshold"),
        (None, {"min_cells": 1}, ValueError, "min_cells"),
        (None, {"n_null_splits": 0}, ValueError, "n_null_splits"),
        (None, {"fdr": 5}, ValueError, "fdr"),
        (None, {"key_added": "a/b"}, ValueError, "key_added"),
        (None, {"rng": "seed"}, TypeError, "rng"),
        (None, {"mod": "rna"}, TypeError, "MuData"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    planted, untouched, spoil: Any, kwargs: dict[str, Any], error: type[Exception], words: str
) -> None:
    if spoil is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anndata's own, on names that are not unique
            spoil(planted)
    with untouched(planted), pytest.raises(error, match=words):
        sps.tl.perturbation_effects(planted, **kwargs)


# Real cells


@pytest.mark.real_data
def test_papalexi_responders_are_the_published_counts(data_dir: Path) -> None:
    """Counts of responders other than the perturbed gene, made once with scipy and listed beside the data."""
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    strict = (adata.obs["gRNA_frac"] >= 0.8) & (adata.obs["gRNA_umi"] >= 3)
    wanted = {"IFNGR2": (99, 96), "STAT1": (89, 84), "STAT2": (2, 3), "MYC": (0, 47)}
    adata = adata[strict & adata.obs["perturbation"].isin([*wanted, "non-targeting"])].copy()
    assert (adata.obs["perturbation"] == "non-targeting").sum() == 1923
    sps.pp.lognormalize(adata, totals="n_umis_total")
    for column, test in enumerate(("mannwhitney", "welch")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Welch is warned about, on purpose
            sps.tl.perturbation_effects(adata, test=test, min_expected=0, lfc_threshold=0, n_null_splits=5)
        targets = sps.get.effects(adata)
        for name, counts in wanted.items():
            assert (targets[name].drop(name, errors="ignore") == 1).sum() == counts[column]
    false = adata.uns["perturbation_effects"]["false_calls"]
    assert false["n_cells"].iloc[0] == 73
    assert false["share_of_genes"].iloc[0] > 0.05
    sps.tl.perturbation_effects(adata)
    assert adata.uns["perturbation_effects"]["false_calls"]["share_of_splits"].max() <= 0.25
    assert (sps.get.effects(adata)["MYC"] == 1).sum() <= 2
