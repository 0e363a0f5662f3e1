"""Known networks and gene sets as frames of pairs, with their version and licence on record."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
