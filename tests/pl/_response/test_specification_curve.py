from __future__ import annotations

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

import scepsis as sps
from scepsis.pl._response._specification_curve import MODELS


def marks(ax: plt.Axes) -> dict[str, np.ndarray]:
    """Positions that are marked in every row under the curve."""
    lower = next(other for other in ax.figure.axes if other is not ax)
    rows = {}
    for label, height in zip(lower.get_yticklabels(), lower.get_yticks(), strict=True):
        segments = [line for part in lower.collections for line in part.get_segments()]
        rows[label.get_text()] = np.sort([one[0, 0] for one in segments if one[:, 1].min() < height < one[:, 1].max()])
    return rows


@pytest.fixture
def specified() -> ad.AnnData:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        [
            {"edges": edges, "endpoint": endpoint, "direction": direction, "residualizer": "none", "gene_model": model,
             "statistic": "pooled", "lfc_threshold": np.nan, "min_targets": size}
            for edges in ("attention", "other") for endpoint in ("screen", "reference")
            for direction in ("source", "max") for model in ("chance", "variance", "gbdt") for size in (1.0, 3.0)
        ]
    )  # fmt: skip
    frame["estimate"] = rng.normal(0, 0.1, len(frame))
    frame.loc[frame.index[15], "estimate"] = np.nan  # of the reference
    frame["ci_low"], frame["ci_high"] = frame["estimate"] - 0.05, frame["estimate"] + 0.05
    frame = frame.sort_values(["edges", "endpoint", "estimate"]).reset_index(drop=True)
    frame["order"] = frame.groupby(["edges", "endpoint"]).cumcount() + 1
    adata = ad.AnnData(np.ones((3, 4), dtype=np.float32))
    adata.uns["specification_curve"] = {"specifications": frame, "params": {}}
    return adata


def test_curve_and_marks_are_those_stored(specified: ad.AnnData) -> None:
    ax = sps.pl.specification_curve(specified)
    frame = specified.uns["specification_curve"]["specifications"]
    own = frame[(frame["edges"] == "attention") & (frame["endpoint"] == "reference")].dropna(subset="estimate")
    points = np.concatenate(
        [np.asarray(part.get_offsets()) for part in ax.collections if isinstance(part, PathCollection)]
    )
    drawn = points[np.argsort(points[:, 0]), 1]
    np.testing.assert_allclose(drawn[np.isfinite(drawn)], own["estimate"])
    found = marks(ax)
    positions = np.arange(1, len(own) + 1)
    for column, names in {"direction": ("source", "max"), "gene_model": ("chance", "variance", "gbdt")}.items():
        for name in names:
            np.testing.assert_array_equal(found[name], positions[(own[column] == name).to_numpy()])
    np.testing.assert_array_equal(found["3"], positions[(own["min_targets"] == 3).to_numpy()])
    assert "pooled" not in found  # not varied
    assert "none" not in found
    assert [text.get_text() for text in ax.texts] == ["1 without a number"]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [MODELS[name].label for name in ("chance", "variance", "gbdt")]


def test_edges_and_endpoint_can_be_chosen_and_axes_given(specified: ad.AnnData) -> None:
    _, (left, right) = plt.subplots(1, 2)
    ax = sps.pl.specification_curve(specified, edges="other", endpoint="screen", ax=left)
    assert ax is left
    assert ax.get_title(loc="left") == "other, screen"
    assert len(ax.figure.axes) == 3
    free = plt.figure().add_axes((0.2, 0.1, 0.7, 0.8))
    assert sps.pl.specification_curve(specified, ax=free) is free
    del right


def test_what_is_not_there_is_named(specified: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="`edges`"):
        sps.pl.specification_curve(specified, edges="nothing")
    with pytest.raises(KeyError, match="specification_curve"):
        sps.pl.specification_curve(ad.AnnData(np.ones((3, 4), dtype=np.float32)))
