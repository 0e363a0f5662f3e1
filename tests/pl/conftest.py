"""A scored screen whose numbers are made up, so that pictures are held to the table and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = {
    "attention": ("edges", 0.60),
    "attention_uniform_fold": ("scale", 0.55),
    "attention_centered": ("scale", 0.52),
    "attention_randomized": ("control", 0.57),
    "spearman": ("edges", 0.68),
    "spearman_signed": ("signed", 0.63),
    "variance": ("baseline", 0.82),
    "mean": ("baseline", 0.80),
    "detection_rate": ("baseline", 0.79),
    "de_frequency": ("baseline", 0.90),
    "position": ("baseline", np.nan),
    "coverage": ("baseline", 0.78),
}


@pytest.fixture(autouse=True)
def _no_screen() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


def _frames(kinds: dict[str, tuple[str, float]], n_units: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    units, summary = [], []
    for name, (kind, middle) in kinds.items():
        ran = np.isfinite(middle)
        values = np.clip(rng.normal(middle, 0.1, n_units), 0.01, 0.99) if ran else np.full(n_units, np.nan)
        units.append(
            pd.DataFrame(
                {
                    "perturbation": [f"G{index}/x" for index in range(n_units)],
                    "predictor": name,
                    "kind": kind,
                    "auroc": values,
                    "status": "ok" if ran else "not_run",
                }
            )
        )
        half = 2.04 * values.std(ddof=1) / np.sqrt(n_units) if n_units >= 6 else np.nan
        summary.append(
            {
                "predictor": name,
                "kind": kind,
                "n_units": n_units if ran else 0,
                "auroc": values.mean(),
                "ci_low": values.mean() - half,
                "ci_high": values.mean() + half,
                "status": ("ok" if n_units >= 6 else "too_few_units") if ran else "not_run",
            }
        )
    return {"per_perturbation": pd.concat(units, ignore_index=True), "summary": pd.DataFrame(summary), "params": {}}


@pytest.fixture
def scored() -> Callable[..., ad.AnnData]:
    """Maker of scored data: ``scored(kinds=, n_units=, seed=)``."""

    def make(kinds: dict[str, tuple[str, float]] | None = None, *, n_units: int = 31, seed: int = 0) -> ad.AnnData:
        adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
        adata.uns["perturbation_auroc"] = _frames(kinds or KINDS, n_units, seed)
        return adata

    return make


@pytest.fixture
def affected() -> Callable[..., ad.AnnData]:
    """Maker of data with effects: ``affected(n=)`` perturbations, the last two not testable."""

    def make(n: int = 12) -> ad.AnnData:
        rng = np.random.default_rng(1)
        adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
        cells = rng.integers(50, 300, n)
        status = np.array(["ok"] * n, dtype=object)
        testable = 200 + np.arange(n)
        testable[-2] = 0
        status[-2:] = ["too_few_units", "multi_target"]
        table = pd.DataFrame(
            {
                "perturbation": [f"G{index}" for index in range(n)],
                "gene": [f"G{index}" for index in range(n)],
                "n_cells": cells,
                "n_testable": testable,
                "n_targets": rng.integers(0, 60, n),
                "status": status,
            }
        )
        false = pd.DataFrame(
            {
                "n_cells": [50, 100, 200],
                "test": "student",
                "n_splits": 100,
                "share_of_genes": [0.004, 0.002, 0.001],
                "share_of_splits": [0.12, 0.06, 0.05],
            }
        )
        adata.uns["perturbation_effects"] = {
            "params": {"test": "student", "fdr": 0.05},
            "perturbations": table,
            "false_calls": false,
        }
        return adata

    return make
