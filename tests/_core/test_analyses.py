from __future__ import annotations

import re

from scepsis._core._analyses import ANALYSES, FAMILIES


def test_families_are_those_of_the_framework() -> None:
    assert FAMILIES == ("F1", "F2", "F3", "F4", "F5", "C", "D", "E", "B")
    assert {one.family for one in ANALYSES.values()} <= set(FAMILIES)


def test_sections_are_quoted_once_and_titles_tell_analyses_apart() -> None:
    sections = [one.section for one in ANALYSES.values() if one.section]
    assert all(re.fullmatch(r"§\d+", section) for section in sections)
    assert len(sections) == len(set(sections))
    titles = [one.title for one in ANALYSES.values()]
    assert len(titles) == len(set(titles))


def test_analyses_of_the_confound_battery_are_where_the_framework_has_them() -> None:
    families = {
        "F1": ("A01", "A02", "A03", "A04"),
        "F2": ("A05", "A06"),
        "F3": ("A07", "A08", "A09", "A10", "A11"),
        "F4": ("A12", "A13", "A14", "A15"),
    }
    for family, members in families.items():
        assert tuple(name for name in ANALYSES if ANALYSES[name].family == family and name.startswith("A")) == members
