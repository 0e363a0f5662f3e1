"""Elements of a page. Text is escaped unless it is markup made here."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VOID = ("img", "meta")
#: Where a line is not broken: ``5 %``, ``p < 0.01``, ``n = 31``.
TOGETHER = re.compile(r"(?<=\d) (?=%)|(?<=\b[dnpq]) (?=[=<])|(?<=[=<]) (?=\d)")


#: Names of calls and slots in sentences.
CODE = re.compile(r"`([^`]+)`")
#: Characters from which on a cell keeps a width that it can be read at, however narrow the page.
LONG = 24


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str) -> Markup:
    """Element with escaped children and attributes; ``class_`` stands for ``class``."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"' for key, value in attributes.items()
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """Children one after the other, those that are no markup escaped."""
    return Markup("".join(child if isinstance(child, Markup) else _typeset(child) for child in children))


def _typeset(text: str) -> str:
    return CODE.sub(r"<code>\1</code>", escape(TOGETHER.sub("\u00a0", text), quote=True))


def bullets(sentences: Iterable[str]) -> Markup:
    """Sentences as a list; nothing for none."""
    items = [tag("li", sentence) for sentence in sentences if sentence]
    return tag("ul", *items) if items else Markup("")


def definitions(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Terms with what they are."""
    return tag("dl", *(join([tag("dt", term), tag("dd", value)]) for term, value in pairs))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> Markup:
    """Table whose first column heads its rows; columns after `text_columns` hold numbers."""
    body = []
    for row in rows:
        first, *others = row
        cells = [
            tag("td", cell, class_=_kind(cell) if position < text_columns else "number")
            for position, cell in enumerate(others, start=1)
        ]
        body.append(tag("tr", tag("th", first, scope="row"), *cells))
    heads = [
        tag("th", name, scope="col", class_="text" if position < text_columns else "number")
        for position, name in enumerate(head)
    ]
    named = tag("caption", tag("span", caption))  # stays in view where the table is wider than the page
    inner = tag("table", named, tag("thead", tag("tr", *heads)), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0")


def _kind(cell: str) -> str:
    return "text long" if len(cell) > LONG else "text"
