from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import StepPatch

import scepsis as sps
from scepsis.pl._confounds._degree_null import DEGREE, RESIDUAL

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad
    from matplotlib.axes import Axes


def rows(ax: Axes) -> dict[str, float]:
    return {label.get_text(): height for label, height in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}


def near(ax: Axes, height: float) -> list[list[float]]:
    """Colours and abscissae of the lines of a row."""
    return [
        (line.get_color(), list(line.get_xdata()))
        for line in ax.lines
        if line.get_label() != "chance" and abs(line.get_ydata()[0] - height) < 0.4
    ]


@pytest.mark.parametrize(("null", "statistic"), [("degree", "pooled"), ("label_shuffle", "per_regulator")])
def test_parts_and_draws_are_those_stored(against_null: Callable[..., ad.AnnData], null: str, statistic: str) -> None:
    adata = against_null()
    ax = sps.pl.degree_null(adata, null=null, statistic=statistic)
    result = adata.uns["degree_null"]
    chosen = result["summary"].query("null == @null and statistic == @statistic").set_index("edges")
    assert list(rows(ax)) == list(chosen.index)
    steps = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    assert len(steps) == 2 * 3
    for name, height in rows(ax).items():
        row, lines = chosen.loc[name], dict(near(ax, height))
        if not np.isfinite(row["observed"]):
            assert lines == {}
            continue
        np.testing.assert_allclose(lines[DEGREE], [0.5, row["null_mean"]])
        np.testing.assert_allclose(lines[RESIDUAL], [row["null_mean"], row["observed"]])
        drawn = result["draws"].query("null == @null and edges == @name")[statistic]
        (step,) = {tuple(patch.get_data().edges[[0, -1]]) for patch in steps if patch.get_data().baseline == height}
        np.testing.assert_allclose(step, [drawn.min(), drawn.max()])


def test_a_reason_stands_where_there_is_no_p(against_null: Callable[..., ad.AnnData]) -> None:
    texts = [text.get_text() for text in sps.pl.degree_null(against_null()).texts]
    assert texts.count("z = 3.5, p = 0.012") == 2
    assert "z = 3.5\n(null not mixed)" in texts
    assert "no positives" in texts


def test_axes_are_taken_and_nothing_is_stored(
    against_null: Callable[..., ad.AnnData], untouched: Callable[..., object]
) -> None:
    adata = against_null(n_draws=2)
    _, ax = plt.subplots()
    with untouched(adata):
        assert sps.pl.degree_null(adata, ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_what_is_not_there_is_named(against_null: Callable[..., ad.AnnData]) -> None:
    with pytest.raises(KeyError, match=r"Call `scepsis\.tl\.degree_null\(adata, reference\)` first"):
        sps.pl.degree_null(against_null(), key="other")
    with pytest.raises(ValueError, match="`null` takes one of 'degree'"):
        sps.pl.degree_null(against_null(), null="curveball")
    with pytest.raises(ValueError, match="`statistic`"):
        sps.pl.degree_null(against_null(), statistic="median")
