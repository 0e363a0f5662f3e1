from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_CELLS, N_GENES = 1500, 40
TARGETS = [f"G{k}" for k in range(8)]
GUIDES = [f"{name}_g{number}" for name in TARGETS for number in (1, 2)] + ["NTg1", "NTg2", "non-targeting_3"]


def _made(
    moi: float | None = None,
    *,
    remaining: float = 0.1,
    weak: tuple[str, ...] = (),
    ambient: float = 0.15,
    seed: int = 0,
) -> tuple[ad.AnnData, ad.AnnData, np.ndarray]:
    """
    A screen, its guide counts, and which cell has which guide.

    One guide in each cell, or a Poisson number of mean `moi`. A guide leaves `remaining` of its target's expression,
    one of `weak` all of it; G20 + k triples where target k is hit.
    """
    rng = np.random.default_rng(seed)
    n_guides = len(GUIDES)
    if moi is None:
        has = np.zeros((N_CELLS, n_guides), dtype=bool)
        has[np.arange(N_CELLS), rng.integers(n_guides, size=N_CELLS)] = True
    else:
        has = rng.random((N_CELLS, n_guides)) < moi / n_guides
    rate = np.exp(rng.normal(1.2, 0.3, N_GENES))[None, :] * np.exp(rng.normal(0, 0.2, N_CELLS))[:, None]
    for column, name in enumerate(GUIDES[:16]):
        target = TARGETS.index(name.partition("_")[0])
        rate[has[:, column], target] *= 1.0 if name in weak else remaining
        if name not in weak:
            rate[has[:, column], 20 + target] *= 3
    cells = [f"cell{index}" for index in range(N_CELLS)]
    adata = ad.AnnData(
        sparse.csr_matrix(rng.poisson(rate).astype(np.float32)),
        pd.DataFrame(index=cells),
        pd.DataFrame({"symbol": [f"S{g}" for g in range(N_GENES)]}, index=[f"G{g}" for g in range(N_GENES)]),
    )
    level = rng.uniform(0, 0.3, n_guides)
    counts = rng.poisson(level, (N_CELLS, n_guides)) + has * np.maximum(rng.lognormal(4, 0.6, has.shape).round(), 1)
    guides = ad.AnnData(
        sparse.csr_matrix(counts.astype(np.float32)),
        pd.DataFrame(index=cells),
        pd.DataFrame({"aim": [*np.repeat(TARGETS, 2), "none", None, "non-targeting"]}, index=GUIDES),
    )
    return adata, guides, has


def _truth(has: np.ndarray) -> list[str]:
    labels = []
    for row in has:
        hit = sorted({GUIDES[one].partition("_")[0] for one in np.flatnonzero(row[:16])})
        labels.append("+".join(hit) if hit else "non-targeting" if row.any() else "")
    return labels


def _labels(adata: ad.AnnData, key: str = "perturbation") -> list[str]:
    return adata.obs[key].astype(object).where(adata.obs[key].notna(), "").tolist()


@pytest.mark.parametrize("method", ["mixture", "threshold"])
def test_planted_guides_are_found(method: str) -> None:
    adata, guides, has = _made()
    sps.pp.assign_perturbations(adata, guides, method=method, min_counts=4)
    assert np.mean(np.array(_labels(adata)) == np.array(_truth(has))) > 0.985
    entry = adata.uns["perturbation_assignment"]
    table = entry["guides"].set_index("guide")
    assert table["target"].tolist() == [*np.repeat(TARGETS, 2), "", "", ""]
    assert table["rule"].tolist() == ["gene"] * 16 + ["control"] * 3
    assert entry["targets"]["target"].tolist() == TARGETS
    assert entry["targets"]["n_guides"].tolist() == [2] * 8
    assert adata.obs["perturbation"].cat.categories[0] == "non-targeting"
    counted = adata.obs["perturbation_state"].value_counts()
    assert entry["cells"].set_index("state")["n_cells"].to_dict() == {
        state: int(counted.get(state, 0)) for state in entry["cells"]["state"]
    }
    members = adata.obsm["perturbation"].toarray()
    for column, name in enumerate(TARGETS):
        np.testing.assert_array_equal(members[:, column] == 1, np.array(_labels(adata)) == name)
    np.testing.assert_array_equal(entry["targets"]["n_cells"], members.sum(axis=0))


