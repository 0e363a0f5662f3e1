"""Stored results, read back: the frame that was asked for, or the call that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepsis._core._validate import listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from anndata import AnnData


def read_result(adata: AnnData, key: str, *, maker: str) -> dict[str, Any]:
    """Entry of ``uns`` that a tool wrote, or a `KeyError` naming `maker`, the call that writes it."""
    if key not in adata.uns:
        msg = f"`adata.uns[{key!r}]` does not exist; there are: {listing(adata.uns)}. Call `{maker}` first."
        raise KeyError(msg)
    entry = adata.uns[key]
    if not hasattr(entry, "get") or "params" not in entry:
        msg = f"`adata.uns[{key!r}]` is no result of this package. Call `{maker}` to make one."
        raise KeyError(msg)
    return dict(entry)


def read_frame(adata: AnnData, key: str, name: str, *, maker: str) -> pd.DataFrame:
    """One frame of a stored result."""
    entry = read_result(adata, key, maker=maker)
    if name not in entry:
        msg = f"`adata.uns[{key!r}][{name!r}]` does not exist; there are: {listing(entry)}. Call `{maker}` anew."
        raise KeyError(msg)
    frame: pd.DataFrame = entry[name]
    return frame


def entries(adata: AnnData, *frames: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and results that hold parameters and all of these frames, whatever they were called."""
    for key, entry in adata.uns.items():
        if hasattr(entry, "get") and "params" in entry and all(name in entry for name in frames):
            yield str(key), entry
