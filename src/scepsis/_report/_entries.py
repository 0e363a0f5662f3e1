"""Results in ``adata.uns`` by the frames that they hold, whatever they were called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anndata import AnnData


def entries(adata: AnnData, *frames: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and results that hold parameters and all of these frames."""
    for key, entry in adata.uns.items():
        if hasattr(entry, "get") and "params" in entry and all(name in entry for name in frames):
            yield str(key), entry
