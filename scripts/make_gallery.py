"""
Draw every plot once, by the example of its own docstring, for the gallery of the documentation.

    python scripts/make_gallery.py                        # all, about two minutes
    python scripts/make_gallery.py verdict degree_null    # these pictures; the page is always written anew

Writes ``docs/gallery.md`` and ``docs/gallery/<plot>.png``. A test holds that every plot is there, with the example as
it stands in the docstring; after a change of either, run this again and look at the pictures.
"""

from __future__ import annotations

import doctest
import inspect
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image

import scepsis as sps

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "gallery"
#: Colours of a picture: enough for smooth maps, and a third of the bytes.
N_COLOURS = 128
HEAD = """\
# Gallery

Every plot, drawn by the example of its own page on the simulated screen that ships with the package. The examples are
kept small, so that they run in seconds: their pictures show what a plot looks like, not what a good study finds.
The tutorials, {doc}`tutorials/01_audit_a_model` first, have them in their places.
"""


def example(name: str) -> str:
    """Code of the example of a plot."""
    return "".join(one.source for one in doctest.DocTestParser().get_examples(getattr(sps.pl, name).__doc__))


def summary(name: str) -> str:
    """First sentence of its docstring, without the citation."""
    line = inspect.cleandoc(getattr(sps.pl, name).__doc__).splitlines()[0]
    return line.split(" :cite:", maxsplit=1)[0].rstrip(".")


def draw(name: str) -> None:
    """Run the example and keep the figure of the axes that it ends with."""
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(compile(example(name), f"<example of {name}>", "exec"), names)
    path = FOLDER / f"{name}.png"
    names["ax"].get_figure(root=True).savefig(path, dpi=80, bbox_inches="tight")
    plt.close("all")
    picture = Image.open(path).convert("RGB").quantize(N_COLOURS)
    picture.save(path, optimize=True)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name in sorted(sps.pl.__all__):
        code = example(name).rstrip()
        parts.append(
            f"## {name}\n\n{summary(name)}: {{func}}`scepsis.pl.{name}`.\n\n"
            f"![{summary(name)}](gallery/{name}.png)\n\n```python\n{code}\n```\n"
        )
    return "\n".join(parts)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or sorted(sps.pl.__all__):
        draw(name)
        print(FOLDER / f"{name}.png")
    (DOCS / "gallery.md").write_text(page())


if __name__ == "__main__":
    main()
