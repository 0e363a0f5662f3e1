from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

#: Synthetic, in the layout of the published file.
FILE = "CollecTRI_regulons.csv"
TEXT = b"""source,target,weight,resources,references,sign_decision
MYC,TERT,1,x,1,PMID
MYC,MYC,1,x,1,PMID
A,B,-1,x,1,PMID
"""


def test_pairs_and_their_record(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TEXT
    frame = sps.references.collectri(cache_dir=tmp_path)
    assert frame[["source", "target", "weight", "mode"]].to_numpy().tolist() == [
        ["MYC", "TERT", 1, "activation"],
        ["A", "B", -1, "repression"],
    ]
    assert frame["directed"].all()
    record = frame.attrs["reference"]
    assert record["name"] == "collectri"
    assert record["species"] == "human"
    assert record["licence"]
    assert record["version"]
    assert record["url"] == f"{shelf.address}/{FILE}"
    assert record["checksum"] == "recorded"
    assert (record["n_rows"], record["n_pairs"]) == (3, 2)


def test_species(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TEXT
    assert len(sps.references.collectri(species="human", cache_dir=tmp_path)) == 2
    with pytest.raises(ValueError, match=r"There is no collectri for `species='mouse'`, but for 'human'.*convert_ids"):
        sps.references.collectri(species="mouse", cache_dir=tmp_path)


def test_offline_names_what_is_missing(shelf: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=FILE):
        sps.references.collectri(cache_dir=tmp_path, offline=True)
    (tmp_path / FILE).write_bytes(TEXT)
    assert len(sps.references.collectri(cache_dir=tmp_path, offline=True)) == 2
    assert shelf.asked == []
