from __future__ import annotations

import re
from html import unescape

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._report._battery import battery


def _page(adata: ad.AnnData, title: str) -> str:
    return " ".join(dict(battery(adata))[title])


def _section(adata: ad.AnnData, title: str) -> str:
    plain = unescape(re.sub(r"<[^>]+>", " ", _page(adata, title)))
    return re.sub(r"\s+", " ", plain.replace("\u00a0", " "))


@pytest.fixture
def adata() -> ad.AnnData:
    """Results whose numbers are made up."""
    found = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    numbers = {"n_sources": 9, "minimum_detectable": 0.111, "status": "ok"}
    rows = [
        {"edges": "insilico", "compared": "magnitude", "adjustment": how, "rho": rho, "ci_low": low, "ci_high": low + 1,
         "p_value": 0.2, "ci_low_source": -0.2, "ci_high_source": 0.3, "p_value_source": 0.04} | numbers
        for how, rho, low in (("raw", 0.25, -0.4), ("adjusted", -0.01, -0.6), ("within", 0.125, -0.3))
    ]  # fmt: skip
    trivial = pd.DataFrame({"compared": "magnitude", "feature": ["mean", "detection_rate"], "rho": [0.1, -0.35]})
    found.uns["model_effects"] = {
        "params": {}, "correlations": pd.DataFrame(rows), "baselines": trivial, "per_source": pd.DataFrame(),
    }  # fmt: skip
    left = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "direction": ["denoise", "ablate"] * 2,
            "n_cells": 64,
            "total": 0.5,
            "residual": [0.25, -0.125, 0.01, 0.02],
            "lower_bound": [0.2, 0.1, 0.0, 0.0],
            "ratio": [0.4, 0.2, 0.0, np.nan],
            "first": ["L3", "L3", "L1", "L2"],
            "status": "ok",
        }
    )
    certificates = pd.DataFrame({"run": ["a", "b"], "direction": "denoise", "factor": 1.0, "first_by_bias": [1.0, 0.0]})
    params = {"components": "heads", "direction": "denoise", "deletion": "SPI1"}
    parts = pd.DataFrame(
        [(run, name, 0.2, 0.01, 0.1, 0.02, 0.15, 0.03, share)
         for run in ("a", "b") for name, share in (("L0", 0.05), ("L1", 0.25), ("L2", 0.1), ("L3", 0.6))],
        columns=["run", "component", "denoise", "denoise_error", "ablate", "ablate_error", "shapley", "shapley_error",
                 "share"],
    )  # fmt: skip
    found.uns["mediation"] = {
        "params": params, "components": parts, "additivity": left, "certificates": certificates,
    }  # fmt: skip
    return found


def test_effects_are_told_with_the_target_alone(adata: ad.AnnData) -> None:
    said = _section(adata, "Effects in the model")
    assert "The detection rate alone has a correlation of −0.350" in said
    assert "adjusted for the target ok 9 −0.010 −0.600 to +0.400 0.20 0.111" in said
    assert "within perturbed genes ok 9 +0.125 −0.300 to +0.700 0.20" in said


def test_effects_are_about_pairs_only_where_something_is_left(adata: ad.AnnData) -> None:
    said = _section(adata, "Effects in the model")
    raw = (
        "Effects in the model (insilico) have a rank correlation of +0.250 with measured ones (size; 9 perturbed genes)"
    )
    assert f"{raw}; with what is known of the target taken away, nothing is shown to be left: −0.010" in said
    assert "A correlation of 0.111 would have been found" in said
    rows = adata.uns["model_effects"]["correlations"]
    adjusted = rows["adjustment"] == "adjusted"
    rows.loc[adjusted, ["rho", "ci_low", "ci_high", "p_value"]] = [0.2, 0.1, 0.3, 0.001]
    left = "taken away, +0.200 (+0.100 to +0.300, p = 0.001) is left."
    assert f"{raw}; with what is known of the target {left}" in _section(adata, "Effects in the model")
    rows.loc[adjusted, ["ci_low", "ci_high"]] = np.nan
    rows.loc[adjusted, "status"] = "too_few_units"
    assert "whether that is about pairs cannot be told (too few units)" in _section(adata, "Effects in the model")


def test_both_are_drawn_and_described(adata: ad.AnnData) -> None:
    (effects,) = re.findall(r'alt="([^"]*)"', _page(adata, "Effects in the model"))
    assert "insilico (size, adjusted for the target) −0.010" in effects
    (parts,) = re.findall(r'alt="([^"]*)"', _page(adata, "Parts of the model"))
    assert "Shapley value of each component for the effect of deleting SPI1: L0 0.15" in parts


def test_parts_that_the_effect_is_owed_to_come_first(adata: ad.AnnData) -> None:
    said = _section(adata, "Parts of the model")
    assert (
        "a: of what heads of each layer do to the effect of deleting SPI1, Shapley values give 60 % to L3, 25 % to L1 "
        "and 10 % to L2 (the first of 4)." in said
    )
    assert "Drawn is a; the others are drawn by scepsis.pl.mediation with run=" in said
    adata.uns["mediation"]["components"]["share"] = np.nan  # the total effect is not told from 0
    assert "Shapley values give" not in _section(adata, "Parts of the model")


def test_without_these_results_there_are_no_such_sections(adata: ad.AnnData) -> None:
    assert [title for title, _ in battery(adata)] == ["Effects in the model", "Parts of the model"]
    del adata.uns["mediation"]
    assert [title for title, _ in battery(adata)] == ["Effects in the model"]
    del adata.uns["model_effects"]
    assert battery(adata) == []


def test_what_is_left_over_is_told_by_run(adata: ad.AnnData) -> None:
    said = _section(adata, "Parts of the model")
    assert "In 1 of 2 runs effects of single components do not add up (components alone in the ablated model)." in said
    assert "is certain, biases of single estimates allowed for, in 1 of 2 runs (a)" in said
    assert "a alone in the ablated model ok 64 0.5 0.25 0.2 40 % L3" in said
    assert "b taken from the whole model ok 64 0.5 0.02 0 – L2" in said
    assert "(heads of each layer on the effect of deleting SPI1)" in said
