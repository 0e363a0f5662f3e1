from __future__ import annotations

import re

from scepsis.tl._shared._conditions import HEADS, LAYERS, paper_names


def test_names_of_the_paper_at_its_own_model() -> None:
    found = paper_names(18 * 18, 13)
    assert not any(found.values())
    assert {"layer_12", "mlp_15", "mlp_13-15", "mlp_8", "mlp_12"} <= set(found)
    thirteen = {"top_5", "top_10", "top_20", "top_50", "composite_5", "composite_10", "bottom_5", "bottom_10"}
    thirteen |= {"random_10", "random_20", "random_50", "entropy_5", "layer_12"}
    six = {"top_5", "random_5a", "random_5b", "random_5c", "entropy_5"}  # and none at all
    assert len(thirteen) == 13
    assert thirteen | six <= set(found)
    assert all(re.fullmatch(HEADS, name) or re.fullmatch(LAYERS, name) for name in found)


def test_small_models_get_small_doses_and_reasons() -> None:
    found = paper_names(8, 1)
    assert {"top_1", "top_2", "top_4", "random_4", "entropy_4", "uniform_top_4"} <= set(found)
    assert "no layer 5 below the readout, layer 1" in found["mlp_readout-5"]
    assert "layer_0" in found
    assert "top_1" not in paper_names(60, 5)
    assert found.keys() >= {"top_50"}
    assert paper_names(1, 0)["layer_readout-1"]


def test_sets_of_heads_have_a_way_of_being_changed() -> None:
    assert HEADS.fullmatch("mean_top_5")["how"] == "mean"
    assert HEADS.fullmatch("uniform_random_5a")["how"] == "uniform"
    assert HEADS.fullmatch("top_5")["how"] is None
    assert HEADS.fullmatch("zero_top_5") is None
