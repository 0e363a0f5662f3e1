from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

#: Synthetic, in the layout of the published file.
FILE = "KEGG_2016.gmt"
TEXT = b"one\t\tA\tB\tC\ntwo\t\tB\tA\nlarge\t\tA\tB\tC\tD\tE\n"


def test_pairs_that_share_a_set(shelf: Any, tmp_path: Path) -> None:
    shelf.files[FILE] = TEXT
    frame = sps.references.kegg(cache_dir=tmp_path, max_size=4)
    assert frame[["source", "target", "n_sets"]].to_numpy().tolist() == [["A", "B", 2], ["A", "C", 1], ["B", "C", 1]]
    assert not frame["directed"].any()
    record = frame.attrs["reference"]
    assert (record["name"], record["n_sets"], record["n_sets_used"], record["max_size"]) == ("kegg", 3, 2, 4)
    assert record["licence"]
    chosen = sps.references.kegg(cache_dir=tmp_path, genes=["E", "A", "elsewhere"])
    assert chosen[["source", "target"]].to_numpy().tolist() == [["A", "E"]]
    assert shelf.asked == [FILE]


def test_what_cannot_be_had_is_named(shelf: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="404"):
        sps.references.kegg(cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"There is no kegg for `species='mouse'`.*convert_ids"):
        sps.references.kegg(species="mouse")
    shelf.files[FILE] = b"no\tsets\n"
    with pytest.raises(ValueError, match="cannot be read as the kegg"):
        sps.references.kegg(cache_dir=tmp_path)
