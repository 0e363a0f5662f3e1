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

RAW, LEFT = {"attention": 0.70, "spearman": 0.51}, {"ols": 0.65, "gbdt": 0.55, "node": 0.6}


@pytest.fixture
def made() -> ad.AnnData:
    """A result whose numbers are made up; the edges of ``spearman`` are hardly above chance."""
    rows: list[dict[str, Any]] = []
    for name, raw in RAW.items():
        for residualizer, left in LEFT.items():
            for split in ("own_pair",) if residualizer == "node" else ("gene", "pair"):
                share = (left - 0.5) / (raw - 0.5) if raw > 0.52 else np.nan
                row = {"edges": name, "variant": "magnitude", "residualizer": residualizer, "split": split}
                row |= {"auroc_raw": raw, "raw_low": raw - 0.05, "raw_high": raw + 0.05, "auroc": left}
                row |= {"ci_low": left - 0.04, "ci_high": left + 0.04, "retention": share}
                rows.append(row | {"retention_low": share - 0.1, "retention_high": share + 0.1, "status": "ok"})
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns["residualize_edges"] = {"params": {"n_boot": 1}, "summary": pd.DataFrame(rows)}
    return adata


def _markers(ax: plt.Axes) -> list[float]:
    return [float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1]


def test_markers_bars_and_the_line_are_the_stored_numbers(made: ad.AnnData) -> None:
    ax = sps.pl.residualize_edges(made, edges="attention")
    stored = made.uns["residualize_edges"]["summary"].query("edges == 'attention'")
    assert sorted(_markers(ax)) == sorted([0.70, *stored["auroc"]])
    bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2 and np.ptp(line.get_ydata()) == 0]
    expected = [[0.65, 0.75], *([left - 0.04, left + 0.04] for left in LEFT.values())]
    np.testing.assert_allclose(sorted(map(list, bars)), sorted(expected))
    upright = {round(float(line.get_xdata()[0]), 9) for line in ax.lines if np.ptp(line.get_ydata()) > 0}
    assert upright == {0.5, 0.66}  # chance, and 80 % of 0.2 above it
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "attention", "linear regression", "boosted trees", "node effects",
    ]  # fmt: skip
    assert "0.65   75 % (65 to 85)" in {text.get_text() for text in ax.texts}


def test_edges_that_are_hardly_above_chance_keep_no_share(made: ad.AnnData) -> None:
    ax = sps.pl.residualize_edges(made, edges=["spearman"])
    texts = {text.get_text() for text in ax.texts}
    assert "0.65   –" in texts
    assert not any("%" in text for text in texts)
    upright = [line for line in ax.lines if np.ptp(line.get_ydata()) > 0]
    assert len(upright) == 1  # chance alone


def test_rows_without_numbers_tell_their_status(made: ad.AnnData) -> None:
    frame = made.uns["residualize_edges"]["summary"]
    numbers = frame.select_dtypes("number").columns
    frame.loc[frame["edges"] == "spearman", numbers] = np.nan
    frame.loc[frame["edges"] == "spearman", "status"] = "no_positives"
    ax = sps.pl.residualize_edges(made)
    assert [text.get_text() for text in ax.texts].count("no positives") == 4


def test_labels_do_not_overlap(made: ad.AnnData) -> None:
    ax = sps.pl.residualize_edges(made)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in (*ax.texts, *ax.get_yticklabels()) if text.get_text()]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_wrong_requests_name_the_call(made: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    with untouched(made):
        with pytest.raises(KeyError, match="other"):
            sps.pl.residualize_edges(made, edges="other")
        with pytest.raises(KeyError, match=r"scepsis\.tl\.residualize_edges"):
            sps.pl.residualize_edges(made, key="elsewhere")
        _, ax = plt.subplots()
        assert sps.pl.residualize_edges(made, ax=ax) is ax
    made.uns["residualize_edges"]["summary"]["status"] = "not_run"
    with pytest.raises(KeyError, match="without a reference"):
        sps.pl.residualize_edges(made)
