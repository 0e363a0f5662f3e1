"""A scored screen whose numbers are made up, so that sentences are held to the table and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

#: predictor -> kind, mean AUROC, status
PREDICTORS = {
    "attention": ("edges", 0.612, "ok"),
    "spearman": ("edges", 0.684, "ok"),
    "attention_uniform_fold": ("scale", 0.553, "ok"),
    "attention_centered": ("scale", 0.531, "ok"),
    "attention_randomized": ("control", 0.571, "ok"),
    "spearman_signed": ("signed", 0.634, "ok"),
    "variance": ("baseline", 0.821, "ok"),
    "mean": ("baseline", 0.804, "ok"),
    "detection_rate": ("baseline", 0.791, "ok"),
    "de_frequency": ("baseline", 0.903, "ok"),
    "position": ("baseline", np.nan, "not_run"),
    "coverage": ("baseline", 0.778, "ok"),
}


def summary_row(predictor: str, kind: str, auroc: float, status: str = "ok", **changes: Any) -> dict[str, Any]:
    """One row of the summary; with fewer than six units, or none, without what needs more."""
    scored = np.isfinite(auroc)
    n_units = changes.pop("n_units", 31 if scored else 0)
    enough = scored and n_units >= 6
    row = {
        "predictor": predictor,
        "kind": kind,
        "n_units": n_units,
        "auroc": auroc,
        "auroc_sd": 0.1 if enough else np.nan,
        "ci_low": auroc - 0.037 if enough else np.nan,
        "ci_high": auroc + 0.037 if enough else np.nan,
        "p_value": 0.0021 if enough else np.nan,
        "auroc_pooled": auroc - 0.01,
        "auprc": 0.11 if scored else np.nan,
        "prevalence": 0.04 if scored else np.nan,
        "lift": 2.75 if scored else np.nan,
        "status": status if enough or not scored else "too_few_units",
    }
    return row | changes


def contrast_row(edges: str, versus: str, versus_kind: str, difference: float, **changes: Any) -> dict[str, Any]:
    """One row of the contrasts, with an interval of half-width 0.045 and the conclusion that follows from it."""
    half = changes.pop("half", 0.045)
    n_units = changes.pop("n_units", 31 if np.isfinite(difference) else 0)
    enough = np.isfinite(difference) and n_units >= 6
    low, high = (difference - half, difference + half) if enough else (np.nan, np.nan)
    inside = enough and abs(difference) + 0.82 * half < 0.02
    told = "equivalent" if inside else "different" if enough and not low <= 0 <= high else "inconclusive"
    row = {
        "edges": edges,
        "versus": versus,
        "versus_kind": versus_kind,
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
        "ci_method": "two_way" if enough else "",
        "twoway_low": low,
        "twoway_high": high,
        "boot_low": low + 0.002,
        "boot_high": high - 0.002,
        "p_value": 0.0004 if told == "different" else 0.31 if enough else np.nan,
        "q_value": 0.0013 if told == "different" else 0.37 if enough else np.nan,
        "cohen_d": 4 * difference if enough else np.nan,
        "equivalence": told if enough else "",
        "margin": 0.02,
        "minimum_detectable": 1.4 * half if enough else np.nan,
        "n_units": n_units,
        "status": "ok" if enough else "too_few_units" if np.isfinite(difference) else "not_run",
    }
    return row | changes


@pytest.fixture
def make_summary_row() -> Callable[..., pd.Series]:
    return lambda *arguments, **changes: pd.Series(summary_row(*arguments, **changes))


@pytest.fixture
def make_contrast_row() -> Callable[..., pd.Series]:
    return lambda *arguments, **changes: pd.Series(contrast_row(*arguments, **changes))


def contrasts_of(predictors: dict[str, tuple[str, float, str]], edges: str, **changes: Any) -> pd.DataFrame:
    own = predictors[edges][1]
    rows = [
        contrast_row(edges, name, kind, own - mean, **changes)
        for name, (kind, mean, _) in predictors.items()
        if name != edges and kind in {"edges", "control", "baseline"}
    ]
    return pd.DataFrame(rows)


def result(predictors: dict[str, tuple[str, float, str]], n_units: int, seed: int = 0) -> dict[str, Any]:
    """Entry of ``uns`` in the shape that scoring stores."""
    rng = np.random.default_rng(seed)
    units = []
    for name, (kind, mean, status) in predictors.items():
        scored = np.isfinite(mean)
        values = np.clip(rng.normal(mean, 0.08, n_units), 0.02, 0.98) if scored else np.full(n_units, np.nan)
        units.append(
            pd.DataFrame(
                {
                    "perturbation": [f"G{index}" for index in range(n_units)],
                    "predictor": name,
                    "kind": kind,
                    "auroc": values,
                    "n_pos": 12,
                    "n_neg": 250,
                    "status": status,
                }
            )
        )
    asked = [name for name, (kind, _, _) in predictors.items() if kind == "edges"]
    deciles = [
        {"predictor": name, "kind": "edges", "decile": decile, "auroc": 0.5 + 0.01 * decile, "n_units": 9}
        for name in asked
        for decile in range(10)
    ]
    return {
        "params": {
            "effects": "perturbation",
            "seed": 0,
            "edges": [name for name in asked if name != "spearman"],
            "edges_slot": [f"adata.varp[{name!r}]" for name in asked if name != "spearman"],
            "missing_companions": [],
        },
        "per_perturbation": pd.concat(units, ignore_index=True),
        "summary": pd.DataFrame(
            [summary_row(name, *row, n_units=n_units if np.isfinite(row[1]) else 0) for name, row in predictors.items()]
        ),
        "contrasts": pd.concat([contrasts_of(predictors, name, n_units=n_units) for name in asked], ignore_index=True),
        "by_mean_decile": pd.DataFrame(deciles),
    }


@pytest.fixture
def reported(make_screen: Callable[..., ad.AnnData]) -> Callable[..., ad.AnnData]:
    """Maker of scored screens: ``reported(predictors=, n_units=)``."""

    def make(predictors: dict[str, tuple[str, float, str]] | None = None, *, n_units: int = 31) -> ad.AnnData:
        adata = make_screen()
        adata.uns["perturbation_auroc"] = result(PREDICTORS if predictors is None else predictors, n_units)
        edges = np.abs(np.random.default_rng(0).normal(size=(adata.n_vars, adata.n_vars))).astype(np.float32)
        np.fill_diagonal(edges, np.nan)
        adata.varp["attention"] = edges
        adata.uns["attention"] = {
            "params": {
                "method": "attention",
                "model": "tiny <b>model</b>",
                "model_fingerprint": "0123456789abcdef0123456789abcdef",
                "layers": [0, 1],
                "scale": "probability",
                "layer_rule": "unrecorded",
                "n_cells": 160,
                "n_genes": 60,
                "cells_hash": "",
                "genes_hash": "",
            },
            "edges_keys": ["attention"],
        }
        table = {
            "perturbation": ["G0", "G1", "G2"],
            "gene": ["G0", "G1", "G2"],
            "n_cells": [40, 40, 40],
            "n_testable": [55, 54, 0],
            "n_targets": [5, 4, 0],
            "status": ["ok", "ok", "too_few_units"],
        }
        false = {
            "n_cells": [40],
            "test": ["student"],
            "n_splits": [20],
            "share_of_genes": [0.001],
            "share_of_splits": [0.05],
            "status": ["ok"],
        }
        adata.uns["perturbation_effects"] = {
            "params": {
                "groupby": "perturbation",
                "test": "student",
                "fdr": 0.05,
                "lfc_threshold": 0.5,
                "min_expected": 5.0,
                "min_cells": 30,
                "values": "adata.layers['lognorm']",
                "n_cells": 160,
            },
            "perturbations": pd.DataFrame(table),
            "false_calls": pd.DataFrame(false),
        }
        return adata

    return make
