from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from scepsis._report._findings import beats_trivial, finding, gated_words, level, told

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("difference", "changes", "expected"),
    [
        (0.20, {}, "better"),
        (-0.20, {}, "worse"),
        (0.03, {}, "undecided"),
        (0.001, {"half": 0.01}, "equal"),
        (0.015, {"half": 0.005}, "equal"),  # without zero in it, and still too small to matter
        (0.20, {"n_units": 5}, "no inference"),
        (np.nan, {}, "not compared"),
        (0.20, {"twoway_low": np.nan}, "no inference"),
    ],
)
def test_finding_follows_from_the_row(
    make_contrast_row: Callable[..., pd.Series], difference: float, changes: dict, expected: str
) -> None:
    assert finding(make_contrast_row("attention", "variance", "baseline", difference, **changes)) == expected


@pytest.mark.parametrize(
    ("auroc", "changes", "expected"),
    [
        (0.6, {"p_value": 0.01}, "above"),
        (0.4, {"p_value": 0.01}, "below"),
        (0.6, {"p_value": 0.05}, "undecided"),
        (0.6, {"n_units": 5}, "no inference"),
        (0.6, {"p_value": np.nan}, "no inference"),
        (np.nan, {}, "not scored"),
    ],
)
def test_level_follows_from_the_row(
    make_summary_row: Callable[..., pd.Series], auroc: float, changes: dict, expected: str
) -> None:
    assert level(make_summary_row("attention", "edges", auroc, **changes)) == expected


def rows(make: Callable[..., pd.Series], **differences: float) -> pd.DataFrame:
    return pd.DataFrame([make("attention", name, "baseline", value) for name, value in differences.items()])


def test_edges_must_beat_each_trivial_feature(make_contrast_row: Callable[..., pd.Series]) -> None:
    make = make_contrast_row
    assert beats_trivial(rows(make, variance=0.2, mean=0.2, detection_rate=0.2, de_frequency=-0.2), "attention")
    assert not beats_trivial(rows(make, variance=0.2, mean=0.2, detection_rate=0.01), "attention")
    assert not beats_trivial(rows(make, variance=0.2, mean=-0.2, detection_rate=0.2), "attention")
    assert not beats_trivial(rows(make, variance=0.2, mean=0.2), "attention")
    assert not beats_trivial(rows(make, variance=0.2, mean=0.2, detection_rate=0.2), "other")
    insignificant = rows(make, variance=0.2, mean=0.2, detection_rate=0.2).assign(q_value=[0.01, 0.06, 0.01])
    assert not beats_trivial(insignificant, "attention")
    few = pd.DataFrame(
        [make("attention", name, "baseline", 0.2, n_units=5) for name in ("variance", "mean", "detection_rate")]
    )
    assert not beats_trivial(few, "attention")


def test_gated_words_are_found_in_any_case_and_only_whole() -> None:
    assert gated_words("A Regulatory network; its WIRING, and what encodes regulation") == [
        "regulatory",
        "encodes regulation",
        "wiring",
    ]
    assert gated_words("deregulatory noncausal rewiring") == []


def test_each_pair_of_edges_is_told_once_and_companions_by_their_own(
    make_contrast_row: Callable[..., pd.Series],
) -> None:
    kinds = {
        "attention": "edges",
        "spearman": "edges",
        "attention_randomized": "control",
        "attention_centered": "scale",
        "spearman_signed": "signed",
        "variance": "baseline",
    }
    pairs = [(edges, versus) for edges in ("attention", "spearman") for versus in kinds if versus != edges]
    contrasts = pd.DataFrame([make_contrast_row(*pair, kinds[pair[1]], 0.1) for pair in pairs])
    rows = told(contrasts, ["attention", "spearman"])
    assert list(zip(rows["edges"], rows["versus"], strict=True)) == [
        ("attention", "spearman"),
        ("attention", "attention_randomized"),
        ("attention", "attention_centered"),
        ("attention", "variance"),
        ("spearman", "spearman_signed"),
        ("spearman", "variance"),
    ]
    assert len(told(contrasts.iloc[:0], ["attention"])) == 0
