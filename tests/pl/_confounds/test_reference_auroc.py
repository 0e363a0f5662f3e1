from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pytest

import scepsis as sps
from scepsis.pl._style import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad
    from matplotlib.axes import Axes


def rows(ax: Axes) -> dict[str, float]:
    return {label.get_text(): height for label, height in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}


@pytest.mark.parametrize("unordered", [False, True])
def test_numbers_are_those_stored(on_reference: Callable[..., ad.AnnData], *, unordered: bool) -> None:
    adata = on_reference(unordered=unordered)
    ax = sps.pl.reference_auroc(adata)
    result = adata.uns["reference_auroc"]
    assert list(rows(ax)) == ["attention", "twin", "variance", "mean"]
    stored = result["summary"].set_index(["predictor", "statistic"])["auroc"]
    points = [np.asarray(collection.get_offsets()) for collection in ax.collections]
    dots = np.concatenate([part for part in points if len(part)]) if not unordered else np.zeros((0, 2))
    for name, height in rows(ax).items():
        lines = [line for line in ax.lines if len(line.get_ydata()) and np.allclose(line.get_ydata(), height)]
        if name == "mean":
            assert lines == []
            continue
        middle = stored[name, "pooled"]
        drawn = sorted((list(line.get_xdata()) for line in lines), key=len)
        singles = [value[0] for value in drawn if len(value) == 1]
        expected = [middle] if unordered else [middle, stored[name, "per_regulator"]]
        np.testing.assert_allclose(sorted(singles), sorted(expected))
        np.testing.assert_allclose(drawn[-1], [middle - 0.05, middle + 0.05])
        own = result["per_regulator"].query("predictor == @name and status == 'ok'")["auroc"].to_numpy(dtype=float)
        shown = dots[np.abs(dots[:, 1] - height) < 0.31, 0]
        np.testing.assert_allclose(np.sort(shown), np.sort(own))
    texts = [text.get_text() for text in ax.texts]
    assert "0.60  (n = 138)" in texts
    assert "not run" in texts
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[0] == KINDS["edges"].label
    assert ("mean of regulators (dots)" in legend) != unordered


def test_axes_are_taken_and_nothing_is_stored(
    on_reference: Callable[..., ad.AnnData], untouched: Callable[..., object]
) -> None:
    adata = on_reference()
    _, ax = plt.subplots()
    with untouched(adata):
        assert sps.pl.reference_auroc(adata, ax=ax) is ax
    with pytest.raises(KeyError, match=r"Call `scepsis\.tl\.reference_auroc\(adata, reference\)` first"):
        sps.pl.reference_auroc(adata, key="other")
