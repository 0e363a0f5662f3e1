"""Results on layers whose numbers are made up, so that pictures are held to the tables and to nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCES = {"net": 0.6, "sets": 0.7, "none": np.nan}


def _row(
    reference: str, edges: str, kind: str, curve: str, layer: int, auroc: float, differs: int
) -> dict[str, object]:
    return {
        "reference": reference, "edges": edges, "kind": kind, "curve": curve, "layer": layer, "auroc": auroc,
        "ci_low": auroc - 0.04, "ci_high": auroc + 0.04, "difference_low": 0.05 * differs - 0.02,
        "difference_high": 0.05 * differs + 0.02, "status": "ok",
    }  # fmt: skip


def _make_layers(n_layers: int = 5, *, curves: tuple[str, ...] = ("attention", "attention_randomized")) -> ad.AnnData:
    rows, trends = [], []
    for reference, level in REFERENCES.items():
        for number, curve in enumerate(curves):
            kind = "control" if curve.endswith("randomized") else "edges"
            rows += [
                _row(reference, f"{curve}_L{layer}", kind, curve, layer, level + 0.02 * layer - 0.1 * number, layer - 1)
                for layer in range(n_layers)
            ]
            trends.append(
                {"reference": reference, "curve": curve, "slope": 0.02, "slope_low": 0.01, "slope_high": 0.03}
            )
        rows.append(_row(reference, "spearman", "baseline", "spearman", -1, level - 0.05, 0))
        rows += [
            _row(reference, name, "baseline", name, -1, level + at, 0) for name, at in (("mean", 0.01), ("var", 0.15))
        ]
    adata = ad.AnnData(np.zeros((2, 2)))
    adata.uns["characterize_layers"] = {
        "params": {"versus": "spearman"},
        "profile": pd.DataFrame(rows),
        "trends": pd.DataFrame(trends),
    }
    return adata


@pytest.fixture
def on_layers() -> Callable[..., ad.AnnData]:
    """Maker of a result of `characterize_layers`: ``on_layers(n_layers, curves=)``."""
    return _make_layers