def test_the_tools_read_what_was_assigned() -> None:
    adata, guides, _ = _made()
    sps.pp.assign_perturbations(adata, guides)
    sps.tl.perturbation_effects(adata, min_cells=30, n_null_splits=2, show_progress_bar=False)
    called = sps.get.effects(adata, "target")
    for k, name in enumerate(TARGETS):
        assert called.loc[[f"G{k}", f"G{20 + k}"], name].tolist() == [1, 1]
        assert called[name].sum() <= 4
    frame = adata.uns["perturbation_effects"]["perturbations"]
    assert frame["gene"].tolist() == TARGETS
    assert (frame["status"] == "ok").all()


def test_pairs_of_targets() -> None:
    adata, guides, has = _made(moi=1.5)
    truth = np.array(_truth(has))
    n_targets = np.array([0 if label in {"", "non-targeting"} else label.count("+") + 1 for label in truth])
    for limit in (1, 2, None):
        sps.pp.assign_perturbations(adata, guides, max_targets=limit)
        expected = np.where(n_targets > (limit or 99), "", truth)
        assert np.mean(np.array(_labels(adata)) == expected) > 0.95
    assert "G0+G1" in adata.obs["perturbation"].cat.categories
    assert adata.uns["perturbation_assignment"]["params"]["max_targets"] == -1


@pytest.mark.parametrize("test", ["student", "welch", "mannwhitney"])
@pytest.mark.parametrize("control", ["complement", "non-targeting"])
def test_many_guides_in_each_cell(control: str, test: str) -> None:
    adata, guides, has = _made(moi=2.5)
    sps.pp.assign_perturbations(adata, guides, max_targets=None)
    options = {"overlapping": True, "control": control, "min_cells": 30, "n_null_splits": 2}
    sps.tl.perturbation_effects(adata, test=test, show_progress_bar=False, **options)
    frame = adata.uns["perturbation_effects"]["perturbations"]
    assert frame["perturbation"].tolist() == TARGETS
    hit = np.stack([has[:, 2 * k] | has[:, 2 * k + 1] for k in range(8)], axis=1)
    np.testing.assert_allclose(frame["n_cells"], hit.sum(axis=0), rtol=0.03)
    called = sps.get.effects(adata, "target")
    for k, name in enumerate(TARGETS):
        assert called.loc[[f"G{k}", f"G{20 + k}"], name].tolist() == [1, 1]
    # the numbers by scipy, from the members that are stored
    members = adata.obsm["perturbation"].toarray()[:, 3] == 1
    labelled = adata.obs["perturbation"].notna().to_numpy()
    others = labelled & ~members
    if control == "non-targeting":
        others = (adata.obs["perturbation"] == control).to_numpy()
    counts = adata.X.toarray().astype(float)
    values = np.log1p(counts * (1e4 / counts.sum(axis=1, keepdims=True)))
    ours = {"student": {"equal_var": True}, "welch": {"equal_var": False}}
    if test == "mannwhitney":
        p = stats.mannwhitneyu(values[members], values[others], method="asymptotic").pvalue
    else:
        p = stats.ttest_ind(values[members], values[others], **ours[test]).pvalue
    expected = stats.false_discovery_control(p)
    np.testing.assert_allclose(sps.get.effects(adata, "qval")["G3"], expected, rtol=1e-3, atol=1e-30)


