from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

    Untouched = Callable[[ad.AnnData], Any]


def _chosen(adata: ad.AnnData, **options: Any) -> set[str]:
    copy = sps.pp.select_cells(adata, copy=True, **options)
    return set(copy.obs_names[copy.obs["edge_cells"]])


def test_control_cells_alone_are_chosen(screen: ad.AnnData) -> None:
    sps.pp.select_cells(screen, n_cells=50)
    chosen = screen.obs["edge_cells"]
    assert chosen.dtype == bool
    assert chosen.sum() == 50
    assert set(screen.obs["perturbation"][chosen]) == {"non-targeting"}
    params = screen.uns["select_cells"]["params"]
    assert {key: params[key] for key in ("groupby", "control", "n_cells", "n_selected", "n_control", "seed")} == {
        "groupby": "perturbation",
        "control": "non-targeting",
        "n_cells": 50,
        "n_selected": 50,
        "n_control": 160,
        "seed": 0,
    }


def test_smaller_choices_are_part_of_larger_ones(screen: ad.AnnData) -> None:
    choices = [_chosen(screen, n_cells=n, rng=3) for n in (1, 10, 47, 159, 160, 2000)]
    assert [len(choice) for choice in choices] == [1, 10, 47, 159, 160, 160]
    for smaller, larger in pairwise(choices):
        assert smaller <= larger


def test_the_seed_decides(screen: ad.AnnData) -> None:
    assert _chosen(screen, n_cells=40, rng=1) == _chosen(screen, n_cells=40, rng=1)
    assert _chosen(screen, n_cells=40, rng=1) != _chosen(screen, n_cells=40, rng=2)
    generator = np.random.default_rng(5)
    first = sps.pp.select_cells(screen, n_cells=40, rng=generator, copy=True)
    again = _chosen(screen, n_cells=40, rng=first.uns["select_cells"]["params"]["seed"])
    assert again == set(first.obs_names[first.obs["edge_cells"]])


def test_the_choice_is_even(screen: ad.AnnData) -> None:
    times = np.zeros(screen.n_obs)
    for seed in range(200):
        times += sps.pp.select_cells(screen, n_cells=40, rng=seed, copy=True).obs["edge_cells"].to_numpy()
    controls = (screen.obs["perturbation"] == "non-targeting").to_numpy()
    assert not times[~controls].any()
    # binomial(200, 1/4): mean 50, sd 6.1
    assert abs(times[controls].mean() - 50) < 1e-9
    assert np.abs(times[controls] - 50).max() < 5 * 6.2
    assert times[controls].std() == pytest.approx(6.1, rel=0.3)


def test_cells_without_a_label_are_no_controls(screen: ad.AnnData) -> None:
    screen.obs["perturbation"] = screen.obs["perturbation"].where(np.arange(280) % 2 == 0)
    sps.pp.select_cells(screen)
    assert screen.obs["edge_cells"].sum() == (screen.obs["perturbation"] == "non-targeting").sum()
    assert screen.obs["edge_cells"].dtype == bool


def test_labels_may_be_strings(screen: ad.AnnData) -> None:
    expected = _chosen(screen, n_cells=30)
    screen.obs["label"] = screen.obs["perturbation"].astype(str).astype(object)
    assert _chosen(screen, n_cells=30, groupby="label") == expected


def test_wrong_input_is_refused(screen: ad.AnnData, untouched: Untouched) -> None:
    screen.obs["cluster"] = pd.Categorical(np.arange(280) % 3)
    with untouched(screen):
        with pytest.raises(KeyError, match=r"adata.obs\['perturbations'\].*Did you mean 'perturbation'.*groupby="):
            sps.pp.select_cells(screen, groupby="perturbations")
        with pytest.raises(ValueError, match=r"'non-target' does not occur.*Did you mean `control='non-targeting'`"):
            sps.pp.select_cells(screen, control="non-target")
        with pytest.raises(ValueError, match=r"'non-targeting' does not occur in `adata.obs\['cluster'\]`"):
            sps.pp.select_cells(screen, groupby="cluster")
        for wrong in (0, -3, True):
            with pytest.raises(ValueError, match="n_cells"):
                sps.pp.select_cells(screen, n_cells=wrong)
        with pytest.raises(TypeError, match="rng"):
            sps.pp.select_cells(screen, rng=-1)


def test_a_view_becomes_a_copy(screen: ad.AnnData, untouched: Untouched) -> None:
    view = screen[::2]
    with untouched(screen), pytest.warns(UserWarning, match="is a view"):
        sps.pp.select_cells(view, n_cells=10)
    assert view.obs["edge_cells"].sum() == 10


def test_it_survives_writing(screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]) -> None:
    sps.pp.select_cells(screen, n_cells=20)
    for back in roundtrips(screen):
        pd.testing.assert_series_equal(back.obs["edge_cells"], screen.obs["edge_cells"])
        assert back.uns["select_cells"]["params"]["control"] == "non-targeting"


def test_a_modality(screen: ad.AnnData) -> None:
    mudata = pytest.importorskip("mudata")
    with mudata.set_options(pull_on_update=False):
        both = mudata.MuData({"rna": screen})
        assert sps.pp.select_cells(both, mod="rna", n_cells=10) is None
        assert both.mod["rna"].obs["edge_cells"].sum() == 10
        copy = sps.pp.select_cells(both, mod="rna", n_cells=5, copy=True)
    assert copy.mod["rna"].obs["edge_cells"].sum() == 5
    assert both.mod["rna"].obs["edge_cells"].sum() == 10
