from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scepsis.references._cache import folder_of, is_cached
from scepsis.references._entries import ENTRIES

if TYPE_CHECKING:
    from pathlib import Path


def catalogue(*, cache_dir: str | Path | None = None) -> pd.DataFrame:
    """
    List the files that references are made from, with their version and licence.

    Parameters
    ----------
    cache_dir
        Folder of downloaded files. None takes the environment variable ``SCEPSIS_REFERENCES``, else the user's cache.

    Returns
    -------
    Frame with a row for each file: ``name``, ``species``, ``version``, ``licence``, ``relation`` (what a pair means),
    ``directed``, ``url``, ``file`` (where it is, or would be), ``cached`` (whether it is there) and ``sha256``, of the
    bytes that this version was tested with; "" where none were at hand, so that the first download is taken as it is.

    Notes
    -----
    Nothing is downloaded.

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.references.catalogue().query("name == 'trrust'")["licence"].tolist()
    ['CC BY-SA 4.0', 'CC BY-SA 4.0']
    """
    folder = folder_of(cache_dir)
    return pd.DataFrame(
        {
            "name": one.name,
            "species": one.species,
            "version": one.version,
            "licence": one.licence,
            "relation": one.relation,
            "directed": one.directed,
            "url": one.url,
            "file": str(folder / one.filename),
            "cached": is_cached(one, cache_dir),
            "sha256": one.sha256,
        }
        for one in ENTRIES.values()
    )
