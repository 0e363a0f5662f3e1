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
        assert f"year = {{{year}}}" in entry
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


def test_bad_input(empty: ad.AnnData, enter_all: Callable[..., None]) -> None:
    with pytest.raises(KeyError, match="nothing has been tested"):
        sps.get.methods(empty)
    enter_all(empty)
    with pytest.raises(KeyError, match="no row of the edges 'mine'"):
        sps.get.methods(empty, edges="mine")
