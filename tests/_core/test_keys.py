from __future__ import annotations

import re

from scepsis._core._keys import RESERVED_SLUGS, EdgeKeys, EffectKeys, slugs


def test_every_slot_of_an_edges_key_is_its_own() -> None:
    keys = EdgeKeys("attention")
    names = [
        keys.key,
        keys.n_cells,
        keys.position,
        keys.cells,
        keys.genes,
        keys.randomized,
        keys.layer(1),
        keys.layer(11),
        keys.head(1, 1),
        keys.scale("centered").key,
        keys.scale("uniform_fold").key,
        keys.group("T_cell").key,
        keys.group("T_cell").layer(1),
    ]
    assert len(set(names)) == len(names)
    assert not any("/" in name for name in names)
    assert keys.layer(13) == "attention_L13"
    assert keys.n_cells == "attention_n_cells"
    assert keys.position == "attention_position"


def test_effects_follow_their_key() -> None:
    assert EffectKeys().target == "perturbation_target"
    keys = EffectKeys("day7")
    assert (keys.lfc, keys.qval, keys.target, keys.uns) == ("day7_lfc", "day7_qval", "day7_target", "day7_effects")


def test_slugs_are_unique_and_safe_to_store() -> None:
    labels = ["CD4/CD8", "CD4 CD8", "CD4_CD8", "L3", "L3H1", "z", "n_cells", "+", "", "Zelltyp β", *RESERVED_SLUGS]
    found = slugs(labels)
    assert list(found) == list(dict.fromkeys(labels))
    assert len(set(found.values())) == len(found)
    for slug in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_]+", slug)
        assert slug not in RESERVED_SLUGS
        assert not re.fullmatch(r"L\d+(H\d+)?", slug)
    assert found["CD4/CD8"] == "CD4_CD8"
    # a group never meets a companion slot of the whole
    keys = EdgeKeys("attention")
    own = {keys.n_cells, keys.position, keys.layer(3), keys.head(3, 1), keys.scale("centered").key, keys.randomized}
    assert own.isdisjoint(keys.group(slug).key for slug in found.values())


def test_slugs_do_not_run_into_those_that_were_numbered() -> None:
    found = slugs(["a b", "a/b", "a_b_2", "a-b"])
    assert len(set(found.values())) == 4
