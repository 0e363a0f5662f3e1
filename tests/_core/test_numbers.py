from __future__ import annotations

import numpy as np
import pytest

from scepsis._core._numbers import count, decimal, enumerate_words, equals, interval, p_value, percent, plural, signed


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (decimal(0.61249), "0.612"),
        (decimal(-0.2), "−0.200"),
        (decimal(np.nan), "–"),
        (signed(0.05), "+0.050"),
        (signed(-0.05), "−0.050"),
        (signed(0.00021), "+0.0002"),
        (signed(0.0), "+0.000"),
        (signed(-3e-9, 2), "+0.00"),
        (signed(2e-6), "+0.000002"),
        (interval(0.1, 0.25), "0.100 to 0.250"),
        (interval(-0.1, 0.25, sign=True), "−0.100 to +0.250"),
        (interval(np.nan, 0.25), "–"),
        (p_value(0.00001), "< 0.0001"),
        (p_value(0.0013), "0.0013"),
        (p_value(0.0496), "0.0496"),
        (p_value(0.3712), "0.37"),
        (p_value(np.nan), "–"),
        (equals("q", 0.0), "q < 0.0001"),
        (equals("p", 0.5), "p = 0.50"),
        (percent(0.05), "5 %"),
        (percent(0.1234), "12.3 %"),
        (percent(-0.25), "−25 %"),
        (count(20729), "20,729"),
        (plural(1, "class", "classes"), "1 class"),
        (plural(2, "perturbation"), "2 perturbations"),
        (enumerate_words([]), ""),
        (enumerate_words(["a"]), "a"),
        (enumerate_words(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_as_they_are_written(written: str, expected: str) -> None:
    assert written == expected


def test_a_p_value_never_crosses_the_line_it_is_read_at() -> None:
    for value in np.concatenate([np.linspace(0.04, 0.0499999, 50), np.linspace(0.05, 0.06, 50)]):
        assert (float(p_value(value)) < 0.05) == (value < 0.05)
