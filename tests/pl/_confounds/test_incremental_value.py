from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis._core._numbers import signed
from scepsis.pl._confounds._incremental_value import EDGES

if TYPE_CHECKING:
    from collections.abc import Callable


def made_up() -> ad.AnnData:
    """Numbers that no computation gave: the picture is held to the table."""
    rng = np.random.default_rng(0)
    rows = []
    for edges in ("attention", "spearman", "flat"):
        for split in ("perturbation", "gene", "joint"):
            for learner in ("logistic", "gbdt"):
                for metric in ("auroc", "recall@10"):
                    gain, placebo = rng.normal(0, 0.02, 2) if edges != "flat" else (np.nan, np.nan)
                    rows.append(
                        {
                            "edges": edges,
                            "split": split,
                            "learner": learner,
                            "metric": metric,
                            "gain": gain,
                            "ci_low": gain - 0.01,
                            "ci_high": gain + 0.02,
                            "gain_placebo": placebo,
                            "placebo_low": placebo - 0.015,
                            "placebo_high": placebo + 0.01,
                            "decided_by": "gene_only" if learner == "logistic" else "placebo",
                            "saturated": metric == "recall@10" and split == "joint",
                            "margin": 0.005,
                            "status": "constant_score" if edges == "flat" else "ok",
                        }
                    )
    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    adata.uns["incremental_value"] = {"params": {}, "gains": pd.DataFrame(rows)}
    return adata


@pytest.mark.parametrize("metric", ["auroc", "recall@10"])
def test_gains_and_intervals_are_those_stored(metric: str) -> None:
    adata = made_up()
    ax = sps.pl.incremental_value(adata, metric=metric)
    markers = {round(float(line.get_xdata()[0]), 9): line for line in ax.lines if line.get_marker() not in {"None"}}
    spans = {tuple(np.round(line.get_xdata(), 9)) for line in ax.lines if len(line.get_xdata()) == 2}
    rows = adata.uns["incremental_value"]["gains"].query("metric == @metric and status == 'ok'")
    for _, row in rows.iterrows():
        look = EDGES[["attention", "spearman"].index(row["edges"])]
        line = markers[round(row["gain"], 9)]
        assert (line.get_marker(), line.get_markeredgecolor()) == (look.marker, look.colour)
        assert (line.get_markerfacecolor() == "white") == row["saturated"]
        assert markers[round(row["gain_placebo"], 9)].get_marker() == "|"
        assert tuple(np.round([row["ci_low"], row["ci_high"]], 9)) in spans
        assert tuple(np.round([row["placebo_low"], row["placebo_high"]], 9)) in spans
        if not row["saturated"]:
            assert (line.get_alpha() == 1) == (row["decided_by"] == "gene_only")
        deciding = row["gain"] if row["decided_by"] == "gene_only" else row["gain_placebo"]
        assert signed(deciding) in {text.get_text() for text in ax.texts}


def test_rows_without_numbers_keep_their_place_with_their_status() -> None:
    ax = sps.pl.incremental_value(made_up())
    assert [text.get_text() for text in ax.texts].count("constant score") == 6


def test_legend_names_what_is_drawn() -> None:
    ax = sps.pl.incremental_value(made_up(), edges=["attention", "spearman"])
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named == ["attention", "spearman", "against the placebo", "95 % interval", "margin"]
    ax = sps.pl.incremental_value(made_up(), metric="recall@10")
    assert "saturated" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_band_is_the_margin() -> None:
    ax = sps.pl.incremental_value(made_up())
    box = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    np.testing.assert_allclose([box.x0, box.x1], [-0.005, 0.005], atol=1e-9)


def test_given_axes_are_drawn_into_and_nothing_is_stored(untouched: Callable[..., Any]) -> None:
    adata = made_up()
    _, ax = plt.subplots()
    with untouched(adata):
        assert sps.pl.incremental_value(adata, ax=ax) is ax


def test_no_labels_overlap() -> None:
    ax = sps.pl.incremental_value(made_up())
    figure = ax.figure
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in [*ax.texts, *ax.get_yticklabels()]]
    overlaps = [(one, other) for index, one in enumerate(boxes) for other in boxes[index + 1 :] if one.overlaps(other)]
    assert overlaps == []


def test_missing_results_and_unknown_names_raise() -> None:
    adata = made_up()
    with pytest.raises(ValueError, match="metric"):
        sps.pl.incremental_value(adata, metric="f1")
    with pytest.raises(KeyError, match="attention"):
        sps.pl.incremental_value(adata, edges=["absent"])
    with pytest.raises(KeyError, match=r"scepsis\.tl\.incremental_value"):
        sps.pl.incremental_value(adata, key="absent")
