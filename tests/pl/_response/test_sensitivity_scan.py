from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis.pl._response._sensitivity_scan import EDGES
from scepsis.pl._style import KINDS


@pytest.fixture
def scanned() -> ad.AnnData:
    rng = np.random.default_rng(0)
    kinds = {"attention": "edges", "spearman": "edges", "spearman_signed": "signed", "mean": "baseline"}
    frame = pd.DataFrame(
        [
            {"lfc_threshold": threshold, "n_cells": cells, "n_genes": 100, "test": test,
             "predictor": name, "kind": kind}
            for threshold in (0.25, 0.5) for cells in (200, 500) for test in ("student", "welch")
            for name, kind in kinds.items()
        ]
    )  # fmt: skip
    frame["auroc"] = rng.uniform(0.5, 0.8, len(frame))
    frame.loc[frame.index[:4], "auroc"] = np.nan  # a setting with too few perturbations
    frame["ci_low"], frame["ci_high"] = frame["auroc"] - 0.05, frame["auroc"] + 0.05
    frame["is_reference"] = (frame["lfc_threshold"] == 0.5) & (frame["n_cells"] == 500) & (frame["test"] == "student")
    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    adata.uns["sensitivity_scan"] = {"settings": frame, "params": {}}
    return adata


def test_settings_ascend_by_the_first_edges_and_every_predictor_is_drawn(scanned: ad.AnnData) -> None:
    ax = sps.pl.sensitivity_scan(scanned)
    frame = scanned.uns["sensitivity_scan"]["settings"]
    first = frame[frame["predictor"] == "attention"].sort_values("auroc")
    dots = [part for part in ax.collections if len(part.get_offsets()) == 8]
    assert len(dots) == 3  # the signed twin is left out
    by_colour = {tuple(np.round(part.get_facecolor()[0, :3], 3)): np.asarray(part.get_offsets()) for part in dots}
    assert len(by_colour) == 3
    drawn = dots[0].get_offsets()
    order = np.argsort(drawn[:, 0])
    np.testing.assert_allclose(np.asarray(drawn[order, 1].compressed()), first["auroc"].dropna())
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["attention", "spearman", KINDS["baseline"].label, "setting of reference"]
    assert EDGES[0].colour != EDGES[1].colour


def test_forks_that_were_varied_have_rows_and_others_none(scanned: ad.AnnData) -> None:
    ax = sps.pl.sensitivity_scan(scanned)
    lower = next(other for other in ax.figure.axes if other is not ax)
    assert [label.get_text() for label in lower.get_yticklabels()] == ["student", "welch", "0.25", "0.5", "200", "500"]
    assert lower.get_xlabel() == "8 settings"


def test_the_reference_is_banded_where_it_stands(scanned: ad.AnnData) -> None:
    ax = sps.pl.sensitivity_scan(scanned, predictors=["spearman"])
    frame = scanned.uns["sensitivity_scan"]["settings"]
    own = frame[frame["predictor"] == "spearman"].sort_values("auroc", na_position="last").reset_index()
    place = int(np.flatnonzero(own["is_reference"])[0]) + 1
    (band,) = ax.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (place - 0.5, place + 0.5)


def test_what_is_not_there_is_named(scanned: ad.AnnData) -> None:
    with pytest.raises(KeyError, match="nobody"):
        sps.pl.sensitivity_scan(scanned, predictors=["nobody"])
    with pytest.raises(KeyError, match="sensitivity_scan"):
        sps.pl.sensitivity_scan(ad.AnnData(np.ones((3, 4), dtype=np.float32)))
