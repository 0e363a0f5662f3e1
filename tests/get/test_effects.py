from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scepsis as sps


@pytest.fixture
def scored(make_screen):
    adata = make_screen(n_controls=120, n_perturbed=55, perturbed=("G0", "G1", "A/B + c"))
    sps.tl.perturbation_effects(adata)
    return adata


@pytest.mark.parametrize("which", ["target", "lfc", "qval"])
def test_frame_is_the_array_with_its_names(scored, which: str) -> None:
    frame = sps.get.effects(scored, which)
    np.testing.assert_array_equal(frame.to_numpy(), scored.varm[f"perturbation_{which}"])
    assert frame.columns.tolist() == ["A/B + c", "G0", "G1"]
    assert frame.columns.name == "perturbation"
    pd.testing.assert_index_equal(frame.index, scored.var_names)


def test_frame_is_a_copy_and_follows_a_subset(scored) -> None:
    before = scored.varm["perturbation_target"].copy()
    frame = sps.get.effects(scored)
    frame.iloc[:, :] = 7
    np.testing.assert_array_equal(scored.varm["perturbation_target"], before)
    part = scored[:, ["G5", "G0"]]
    pd.testing.assert_frame_equal(sps.get.effects(part), sps.get.effects(scored).loc[["G5", "G0"]])


def test_survives_the_disk(scored, roundtrips) -> None:
    for back in roundtrips(scored):
        pd.testing.assert_frame_equal(sps.get.effects(back), sps.get.effects(scored))


def test_mudata(scored) -> None:
    mudata = pytest.importorskip("mudata")
    with mudata.set_options(pull_on_update=False):
        both = mudata.MuData({"rna": scored})
    pd.testing.assert_frame_equal(sps.get.effects(both, mod="rna"), sps.get.effects(scored))


def test_bad_input_is_named(scored, screen, untouched) -> None:
    with untouched(screen), pytest.raises(KeyError, match="perturbation_effects"):
        sps.get.effects(screen)
    with untouched(scored), pytest.raises(KeyError, match="other_effects"):
        sps.get.effects(scored, key="other")
    with untouched(scored), pytest.raises(ValueError, match="which"):
        sps.get.effects(scored, "targets")
    array = scored.varm["perturbation_target"]
    scored.varm["perturbation_target"] = array[:, :2]
    with pytest.raises(ValueError, match="2 columns"):
        sps.get.effects(scored)
    del scored.varm["perturbation_target"]
    with pytest.raises(KeyError, match="perturbation_target"):
        sps.get.effects(scored)
