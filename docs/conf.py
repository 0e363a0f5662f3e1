from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import mudata
import pandas as pd
from scipy import sparse

from scepsis import __version__
from scepsis._core import _types

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

HERE = Path(__file__).parent
OFFLINE = os.environ.get("SCEPSIS_DOCS_OFFLINE") == "1"

# The tutorials are part of the pages, and are tested where they lie.
TUTORIALS = HERE / "tutorials"
shutil.rmtree(TUTORIALS, ignore_errors=True)
shutil.copytree(HERE.parent / "tutorials", TUTORIALS, ignore=shutil.ignore_patterns(".*", "*.py"))

project = "scepsis"
author = "The scepsis developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]
if not OFFLINE:
    extensions.append("sphinx.ext.intersphinx")

exclude_patterns = ["_build", "Thumbs.db", "**.ipynb_checkpoints"]
templates_path = ["_templates"]
nitpicky = True

autosummary_generate = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = True
napoleon_use_param = True
typehints_defaults = "braces"
always_use_bars_union = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

intersphinx_mapping = {
    "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
    "matplotlib": ("https://matplotlib.org/stable/", None),
    "mudata": ("https://mudata.readthedocs.io/en/latest/", None),
    "numpy": ("https://numpy.org/doc/stable/", None),
    "pandas": ("https://pandas.pydata.org/docs/", None),
    "python": ("https://docs.python.org/3", None),
    "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
    "scipy": ("https://docs.scipy.org/doc/scipy/", None),
    "torch": ("https://docs.pytorch.org/docs/stable/", None),
}
# Names of other projects are looked up only where their inventories can be read; names of this one always.
nitpick_ignore_regex = [("py:.*", r"(?!scepsis\b).*")]
# Cells that means over heads are taken of: made from what `Intervention.mean_heads` is given, never by hand.
nitpick_ignore = [("py:class", "scepsis.models._interventions.Reference")]

# An extension's own words about a later Sphinx.
warnings.filterwarnings("ignore", category=DeprecationWarning, module="sphinx_autodoc_typehints")
warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="sphinx_autodoc_typehints")

html_theme = "furo"
html_title = f"scepsis {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

# The words that signatures are written in are strings, which type checkers read; readers get them spelled out.
_names = {"AnnData": anndata.AnnData, "MuData": mudata.MuData, "pd": pd, "sparse": sparse}
for _word in _types.__all__:
    if isinstance(_meaning := getattr(_types, _word), str):
        setattr(_types, _word, eval(_meaning, vars(_types) | _names))


def find_public_name(app: Sphinx, env: BuildEnvironment, node: Element, content: Element) -> Any:
    """Types are known under the private file that they lie in; the pages have them under their public name."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("scepsis."):
        return None
    public = ".".join(part for part in target.split(".") if not part.startswith("_"))
    if public == target:
        return None
    where = node["refdoc"]
    return env.domains["py"].resolve_xref(env, where, app.builder, node["reftype"], public, node, content)


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", find_public_name)
