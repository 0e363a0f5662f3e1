"""The forest plot shows what is stored: every context, its interval, and the mean."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import mudata
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
SKIP = ["incremental_value", "matched_evaluation", "explain_edges", "residualize_edges", "perturbation_auroc_layers"]


@pytest.fixture
def mdata(make_audit: Callable[..., ad.AnnData]) -> Any:
    signals = {"A": 0.0, "B": 0.0, "C": 1.5, "few": 1.0}
    units = {"few": 7}
    contexts = {
        name: make_audit(signal=signal, seed=seed, n_units=units.get(name, 30), n_genes=120, companions=())
        for seed, (name, signal) in enumerate(signals.items())
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mudata.MuData(contexts, axis=1)
    sps.tl.cross_context(result, edges="attention", skip=SKIP, n_boot=50, show_progress_bar=False)
    return result


def test_shows_every_context_and_the_mean(mdata: Any) -> None:
    ax = sps.pl.cross_context(mdata, names=["vs_mean"])
    found = mdata.uns["cross_context"]["estimates"].query("edges == 'attention' and name == 'vs_mean'")
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == ["against mean", "A", "B", "C", "few", "mean"]
    points = {line.get_xdata()[0]: line for line in ax.lines if len(line.get_xdata()) == 1}
    assert set(found["effect_size"]) <= set(points)
    few = found.set_index("context").loc["few"]
    assert points[few["effect_size"]].get_markerfacecolor() == "white"
    ends = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    for _, row in found.iterrows():
        assert (row["ci_low"], row["ci_high"]) in ends
    texts = [text.get_text() for text in ax.texts]
    assert any("n = 7" in text and "underpowered" in text for text in texts)
    overall = mdata.uns["cross_context"]["summary"].query("edges == 'attention' and name == 'vs_mean'").iloc[0]
    assert any(f"{overall['i2']:.0%}" in text for text in texts)
    assert points[overall["mean"]].get_marker() == "D"
    assert (overall["ci_low"], overall["ci_high"]) in ends


def test_ring_around_what_deviates_and_given_axes(mdata: Any) -> None:
    _, given = plt.subplots()
    ax = sps.pl.cross_context(mdata, names="above_chance", ax=given)
    assert ax is given
    own = mdata.uns["cross_context"]["estimates"].query("edges == 'attention' and name == 'above_chance'")
    rings = [line.get_xdata()[0] for line in ax.lines if line.get_markersize() == 12]
    assert rings == own.loc[own["deviates"].fillna(value=False), "effect_size"].tolist()
    assert len(rings) == 1


def test_says_what_is_missing(mdata: Any) -> None:
    with pytest.raises(KeyError, match="cross_context"):
        sps.pl.cross_context(mdata, key="nothing")
    with pytest.raises(ValueError, match="no test"):
        sps.pl.cross_context(mdata, edges="grnboost")
    with pytest.raises(ValueError, match="common axis"):
        sps.pl.cross_context(mdata, names=["above_chance", "vs_mean"])
