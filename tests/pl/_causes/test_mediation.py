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
    """Numbers that are made up, two runs of four components."""
    rows, left = [], []
    for shift, run in ((0.0, "a"), (0.5, "b")):
        for index in range(4):
            value = shift + 0.1 * (index + 1) * (-1) ** index
            rows.append((run, f"L{index}", index, -1, value - 0.05, 0.01, value + 0.04, 0.02, value, 0.01, 0.0, 0.2))
        for direction, residual, ratio in (("denoise", 0.3, 0.25), ("ablate", -0.2, 0.0)):
            left.append((run, direction, 1.0 + shift, residual, ratio, "ok"))
    columns = ["run", "component", "layer", "head", "denoise", "denoise_error", "ablate", "ablate_error", "shapley"]
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns["mediation"] = {
        "params": {"seed": 0},
        "components": pd.DataFrame(rows, columns=[*columns, "shapley_error", "sampling_error", "share"]),
        "additivity": pd.DataFrame(left, columns=["run", "direction", "total", "residual", "ratio", "status"]),
    }
    return adata


@pytest.mark.parametrize("run", ["a", "b"])
def test_bars_and_markers_are_the_stored_values(made: ad.AnnData, run: str) -> None:
    ax = sps.pl.mediation(made, run=run)
    stored = made.uns["mediation"]["components"].query("run == @run")
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], stored["shapley"])
    markers = {line.get_marker(): line.get_xdata() for line in ax.lines if line.get_marker() in {">", "<"}}
    np.testing.assert_allclose(markers[">"], stored["denoise"])
    np.testing.assert_allclose(markers["<"], stored["ablate"])
    lengths = [path.vertices[1, 0] - path.vertices[0, 0] for path in ax.collections[1].get_paths()]
    np.testing.assert_allclose(lengths, 2 * 1.96 * stored["denoise_error"])
    assert [label.get_text() for label in ax.get_yticklabels()] == stored["component"].tolist()
    title = ax.get_title(loc="left")
    assert ("total effect 1\n" if run == "a" else "total effect 1.5\n") in title
    assert "leave 0.3, at least 25 % of it" in title
    assert "leaves −0.2, perhaps none" in title


def test_the_largest_are_shown_in_the_order_of_the_model(made: ad.AnnData) -> None:
    ax = sps.pl.mediation(made, run="a", n_top=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["L2", "L3"]
    assert "2 of 4" in ax.get_xlabel()


def test_no_effect_is_told(made: ad.AnnData) -> None:
    made.uns["mediation"]["additivity"]["status"] = "constant_score"
    assert "same in every cell" in sps.pl.mediation(made).get_title(loc="left")


def test_wrong_requests_name_what_there_is(made: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    with untouched(made):
        with pytest.raises(KeyError, match="'a', 'b'"):
            sps.pl.mediation(made, run="c")
        with pytest.raises(ValueError, match="n_top"):
            sps.pl.mediation(made, n_top=0)
        with pytest.raises(KeyError, match=r"scepsis\.tl\.mediation"):
            sps.pl.mediation(made, key="elsewhere")
        _, ax = plt.subplots()
        assert sps.pl.mediation(made, ax=ax) is ax
