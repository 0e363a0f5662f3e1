from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scepsis.references._cache import load
from scepsis.references._entries import entry_of
from scepsis.references._frames import described, finished
from scepsis.references._layouts import read_proteins, read_string, require_score, require_some

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def string(
    *,
    min_score: int = 700,
    species: Literal["human", "mouse"] = "human",
    cache_dir: str | Path | None = None,
    offline: bool = False,
) -> pd.DataFrame:
    """
    Pairs of proteins that STRING associates, by gene :cite:p:`szklarczyk2023`.

    STRING scores how likely it is that two proteins work together, from experiments, co-expression, text and more. The
    paper takes pairs of at least 700 and of at least 900 thousandths :cite:p:`kendiukhov2026`. Co-expression is part of
    the score: agreement with correlation edges is in part agreement with itself.

    Parameters
    ----------
    min_score
        Smallest combined score, in thousandths.
    species
        Species of the proteins.
    cache_dir
        Folder of downloaded files. None takes the environment variable ``SCEPSIS_REFERENCES``, else the user's cache.
    offline
        Never download: a file that is not in the folder raises, saying where to put it. The environment variable
        ``SCEPSIS_OFFLINE=1`` does the same.

    Returns
    -------
    Frame of unordered pairs, each once, with the columns ``source`` and ``target`` (in alphabetical order), ``weight``
    (the combined score, up to 1) and ``directed`` (False): tools take them with ``universe="unordered"``.

    ``frame.attrs["reference"]`` holds ``name, species, version, licence, url, date, sha256, checksum`` (``verified``:
    the bytes that this version was tested with; ``recorded``: those of the first download) and numbers of rows and
    pairs.

    Raises
    ------
    FileNotFoundError
        The file is not there and cannot be had; the message names it, its address and its place.
    ValueError
        The file in the folder is not the one that was downloaded, or cannot be read; `min_score` is not between 0 and
        1000, or no pair has it.

    Notes
    -----
    Two files, of links (some 80 MB for human) and of the names of proteins. Of several proteins of one gene the highest
    score is taken. Licence: CC BY 4.0.

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.references.string(cache_dir="an_empty_folder", offline=True)
    Traceback (most recent call last):
    FileNotFoundError: an_empty_folder/9606.protein.info.v12.0.txt.gz is not there, and downloads are switched off ...
    """
    require_score(min_score)
    links, proteins = entry_of("string_links", species), entry_of("string_info", species)
    names, _ = load(proteins, read_proteins, cache_dir=cache_dir, offline=offline)
    frame, origin = load(links, lambda path: read_string(path, names, min_score), cache_dir=cache_dir, offline=offline)
    require_some(frame, min_score, links.filename)
    return finished(frame, directed=False, record=described(links, origin, min_score=int(min_score)))
