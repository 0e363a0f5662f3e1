from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

import scepsis as sps
from scepsis.pl._style import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def test_cells_are_the_stored_numbers(on_layers: Callable[..., ad.AnnData]) -> None:
    adata = on_layers()
    ax = sps.pl.characterize_layers(adata)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["net", "sets", "none"]
    assert [label.get_text() for label in ax.get_xticklabels()][:6] == [*"01234", "spearman"]
    told = {(round(text.get_position()[0], 2), round(text.get_position()[1])): text.get_text() for text in ax.texts}
    profile = adata.uns["characterize_layers"]["profile"].set_index(["reference", "edges"])["auroc"]
    for row, name in enumerate(["net", "sets"]):
        for layer in range(5):
            assert told[layer, row] == f"{profile[name, f'attention_L{layer}']:.2f}"[1:]
        assert told[5.6, row] == f"{profile[name, 'spearman']:.2f}"[1:]
        assert told[6.6, row] == f"{profile[name, 'var']:.2f}"[1:]  # the best of the features
    assert len(told) == 14
    cells = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    grey = [patch for patch in cells if to_hex(patch.get_facecolor()).upper() == MISSING]
    assert (len(cells), len(grey)) == (21, 7)


def test_dots_mark_intervals_without_zero(on_layers: Callable[..., ad.AnnData]) -> None:
    ax = sps.pl.characterize_layers(on_layers())
    above, below = ax.lines
    assert sorted({round(float(x) - 0.34) for x in above.get_xdata()}) == [2, 3, 4]
    assert sorted({round(float(x) - 0.34) for x in below.get_xdata()}) == [0]
    assert below.get_markerfacecolor() == "none"


def test_edges_are_chosen_and_many_layers_lose_their_numbers(on_layers: Callable[..., ad.AnnData]) -> None:
    adata = on_layers(30)
    ax = sps.pl.characterize_layers(adata, edges="attention_randomized")
    assert ax.get_xlabel() == "layer of attention_randomized"
    assert not ax.texts
    _, own = plt.subplots()
    assert sps.pl.characterize_layers(adata, ax=own) is own
    with pytest.raises(KeyError, match="it has those of 'attention'"):
        sps.pl.characterize_layers(adata, edges="other")
    with pytest.raises(KeyError, match="characterize_layers"):
        sps.pl.characterize_layers(adata, key="other")


def test_a_reference_without_intervals_is_pale_and_does_not_stretch_the_colours(
    on_layers: Callable[..., ad.AnnData],
) -> None:
    adata = on_layers()
    profile = adata.uns["characterize_layers"]["profile"]
    firm = profile.loc[profile["reference"] == "net", "auroc"]
    own = profile["reference"] == "sets"
    profile.loc[own, ["auroc", "status"]] = [0.99, "too_few_units"]
    ax = sps.pl.characterize_layers(adata)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["net", "sets\ntoo few units", "none"]
    cells = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    pale = [patch.get_alpha() is not None for patch in cells if to_hex(patch.get_facecolor()).upper() != MISSING]
    assert sum(pale) == len(pale) / 2 == 7
    assert ax.figure.axes[1].get_ylim()[1] == pytest.approx(0.5 + (firm - 0.5).abs().max())
