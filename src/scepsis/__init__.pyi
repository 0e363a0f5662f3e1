from . import datasets, get, models, pl, pp, references, tl
from ._report._page import report
from ._version import __version__

__all__ = ["__version__", "datasets", "get", "models", "pl", "pp", "references", "report", "tl"]
