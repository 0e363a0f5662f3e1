from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scepsis._core._validate import (
    check_counts,
    listing,
    require_choice,
    require_column,
    require_heads,
    require_integers,
    require_key,
    require_label,
    require_positive,
)


def test_listings_are_short() -> None:
    assert listing([]) == "none"
    assert listing(["a", 1]) == "'a', '1'"
    assert listing(range(20), limit=2) == "'0', '1', ... (20 in all)"


def test_a_missing_column_suggests_the_one_that_was_meant() -> None:
    frame = pd.DataFrame({"perturbation": ["a"], "batch": ["b"]})
    assert require_column(frame, "batch", slot="obs").tolist() == ["b"]
    with pytest.raises(KeyError, match=r"`adata.obs\['pertubation'\]`.*'batch'.*Did you mean 'perturbation'\? Do this"):
        require_column(frame, "pertubation", slot="obs", remedy="Do this.")


def test_a_missing_label_suggests_the_one_that_was_meant() -> None:
    require_label(["a", "b"], "b", slot="s", argument="control")
    with pytest.raises(ValueError, match="Did you mean `control='non-targeting'`"):
        require_label(["non-targeting", "STAT1"], "non_targeting", slot="s", argument="control")


@pytest.mark.parametrize("wrong", [0, -1, np.nan, np.inf, True, 1j])
def test_what_is_not_positive_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="`n` must be at least 1"):
        require_positive(wrong, argument="n")
    require_positive(np.int64(1), argument="n")
    require_positive(0.5, argument="n", minimum=0.25)


def test_choices_and_keys() -> None:
    require_choice("a", ("a", "b"), argument="x")
    with pytest.raises(ValueError, match="`x` takes one of 'a', 'b', not 'c'"):
        require_choice("c", ("a", "b"), argument="x")
    require_key("CD4 T+", argument="key_added")
    for wrong in ("", "a/b", None):
        with pytest.raises(ValueError, match="`key_added`"):
            require_key(wrong, argument="key_added")  # type: ignore[arg-type]


def test_counts_may_have_any_type() -> None:
    for dtype in (np.int32, np.uint16, np.float32, np.float64, bool):
        check_counts(np.array([0, 1, 1], dtype=dtype), slot="x")
    check_counts(np.array([]), slot="x")
    check_counts(np.array([2.0**24]), slot="x")
    with pytest.raises(ValueError, match="`x` holds negative"):
        check_counts(np.array([-1, 2]), slot="x")


def test_whole_numbers_come_alone_or_in_a_sequence() -> None:
    for given in (3, np.int64(3), [3], (np.int8(3),), np.array([3]), {3}, range(3, 4), pd.Series([3])):
        found = require_integers(given, argument="layers")
        assert found == [3]
        assert type(found[0]) is int
    assert require_integers([], argument="layers") == []
    for wrong in (1.5, "3", None, True, [True], [1.0], ["3"], [np.bool_(True)], [None], np.array([0.5])):
        with pytest.raises(TypeError, match="`layers` takes whole numbers"):
            require_integers(wrong, argument="layers")


def test_heads_are_pairs_of_whole_numbers() -> None:
    for given in ([(1, 2)], ((np.int64(1), 2),), np.array([[1, 2]]), [[1, 2]], {(1, 2)}):
        assert require_heads(given, argument="heads") == [(1, 2)]
    assert require_heads([], argument="heads") == []
    for wrong in (3, None, (0, 1), "L0H1", ["01"], [(0,)], [(0, 1, 2)], [(0.5, 1)], [(True, 1)], [("0", "1")]):
        with pytest.raises(TypeError, match=r"`heads` takes \(layer, head\) pairs"):
            require_heads(wrong, argument="heads")


def test_the_usual_words_for_controls_are_offered() -> None:
    values = [*(f"GENE{index}" for index in range(20)), "NTC"]
    for label in ("non-targeting", "control"):
        with pytest.raises(ValueError, match=r"Did you mean `control='NTC'`"):
            require_label(values, label, slot="obs", argument="control")
    with pytest.raises(ValueError, match=r"20 in all\)\.$"):
        require_label(values[:20], "non-targeting", slot="obs", argument="control")
