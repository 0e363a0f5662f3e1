from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scepsis.references._sets import pairs_of_entry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd


def kegg(
    *,
    genes: Iterable[str] | None = None,
    min_size: int = 2,
    max_size: int | None = None,
    species: Literal["human"] = "human",
    memory_limit: int | None = None,
    cache_dir: str | Path | None = None,
    offline: bool = False,
) -> pd.DataFrame:
    """
    Pairs of genes that share a pathway of KEGG :cite:p:`kanehisa2000`.

    In the version of 2016, as Enrichr has it. Pairs have no direction: tools take them with ``universe="unordered"``.

    Parameters
    ----------
    genes
        Genes to pair, for example ``adata.var_names``; None pairs all. Without them there are millions of pairs.
    min_size
        Genes (of the whole set) that a set must have.
    max_size
        Genes that it may have; a few large sets make most of the pairs.
    species
        Species of the genes; there is a human version only.
    memory_limit
        Bytes that pairs may take; None is a quarter of the machine.
    cache_dir
        Folder of downloaded files. None takes the environment variable ``SCEPSIS_REFERENCES``, else the user's cache.
    offline
        Never download: a file that is not in the folder raises, saying where to put it. The environment variable
        ``SCEPSIS_OFFLINE=1`` does the same.

    Returns
    -------
    Frame of unordered pairs, each once, with the columns ``source`` and ``target`` (categorical, in alphabetical
    order), ``weight`` (1), ``n_sets`` (that hold both) and ``directed`` (False).

    ``frame.attrs["reference"]`` holds ``name, species, version, licence, url, date, sha256, checksum`` (``verified``:
    the bytes that this version was tested with; ``recorded``: those of the first download) and numbers of rows and
    pairs.

    Raises
    ------
    FileNotFoundError
        The file is not there and cannot be had; the message names it, its address and its place.
    ValueError
        Sizes are out of range (then nothing is downloaded); the file in the folder is not the one that was downloaded,
        or cannot be read; no set of that size holds two of `genes`.
    TypeError
        `genes` is a single name.
    MemoryError
        There are too many pairs.

    Notes
    -----
    Licence: free for academic use; for any other, KEGG grants one.

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.references.kegg(cache_dir="an_empty_folder", offline=True)
    Traceback (most recent call last):
    FileNotFoundError: an_empty_folder/KEGG_2016.gmt is not there, and downloads are switched off ...
    """
    return pairs_of_entry(
        "kegg", species, genes=genes, min_size=min_size, max_size=max_size, memory_limit=memory_limit,
        cache_dir=cache_dir, offline=offline,
    )  # fmt: skip
