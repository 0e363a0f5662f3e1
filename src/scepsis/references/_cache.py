"""Files of the catalogue on this computer: downloaded once, checked on every reading."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from scepsis.references._entries import Entry

    T = TypeVar("T")

logger = logging.getLogger(__name__)
#: Name the folder of files, and forbid downloads ("1"), where arguments do not.
FOLDER, OFFLINE = "SCEPSIS_REFERENCES", "SCEPSIS_OFFLINE"
_YES = {"1", "true", "yes", "on"}
#: Seconds to wait for a server that says nothing.
TIMEOUT = 60
#: What readers say of a file that is not what it should be.
UNREADABLE = (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error)
#: What is known of the bytes of a file.
VERIFIED, RECORDED = "verified", "recorded"


@dataclass(frozen=True)
class Origin:
    """Where a file came from."""

    sha256: str
    #: ``verified``: the bytes that were at hand when the entry was written; ``recorded``: those first seen here.
    checksum: str
    #: Day of the download, or on which a file that was put there by hand was first read.
    date: str


def folder_of(cache_dir: str | Path | None) -> Path:
    """Folder of downloaded files: the argument, else the environment, else the user's cache."""
    if cache_dir is None:
        cache_dir = os.environ.get(FOLDER)
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    import pooch

    return Path(pooch.os_cache("scepsis")) / "references"


def load(
    entry: Entry, read: Callable[[Path], T], *, cache_dir: str | Path | None = None, offline: bool = False
) -> tuple[T, Origin]:
    """
    Read a file of the catalogue, downloading it if it is not there yet.

    A file keeps its SHA-256 beside it, as `<file>.json`; other bytes on a later reading are a corrupted file. What was
    just downloaded and cannot be read is deleted. Raises `FileNotFoundError` for a file that is not there and cannot be
    had, and `ValueError` for one that is not what it should be.
    """
    folder = folder_of(cache_dir)
    path = folder / entry.filename
    fresh = not path.is_file()
    if fresh:
        _download(entry, path, offline=offline or os.environ.get(OFFLINE, "").lower() in _YES)
    digest = sha256_of(path)
    known = None if fresh else _recorded(path)
    if known is not None and known.sha256 != digest:
        msg = (
            f"{path} has changed since {known.date}: its SHA-256 is {digest}, that on record {known.sha256}. "
            f"Delete it and call again; if it was replaced on purpose, delete {_record_of(path).name} beside it."
        )
        raise ValueError(msg)
    if entry.fixed and digest != entry.sha256:
        if fresh:
            path.unlink()
        msg = (
            f"{path} is not the file of {entry.url}: its SHA-256 is {digest}, not {entry.sha256}. "
            f"Delete it and call again, or read another version by `scepsis.references.from_file`."
        )
        raise ValueError(msg)
    try:
        result = read(path)
    except UNREADABLE as error:
        if fresh:
            path.unlink()
        msg = f"{path} cannot be read as the {entry.name} of {entry.url}: {words(error)} " + (
            "It was deleted." if fresh else "Delete it and call again."
        )
        raise ValueError(msg) from error
    if known is None:
        known = Origin(digest, RECORDED, datetime.now(UTC).date().isoformat())
        _write_record(path, entry, known)
    return result, Origin(digest, VERIFIED if digest == entry.sha256 else RECORDED, known.date)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_cached(entry: Entry, cache_dir: str | Path | None) -> bool:
    """Whether a file needs no download."""
    return (folder_of(cache_dir) / entry.filename).is_file()


def _download(entry: Entry, path: Path, *, offline: bool) -> None:
    by_hand = f"Download {entry.url} elsewhere and put it there as {path}."
    if offline:
        msg = f"{path} is not there, and downloads are switched off (`offline=True`, or {OFFLINE}=1). {by_hand}"
        raise FileNotFoundError(msg)
    import pooch

    logger.info("downloading %s (%s, licence: %s)", entry.url, entry.version, entry.licence)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a part of a file never has its name
        with TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
            part = Path(folder) / path.name
            pooch.HTTPDownloader(timeout=TIMEOUT)(entry.url, str(part), None)
            part.replace(path)
    except OSError as error:  # of requests all are
        msg = f"{entry.url} could not be downloaded: {words(error)} {by_hand}"
        raise FileNotFoundError(msg) from error


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _recorded(path: Path) -> Origin | None:
    """What was noted when the file was first read; None for a file that was put there by hand."""
    record = _record_of(path)
    if not record.is_file():
        return None
    try:
        known: dict[str, Any] = json.loads(record.read_text())
        return Origin(str(known["sha256"]), RECORDED, str(known["date"]))
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{record} cannot be read: {words(error)} Delete it, and {path.name} beside it, and call again."
        raise ValueError(msg) from error


def _write_record(path: Path, entry: Entry, origin: Origin) -> None:
    if not os.access(path.parent, os.W_OK):
        logger.info("%s cannot be written to: the SHA-256 of %s is not on record", path.parent, path.name)
        return
    known = {"sha256": origin.sha256, "date": origin.date, "url": entry.url, "version": entry.version}
    _record_of(path).write_text(json.dumps(known | {"licence": entry.licence}, indent=1) + "\n")


def words(error: BaseException) -> str:
    """Give an error in one sentence."""
    text = " ".join(str(error).strip("'\"").split()) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
