from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scepsis._core._network import DIRECTED
from scepsis._core._validate import listing
from scepsis.references._cache import load
from scepsis.references._entries import entry_of
from scepsis.references._frames import described, finished
from scepsis.references._layouts import CONFIDENCE, read_omnipath

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

LEVELS = ("A", "B", "C", "D")


def dorothea(
    *,
    levels: Iterable[Literal["A", "B", "C", "D"]] = ("A", "B", "C"),
    species: Literal["human", "mouse"] = "human",
    cache_dir: str | Path | None = None,
    offline: bool = False,
) -> pd.DataFrame:
    """
    Regulatory pairs of DoRothEA, with a level of confidence :cite:p:`garciaalonso2019`.

    From A (curated, in several kinds of evidence) to D (one computational source), by OmniPath's web service.

    Parameters
    ----------
    levels
        Levels of confidence to take. All are downloaded.
    species
        Species of the genes; mouse is by orthology.
    cache_dir
        Folder of downloaded files. None takes the environment variable ``SCEPSIS_REFERENCES``, else the user's cache.
    offline
        Never download: a file that is not in the folder raises, saying where to put it. The environment variable
        ``SCEPSIS_OFFLINE=1`` does the same.

    Returns
    -------
    Frame of directed pairs, each once, with the columns ``source`` (the regulator), ``target``, ``weight`` (-1 or 1),
    ``mode``, ``confidence`` (the best level of a pair) and
    ``directed`` (True).

    ``frame.attrs["reference"]`` holds ``name, species, version, licence, url, date, sha256, checksum`` (``verified``:
    the bytes that this version was tested with; ``recorded``: those of the first download) and numbers of rows and
    pairs.

    Raises
    ------
    FileNotFoundError
        The file is not there and cannot be had; the message names it, its address and its place.
    ValueError
        The file in the folder is not the one that was downloaded, or cannot be read; `levels` names no level; or no
        pair has such a level.

    Notes
    -----
    The web service answers with what it holds on that day; ``frame.attrs["reference"]["date"]`` is the day. A file that
    the R package ships, with the columns ``tf, confidence, target, mor``, is read by
    :func:`scepsis.references.from_file`. Licence: GPL-3.0 for the package; that of each source for its pairs.

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.references.dorothea(cache_dir="an_empty_folder", offline=True)
    Traceback (most recent call last):
    FileNotFoundError: an_empty_folder/dorothea_human.tsv is not there, and downloads are switched off ...
    """
    wanted = set(levels)
    if not wanted or not wanted <= set(LEVELS):
        msg = f"`levels` takes some of {listing(LEVELS)}, not {listing(sorted(wanted))}."
        raise ValueError(msg)
    entry = entry_of("dorothea", species)
    frame, origin = load(entry, read_omnipath, cache_dir=cache_dir, offline=offline)
    frame = frame[frame[CONFIDENCE].isin(wanted)].sort_values(CONFIDENCE, kind="stable")
    return finished(
        frame.drop(columns=DIRECTED, errors="ignore"),
        directed=True,
        record=described(entry, origin, levels=",".join(sorted(wanted))),
    )
