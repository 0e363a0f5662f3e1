from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad
    from matplotlib.axes import Axes


def texts(ax: Axes) -> str:
    return " ".join(item.get_text() for item in ax.texts)


@pytest.fixture
def judged(empty: ad.AnnData, enter_all: Callable[..., None]) -> ad.AnnData:
    """One set of edges that meets three criteria, and one of which every state occurs."""
    enter_all(empty)
    gains = {"gain/*": {"minimum_detectable": 0.011}, "gain/joint/logistic/auroc": {"minimum_detectable": 0.02}}
    changes = {"vs_mean": {"effect_size": -0.123}, "degree/pooled": {"status": "null_not_mixed"}} | gains
    for margin in (0.02, 0.05):
        enter_all(empty, changes, edges="mine", params={"margin": margin})
    sps.tl.verdict(empty, edges=["attention", "mine"])
    return empty


def test_every_criterion_has_its_state_its_numbers_and_its_reliability(judged: ad.AnnData) -> None:
    ax = sps.pl.verdict(judged, edges="mine")
    said = texts(ax)
    states = [item.get_text() for item in ax.texts if item.get_fontweight() == "bold"]
    assert states == ["fails", "holds", "not assessable", "not assessable", "fails"]
    assert "−0.123 against mean" in said
    assert "null not mixed" in said
    assert "run twice with 2 settings; detectable: 0.030" in said
    assert "detectable: 0.011 to 0.020" in said
    assert ax.get_title(loc="left") == "Verdict on mine"
    markers = [line.get_marker() for line in ax.lines if line.get_linestyle() == "None"]
    assert markers == ["X", "o", "$?$", "$?$", "X"]
    first = sps.pl.verdict(judged)
    assert first.get_title(loc="left") == "Verdict on attention"
    assert "stronger comparators: beaten" in texts(first)


def test_nothing_overlaps_and_everything_is_inside(judged: ad.AnnData) -> None:
    for edges in ("attention", "mine"):
        ax = sps.pl.verdict(judged, edges=edges)
        ax.figure.canvas.draw()
        boxes = [item.get_window_extent() for item in ax.texts]
        for index, one in enumerate(boxes):
            assert one.x1 <= ax.figure.bbox.x1
            assert one.y0 >= ax.figure.bbox.y0
            assert not any(one.shrunk(0.98, 0.98).overlaps(other.shrunk(0.98, 0.98)) for other in boxes[:index])


def test_axes_are_used_and_nothing_is_stored(judged: ad.AnnData, untouched: Callable[..., Any]) -> None:
    _, ax = plt.subplots(figsize=(11, 6))
    with untouched(judged):
        assert sps.pl.verdict(judged, ax=ax) is ax


def test_bad_input(empty: ad.AnnData, judged: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="`edges` takes one of 'attention', 'mine', not 'yours'"):
        sps.pl.verdict(judged, edges="yours")
    del empty.uns["verdict"]
    with pytest.raises(KeyError, match=r"scepsis.tl.verdict\(adata\)"):
        sps.pl.verdict(empty)
