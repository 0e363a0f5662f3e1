from __future__ import annotations

from pathlib import Path
from typing import Any

import scepsis as sps


def test_every_file_has_an_address_a_version_and_a_licence(tmp_path: Path) -> None:
    frame = sps.references.catalogue(cache_dir=tmp_path)
    assert (frame[["name", "species", "version", "licence", "relation", "url"]] != "").all(axis=None)
    assert frame["url"].str.startswith("https://").all()
    assert not frame["cached"].any()
    assert not frame[["name", "species"]].duplicated().any()
    assert not frame["file"].duplicated().any()
    functions = {name.partition("_links")[0] for name in frame["name"]} - {"string_info"}
    assert functions <= set(sps.references.__all__)


def test_a_file_that_is_there_is_seen(shelf: Any, tmp_path: Path) -> None:
    shelf.files["trrust_rawdata.human.tsv"] = b"AATF\tBAX\tRepression\t22909821\n"
    sps.references.trrust(cache_dir=tmp_path)
    frame = sps.references.catalogue(cache_dir=tmp_path).set_index(["name", "species"])
    assert frame.index[frame["cached"]].tolist() == [("trrust", "human")]
    assert Path(frame.loc[("trrust", "human"), "file"]).is_file()
