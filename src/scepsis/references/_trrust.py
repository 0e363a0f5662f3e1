from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scepsis.references._cache import load
from scepsis.references._entries import entry_of
from scepsis.references._frames import described, finished
from scepsis.references._layouts import read_trrust

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def trrust(
    *,
    species: Literal["human", "mouse"] = "human",
    cache_dir: str | Path | None = None,
    offline: bool = False,
) -> pd.DataFrame:
    """
    Regulatory pairs that TRRUST has from sentences in the literature :cite:p:`han2018`.

    One of the two sources of positives of the paper :cite:p:`kendiukhov2026`. Its pairs are what was studied and
    published: famous regulators have most of them, and a pair that is not listed has mostly not been looked at.

    Parameters
    ----------
    species
        Species of the genes.
    cache_dir
        Folder of downloaded files. None takes the environment variable ``SCEPSIS_REFERENCES``, else the user's cache.
    offline
        Never download: a file that is not in the folder raises, saying where to put it. The environment variable
        ``SCEPSIS_OFFLINE=1`` does the same.

    Returns
    -------
    Frame of directed pairs, each once, with the columns ``source`` (the regulator), ``target``, ``weight`` (-1 for
    repression, else 1), ``mode`` (``activation``, ``repression``, ``unknown``), ``references`` (PubMed ids) and
    ``directed`` (True).

    ``frame.attrs["reference"]`` holds ``name, species, version, licence, url, date, sha256, checksum`` (``verified``:
    the bytes that this version was tested with; ``recorded``: those of the first download) and numbers of rows and
    pairs.

    Raises
    ------
    FileNotFoundError
        The file is not there and cannot be had; the message names it, its address and its place.
    ValueError
        The file in the folder is not the one that was downloaded, or cannot be read.

    Notes
    -----
    Rows of one pair are merged: ``activation;repression`` stands for both modes, and has the weight 1. Licence: CC
    BY-SA 4.0.

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.references.trrust(cache_dir="an_empty_folder", offline=True)
    Traceback (most recent call last):
    FileNotFoundError: an_empty_folder/trrust_rawdata.human.tsv is not there, and downloads are switched off ...
    """
    entry = entry_of("trrust", species)
    frame, origin = load(entry, read_trrust, cache_dir=cache_dir, offline=offline)
    return finished(frame, directed=True, record=described(entry, origin))