def test_effects_of_overlapping_perturbations_need_the_assignment(untouched: Callable[..., Any]) -> None:
    adata, guides, _ = _made(moi=2.5)
    with untouched(adata), pytest.raises(KeyError, match=r"Call `scepsis\.pp\.assign_perturbations\(adata, guides"):
        sps.tl.perturbation_effects(adata, overlapping=True)
    sps.pp.assign_perturbations(adata, guides, max_targets=None)
    with pytest.raises(ValueError, match=r"'NT' does not occur.*`control='non-targeting'`.*`control='complement'`\."):
        sps.tl.perturbation_effects(adata, overlapping=True, control="NT")
    with untouched(adata), pytest.raises(ValueError, match=r"'complement'` goes with `overlapping=True`"):
        sps.tl.perturbation_effects(adata, control="complement")
    adata.obsm["perturbation"] = adata.obsm["perturbation"][:, :3]
    with pytest.raises(ValueError, match=r"3 columns.*8 rows"):
        sps.tl.perturbation_effects(adata, overlapping=True)


def test_edges_from_control_cells_are_no_leak_beside_a_complement() -> None:
    adata, guides, _ = _made(moi=2.0)
    sps.pp.assign_perturbations(adata, guides, max_targets=None)
    sps.pp.select_cells(adata)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    sps.tl.correlation_edges(adata, mask_obs=np.ones(adata.n_obs, dtype=bool), key_added="all_cells")
    options: dict[str, Any] = {"min_cells": 30, "show_progress_bar": False}
    sps.tl.perturbation_effects(adata, overlapping=True, control="complement", **options)
    for edges, leak in (("spearman", False), ("all_cells", True)):
        sps.tl.perturbation_auroc(adata, edges=edges, n_boot=20, allow_different_cells=True)
        rows = adata.uns["perturbation_auroc"]["per_perturbation"].query("predictor == @edges")
        assert (rows["status"] == "label_leak").any() == leak


@pytest.mark.parametrize(("crispr", "remaining"), [("interference", 0.1), ("activation", 4.0)])
def test_guides_without_effect_on_their_target_are_left_out(crispr: Any, remaining: float) -> None:
    weak = ("G2_g1", "G5_g1", "G5_g2")
    adata, guides, has = _made(remaining=remaining, weak=weak)
    sps.pp.assign_perturbations(adata, guides, crispr=crispr, min_efficacy=0.5)
    table = adata.uns["perturbation_assignment"]["guides"].set_index("guide")
    assert table.index[~table["kept"]].tolist() == list(weak)
    strong = table.loc[[name for name in GUIDES[:16] if name not in weak]]
    np.testing.assert_allclose(strong["remaining"], remaining, rtol=0.2, atol=0.05)
    np.testing.assert_allclose(table.loc[list(weak), "remaining"], 1, atol=0.3)
    assert (strong["p_value"] < 1e-6).all()
    assert table.loc["NTg1", ["remaining", "p_value"]].isna().all()
    state = adata.obs["perturbation_state"]
    only_weak = has[:, [GUIDES.index(name) for name in weak]].any(axis=1)
    assert (state[only_weak] == "ineffective_guide").mean() > 0.97
    assert "G5" not in adata.obs["perturbation"].cat.categories
    assert adata.uns["perturbation_assignment"]["params"]["crispr"] == crispr
    sps.pp.assign_perturbations(adata, guides, crispr=crispr)
    assert adata.uns["perturbation_assignment"]["guides"]["kept"].all()


