"""Refusing, before any work, what would not fit."""

from __future__ import annotations

import os


def default_limit() -> int:
    """Give a quarter of the machine's memory, in bytes."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX: assume a laptop
        total = 8 << 30
    return total // 4


def require_memory(needed: int, limit: int | None, *, what: str, remedy: str) -> None:
    """Raise `MemoryError` naming both sizes and the call that fits."""
    allowed = default_limit() if limit is None else int(limit)
    if needed > allowed:
        msg = (
            f"{what} would take {needed / 2**30:.2f} GiB, over the limit of {allowed / 2**30:.2f} GiB. "
            f"{remedy} Or raise `memory_limit` (bytes)."
        )
        raise MemoryError(msg)
