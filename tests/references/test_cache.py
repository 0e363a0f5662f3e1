"""Files are downloaded once, checked on every reading, and named when they cannot be had."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from scepsis.references import _entries
from scepsis.references._cache import load, sha256_of
from scepsis.references._layouts import read_trrust

if TYPE_CHECKING:
    from pathlib import Path

TRRUST = b"AATF\tBAX\tRepression\t22909821\nAATF\tMYC\tActivation\t20549547\n"
FILE = "trrust_rawdata.human.tsv"


def _entry(**changes: Any) -> _entries.Entry:
    return dataclasses.replace(_entries.ENTRIES["trrust", "human"], **changes)


def test_a_file_is_downloaded_once_and_its_hash_is_recorded(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TRRUST
    frame, origin = load(_entry(), read_trrust, cache_dir=tmp_path)
    again, later = load(_entry(), read_trrust, cache_dir=tmp_path)
    assert shelf.asked == [FILE]
    assert frame.equals(again)
    assert origin == later
    assert origin.checksum == "recorded"
    assert origin.sha256 == hashlib.sha256(TRRUST).hexdigest()
    record = json.loads((tmp_path / f"{FILE}.json").read_text())
    assert record["sha256"] == origin.sha256
    assert record["licence"] == "CC BY-SA 4.0"


def test_bytes_that_were_at_hand_are_verified(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TRRUST
    known = hashlib.sha256(TRRUST).hexdigest()
    _, origin = load(_entry(sha256=known), read_trrust, cache_dir=tmp_path / "a")
    assert origin.checksum == "verified"
    # an address that may serve a newer version is taken at its word, and not called verified
    _, origin = load(_entry(sha256="0" * 64), read_trrust, cache_dir=tmp_path / "b")
    assert origin.checksum == "recorded"


def test_other_bytes_from_an_address_that_cannot_change_are_refused(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TRRUST
    with pytest.raises(ValueError, match=r"is not the file of http.*Delete it and call again"):
        load(_entry(sha256="0" * 64, fixed=True), read_trrust, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == [], "what is wrong does not stay"


def test_a_corrupted_file_is_found(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TRRUST
    load(_entry(), read_trrust, cache_dir=tmp_path)
    path = tmp_path / FILE
    path.write_bytes(TRRUST[:-5])
    with pytest.raises(
        ValueError, match=r"has changed since \d{4}-\d\d-\d\d: its SHA-256 is .* Delete it and call again"
    ):
        load(_entry(), read_trrust, cache_dir=tmp_path)
    path.unlink()
    load(_entry(), read_trrust, cache_dir=tmp_path)
    assert shelf.asked == [FILE, FILE]


def test_a_corrupted_record_is_found(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TRRUST
    load(_entry(), read_trrust, cache_dir=tmp_path)
    (tmp_path / f"{FILE}.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot be read: .* Delete it"):
        load(_entry(), read_trrust, cache_dir=tmp_path)


def test_a_page_that_is_no_table_does_not_stay(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = b"<!DOCTYPE html><html>down for maintenance</html>\n"
    with pytest.raises(ValueError, match=r"cannot be read as the trrust of http.*It was deleted"):
        load(_entry(), read_trrust, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_offline_names_the_file_its_address_and_its_place(
    shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.files[FILE] = TRRUST
    for argument, environment in ((True, "0"), (False, "1"), (False, "true"), (False, "YES")):
        monkeypatch.setenv("SCEPSIS_OFFLINE", environment)
        with pytest.raises(FileNotFoundError) as raised:
            load(_entry(), read_trrust, cache_dir=tmp_path, offline=argument)
        for part in (str(tmp_path / FILE), f"{shelf.address}/{FILE}", "put it there"):
            assert part in str(raised.value)
    assert shelf.asked == []
    (tmp_path / FILE).write_bytes(TRRUST)  # by hand
    _, origin = load(_entry(), read_trrust, cache_dir=tmp_path, offline=True)
    assert origin.checksum == "recorded"
    (tmp_path / FILE).write_bytes(TRRUST * 2)
    with pytest.raises(ValueError, match="has changed"):
        load(_entry(), read_trrust, cache_dir=tmp_path, offline=True)


def test_no_connection_names_the_file_its_address_and_its_place(shelf: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/{FILE}"  # bound, and nobody listens
        with pytest.raises(FileNotFoundError, match="could not be downloaded") as raised:
            load(_entry(url=url), read_trrust, cache_dir=tmp_path)
    assert str(tmp_path / FILE) in str(raised.value)
    assert url in str(raised.value)
    with pytest.raises(FileNotFoundError, match="404"):
        load(_entry(), read_trrust, cache_dir=tmp_path)
    assert not (tmp_path / FILE).exists()


def test_the_folder_is_the_argument_or_the_environment(
    shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.files[FILE] = TRRUST
    monkeypatch.setenv("SCEPSIS_REFERENCES", str(tmp_path / "environment"))
    load(_entry(), read_trrust)
    load(_entry(), read_trrust, cache_dir=tmp_path / "argument")
    assert (tmp_path / "environment" / FILE).is_file()
    assert (tmp_path / "argument" / FILE).is_file()


def test_hashes_of_the_catalogue_are_those_of_files(tmp_path: Path) -> None:
    for one in _entries.ENTRIES.values():
        assert len(one.sha256) in {0, 64}
        assert one.sha256 or not one.fixed
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # the test vector of FIPS 180-2
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.real_data
def test_hashes_of_the_catalogue_are_those_of_the_files_at_hand(data_dir: Path) -> None:
    at_hand = {
        "trrust": "trrust_human.tsv", "kegg": "KEGG_2016.gmt", "go_bp": "GO_Biological_Process_2021.gmt",
    }  # fmt: skip
    known = {name: one.sha256 for (name, _), one in _entries.ENTRIES.items() if one.sha256}
    assert known == {name: sha256_of(data_dir / "networks" / file) for name, file in at_hand.items()}
