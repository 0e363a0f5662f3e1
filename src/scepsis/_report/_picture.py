"""A plot as a picture inside a page."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING

from scepsis._report._html import tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from scepsis._report._html import Markup


def figure(draw: Callable[[Axes], Axes], *, size: tuple[float, float], alt: str, caption: str) -> Markup:
    """A picture inside the page, with what it shows in words."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    canvas = Figure(figsize=size, layout="constrained")
    draw(canvas.subplots())
    written = BytesIO()
    # A fixed salt and no date: the same numbers give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "scepsis", "svg.fonttype": "path"}):
        canvas.savefig(written, format="svg", dpi=150, metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{b64encode(written.getvalue()).decode()}"
    picture = tag("div", tag("img", src=source, alt=alt), class_="scroll", tabindex="0")
    return tag("figure", picture, tag("figcaption", caption))
