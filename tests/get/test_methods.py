from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps
from scepsis.get._methods import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def test_sentences_say_what_is_on_record_and_nothing_else(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(n_units=8)
    score(adata, edges=["attention", "spearman"], direction="target", margin=0.03, min_positives=4, n_boot=50)
    text = sps.get.methods(adata)
    assert text.startswith("Edges (attention and spearman) were audited with scepsis")
    assert "(target direction)" in text
    assert "variance, mean, detection rate, de frequency, position and coverage" in text
    assert "at least 4 responders among 10 candidates" in text
    assert "equivalence within 0.03 (Schuirmann, 1987)" in text
    assert f"{len(sps.get.tests(adata))} tests were made." in text
    for absent in ("Incremental", "residualised", "matched", "Benjamini", "degrees"):
        assert absent not in text
    sps.tl.correct_tests(adata, alpha=0.1)
    corrected = sps.get.methods(adata)
    assert "at a false discovery rate of 10 % (Benjamini and Hochberg, 1995)" in corrected
    assert "Edges (spearman) were" in sps.get.methods(adata, edges="spearman")


def test_every_source_that_is_cited_is_listed_once(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(n_units=8)
    score(adata, n_boot=50)
    body, _, sources = sps.get.methods(adata).partition("\n\nSources:\n")
    assert "[" not in body
    listed = sources.splitlines()
    assert listed == sorted(set(listed))
    years = set(re.findall(r"\([A-Z][^()]*, (\d{4})\)", body))
    assert years == {re.search(r"\((\d{4})\)", line)[1] for line in listed}
    bibliography = (Path(__file__).parents[2] / "docs" / "references.bib").read_text()
    for key, text in SOURCES.items():
        entry = bibliography.partition(f"{{{key},")[2].partition("\n}")[0]
        year = re.search(r"[(](\d{4})", text)[1]
        assert re.search(rf"year\s*= \{{{year}\}}", entry)
        assert text.split()[0].rstrip(",") in entry


def test_parameters_of_each_analysis_are_told(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    enter_all(empty)
    empty.uns["tests"]["key"] = empty.uns["tests"]["analysis"]
    empty.uns |= {
        "A05": {
            "params": {
                "learners": ["logistic", "gbdt"],
                "splits": ["gene", "joint"],
                "n_folds": 4,
                "joint_mode": "diagonal",
                "n_placebo": 7,
                "margin": 0.005,
            }
        },
        "A08": {"params": {"residualizers": ["ols", "node"], "reference": "trrust", "universe": "regulators"}},
        "A09": {"params": {"n_null": 1234}},
        "A11": {"params": {"k": 3, "caliper": 0.25, "smd_threshold": 0.1}},
    }
    text = sps.get.methods(empty)
    for told in (
        "by logistic regression and gradient-boosted trees, holding out gene and joint",
        "(4 blocks; diagonal joint cells)",
        "against 7 permutations",
        "linear regression on gene features and additive effects of source and target",
        "computed against trrust (universe regulators)",
        "that of 1,234 networks of the same in- and out-degrees",
        "matched with 3 others of their perturbation by propensity, within 0.25 standard deviations",
    ):
        assert told in text


def test_interventions_and_what_a_model_does_are_told(
    empty: ad.AnnData, enter: Callable[..., None], enter_causal: Callable[..., None]
) -> None:
    enter_causal(empty)
    enter(empty, {"analysis": "A20", "name": "spearman/raw"}, key="model_effects")
    enter(empty, {"analysis": "A30", "name": "non_additive/denoise", "edges": ""}, key="mediation")
    read = {"model": "tiny", "primary": "top_5", "n_random": 200, "n_exceed": 10, "n_cells_run": 64, "n_fidelity": 32}
    read |= {"readouts": ["attention_L3"], "match": ["layer", "entropy"], "margin": 0.005, "seed": 4}
    effects = {"direction": "source", "min_candidates": 12, "min_units": 7}
    parts = {"model": "tiny", "components": "mlps", "n_permutations": 0, "n_cells": 48, "deletion": "SPI1"}
    empty.uns |= {
        "head_ablation": {"params": read}, "model_effects": {"params": effects}, "mediation": {"params": parts},
    }  # fmt: skip
    text = sps.get.methods(empty)
    for told in (
        "Edges (attention) were audited",
        "4 interventions on heads and MLPs of tiny were run on 64 cells (seed 4)",
        "scored anew at attention L3",
        "top_5 was held against at most 200 random sets of heads of like layer and entropy by a sequential",
        "stops once 10 of them took as much (Besag and Clifford, 1991); equivalence was within 0.005",
        "hidden states of 32 cells moved by a cosine distance above 0.02",
        "Effects in the model (attention; source direction) were rank-correlated",
        "at least 12 targets, and inference from 7 of them on",
        "What MLPs of tiny are worth to the effect of deleting SPI1",
        "Shapley values from all of their coalitions, on 48 cells;",
    ):
        assert told in text
    assert text.count("interventions on heads") == 1
    parts |= {"components": ["L0H1", "L1H0"], "n_permutations": 200, "groupby": "state"}
    del parts["deletion"]
    again = sps.get.methods(empty)
    assert "What single heads of tiny are worth to the cell's embedding" in again
    assert "from 200 orders of them, on 48 cells, one run for each group of state;" in again
    assert "What" not in sps.get.methods(empty, edges="attention").partition("Sources")[0].replace("What a readout", "")
    assert sps.get.methods(empty, edges="").startswith("A model was audited")


def test_bad_input(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    with pytest.raises(KeyError, match="nothing has been tested"):
        sps.get.methods(empty)
    enter_all(empty)
    with pytest.raises(KeyError, match="no row of the edges 'mine'"):
        sps.get.methods(empty, edges="mine")
