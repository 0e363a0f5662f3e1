from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps


def make(n: int = 6, several: int = 4) -> ad.AnnData:
    adata = ad.AnnData(np.zeros((2, 2)))
    units = pd.DataFrame(
        {
            "edges": "attention",
            "regulator": [f"TF{index}" for index in range(n)],
            "tf_class": ["master" if index % 2 else "" for index in range(n)],
            "auroc": np.linspace(0.8, 0.3, n),
            "n_targets": [1 if index == 0 else 5 for index in range(n)],
        }
    )
    units = units.assign(
        ci_low=np.where(units["n_targets"] > 1, units["auroc"] - 0.1, np.nan), ci_high=units["auroc"] + 0.1
    )
    params = {"edges": ["attention"], "min_targets": 3, "min_regulators": 50, "n_several": several}
    adata.uns["tf_profile"] = {"params": params, "per_regulator": units}
    return adata


def test_regulators_ascend_and_single_targets_are_hollow() -> None:
    ax = sps.pl.tf_profile(make())
    assert [label.get_text() for label in ax.get_xticklabels()] == [f"TF{index}" for index in range(5, -1, -1)]
    drawn = {(float(x), round(float(y), 3)) for line in ax.lines[1:] for x, y in zip(*line.get_data(), strict=True)}
    assert drawn == {(float(5 - index), round(float(value), 3)) for index, value in enumerate(np.linspace(0.8, 0.3, 6))}
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in hollow] == [[5]]
    assert any("4 of 6 regulators have 3 or more targets; 50 are needed" in text.get_text() for text in ax.texts)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"master", "other"} <= set(labels)


def test_many_regulators_lose_their_names_and_enough_need_no_note() -> None:
    ax = sps.pl.tf_profile(make(80, several=79))
    assert ax.get_xlabel() == "80 regulators"
    assert not any("needed" in text.get_text() for text in ax.texts)
    with pytest.raises(KeyError, match="has no 'spearman'"):
        sps.pl.tf_profile(make(), edges="spearman")
