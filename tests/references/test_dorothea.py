from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

#: Synthetic, in the layout of OmniPath's web service.
HEADER = "source target source_genesymbol target_genesymbol is_directed is_stimulation is_inhibition dorothea_level"
ROWS = ["P1 P2 A X 1 1 0 D", "P1 P2 A X 1 0 1 A;B", "P1 P3 A Y 1 0 0 B", "P1 P4 A Z 1 1 0 C", "P1 P5 A W 1 1 0 D"]
TEXT = "".join(row.replace(" ", "\t") + "\n" for row in [HEADER, *ROWS]).encode()


def test_levels_are_chosen_and_the_best_one_counts(shelf: Any, tmp_path: Path) -> None:
    shelf.files["dorothea_human.tsv"] = TEXT
    frame = sps.references.dorothea(cache_dir=tmp_path)
    assert frame.to_dict("list") == {
        "source": ["A", "A", "A"],
        "target": ["X", "Y", "Z"],
        "weight": [-1.0, 1.0, 1.0],
        "mode": ["repression", "unknown", "activation"],
        "confidence": ["A", "B", "C"],
        "directed": [True, True, True],
    }
    every = sps.references.dorothea(levels="ABCD", cache_dir=tmp_path)
    assert every["target"].tolist() == ["X", "Y", "Z", "W"]
    assert shelf.asked == ["dorothea_human.tsv"]
    assert frame.attrs["reference"]["levels"] == "A,B,C"


def test_levels_and_species_are_checked(shelf: Any, tmp_path: Path) -> None:
    for levels in ("E", [], ["A", "X"]):
        with pytest.raises(ValueError, match="`levels` takes some of 'A', 'B', 'C', 'D'"):
            sps.references.dorothea(levels=levels, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="There is no dorothea for"):
        sps.references.dorothea(species="rat", cache_dir=tmp_path)
    shelf.files["dorothea_mouse.tsv"] = TEXT
    assert len(sps.references.dorothea(species="mouse", levels=["A"], cache_dir=tmp_path)) == 1
