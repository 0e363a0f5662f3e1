from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from scepsis._report._html import Markup, bullets, definitions, join, table, tag

NASTY = "<script>alert('x')</script> & \"quotes\""


@pytest.mark.parametrize(
    "made",
    [
        tag("p", NASTY),
        tag("p", "x", title=NASTY),
        bullets([NASTY, "", "b"]),
        definitions([(NASTY, NASTY)]),
        table(NASTY, [NASTY, "b"], [[NASTY, NASTY]]),
    ],
)
def test_text_is_escaped_and_comes_back_as_it_was(made: Markup) -> None:
    assert isinstance(made, Markup)
    tree = ET.fromstring(made)
    found = [*tree.itertext(), *(value for node in tree.iter() for value in node.attrib.values())]
    assert NASTY in found
    assert "script" not in {node.tag for node in tree.iter()}


def test_markup_is_not_escaped_twice() -> None:
    inner = tag("b", "a < b")
    assert tag("p", inner, " & more") == "<p><b>a &lt; b</b> &amp; more</p>"
    assert join([inner, inner]) == inner + inner


def test_nothing_to_list_is_nothing() -> None:
    assert bullets(["", ""]) == ""


def test_lines_are_not_broken_inside_a_quantity() -> None:
    assert (
        tag("p", "5 % (p < 0.01, n = 31) a < b") == "<p>5\u00a0% (p\u00a0&lt;\u00a00.01, n\u00a0=\u00a031) a &lt; b</p>"
    )


def test_names_of_calls_are_set_as_code() -> None:
    assert tag("li", "call `tl.plan(a < b)` first") == "<li>call <code>tl.plan(a &lt; b)</code> first</li>"


def test_long_cells_of_text_are_told_apart() -> None:
    tree = ET.fromstring(table("c", ["name", "why", "n"], [["a", "b" * 25, "3" * 25]], text_columns=2))
    assert [cell.get("class") for cell in tree.iter("td")] == ["text long", "number"]


def test_cells_of_text_and_of_numbers_are_told_apart() -> None:
    tree = ET.fromstring(table("c", ["name", "kind", "n"], [["a", "b", "3"]], text_columns=2))
    assert [cell.get("class") for cell in tree.iter("td")] == ["text", "number"]
    assert [cell.get("scope") for cell in tree.iter("th")] == ["col", "col", "col", "row"]
