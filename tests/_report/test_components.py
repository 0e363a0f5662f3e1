from __future__ import annotations

import re
from html import unescape

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._report._battery import battery


def _section(adata: ad.AnnData, title: str) -> str:
    plain = unescape(re.sub(r"<[^>]+>", " ", " ".join(dict(battery(adata))[title])))
    return re.sub(r"\s+", " ", plain.replace("\u00a0", " "))


@pytest.fixture
def adata() -> ad.AnnData:
    """Results whose numbers are made up."""
    found = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    numbers = {"n_sources": 9, "minimum_detectable": 0.111, "status": "ok"}
    rows = [
        {"edges": "insilico", "compared": "magnitude", "adjustment": how, "rho": rho, "ci_low": low, "ci_high": low + 1,
         "p_value": 0.2, "ci_low_source": -0.2, "ci_high_source": 0.3, "p_value_source": 0.04} | numbers
        for how, rho, low in (("raw", 0.25, -0.4), ("adjusted", -0.01, -0.6), ("within", 0.125, np.nan))
    ]  # fmt: skip
    trivial = pd.DataFrame({"compared": "magnitude", "feature": ["mean", "detection_rate"], "rho": [0.1, -0.35]})
    found.uns["model_effects"] = {"params": {}, "correlations": pd.DataFrame(rows), "baselines": trivial}
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
    found.uns["mediation"] = {"params": params, "additivity": left, "certificates": certificates}
    return found


def test_effects_are_told_with_the_target_alone(adata: ad.AnnData) -> None:
    said = _section(adata, "Effects in the model")
    assert "The detection rate alone has a correlation of −0.350" in said
    assert "adjusted for the target ok 9 −0.010 −0.600 to +0.400 0.20 0.111" in said
    assert "within perturbed genes ok 9 +0.125 −0.200 to +0.300 0.04" in said


def test_what_is_left_over_is_told_by_run(adata: ad.AnnData) -> None:
    said = _section(adata, "Parts of the model")
    assert "In 1 of 2 runs effects of single components do not add up." in said
    assert "is certain in 1 of 2 runs (a)" in said
    assert "a alone in the ablated model ok 64 0.5 0.25 0.2 40 % L3" in said
    assert "b taken from the whole model ok 64 0.5 0.02 0 – L2" in said
    assert "Heads on a deletion of SPI1" in said
