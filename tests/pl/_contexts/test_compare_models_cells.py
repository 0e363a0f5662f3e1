"""The plot of models by the number of cells shows what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    import anndata as ad

SIZES = (20, 50, 120)


def _result(adata: ad.AnnData) -> None:
    rows: list[dict[str, Any]] = []
    for statistic in ("pooled", "per_regulator"):
        for name, kind, aurocs in (
            ("geneformer", "edges", (0.5, 0.55, 0.6)), ("scgpt", "edges", (0.52, 0.53, np.nan)),
            ("geneformer_randomized", "control", (0.49, 0.5, 0.51)), ("correlation", "edges", (0.66,)),
            ("variance", "baseline", (0.7,)),
        ):  # fmt: skip
            sizes = SIZES if len(aurocs) == 3 else SIZES[-1:]
            rows += [
                {"n_cells": n, "predictor": name, "kind": kind, "statistic": statistic, "auroc": auroc}
                | {"ci_low": auroc - 0.05, "ci_high": auroc + 0.05, "status": "ok"}
                for n, auroc in zip(sizes, aurocs, strict=True)
            ]
    adata.uns["compare_models"] = {"params": {}, "curve": pd.DataFrame(rows)}


def test_a_line_for_each_model_and_its_twin_and_levels_for_the_rest(empty: ad.AnnData) -> None:
    _result(empty)
    ax = sps.pl.compare_models_cells(empty)
    lines = [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in ax.lines]
    assert ([20, 50, 120], [0.5, 0.55, 0.6]) in lines
    assert ([20, 50], [0.52, 0.53]) in lines
    assert ([20, 50, 120], [0.49, 0.5, 0.51]) in lines
    assert ([0, 1], [0.66, 0.66]) in lines
    assert ([0, 1], [0.7, 0.7]) in lines
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["20", "50", "120"]
    assert {text.get_text() for text in ax.texts} == {"geneformer", "scgpt", "correlation", "variance"}


def test_axes_are_given_back_and_errors_name_the_tool(empty: ad.AnnData) -> None:
    empty.uns["compare_models"] = {"params": {}, "summary": pd.DataFrame({"auroc": [0.5]})}
    with pytest.raises(KeyError, match="n_cells="):
        sps.pl.compare_models_cells(empty)
    _result(empty)
    _, given = plt.subplots()
    assert sps.pl.compare_models_cells(empty, statistic="per_regulator", ax=given) is given
    with pytest.raises(ValueError, match="statistic"):
        sps.pl.compare_models_cells(empty, statistic="best")
