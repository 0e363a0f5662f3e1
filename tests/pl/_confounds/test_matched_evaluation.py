from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis.pl._confounds._matched_evaluation import BEFORE, DESIGNS, LABELS

COVARIATES = ["variance", "mean", "detection_rate", "de_frequency"]


@pytest.fixture
def matched() -> ad.AnnData:
    rng = np.random.default_rng(0)
    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    frame = pd.DataFrame([{"design": design, "covariate": name} for design in DESIGNS for name in COVARIATES])
    frame["smd_before"] = np.tile(rng.uniform(-1.2, 1.5, 4), 3)
    frame["smd_after"] = rng.normal(0, 0.2, 12)
    frame["threshold"] = 0.1
    adata.uns["matched_evaluation"] = {"balance": frame, "params": {}}
    return adata


def test_every_difference_is_drawn_at_its_absolute_value(matched: ad.AnnData) -> None:
    ax = sps.pl.matched_evaluation(matched)
    frame = matched.uns["matched_evaluation"]["balance"]
    drawn = {look.marker: [] for look in (BEFORE, *DESIGNS.values())}
    for line in ax.lines:
        if line.get_linestyle() == "None":
            drawn[line.get_marker()].append(line.get_xdata()[0])
    np.testing.assert_allclose(drawn[BEFORE.marker], np.abs(frame["smd_before"][:4]))
    for design, look in DESIGNS.items():
        np.testing.assert_allclose(drawn[look.marker], np.abs(frame.loc[frame["design"] == design, "smd_after"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == [LABELS.get(name, name) for name in COVARIATES]


def test_threshold_is_the_stored_one_and_the_legend_names_everything(matched: ad.AnnData) -> None:
    matched.uns["matched_evaluation"]["balance"]["threshold"] = 0.25
    ax = sps.pl.matched_evaluation(matched)
    (limit,) = (line for line in ax.lines if str(line.get_label()).startswith("balanced"))
    assert list(limit.get_xdata()) == [0.25, 0.25]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [BEFORE.label, *(look.label for look in DESIGNS.values()), "balanced below 0.25"]


def test_a_difference_without_a_value_is_said(matched: ad.AnnData) -> None:
    frame = matched.uns["matched_evaluation"]["balance"]
    frame.loc[frame["design"] == "within", "smd_after"] = np.nan
    ax = sps.pl.matched_evaluation(matched)
    assert [text.get_text().strip() for text in ax.texts] == ["not defined"] * 4
    assert not [line for line in ax.lines if line.get_marker() == DESIGNS["within"].marker]


def test_there_must_be_a_result() -> None:
    with pytest.raises(KeyError, match="matched_evaluation"):
        sps.pl.matched_evaluation(ad.AnnData(np.ones((3, 4), dtype=np.float32)))
