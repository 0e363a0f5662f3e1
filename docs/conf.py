from __future__ import annotations

import os
import shutil
from pathlib import Path

from scepsis import __version__

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

html_theme = "furo"
html_title = f"scepsis {version}"
