from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scepsis.references._cache import load
from scepsis.references._entries import entry_of
from scepsis.references._frames import described, finished
from scepsis.references._layouts import read_edges

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def collectri(
    *,
    species: Literal["human"] = "human",
    cache_dir: str | Path | None = None,
    offline: bool = False,
) -> pd.DataFrame:
    """
    Signed regulatory pairs that CollecTRI has merged from twelve resources :cite:p:`mullerdott2023`.

    Two of its sources, ``AP1`` and ``NFKB``, are families and no genes; no gene of a data set is called so, and
    :func:`scepsis.references.coverage` counts them among the names without a gene.

    Parameters
    ----------
    species
        Species of the genes; there is a human version only.
    cache_dir
        Folder of downloaded files. None takes the environment variable ``SCEPSIS_REFERENCES``, else the user's cache.
    offline
        Never download: a file that is not in the folder raises, saying where to put it. The environment variable
        ``SCEPSIS_OFFLINE=1`` does the same.

    Returns
    -------
    Frame of directed pairs, each once, with the columns ``source`` (the regulator), ``target``, ``weight`` (-1 or 1),
    the columns of the file, ``mode`` where the file says what the sign rests on (``unknown`` for signs by default) and
    ``directed`` (True).

    ``frame.attrs["reference"]`` holds ``name, species, version, licence, url, date, sha256, checksum`` (``verified``:
    the bytes that this version was tested with; ``recorded``: those of the first download) and numbers of rows and
    pairs.

    Raises
    ------
    FileNotFoundError
        The file is not there and cannot be had; the message names it, its address and its place.
    ValueError
        The file in the folder is not the one that was downloaded, or cannot be read, or there is no such species.

    Notes
    -----
    Licence: CC BY 4.0 (record 8192729 of Zenodo).

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.references.collectri(cache_dir="an_empty_folder", offline=True)
    Traceback (most recent call last):
    FileNotFoundError: an_empty_folder/CollecTRI_regulons.csv is not there, and downloads are switched off ...
    """
    entry = entry_of("collectri", species)
    frame, origin = load(entry, read_edges, cache_dir=cache_dir, offline=offline)
    return finished(frame, directed=True, record=described(entry, origin))
