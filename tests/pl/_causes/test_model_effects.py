from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def made() -> ad.AnnData:
    """Correlations that are made up: another one in every row."""
    rows, rho = [], -0.3
    for edges, how in (("insilico", "signed"), ("insilico", "magnitude"), ("attention", "magnitude")):
        for adjustment in ("raw", "adjusted", "within"):
            rows.append((edges, how, adjustment, rho, rho - 0.1, rho + 0.1, 0.03, rho - 0.05, rho + 0.05, 0.02, "ok"))
            rho += 0.07
    columns = ["edges", "compared", "adjustment", "rho", "ci_low", "ci_high", "p_value"]
    frame = pd.DataFrame(rows, columns=[*columns, "ci_low_source", "ci_high_source", "p_value_source", "status"])
    trivial = [(how, name, 0.1 * i) for how in ("signed", "magnitude") for i, name in enumerate(("mean", "variance"))]
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns["model_effects"] = {
        "params": {"seed": 0},
        "correlations": frame,
        "baselines": pd.DataFrame(trivial, columns=["compared", "feature", "rho"]),
    }
    return adata


def _points(ax: Any, marker: str) -> list[float]:
    return [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == marker]


def test_points_and_intervals_are_the_stored_numbers(made: ad.AnnData) -> None:
    ax = sps.pl.model_effects(made)
    stored = made.uns["model_effects"]["correlations"]
    for adjustment, marker in (("raw", "s"), ("adjusted", "o"), ("within", "^")):
        own = stored[stored["adjustment"] == adjustment]
        np.testing.assert_allclose(_points(ax, marker), own["rho"])
    np.testing.assert_allclose(_points(ax, "D"), made.uns["model_effects"]["baselines"]["rho"])
    intervals = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1]
    widths = sorted(high - low for low, high in intervals)
    np.testing.assert_allclose(widths, [0.2] * 9)
    assert [text.get_text() for text in ax.texts].count("p = 0.03") == 9


def test_a_status_is_told_and_its_point_hollow(made: ad.AnnData) -> None:
    frame = made.uns["model_effects"]["correlations"]
    frame.loc[frame["edges"] == "attention", "status"] = "label_leak"
    frame.loc[frame["adjustment"] == "within", "rho"] = np.nan
    ax = sps.pl.model_effects(made, edges="attention")
    told = [text.get_text() for text in ax.texts]
    assert told.count("p = 0.03, label leak") == 2
    assert told.count("label leak") == 1
    hollow = [line for line in ax.lines if line.get_marker() in {"s", "o"} and line.get_markerfacecolor() == "none"]
    assert len(hollow) == 2
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert "the target alone (size)" in labels
    assert "the target alone (signed)" not in labels


def test_wrong_requests_name_what_there_is(made: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    with untouched(made):
        with pytest.raises(KeyError, match="'insilico', 'attention'"):
            sps.pl.model_effects(made, edges="other")
        with pytest.raises(KeyError, match=r"scepsis\.tl\.model_effects"):
            sps.pl.model_effects(made, key="elsewhere")
        _, ax = plt.subplots()
        assert sps.pl.model_effects(made, ax=ax) is ax
