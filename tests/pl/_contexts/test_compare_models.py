"""The plot of models shows what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    import anndata as ad


def _result(adata: ad.AnnData) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for statistic in ("pooled", "per_regulator"):
        for name, kind, auroc in (
            ("geneformer", "edges", 0.6), ("scgpt", "edges", 0.55), ("geneformer_randomized", "control", 0.51),
            ("variance", "baseline", 0.7), ("mean", "baseline", float("nan")),
        ):  # fmt: skip
            rows.append(
                {"predictor": name, "kind": kind, "statistic": statistic, "auroc": auroc, "ci_low": auroc - 0.05}
                | {"ci_high": auroc + 0.05, "status": "not_run" if auroc != auroc else "ok"}
            )
    adata.uns["compare_models"] = {"params": {}, "summary": pd.DataFrame(rows)}
    return adata.uns["compare_models"]["summary"]


def test_one_row_per_model_with_its_twin_below(empty: ad.AnnData) -> None:
    found = _result(empty)
    ax = sps.pl.compare_models(empty)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["geneformer", "scgpt", "variance", "mean"]
    points = {line.get_xdata()[0]: line.get_ydata()[0] for line in ax.lines if len(line.get_xdata()) == 1}
    assert points[0.6] == 0
    assert 0 < points[0.51] < 1
    assert set(points) == set(found["auroc"].dropna())
    ends = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert (0.6 - 0.05, 0.6 + 0.05) in ends
    assert "not run" in [text.get_text() for text in ax.texts]


def test_axes_are_given_back_and_errors_name_the_tool(empty: ad.AnnData) -> None:
    with pytest.raises(KeyError, match="compare_models"):
        sps.pl.compare_models(empty)
    _result(empty)
    _, given = plt.subplots()
    assert sps.pl.compare_models(empty, statistic="per_regulator", ax=given) is given
    with pytest.raises(ValueError, match="statistic"):
        sps.pl.compare_models(empty, statistic="best")


def test_what_has_no_interval_says_why(empty: ad.AnnData) -> None:
    found = _result(empty)
    found.loc[:, ["ci_low", "ci_high"]] = float("nan")
    found["status"] = "too_few_units"
    ax = sps.pl.compare_models(empty)
    assert "0.600  too few units" in [text.get_text() for text in ax.texts]
    assert "95 % interval" not in [text.get_text() for text in ax.get_legend().get_texts()]
