"""Results on a reference whose numbers are made up, so that pictures are held to the table and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SCORES = {
    "attention": ("edges", 0.72, 0.66, "ok"),
    "spearman": ("edges", 0.61, 0.60, "null_not_mixed"),
    "absent": ("edges", np.nan, np.nan, "no_positives"),
    "proximity": ("model_free", 0.55, 0.47, "ok"),
}


NULLS = ("degree", "label_shuffle", "row_only")
STATISTICS = ("pooled", "per_regulator")
PREDICTORS = {
    "variance": ("baseline", 0.7),
    "attention": ("edges", 0.6),
    "twin": ("control", 0.52),
    "mean": ("baseline", np.nan),
}


def _make_null(n_draws: int = 60, seed: int = 0) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    middle = {
        (name, null): mean if null == "degree" else 0.5 for name, (_, _, mean, _) in SCORES.items() for null in NULLS
    }
    summary = [
        {
            "edges": name,
            "kind": kind,
            "null": null,
            "statistic": statistic,
            "observed": observed,
            "null_mean": middle[name, null],
            "z": 3.5,
            "p_value": 0.012 if status == "ok" else np.nan,
            "chance": 0.5,
            "status": status,
        }
        for name, (kind, observed, _, status) in SCORES.items()
        for null in NULLS
        for statistic in STATISTICS
    ]
    draws = [
        pd.DataFrame(rng.normal(mean, 0.01, (n_draws, 2)), columns=list(STATISTICS)).assign(
            edges=name, null=null, draw=np.arange(n_draws)
        )
        for (name, null), mean in middle.items()
        if name != "absent"
    ]
    adata = ad.AnnData(np.zeros((2, 2)))
    result = {"params": {}, "summary": pd.DataFrame(summary), "draws": pd.concat(draws, ignore_index=True)}
    adata.uns["degree_null"] = result
    return adata


def _make_reference(*, unordered: bool = False, seed: int = 0) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    summary = [
        {
            "predictor": name,
            "kind": kind,
            "statistic": statistic,
            "auroc": middle + 0.01 * (statistic != "pooled"),
            "ci_low": middle - 0.05,
            "ci_high": middle + 0.05,
            "n_pos": 138,
            "status": "ok" if np.isfinite(middle) else "not_run",
        }
        for name, (kind, middle) in PREDICTORS.items()
        for statistic in (STATISTICS[:1] if unordered else STATISTICS)
    ]
    units = [
        pd.DataFrame(
            {
                "predictor": name,
                "kind": kind,
                "auroc": np.clip(rng.normal(middle, 0.1, 10), 0, 1),
                "status": ["ok"] * 9 + ["too_few_units"],
            }
        )
        for name, (kind, middle) in PREDICTORS.items()
        if np.isfinite(middle)
    ]
    adata = ad.AnnData(np.zeros((2, 2)))
    regulators = pd.concat(units, ignore_index=True)
    result = {"params": {}, "summary": pd.DataFrame(summary), "per_regulator": regulators[: 0 if unordered else None]}
    adata.uns["reference_auroc"] = result
    return adata


def _make_negatives() -> ad.AnnData:
    known = {"variance": ("baseline", 0.61), "mean_product": ("baseline", 0.58), "attention": ("edges", 0.66)}
    known |= {"twin": ("control", np.nan)}
    summary = [
        {
            "predictor": name,
            "kind": kind,
            "statistic": statistic,
            "auroc": middle + shift,
            "ci_low": middle + shift - 0.05 if name != "variance" else np.nan,
            "ci_high": middle + shift + 0.04 if name != "variance" else np.nan,
            "n_pos": 1_234,
            "status": "ok" if np.isfinite(middle) else "not_run",
        }
        for name, (kind, middle) in known.items()
        for statistic, shift in (("matched", 0.0), ("balanced", -0.03), ("pooled", 0.02))
    ]
    adata = ad.AnnData(np.zeros((2, 2)))
    adata.uns["matched_negatives"] = {"params": {"margin": 0.02}, "summary": pd.DataFrame(summary)}
    return adata


@pytest.fixture
def against_alike() -> Callable[..., ad.AnnData]:
    """Maker of a result of `matched_negatives`."""
    return _make_negatives


@pytest.fixture
def against_null() -> Callable[..., ad.AnnData]:
    """Maker of a result of `degree_null`: ``against_null(n_draws=)``."""
    return _make_null


@pytest.fixture
def on_reference() -> Callable[..., ad.AnnData]:
    """Maker of a result of `reference_auroc`: ``on_reference(unordered=)``."""
    return _make_reference
