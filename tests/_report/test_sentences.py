from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from scepsis._report._findings import finding, gated_words
from scepsis._report._sentences import (
    against_chance,
    against_control,
    against_trivial,
    best,
    comparison,
    conclusion,
    headline,
    remaining,
    rules,
    within_deciles,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TRIVIAL = ("variance", "mean", "detection_rate")


def numbers(text: str) -> list[float]:
    """Decimal numbers in a sentence."""
    return [float(found) for found in re.findall(r"[+-]?\d+\.\d+", text.replace("−", "-"))]


def test_numbers_are_those_of_the_row(make_contrast_row: Callable[..., pd.Series]) -> None:
    for difference, half, n_units in itertools.product((-0.21, -0.01, 0.013, 0.15), (0.002, 0.04), (7, 131)):
        row = make_contrast_row("attention", "variance", "baseline", difference, half=half, n_units=n_units)
        told = numbers(comparison(row))
        expected = [row["difference"], row["twoway_low"], row["twoway_high"], row["q_value"]]
        if finding(row) == "equal":
            expected = [row["margin"], *expected]
        if finding(row) == "undecided":
            expected.append(row["minimum_detectable"])
        assert told == pytest.approx(expected, abs=5e-4)
        assert f"{n_units} perturbations" in comparison(row)


@pytest.mark.parametrize("difference", [-0.3, -0.019, 0.0, 0.004, 0.03, 0.3])
@pytest.mark.parametrize("half", [0.001, 0.02, 0.2])
@pytest.mark.parametrize("q_value", [0.001, 0.9])
def test_words_never_contradict_the_number(
    make_contrast_row: Callable[..., pd.Series], difference: float, half: float, q_value: float
) -> None:
    row = make_contrast_row("attention", "variance", "baseline", difference, half=half, q_value=q_value)
    text = comparison(row)
    low, high = row["twoway_low"], row["twoway_high"]
    assert ("ranks responders better than variance" in text) == (low > 0 and row["equivalence"] == "different")
    assert ("ranks responders worse than variance" in text) == (high < 0 and row["equivalence"] == "different")
    assert ("equally well" in text) == (row["equivalence"] == "equivalent")
    assert ("cannot be told" in text) == (row["equivalence"] == "inconclusive")
    confirmed = q_value < 0.05
    decided = row["equivalence"] == "different"
    assert ("does not confirm" in text) == (decided and not confirmed)
    assert ("takes the genes as given, finds one" in text) == (row["equivalence"] == "inconclusive" and confirmed)
    assert ("small as it is" in text) == (row["equivalence"] == "equivalent" and confirmed)


def test_fewer_than_six_perturbations_allow_no_inference(
    make_contrast_row: Callable[..., pd.Series], make_summary_row: Callable[..., pd.Series]
) -> None:
    text = comparison(make_contrast_row("attention", "variance", "baseline", 0.2, n_units=4))
    assert "no inference is possible" in text
    assert "+0.200 over 4 perturbations" in text
    text = against_chance(make_summary_row("attention", "edges", 0.7, n_units=1))
    assert text == "attention: mean AUROC 0.700 over 1 perturbation; with fewer than 6 no inference is possible."
    rows = pd.DataFrame([make_contrast_row("attention", name, "baseline", 0.2, n_units=4) for name in TRIVIAL])
    assert "cannot be assessed" in conclusion(rows, "attention")
    assert "compared, without inference, with" in against_trivial(rows, "attention")


def test_what_was_not_compared_says_why(
    make_contrast_row: Callable[..., pd.Series], make_summary_row: Callable[..., pd.Series]
) -> None:
    assert comparison(make_contrast_row("attention", "position", "baseline", np.nan)) == (
        "attention was not compared with position (not run)."
    )
    row = make_summary_row("attention", "edges", np.nan, status="no_positives")
    assert against_chance(row) == "attention was not scored (no positives)."


@pytest.mark.parametrize(
    ("auroc", "p_value", "expected"),
    [(0.61, 0.01, "above chance"), (0.41, 0.01, "below chance"), (0.61, 0.2, "not shown to differ from chance")],
)
def test_against_chance(
    make_summary_row: Callable[..., pd.Series], auroc: float, p_value: float, expected: str
) -> None:
    row = make_summary_row("attention", "edges", auroc, p_value=p_value)
    text = against_chance(row)
    assert expected in text
    assert numbers(text) == pytest.approx([auroc, row["ci_low"], row["ci_high"], p_value], abs=5e-4)


def every_case(make: Callable[..., pd.Series]) -> list[pd.DataFrame]:
    """Contrasts in which each trivial feature is beaten, matched, undecided, better, not compared, or absent."""
    cases = []
    for values in itertools.product((0.2, 0.001, 0.03, -0.2, np.nan, None), repeat=3):
        rows = [
            make("attention", name, "baseline", value, half=0.005 if value == 0.001 else 0.045)
            for name, value in zip(TRIVIAL, values, strict=True)
            if value is not None
        ]
        cases.append(pd.DataFrame(rows, columns=make("a", "b", "baseline", 0.1).index))
    return cases


def test_every_trivial_feature_is_named_once_in_the_right_group(make_contrast_row: Callable[..., pd.Series]) -> None:
    for contrasts in every_case(make_contrast_row):
        text = against_trivial(contrasts, "attention")
        found = dict(zip(contrasts["versus"], (finding(row) for _, row in contrasts.iterrows()), strict=True))
        assert sum(len(re.findall(rf"\b{name}\b", text)) for name in TRIVIAL) == 3
        for intro, wanted in (("better than", "better"), ("worse than", "worse")):
            assert (intro in text) == (wanted in found.values())


def test_a_claim_needs_all_three(make_contrast_row: Callable[..., pd.Series]) -> None:
    for contrasts in every_case(make_contrast_row):
        text = conclusion(contrasts, "attention")
        found = [finding(row) for _, row in contrasts.iterrows()]
        claims = "responders better than the variance, the mean and the detection rate" in text
        assert claims == (found == ["better"] * 3)
        lost = [row["versus"] for _, row in contrasts.iterrows() if finding(row) in {"worse", "equal"}]
        assert ("no better than" in text) == bool(lost)
        assert [name for name in TRIVIAL if name.replace("_", " ") in text] == (lost or list(TRIVIAL) * claims)
        unknown = not lost and (len(found) < 3 or "not compared" in found)
        assert ("cannot be assessed" in text) == unknown


def test_words_for_a_mechanism_are_never_used(
    make_contrast_row: Callable[..., pd.Series], make_summary_row: Callable[..., pd.Series]
) -> None:
    summary = pd.DataFrame([make_summary_row("attention", "edges", 0.6)])
    for contrasts in every_case(make_contrast_row):
        told = [conclusion(contrasts, "attention"), *headline(contrasts, summary, "attention"), rules()]
        told += remaining(contrasts, "attention")
        assert gated_words(" ".join(told)) == []


def test_random_weights_that_do_as_well_are_said_to(make_contrast_row: Callable[..., pd.Series]) -> None:
    for difference, expected in ((0.2, False), (0.03, True), (-0.2, True), (np.nan, False)):
        text = against_control(make_contrast_row("attention", "attention_randomized", "control", difference))
        assert ("not shown to come from what the model learned" in text) == expected
    few = against_control(make_contrast_row("attention", "attention_randomized", "control", 0.1, n_units=3))
    assert "learned" not in few


def test_best_names_the_highest_and_what_it_is(make_summary_row: Callable[..., pd.Series]) -> None:
    rows = [
        make_summary_row("attention", "edges", 0.61),
        make_summary_row("variance", "baseline", 0.82),
        make_summary_row("position", "baseline", np.nan),
    ]
    assert best(pd.DataFrame(rows)) == "The highest mean AUROC is that of variance (0.820), a feature of single genes."
    assert best(pd.DataFrame(rows[:1])).endswith("(0.610), edges.")
    assert best(pd.DataFrame(rows[2:])) == "No predictor could be scored."


def test_headline_and_remaining_say_each_comparison_once(
    make_contrast_row: Callable[..., pd.Series], make_summary_row: Callable[..., pd.Series]
) -> None:
    versus = {
        "spearman": "edges",
        "attention_randomized": "control",
        "attention_centered": "scale",
        "variance": "baseline",
        "coverage": "baseline",
    }
    contrasts = pd.DataFrame([make_contrast_row("attention", name, kind, -0.1) for name, kind in versus.items()])
    summary = pd.DataFrame([make_summary_row("attention", "edges", 0.6)])
    told = [*headline(contrasts, summary, "attention")[2:], *remaining(contrasts, "attention")]
    assert len(told) == len(versus)
    for text, name in zip(told, versus, strict=True):
        assert f"worse than {name}" in text


def test_twin_of_other_edges_is_not_said_to_tell_what_was_learned(
    make_contrast_row: Callable[..., pd.Series], make_summary_row: Callable[..., pd.Series]
) -> None:
    contrasts = pd.DataFrame([make_contrast_row("spearman", "attention_randomized", "control", -0.1)])
    summary = pd.DataFrame([make_summary_row("spearman", "edges", 0.6)])
    assert "learned" not in " ".join(headline(contrasts, summary, "spearman"))
    layers = pd.DataFrame([make_contrast_row("attention_L1", "attention_randomized_L1", "control", -0.1)])
    summary = pd.DataFrame([make_summary_row("attention_L1", "edges", 0.6)])
    assert "learned" in " ".join(headline(layers, summary, "attention_L1"))


def test_a_leak_bars_every_claim(
    make_contrast_row: Callable[..., pd.Series], make_summary_row: Callable[..., pd.Series]
) -> None:
    leak = {"status": "label_leak"}
    contrasts = pd.DataFrame([make_contrast_row("attention", name, "baseline", 0.2, **leak) for name in TRIVIAL])
    summary = pd.DataFrame([make_summary_row("attention", "edges", 0.9, **leak)])
    assert "cannot be assessed" in conclusion(contrasts, "attention")
    assert "supports nothing" in headline(contrasts, summary, "attention")[0]
    assert all("supports nothing" in text for text in remaining(contrasts, "attention"))


def test_deciles() -> None:
    frame = pd.DataFrame(
        {"predictor": ["attention"] * 4, "decile": range(4), "auroc": [0.4, 0.5, 0.7, np.nan], "n_units": 3}
    )
    text = within_deciles(frame, "attention")
    assert numbers(text) == pytest.approx([0.533, 0.4, 0.7], abs=5e-4)
    assert "3 classes" in text
    assert within_deciles(frame, "spearman") == ""
