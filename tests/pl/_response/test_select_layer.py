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

SHARES = [0.0, 0.25, 0.7, 0.05]
VALUES = [0.52, 0.6, 0.66, 0.58]


def _data(params: dict[str, Any], profile: dict[str, Any], **more: pd.DataFrame) -> ad.AnnData:
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    frame = pd.DataFrame({"layer": range(4), "share_of_resamples": SHARES} | profile)
    adata.uns["select_layer"] = {"params": {"edges": "attention"} | params, "profile": frame} | more
    return adata


@pytest.fixture
def frozen() -> ad.AnnData:
    params = {"how": "frozen", "metric": "auroc", "layer": 2, "n_units": 30, "n_listed": 400, "status": "ok"}
    return _data(params, {"value": VALUES, "is_chosen": [False, False, True, False]})


@pytest.fixture
def nested() -> ad.AnnData:
    differences = np.array(VALUES) - 0.5
    profile = {"difference": differences, "twoway_low": differences - 0.1, "twoway_high": differences + 0.2}
    summary = {"difference": 0.12, "twoway_low": 0.01, "twoway_high": 0.23, "p_bonferroni": 0.0301}
    summary |= {"n_units": 40, "n_layers": 4, "status": "ok"}
    return _data(
        {"how": "nested", "versus": "spearman"}, profile | {"n_folds": [0, 1, 4, 0]}, summary=pd.DataFrame([summary])
    )


def _curve(ax: plt.Axes) -> np.ndarray:
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == 4]
    return np.asarray(line.get_ydata(), dtype=float)


def _bars(ax: plt.Axes) -> np.ndarray:
    heights = np.array([bar.get_height() for bar in ax.patches])
    return heights / heights.sum()


def test_frozen_choice_is_drawn_as_stored(frozen: ad.AnnData) -> None:
    ax = sps.pl.select_layer(frozen)
    np.testing.assert_allclose(_curve(ax), VALUES)
    np.testing.assert_allclose(_bars(ax), SHARES)
    (ring,) = [line for line in ax.lines if line.get_label() == "chosen"]
    assert (ring.get_xdata().tolist(), ring.get_ydata().tolist()) == ([2], [0.66])
    assert ax.get_title() == "layer 2 frozen (30 regulators, 400 listed pairs)"
    assert "resamples" in ax.get_xlabel()


def test_nested_choice_is_drawn_as_stored(nested: ad.AnnData) -> None:
    ax = sps.pl.select_layer(nested)
    np.testing.assert_allclose(_curve(ax), np.array(VALUES) - 0.5)
    np.testing.assert_allclose(_bars(ax), SHARES)
    (lines,) = ax.collections
    ends = np.array([segment[:, 1] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, np.array(VALUES)[:, None] - 0.5 + [-0.1, 0.2])
    (ring,) = [line for line in ax.lines if line.get_label() == "chosen"]
    assert ring.get_xdata().tolist() == [1, 2]
    assert {"1 of 5", "4 of 5"} <= {text.get_text() for text in ax.texts}
    title = ax.get_title()
    assert "+0.120 (+0.010 to +0.230)" in title
    assert "0.03" in title
    assert "4 layers" in title


def test_bars_stay_clear_of_the_curve(nested: ad.AnnData) -> None:
    ax = sps.pl.select_layer(nested)
    top = max(bar.get_y() + bar.get_height() for bar in ax.patches)
    assert top < min(np.array(VALUES) - 0.6)
    ax.figure.canvas.draw()
    assert ax.title.get_window_extent().x1 <= ax.figure.bbox.x1


def test_no_choice_is_told(frozen: ad.AnnData, nested: ad.AnnData) -> None:
    params = frozen.uns["select_layer"]["params"]
    del params["layer"]
    params["status"] = "no_positives"
    frame = frozen.uns["select_layer"]["profile"]
    frame[["value", "share_of_resamples"]], frame["is_chosen"] = np.nan, False
    assert sps.pl.select_layer(frozen).get_title().startswith("no positives")
    nested.uns["select_layer"]["summary"]["status"] = "too_few_units"
    assert sps.pl.select_layer(nested).get_title().startswith("too few units")


def test_nothing_is_stored_and_the_call_is_named(frozen: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    with untouched(frozen):
        with pytest.raises(KeyError, match=r"scepsis\.tl\.select_layer"):
            sps.pl.select_layer(frozen, key="elsewhere")
        _, ax = plt.subplots()
        assert sps.pl.select_layer(frozen, ax=ax) is ax
