"""Preparing the data: values, the cells and genes that everything is made from, names, features, foreign edges."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