def test_efficacy_against_the_complement_and_of_targets_that_are_not_measured() -> None:
    adata, guides, _ = _made(moi=3.0)
    adata.X = adata.X.multiply(np.where(np.arange(N_GENES) == 4, 0, 1)).tocsr()
    targeting = guides[:, :16].copy()
    sps.pp.assign_perturbations(adata, targeting, max_targets=None, crispr="interference", min_efficacy=0.5)
    table = adata.uns["perturbation_assignment"]["guides"].set_index("guide")
    measured = [name for name in GUIDES[:16] if not name.startswith("G4_")]
    np.testing.assert_allclose(table.loc[measured, "remaining"], 0.1, atol=0.06)
    assert not table.loc[["G4_g1", "G4_g2"], "is_measurable"].any()
    assert table["kept"].all()
    n_with = {name: int(adata.obsm["perturbation"][:, k].sum()) for k, name in enumerate(TARGETS)}
    assert table.loc["G0_g1", "n_control"] == N_CELLS - n_with["G0"]


def test_a_symbol_of_several_genes_has_no_expression_of_its_own() -> None:
    adata, guides, _ = _made()
    adata.var["symbol"] = adata.var_names.where(adata.var_names != "G30", "G0")  # G30 is not what guides of G0 hit
    sps.pp.assign_perturbations(adata, guides, gene_symbols="symbol", crispr="interference", min_efficacy=0.5)
    frame = adata.uns["perturbation_assignment"]["guides"].set_index("guide")
    assert (frame.loc[["G0_g1", "G0_g2"], "target"] == "G0").all()
    assert frame.loc[["G0_g1", "G0_g2"], "remaining"].isna().all()
    assert frame["kept"].all(), "what cannot be measured stays"
    assert frame.loc[["G1_g1", "G1_g2"], "remaining"].lt(0.3).all()


def test_targets_from_a_column_of_the_guides() -> None:
    adata, guides, _ = _made()
    adata.obsm["guides"] = guides.to_df()
    with pytest.raises(KeyError, match="has none"):
        sps.pp.assign_perturbations(adata, "guides", targets="aim")
    sps.pp.assign_perturbations(adata, guides, targets="aim", control_guides="none")
    by_column = _labels(adata)
    sps.pp.assign_perturbations(
        adata, "guides", targets=dict(zip(GUIDES, [*np.repeat(TARGETS, 2), "", "", ""], strict=True))
    )
    assert _labels(adata) == by_column


def test_mudata_and_gene_symbols(tmp_path: Path) -> None:
    adata, guides, has = _made()
    guides.var_names = [name.replace("G", "S", 1) if name.startswith("G") else name for name in GUIDES]
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": adata, "gdo": guides[::-1].copy()})
    sps.pp.assign_perturbations(mdata, "gdo", mod="rna", gene_symbols="symbol")
    expected = [label.replace("G", "S") for label in _truth(has)]
    assert np.mean(np.array(_labels(mdata["rna"])) == np.array(expected)) > 0.985
    assert (mdata["rna"].uns["perturbation_assignment"]["guides"]["rule"] != "as it is").all()
    with mudata.set_options(pull_on_update=False):
        mdata.write_h5mu(tmp_path / "screen.h5mu")
        again = mudata.read_h5mu(tmp_path / "screen.h5mu")["rna"]
    assert _labels(again) == _labels(mdata["rna"])


def test_called_guides_and_labels() -> None:
    adata, _, has = _made(moi=1.2)
    adata.obs["label"] = [";".join(np.array(GUIDES)[row]) or "*" for row in has]
    sps.pp.assign_perturbations(adata, "label", max_targets=2)
    truth = [label if label.count("+") < 2 else "" for label in _truth(has)]
    assert _labels(adata) == truth
    assert adata.uns["perturbation_assignment"]["params"]["method"] == "called"


def test_a_share_of_the_cells_counts() -> None:
    adata, guides, _ = _made()
    counts = np.zeros((N_CELLS, len(GUIDES)), dtype=np.float32)
    counts[:, 0], counts[:, 16] = 6, 4
    guides.X = sparse.csr_matrix(counts)
    sps.pp.assign_perturbations(adata, guides, method="threshold", min_share=0.5)
    assert set(adata.obs["perturbation_guides"]) == {"G0_g1"}
    sps.pp.assign_perturbations(adata, guides, method="threshold", min_share=0.4)
    assert set(adata.obs["perturbation_guides"]) == {"G0_g1;NTg1"}
    assert set(_labels(adata)) == {"G0"}, "a guide without a target beside one does not matter"


