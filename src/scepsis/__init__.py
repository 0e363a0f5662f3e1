"""Do attention edges say anything about regulation that a gene's own expression does not already say?"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
