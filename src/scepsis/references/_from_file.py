from __future__ import annotations

import logging
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from pandas.errors import ParserError

from scepsis._core._network import DIRECTED, MODE, listed_both_ways
from scepsis._core._validate import require_choice
from scepsis.references._cache import RECORDED, VERIFIED, sha256_of, words
from scepsis.references._entries import ENTRIES
from scepsis.references._frames import finished
from scepsis.references._layouts import (
    LAYOUTS,
    layout_of,
    read_edges,
    read_gmt,
    read_omnipath,
    read_proteins,
    read_string,
    read_trrust,
    require_score,
    require_some,
)
from scepsis.references._sets import pairs_of_sets, require_pairable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from scepsis.references._layouts import Layout

logger = logging.getLogger(__name__)
#: What is said of bytes that are not what a reader takes them for.
BROKEN = (UnicodeDecodeError, ParserError, OSError, EOFError, BadZipFile, zlib.error)


def from_file(
    path: str | Path,
    layout: Layout | None = None,
    *,
    names: str | Path | None = None,
    min_score: int = 700,
    genes: Iterable[str] | None = None,
    min_size: int = 2,
    max_size: int | None = None,
    directed: bool | None = None,
    memory_limit: int | None = None,
) -> pd.DataFrame:
    r"""
    Read a network or gene sets from a file in a published layout.

    Parameters
    ----------
    path
        The file, plain, gzipped or in a zip archive of its own.
    layout
        ``trrust`` (tab-separated, no header: TF, target, mode, PubMed ids); ``string`` (links: ``protein1 protein2
        combined_score``); ``gmt`` (gene sets); ``omnipath`` (interactions with ``source_genesymbol`` and
        ``target_genesymbol``); ``edges`` (a header with source and target under any of the usual names, and a weight:
        CollecTRI, DoRothEA's ``tf, confidence, target, mor``, decoupler's networks saved as they are). None tells it
        from the first line.
    names
        For ``string``: the table of proteins of the same version, ``<taxon>.protein.info.<version>.txt.gz``.
    min_score
        For ``string``: smallest combined score, in thousandths.
    genes
        For ``gmt``: genes to pair, for example ``adata.var_names``; None pairs all.
    min_size
        For ``gmt``: genes that a set must have.
    max_size
        For ``gmt``: genes that it may have.
    directed
        For ``edges``: whether the order of a pair means something; None says yes, unless the file has a column
        ``directed``. Where most pairs are listed in both directions, that is doubted in the log.
    memory_limit
        For ``gmt``: bytes that pairs may take; None is a quarter of the machine.

    Returns
    -------
    Frame of pairs of two different genes, each once, with the columns ``source``, ``target``, ``weight``, those that
    the file has beside, and ``directed``; pairs without a direction have their names in alphabetical order, and tools
    take them with ``universe="unordered"``. ``frame.attrs["reference"]`` holds ``name`` (that of the file),
    ``layout``, ``sha256``, ``checksum`` (``verified`` for the bytes of a file of the catalogue, with its ``version``
    and ``licence``) and numbers of rows and pairs.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The layout cannot be told, or the file does not have it: too few columns, proteins without `names`, sets listed
        twice with different genes; it is broken, or lists nothing; `min_score` or sizes are out of range.
    TypeError
        `genes` is a single name.
    MemoryError
        A file of sets has too many pairs.

    Notes
    -----
    Of several rows of one pair the first is kept.

    Examples
    --------
    >>> from pathlib import Path
    >>> import scepsis as sps
    >>> _ = Path("net.csv").write_text("source,target,weight\nMYC,TERT,1\nSPI1,BGLAP,-1\n")
    >>> sps.references.from_file("net.csv")["target"].tolist()
    ['TERT', 'BGLAP']
    """
    path = Path(path).expanduser()
    if not path.is_file():
        msg = f"There is no file {path}."
        raise FileNotFoundError(msg)
    if layout is not None:
        require_choice(layout, LAYOUTS, argument="layout")
    require_score(min_score)
    require_pairable(genes, min_size, max_size)
    if names is not None and not Path(names).is_file():
        msg = f"There is no file {names} (`names=`)."
        raise FileNotFoundError(msg)
    with _readable(path):
        if layout is None:
            layout = layout_of(path)
        record = _record(path, layout)
        if layout == "gmt":
            return pairs_of_sets(
                read_gmt(path), record, genes=genes, min_size=min_size, max_size=max_size, memory_limit=memory_limit
            )
        if layout == "string":
            gene = None if names is None else _proteins(Path(names))
            frame = read_string(path, gene, min_score)
            require_some(frame, min_score, str(path))
            return finished(frame, directed=False, record=record | {"min_score": int(min_score)})
        frame = {"trrust": read_trrust, "omnipath": read_omnipath, "edges": read_edges}[layout](path)
    if directed is not None:
        frame = frame.drop(columns=DIRECTED, errors="ignore")
    elif not {DIRECTED, MODE} & set(frame.columns):
        _say_both_ways(frame, path)
    return finished(frame, directed=directed is not False, record=record)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Name the file that is no text, or a broken archive."""
    try:
        yield
    except BROKEN as error:
        msg = f"{path} cannot be read: {words(error)} Is it complete, and its text in UTF-8?"
        raise ValueError(msg) from error


def _proteins(path: Path) -> pd.Series[str]:
    with _readable(path):
        return read_proteins(path)


def _say_both_ways(frame: pd.DataFrame, path: Path) -> None:
    """Networks without a direction are often listed in both, and would count twice."""
    n_both, n_pairs = listed_both_ways(frame)
    if 2 * n_both > n_pairs:
        logger.warning(
            "%s: %d of %d pairs are listed in both directions, and are taken to be directed. If the order of a pair "
            "means nothing, pass `directed=False`.", path, n_both, n_pairs,
        )  # fmt: skip


def _record(path: Path, layout: Layout) -> dict[str, Any]:
    digest = sha256_of(path)
    known = next((one for one in ENTRIES.values() if one.sha256 == digest), None)
    record = {"name": path.name, "layout": layout, "sha256": digest}
    if known is None:
        return record | {"checksum": RECORDED}
    return record | {
        "checksum": VERIFIED, "species": known.species, "version": known.version, "licence": known.licence,
    }  # fmt: skip
