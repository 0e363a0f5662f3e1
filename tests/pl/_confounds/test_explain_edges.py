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
    """Shares that are made up: different ones for every bar, one of them below 0."""
    rows, share = [], -0.05
    for name in ("attention", "spearman"):
        for target in ("value", "rank"):
            for learner, split in (("ols", "gene"), ("ols", "pair"), ("gbdt", "gene"), ("node", "own_pair")):
                rows.append((name, target, learner, split, share, share + 0.02, "ok"))
                share += 0.05
    frame = pd.DataFrame(rows, columns=["edges", "target", "learner", "split", "r2", "r2_train", "status"])
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns["explain_edges"] = {"params": {"seed": 0}, "r2": frame}
    return adata


@pytest.mark.parametrize("target", ["value", "rank"])
def test_bars_and_ticks_are_the_stored_shares(made: ad.AnnData, target: str) -> None:
    ax = sps.pl.explain_edges(made, target=target)
    stored = made.uns["explain_edges"]["r2"].query("target == @target")
    np.testing.assert_allclose(sorted(bar.get_width() for bar in ax.patches), sorted(stored["r2"]))
    ticks = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1]
    np.testing.assert_allclose(sorted(ticks), sorted(stored["r2_train"]))
    assert {text.get_text() for text in ax.texts} == {f"{share:.2f}" for share in stored["r2"]}
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [
        name
        for edges in ("attention", "spearman")
        for name in (edges, "linear regression", "boosted trees", "node effects")
    ]


def test_constant_edges_tell_their_status(made: ad.AnnData) -> None:
    frame = made.uns["explain_edges"]["r2"]
    frame.loc[frame["edges"] == "spearman", ["r2", "r2_train"]] = np.nan
    frame.loc[frame["edges"] == "spearman", "status"] = "constant_score"
    ax = sps.pl.explain_edges(made)
    assert [text.get_text() for text in ax.texts].count("constant score") == 3
    assert len(ax.patches) == 4


def test_wrong_requests_name_what_there_is(made: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    with untouched(made):
        with pytest.raises(KeyError, match="'value', 'rank'"):
            sps.pl.explain_edges(made, target="signed")
        with pytest.raises(KeyError, match="other"):
            sps.pl.explain_edges(made, edges=["other"])
        with pytest.raises(KeyError, match=r"scepsis\.tl\.explain_edges"):
            sps.pl.explain_edges(made, key="elsewhere")
        _, ax = plt.subplots()
        assert sps.pl.explain_edges(made, edges="attention", ax=ax) is ax
