from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable


def test_counts_and_expected_false_calls_are_those_stored(affected: Callable[..., ad.AnnData]) -> None:
    adata = affected()
    ax = sps.pl.perturbation_effects(adata)
    entry = adata.uns["perturbation_effects"]
    table = entry["perturbations"].set_index("perturbation")
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert sorted(names) == sorted(table.index)
    found, expected = (line for line in ax.lines if line.get_linestyle() == "None")
    tested = [name for name in names if table.loc[name, "n_testable"] > 0]
    np.testing.assert_array_equal(found.get_xdata(), table.loc[tested, "n_targets"])
    assert (np.diff(found.get_xdata()) <= 0).all()
    sizes = entry["false_calls"]
    for name, value in zip(tested, expected.get_xdata(), strict=True):
        row = table.loc[name]
        ratio = np.abs(np.log(row["n_cells"]) - np.log(sizes["n_cells"]))
        assert value == pytest.approx(sizes.loc[ratio.idxmin(), "share_of_genes"] * row["n_testable"])
    texts = {text.get_text() for text in ax.texts}
    assert {"too few units", "multi target", "cells"} | {f"{cells:,}" for cells in table["n_cells"]} <= texts
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[1] == "expected by chance: student test, q < 0.05 (any in 5 to 12 % of control splits)"


def test_no_splits_no_crosses(affected: Callable[..., ad.AnnData]) -> None:
    adata = affected()
    adata.uns["perturbation_effects"]["false_calls"][["share_of_genes", "share_of_splits"]] = np.nan
    ax = sps.pl.perturbation_effects(adata)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["genes called"]


def test_many_perturbations_are_all_drawn_and_names_thinned(affected: Callable[..., ad.AnnData]) -> None:
    ax = sps.pl.perturbation_effects(affected(150))
    assert len(ax.lines[0].get_xdata()) == 149
    assert len(ax.get_yticks()) == 50


def test_axes_are_taken_and_nothing_is_stored(
    affected: Callable[..., ad.AnnData], untouched: Callable[[ad.AnnData], object]
) -> None:
    adata = affected()
    _, ax = plt.subplots()
    with untouched(adata):
        assert sps.pl.perturbation_effects(adata, ax=ax) is ax


def test_missing_effects_name_the_call() -> None:
    with pytest.raises(KeyError, match=r"other_effects.*scepsis\.tl\.perturbation_effects"):
        sps.pl.perturbation_effects(ad.AnnData(np.ones((2, 2), dtype=np.float32)), key="other")
