from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

LINKS, INFO = (f"9606.protein.{what}.v12.0.txt.gz" for what in ("links", "info"))


def _score(i: int, j: int) -> int:
    return 150 + 28 * ((i + j) % 30)


def _fill(shelf: Any) -> None:
    """Synthetic files in the layout of STRING: 30 proteins, every pair in both directions."""
    lines = ["protein1 protein2 combined_score"]
    lines += [f"9606.ENSP{i:02d} 9606.ENSP{j:02d} {_score(i, j)}" for i in range(30) for j in range(30) if i != j]
    shelf.files[LINKS] = gzip.compress("\n".join(lines).encode())
    names = ["#string_protein_id\tpreferred_name\tprotein_size\tannotation"]
    names += [f"9606.ENSP{i:02d}\tGENE{i:02d}\t1\tx" for i in range(30)]
    shelf.files[INFO] = gzip.compress("\n".join(names).encode())


@pytest.mark.parametrize("min_score", [0, 700, 900])
def test_pairs_are_those_with_the_score(min_score: int, shelf: Any, tmp_path: Path) -> None:
    _fill(shelf)
    frame = sps.references.string(min_score=min_score, cache_dir=tmp_path)
    expected = {
        (f"GENE{i:02d}", f"GENE{j:02d}"): _score(i, j) / 1000
        for i in range(30)
        for j in range(i + 1, 30)
        if _score(i, j) >= min_score
    }
    assert {(one.source, one.target): one.weight for one in frame.itertuples()} == expected
    assert len(frame) == len(expected)
    assert not frame["directed"].any()
    record = frame.attrs["reference"]
    assert (record["name"], record["version"], record["min_score"]) == ("string", "12.0", min_score)
    assert sorted(shelf.asked) == sorted([LINKS, INFO])


def test_what_cannot_be_had_is_named(shelf: Any, tmp_path: Path) -> None:
    _fill(shelf)
    with pytest.raises(ValueError, match="no pair of genes with a combined score of at least 1000"):
        sps.references.string(min_score=1000, cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"`min_score=900`, not 0\.9"):
        sps.references.string(min_score=0.9, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="`min_score` must be between"):
        sps.references.string(min_score=7000, cache_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"9606\.protein\.info.*downloads are switched off"):
        sps.references.string(cache_dir=tmp_path / "other", offline=True)
    with pytest.raises(ValueError, match="There is no string for `species='rat'`, but for 'human', 'mouse'"):
        sps.references.string(species="rat")


def test_a_truncated_archive_does_not_stay(shelf: Any, tmp_path: Path) -> None:
    _fill(shelf)
    shelf.files[LINKS] = shelf.files[LINKS][:-20]
    with pytest.raises(ValueError, match=r"cannot be read as the string_links of .* It was deleted"):
        sps.references.string(cache_dir=tmp_path)
    assert not (tmp_path / LINKS).exists()
