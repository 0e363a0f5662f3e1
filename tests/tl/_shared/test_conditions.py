from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from scepsis.models import Intervention
from scepsis.tl._shared._conditions import HEADS, LAYERS, paper_names, resolve_conditions


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


def test_what_a_condition_is_does_not_hang_on_its_name() -> None:
    """Heads that were chosen by the responders are, whatever the caller calls them; and an MLP is no dose of heads."""
    heads = pd.DataFrame({"layer": np.repeat([0, 1], 4), "head": [0, 1, 2, 3] * 2})
    for name in ("reference", "perturbation", "composite"):
        heads[f"rank_{name}"] = range(1, 9)
    model: Any = SimpleNamespace(
        name="m", family="f", n_layers=2, n_heads=4, seams=lambda _: SimpleNamespace(mlp=object())
    )
    given = {
        "mine": "composite_2",
        "theirs": "top_2",
        "flat": Intervention.uniform_heads([(0, 1)]),
        "blind": Intervention.zero_mlps([1]),
        "both": Intervention.zero_heads([(0, 1)]) | Intervention.zero_mlps([1]),
        "block": Intervention.zero_attention([0]),
        "heads": Intervention.zero_heads([(0, 1)]),
    }
    made = {one.name: one for one in resolve_conditions(given, model, heads, 1, 0, dict)}
    assert {name for name, one in made.items() if one.ranked_on_labels} == {"mine"}
    assert {name: one.analysis for name, one in made.items()} == {
        "mine": "A13", "theirs": "A13", "flat": "A14", "blind": "A14", "both": "A14", "block": "A13", "heads": "A13"
    }  # fmt: skip


def test_sets_of_heads_have_a_way_of_being_changed() -> None:
    assert HEADS.fullmatch("mean_top_5")["how"] == "mean"
    assert HEADS.fullmatch("uniform_random_5a")["how"] == "uniform"
    assert HEADS.fullmatch("top_5")["how"] is None
    assert HEADS.fullmatch("zero_top_5") is None
