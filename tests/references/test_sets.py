from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

WRONG = [
    ({"min_size": 1}, ValueError, "`min_size` must be at least 2"),
    ({"min_size": float("nan")}, ValueError, "`min_size` must be at least 2"),
    ({"min_size": 5, "max_size": 4}, ValueError, "`max_size` must be at least 5"),
    ({"genes": "MYC"}, TypeError, "`genes` takes names of genes.*not 'MYC'"),
    ({"genes": 3}, TypeError, "`genes` takes names of genes.*not 3"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
@pytest.mark.parametrize("name", ["go_bp", "kegg", "reactome"])
def test_nothing_is_downloaded_for_what_could_not_be_paired(
    name: str, options: dict[str, Any], error: type[Exception], message: str, shelf: Any, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        getattr(sps.references, name)(cache_dir=tmp_path, **options)
    assert shelf.asked == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_sets_at_hand_are_not_read_for_it_either(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        sps.references.set_pairs({"one": ["A", "B"]}, **options)
    path = tmp_path / "sets.gmt"
    path.write_text("no sets\n")  # which reading it would say
    with pytest.raises(error, match=message):
        sps.references.from_file(path, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("string", {"min_score": 7000}, "`min_score`"),
        ("dorothea", {"levels": "E"}, "`levels`"),
        ("trrust", {"species": "rat"}, "'rat'"),
        ("collectri", {"species": "mouse"}, "'mouse'"),
        ("string", {"species": "rat"}, "'rat'"),
    ],
)
def test_nor_for_other_arguments_that_are_wrong(
    name: str, options: dict[str, Any], message: str, shelf: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(sps.references, name)(cache_dir=tmp_path, **options)
    assert shelf.asked == []