def test_cells_without_guide_counts() -> None:
    adata, guides, has = _made()
    sps.pp.assign_perturbations(adata, guides[: N_CELLS - 100].copy())
    assert (adata.obs["perturbation_state"][-100:] == "no_counts").all()
    assert adata.obs["perturbation"][-100:].isna().all()
    assert np.mean(np.array(_labels(adata))[:-100] == np.array(_truth(has))[:-100]) > 0.985


def test_storage_and_copies(roundtrips: Callable[..., Any], untouched: Callable[..., Any]) -> None:
    adata, guides, _ = _made()
    with untouched(adata):
        copy = sps.pp.assign_perturbations(adata, guides, key_added="target", copy=True)
    assert "target_assignment" in copy.uns
    for again in roundtrips(copy):
        assert _labels(again, "target") == _labels(copy, "target")
        np.testing.assert_array_equal(again.obsm["target"].toarray(), copy.obsm["target"].toarray())
        for name in ("guides", "targets", "cells"):
            pd.testing.assert_frame_equal(
                again.uns["target_assignment"][name], copy.uns["target_assignment"][name], check_dtype=False
            )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"guides": "nothing"}, KeyError, "is no modality"),
        ({"method": "gmm"}, ValueError, "`method` takes one of"),
        ({"min_counts": 0}, ValueError, "`min_counts` must be at least 1"),
        ({"min_share": 2}, ValueError, "`min_share` must lie between"),
        ({"max_targets": 0}, ValueError, "`max_targets` must be at least 1"),
        ({"crispr": "cas9"}, ValueError, "`crispr` takes one of"),
        ({"min_efficacy": 0.5}, ValueError, "needs `crispr='interference'`"),
        ({"min_efficacy": 0.5, "crispr": "knockout"}, ValueError, "need not change the messenger"),
        ({"key_added": "a/b"}, ValueError, "without '/'"),
        ({"gene_symbols": "names"}, KeyError, "names"),
        ({"targets": "gene"}, KeyError, "gene"),
        ({"method": "threshold", "min_counts": 10**6}, ValueError, "No cell has a guide"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    options: dict[str, Any], error: type[Exception], words: str, untouched: Callable[..., Any]
) -> None:
    adata, guides, _ = _made()
    with untouched(adata), pytest.raises(error, match=words):
        sps.pp.assign_perturbations(adata, **{"guides": guides} | options)


def test_labels_are_not_overwritten(untouched: Callable[..., Any]) -> None:
    adata, _, has = _made()
    adata.obs["perturbation"] = _truth(has)
    with untouched(adata), pytest.raises(ValueError, match="would overwrite `perturbation`"):
        sps.pp.assign_perturbations(adata, "perturbation")


def test_a_screen_without_control_guides_is_said(caplog: pytest.LogCaptureFixture) -> None:
    adata, guides, _ = _made(moi=2)
    sps.pp.assign_perturbations(adata, guides[:, :16].copy(), max_targets=None)
    assert "no cell is a control" in caplog.text


@pytest.mark.real_data
def test_papalexi_labels_from_its_guides(data_dir: Path) -> None:
    """The labels that the screen came with, from the one guide that it names in each cell."""
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    sps.pp.assign_perturbations(adata, "gRNA", key_added="target")
    said = adata.obs["perturbation"].astype(str).to_numpy()
    ours = adata.obs["target"].astype(str).to_numpy()
    assert (said == ours).all()
    guides = adata.uns["target_assignment"]["guides"]
    assert (guides["rule"] == "control").sum() > 5
    assert guides.loc[guides["target"] == "STAT1", "n_cells"].sum() == (said == "STAT1").sum()
