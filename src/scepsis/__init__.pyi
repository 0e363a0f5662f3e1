from ._version import __version__

__all__ = ["__version__", "datasets", "get", "models", "pl", "pp", "report", "tl"]
