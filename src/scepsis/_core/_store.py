"""The only writer: everything is computed first, then written at once."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anndata import AnnData

logger = logging.getLogger(__name__)


def record(**params: Any) -> dict[str, Any]:
    """Parameters in a form that every file format keeps; those that are None are left out."""
    kept = {name: _plain(value) for name, value in params.items() if value is not None}
    return kept | {"scepsis_version": __version__}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list | set | frozenset):
        items = [_plain(item) for item in value]
        nested = any(isinstance(item, list) for item in items)
        return [str(item) for item in items] if nested else items
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    return value


def write(
    adata: AnnData,
    *,
    drop: Mapping[str, Iterable[str]] | None = None,
    **slots: Mapping[str, Any],
) -> None:
    """
    Write results into `adata`, stale ones removed first.

    `slots` maps ``obs``, ``var``, ``obsm``, ``varm``, ``varp``, ``layers`` and ``uns`` to new entries; `drop` maps
    the same names to the keys of an earlier run. A view becomes a copy of its own, and says so.
    """
    if adata.is_view:
        warnings.warn(
            "`adata` is a view; it is copied so that results can be stored in it. "
            "Pass `adata[...].copy()` to say so yourself.",
            UserWarning,
            stacklevel=4,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adata.uns["scepsis"] = {}  # any assignment makes a view an object of its own
        del adata.uns["scepsis"]
    for slot, keys in (drop or {}).items():
        container = getattr(adata, slot)
        for key in [key for key in keys if key in container]:
            del container[key]
    for slot, entries in slots.items():
        container = getattr(adata, slot)
        for key, value in entries.items():
            container[key] = value
    written = [f"{slot}[{key!r}]" for slot, entries in slots.items() for key in entries]
    logger.info("added %s", ", ".join(written))
