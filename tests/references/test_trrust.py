from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

#: Synthetic, in the layout of the published file.
FILE = "trrust_rawdata.human.tsv"
TEXT = b"AATF\tBAX\tRepression\t22909821\nAATF\tMYC\tActivation\t2\nAATF\tMYC\tUnknown\t3\n"


def test_pairs_and_their_record(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TEXT
    frame = sps.references.trrust(cache_dir=tmp_path)
    assert frame.drop(columns="directed").to_dict("list") == {
        "source": ["AATF", "AATF"],
        "target": ["BAX", "MYC"],
        "weight": [-1.0, 1.0],
        "mode": ["repression", "activation"],
        "references": ["22909821", "2;3"],
    }
    assert frame["directed"].all()
    record = frame.attrs["reference"]
    assert record["name"] == "trrust"
    assert record["species"] == "human"
    assert record["licence"]
    assert record["version"]
    assert record["url"] == f"{shelf.address}/{FILE}"
    assert record["checksum"] == "recorded"
    assert (record["n_rows"], record["n_pairs"]) == (2, 2)


def test_species(shelf: Any, tmp_path: Path) -> None:
    shelf.files["trrust_rawdata.mouse.tsv"] = b"Aatf\tBax\tRepression\t1\n"
    mouse = sps.references.trrust(species="mouse", cache_dir=tmp_path)
    assert mouse[["source", "target"]].to_numpy().tolist() == [["Aatf", "Bax"]]
    with pytest.raises(ValueError, match=r"There is no trrust for `species='rat'`, but for 'human', 'mouse'"):
        sps.references.trrust(species="rat", cache_dir=tmp_path)


def test_offline_names_what_is_missing(shelf: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=FILE):
        sps.references.trrust(cache_dir=tmp_path, offline=True)
    (tmp_path / FILE).write_bytes(TEXT)
    assert len(sps.references.trrust(cache_dir=tmp_path, offline=True)) == 2
    assert shelf.asked == []
