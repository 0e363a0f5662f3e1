"""Sentences of the methods paragraph, each about a tool that was really run with settings of its own."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis._core._analyses import ANALYSES
from scepsis.get._sentences._speakers import OF_EDGES, OF_TESTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def said(adata: Any, begin: str, **more: Any) -> str:
    """The one sentence that begins so."""
    found = [one for one in sentences(adata, **more) if one.startswith(begin)]
    assert len(found) == 1, (begin, sentences(adata, **more))
    return found[0]


def sentences(adata: Any, **more: Any) -> list[str]:
    body = sps.get.methods(adata, **more).partition("\n\nSources:")[0]
    assert "[" not in body
    assert "nan" not in body.lower()
    return re.split(r"(?<=\.) (?=[A-Z0-9])", body)


def holds(sentence: str, *parts: str) -> None:
    for part in parts:
        assert part in sentence, (part, sentence)


def test_every_analysis_has_one_speaker() -> None:
    spoken = [analysis for analyses, _ in OF_TESTS for analysis in analyses]
    assert len(spoken) == len(set(spoken))
    assert set(spoken) | {analysis for analysis, _ in OF_EDGES.values() if analysis} == set(ANALYSES)


@pytest.fixture
def network() -> pd.DataFrame:
    """Six regulators of six genes each among the genes of `make_audit`, half of known mode."""
    rng = np.random.default_rng(0)
    rows = [(f"G{i}", f"G{j}") for i in range(8) for j in rng.choice(np.arange(10, 60), 6, replace=False)]
    frame = pd.DataFrame(rows, columns=["source", "target"])
    return frame.assign(mode=["Activation", "Unknown"] * (len(frame) // 2))


@pytest.fixture
def audit(make_audit: Callable[..., ad.AnnData]) -> ad.AnnData:
    return make_audit(n_genes=100, n_units=20, companions=())


def test_how_edges_were_made() -> None:
    adata, model = sps.datasets.demo(), sps.models.load("demo")
    sps.pp.select_cells(adata, n_cells=40)
    sps.pp.select_panel(adata, model)
    sps.pp.gene_features(adata)
    sps.tl.perturbation_effects(adata)
    quiet = {"show_progress_bar": False}
    sps.tl.attention_edges(adata, model, scale=("probability", "centered"), **quiet)
    sps.tl.attention_edges(adata, model, heads=[(1, 0), (1, 2)], key_added="chosen", scale="uniform_fold", **quiet)
    sps.tl.correlation_edges(adata)
    options = {
        "mutual_information": {"n_bins": 4},
        "partial_correlation": {},
        "ridge": {"penalty": 0.2},
        "gene_product": {"feature": "variance", "key_added": "both"},
    }
    for method, more in options.items():
        sps.tl.baseline_edges(adata, method=method, **more, **quiet)
    perturbed = [name for name in adata.obs["perturbation"].unique() if name in adata.var_names][:3]
    sps.tl.baseline_edges(adata, method="genie3_like", n_trees=2, sources=perturbed, **quiet)
    sps.tl.insilico_perturbation(adata, model, sources=perturbed, n_cells=9, **quiet)
    names = ["attention", "attention_centered", "chosen", "spearman", "genie3_like", "insilico"]
    names += [str(more.get("key_added", method)) for method, more in options.items()]
    sps.tl.perturbation_auroc(adata, edges=names, n_boot=5)
    holds(
        sps.get.methods(adata),
        "Attention edges of demo are the attention weight from the source to the target, averaged over heads of",
        "heads of layers 0 and 1, counted from 0, and over those of 40 cells that hold both genes.",
        "are the logarithm of the attention weight, less effects of its row and column in the cell, from the source",
        "times the number of tokens that the gene sees from the source to the target, averaged over 2 heads of layer",
        "Spearman edges are Spearman correlations from log-normalised values of 40 cells.",
        "are the mutual information of values in 4 bins from",
        "of a shrunken covariance (Ledoit and Wolf, 2004), from",
        "ridge regressions of each gene on all sources (penalty 0.2) from",
        "products of a feature of both genes (variance) from",
        "in 2 extremely randomised trees for each target (Huynh-Thu, Irrthum, Wehenkel and Geurts, 2010) from",
        "Counterfactual edges of demo are the cosine distance of the target's last hidden states when the source's",
        "token was deleted, averaged over those of 9 cells in which both could be compared, for 3 sources (Theodoris",
    )
    assert "Attention edges" not in sps.get.methods(adata, edges="spearman")


def test_recovery_of_a_reference(audit: ad.AnnData, network: pd.DataFrame) -> None:
    more = {"edges": "attention", "n_boot": 40, "margin": 0.03}
    sps.tl.reference_auroc(
        audit, network, top_k=[20, 1500], baselines=["mean", "detection_rate"], min_targets=4, **more
    )
    holds(
        said(audit, "Edges were scored"),
        "against the reference among pairs of a regulator (at least 4 listed targets) and another gene, beside",
        "mean and detection rate, by the AUROC of all pairs in one ranking, and of each regulator alone (DeLong,",
        "F1 of the 20 and 1,500 strongest pairs",
        "clustered by regulator and target (Cameron, Gelbach and Miller, 2011) and from 40 resamples",
        "equivalence within 0.03 (Schuirmann, 1987)",
    )
    sps.tl.reference_auroc(audit, network, universe="unordered", reference_name="trrust", baselines=[], **more)
    found = said(audit, "Edges were scored")
    holds(found, "against the reference trrust among all pairs of two genes whatever their order, by")
    holds(found, "clustered by both genes")
    assert "each regulator" not in found
    assert "resamples" not in found
    assert "Earlier tests (reference_auroc; reference) are of settings that a later run" in sps.get.methods(audit)


def test_a_reference_without_a_name_is_the_reference(audit: ad.AnnData, network: pd.DataFrame) -> None:
    sps.tl.degree_null(audit, network, edges="attention", n_null=20)
    holds(said(audit, "The AUROC against the reference was compared"), "that of 20 networks")
    sps.tl.degree_null(audit, network, edges="attention", n_null=30, reference_name="trrust", key_added="other")
    holds(said(audit, "The AUROC against the reference trrust was compared"), "that of 30 networks")
    assert "reference reference" not in sps.get.methods(audit)


def test_results_that_differ_in_their_reference_alone_share_a_sentence(
    audit: ad.AnnData, network: pd.DataFrame
) -> None:
    more = {"edges": "attention", "n_boot": 20}
    for name, rows in (("trrust", network), ("dorothea", network[::-1])):
        sps.tl.circularity(audit, rows, reference_name=name, key_added=f"circularity_{name}", **more)
    assert said(audit, "The AUROC against the references trrust and dorothea among pairs of a regulator")
    sps.tl.circularity(audit, network, reference_name="dorothea", margin=0.5, key_added="circularity_dorothea", **more)
    assert "within 0.02" in said(audit, "The AUROC against the reference trrust among")
    assert "within 0.5" in said(audit, "The AUROC against the reference dorothea among")


def test_circularity_and_expression_matched_negatives(audit: ad.AnnData, network: pd.DataFrame) -> None:
    sps.tl.circularity(audit, network, edges="attention", universe="all_pairs", n_boot=30, reference_name="dorothea")
    holds(
        said(audit, "The AUROC against the reference dorothea among all ordered pairs"),
        "again without listed pairs whose mode (activation or repression) is unknown",
        "from 30 resamples of regulators",
        "equivalence within 0.02",
    )
    sps.tl.matched_negatives(
        audit, network, edges="attention", tolerance=0.3, wider=0.5, n_matched=11, min_matched=3, min_targets=2
    )
    holds(
        said(audit, "Each pair that the reference lists,"),
        "a regulator (at least 2 listed targets)",
        "at most 11 pairs that are not listed and whose genes' means and detection rates are within 30 % (50 % where "
        "fewer than 3 are found)",
    )
    sps.tl.matched_negatives(audit, network, edges="attention", reference_name="trrust")
    assert said(audit, "Each pair that the reference trrust lists,")
    audit.uns["matched_negatives"]["params"].pop("reference_name")
    assert said(audit, "Each pair that the reference and the reference trrust list,")


def test_what_explains_edges(audit: ad.AnnData) -> None:
    options = {"edges": "attention", "max_pairs": 5000}
    sps.tl.explain_edges(audit, learners=["ols", "node"], **options)
    holds(
        said(audit, "The share of the variance of edges, and of their ranks,"),
        "explained out of fold by linear regression on gene features and additive effects of source and target",
        "was computed over 5,000 pairs; models of features were fitted to pairs of other genes and, apart from that",
    )
    sps.tl.explain_edges(audit, learners="node", pair_folds=False, **options)
    assert "other genes" not in said(audit, "The share of the variance")


def test_natural_genes(audit: ad.AnnData) -> None:
    audit.var["height_of_peak"] = np.arange(audit.n_vars)[::-1]
    sps.tl.gene_universe_effect(audit, n_top_genes=60, by="height_of_peak", direction="target", margin=0.04, n_boot=30)
    found = said(audit, "The difference of AUROC")
    holds(
        found,
        "(target direction) between attention and spearman was taken anew for natural genes, the first 60 by height of",
        "at least 2 responders among 10 candidates",
        "equivalence within 0.04",
    )
    assert "extracted" not in found
    shown = audit.uns["gene_universe_effect"]["params"]
    shown["extracted_anew"] = ["attention"]
    holds(said(audit, "The difference of AUROC"), "and with attention extracted anew from the natural genes alone")


@pytest.fixture
def layered(audit: ad.AnnData) -> ad.AnnData:
    """Two layers of one model; responders are known to the second."""
    rng = np.random.default_rng(1)
    responds = audit.varm["perturbation_target"].T == 1
    for layer in range(2):
        values = rng.normal(size=(100, 100)).astype(np.float32)
        values[:20] += layer * responds
        np.fill_diagonal(values, np.nan)
        audit.varp[f"attention_L{layer}"] = values
    params = audit.uns["attention"]["params"] | {"layers": [0, 1], "model_fingerprint": "weights"}
    audit.uns["attention"] = {"params": params, "edges_keys": ["attention", "attention_L0", "attention_L1"]}
    return audit


def test_layers_chosen_on_other_perturbations(layered: ad.AnnData) -> None:
    sps.tl.select_layer(layered, how="nested", n_splits=4, direction="target", margin=0.03, n_boot=30)
    holds(
        said(layered, "The layer of attention was chosen among 2"),
        "AUROC (target direction) to spearman, on all but one of 4 folds of perturbations at a time",
        "signed ranks (Wilcoxon, 1945), times the number of layers",
        "equivalence within 0.03",
    )


def test_a_layer_that_was_frozen(layered: ad.AnnData, network: pd.DataFrame) -> None:
    labels = layered.varm.pop("perturbation_target"), layered.uns.pop("perturbation_effects")
    sps.tl.select_layer(layered, network, how="frozen", metric="f1@50", min_targets=2, date="2026-01-02", n_boot=30)
    chosen = layered.uns["select_layer"]["params"]["layer"]
    layered.varm["perturbation_target"], layered.uns["perturbation_effects"] = labels
    sps.tl.perturbation_auroc(layered, edges=["attention_L0", "attention_L1", "spearman"], n_boot=30)
    holds(
        said(
            layered, f"The layer of attention_L{chosen} ({chosen}, counted from 0) was frozen before labels were read"
        ),
        "(2026-01-02): of 2 layers, that with the highest F1 of the 50 strongest pairs against a network of 48 listed",
        "(at least 2 listed targets)",
    )
    assert "frozen" not in sps.get.methods(layered, edges="spearman")


def test_all_specifications(audit: ad.AnnData, network: pd.DataFrame) -> None:
    sps.tl.perturbation_auroc(audit, edges="spearman", n_boot=30)
    forks: dict[str, Any] = {"directions": ["source", "max"], "residualizers": ["none", "ols"], "min_targets": [1, 4]}
    forks |= {"gene_models": ["chance", "detection_rate"], "show_progress_bar": False}
    sps.tl.specification_curve(audit, network, edges="spearman", lfc_thresholds=[0.25], **forks)
    found = said(audit, "Edges (spearman) were scored in every combination")
    holds(
        found,
        "direction (source and max), what is taken away (nothing and linear regression on gene features), listed "
        "targets that make a regulator (1 or 4) and what edges are compared with (chance and detection rate), to be",
    )
    assert "fold changes" not in found  # labels could not be called anew, so that there was no such fork
    assert "combination" not in sps.get.methods(audit, edges="spearman").replace(found, "")
    sps.tl.specification_curve(audit, edges="attention", **forks)
    assert "combination" not in sps.get.methods(audit, edges="spearman")  # that curve is of other edges


def test_sensitivity_to_the_settings(make_screen: Callable[..., ad.AnnData]) -> None:
    adata = make_screen(perturbed=tuple(f"G{index}" for index in range(9)))
    sps.pp.select_cells(adata, n_cells=150)
    sps.tl.correlation_edges(adata)
    grid = {"lfc_thresholds": [0.25, 0.5], "n_cells": [60, 150], "n_genes": [60], "tests": ["student", "welch"]}
    more = {"min_cells": 30, "direction": "target", "show_progress_bar": False}
    sps.tl.sensitivity_scan(adata, edges="spearman", **grid, **more)
    holds(
        said(adata, "Edges were scored in 8 combinations of"),
        "absolute log2 fold changes above 0.25 and 0.5, 60 and 150 control cells, 60 genes and the student and welch "
        "tests, anew in each choice of cells as far as they are correlations;",
        "(above 0.5, 150 cells, 60 genes, student test) counts as a test",
        "AUROCs (target direction) against one half over perturbations of at least 2 responders among 10 candidates",
    )


@pytest.fixture(scope="module")
def states() -> ad.AnnData:
    adata = sps.datasets.simulate_cssi(n_states=6, rng=1)
    adata.obsm["X_own"] = np.random.default_rng(0).normal(size=(adata.n_obs, 4)).astype(np.float32)
    return adata


def test_scaling(states: ad.AnnData) -> None:
    adata = states.copy()
    listed = adata.uns["simulate_cssi"]["network"]
    more = {"reference": listed, "n_seeds": 2, "min_targets": 1, "show_progress_bar": False}
    sps.tl.scaling_curve(adata, n_cells=[100, 200, 10**6], metrics=["top_k", "auroc"], reference_name="truth", **more)
    found = said(adata, "Networks (spearman) were made")
    holds(
        found,
        "of nested samples of 100 and 200 cells in 2 runs and scored against the reference truth among pairs of a "
        "regulator (at least 1 listed target)",
        "by signs and by signed ranks (Wilcoxon, 1945)",
        "counted over F1 of the strongest pairs and AUROC",
    )
    assert "rank-correlated" not in found
    sps.tl.scaling_curve(adata, n_cells=[100, 200], composition="fixed", groupby="cell_state", **more)
    holds(
        said(adata, "Networks (spearman) were made"),
        "100 and 200 cells with types (cell_state) in the proportions of all cells",
        "AUROC was rank-correlated with the number of cells",
    )
    sps.tl.scaling_curve(adata, n_cells=[60], composition="varied", groupby="cell_state", key_added="types", **more)
    found = said(adata, "Networks (spearman) were made of 60 cells")
    holds(found, "in equal parts of one, two and more types (cell_state), in 2 runs", "with the entropy of types")
    assert "F1" not in found


def test_networks_of_states(states: ad.AnnData) -> None:
    adata = states.copy()
    listed = adata.uns["simulate_cssi"]["network"]
    sps.tl.cssi(adata, groupby="cell_state", aggregation="mean_unweighted", min_cells=30, min_detected=2)
    options = {"min_targets": 1, "show_progress_bar": False}
    sps.tl.cssi_null(adata, listed, nulls=["size_matched", "genes"], n_null=7, **options)
    holds(
        said(adata, "A network (spearman) was made for each cell state (cell_state)"),
        "of at least 30 cells, among genes seen in at least 2 of its cells, and these were aggregated pair by pair (",
        "(mean unweighted)",
    )
    holds(
        said(adata, "The AUROC of the aggregate over states (cssi) against the reference among pairs of a regulator"),
        "with 7 aggregates each of random cells in strata of the same sizes and genes exchanged for each other within",
        "and with the network of all these cells together, by signed ranks",
    )
    sps.tl.cssi_split_half(adata, listed, variants=["max", "mean"], n_splits=2, **options)
    holds(
        said(adata, "Among 2 aggregations over states (cssi)"), "on the other half, in 2 splits, against the reference"
    )
    sps.tl.cssi_scan(adata, listed, n_states=[2, 3], n_null=1, use_rep="X_own", n_neighbors=12, min_cells=25, **options)
    holds(
        said(adata, "Cells were cut into 2 and 3 Leiden clusters of X_own (12 neighbours)"),
        "the aggregate (max) of networks (spearman) of clusters of at least 25 cells",
        "beside all cells together and 1 shuffling of its labels;",
    )


def test_value_weighted_edges(screen: ad.AnnData, small_model: Any) -> None:
    sps.pp.select_cells(screen, n_cells=30)
    sps.pp.gene_features(screen)
    reference = pd.DataFrame({"source": ["G1"] * 8, "target": [f"G{n}" for n in range(10, 18)]})
    options = {"layers": [1, 2], "center": True, "show_progress_bar": False}
    sps.tl.value_weighted_edges(screen, small_model, **options)
    sps.tl.reference_auroc(screen, reference, edges={"mine": "value_weighted_L2"}, n_boot=20)
    holds(
        said(screen, f"Value-weighted edges ({small_model.name};"),
        "layers 1 and 2, counted from 0; 30 cells) are the cosine, averaged over heads and over cells that hold both",
        "less the mean of the cell's genes",
    )
    assert "(mine) were audited" in sps.get.methods(screen)


@pytest.fixture
def models(screen: ad.AnnData, small_model: Any) -> tuple[ad.AnnData, dict[str, Any], pd.DataFrame]:
    sps.pp.select_cells(screen, n_cells=40)
    sps.tl.correlation_edges(screen)
    rows = [(f"G{i}", f"G{j}") for i in range(6) for j in range(20 + i, 26 + i)]
    return screen, {"one": small_model, "rho": "spearman"}, pd.DataFrame(rows, columns=["source", "target"])


def test_models_compared(models: tuple[ad.AnnData, dict[str, Any], pd.DataFrame]) -> None:
    adata, compared, reference = models
    more = {"margin": 0.05, "n_boot": 20, "min_targets": 2, "show_progress_bar": False}
    sps.tl.compare_models(adata, compared, reference, **more)
    params = adata.uns["compare_models"]["params"]
    found = said(adata, "Models and other edges (one and rho) were compared in the same cells")
    holds(
        found,
        f"over the {params['n_common']} genes and the pairs that all of them have, each model beside itself with",
        "random weights",
        "listed in the reference among pairs of a regulator (at least 2 listed targets) and another gene;",
        "equivalence within 0.05",
    )
    assert "nested samples" not in found
    sps.tl.compare_models(adata, compared, reference, n_cells=[20, 30, 10**6], **more)
    assert "of models also in nested samples of 20, 30 and 40 cells" in sps.get.methods(adata)
    sps.tl.compare_models(adata, compared, reference, randomized=False, reference_name="trrust", key_added="no", **more)
    own = [one for one in sentences(adata) if "the reference trrust" in one]
    assert len(own) == 1
    assert "random weights" not in own[0]


def test_contexts_are_told_of_where_their_tests_are(make_audit: Callable[..., ad.AnnData]) -> None:
    contexts = {name: make_audit(n_genes=100, seed=seed, companions=()) for seed, name in enumerate(("K562", "RPE1"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdata = mudata.MuData(contexts, axis=1)
    skip = [
        "incremental_value",
        "matched_evaluation",
        "explain_edges",
        "residualize_edges",
        "perturbation_auroc_layers",
    ]
    options = {"skip": skip, "n_boot": 30, "n_null": 20, "show_progress_bar": False}
    sps.tl.cross_context(mdata, edges="attention", min_powered=7, **options)
    holds(
        said(mdata, "2 contexts (K562 and RPE1) went through the same audit"),
        "by a random-effects model",
        "one with fewer than 7 perturbations, or regulators, was in no mean",
    )
    assert "contexts" not in sps.get.methods(mdata, mod="K562")
    assert "For each perturbed gene" in sps.get.methods(mdata, mod="K562")


def test_what_was_read_from_disk_is_told_alike(
    states: ad.AnnData, audit: ad.AnnData, network: pd.DataFrame, tmp_path: Path
) -> None:
    sps.tl.reference_auroc(audit, network, edges="attention", n_boot=20, top_k=[20], baselines=[])
    sps.tl.explain_edges(audit, edges="attention", learners="node")
    sps.tl.gene_universe_effect(audit, n_top_genes=60, by="mean", n_boot=30)
    sps.tl.specification_curve(
        audit, edges="attention", directions="source", residualizers="none", gene_models="chance"
    )
    adata = states.copy()
    listed = adata.uns["simulate_cssi"]["network"]
    del adata.uns["simulate_cssi"]
    sps.tl.cssi(adata, groupby="cell_state")
    sps.tl.cssi_null(adata, listed, nulls="genes", n_null=2, min_targets=1)
    sps.tl.scaling_curve(adata, reference=listed, n_cells=[100, 200], n_seeds=1, min_targets=1)
    for one in (audit, adata):
        small = ad.AnnData(uns=one.uns)  # what sentences are made from
        small.write_h5ad(tmp_path / "told.h5ad")
        assert sps.get.methods(ad.read_h5ad(tmp_path / "told.h5ad")) == sps.get.methods(one)
