from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad


def _record(key: str, *names: str, **params: Any) -> dict[str, Any]:
    return {"params": {"cells_hash": "x", **params}, "edges_keys": [key, *names]}


def test_layers_are_told_from_groups_heads_and_scales(
    screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    names = ["a.b_L11", "a.b_L2", "a.b_L0", "a.b_T_cell", "a.b_T_cell_L2", "a.b_L2H1", "a.b_centered", "axb_L3"]
    screen.uns["a.b"] = _record("a.b", *names, layers=[0, 2, 11])
    expected = {0: "a.b_L0", 2: "a.b_L2", 11: "a.b_L11"}
    assert list(sps.get.layer_keys(screen, "a.b").items()) == list(expected.items())
    for back in roundtrips(screen):
        assert sps.get.layer_keys(back, "a.b") == expected


def test_one_layer_stands_under_the_key_itself(
    screen: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    screen.uns["attention"] = _record("attention", layers=[13])
    assert sps.get.layer_keys(screen) == {13: "attention"}
    for back in roundtrips(screen):
        assert sps.get.layer_keys(back) == {13: "attention"}


def test_edges_of_no_layer_have_none(screen: ad.AnnData) -> None:
    screen.uns["heads"] = _record("heads", "heads_L3H1", "heads_L3H2", layers=[3], heads=["[3, 1]", "[3, 2]"])
    screen.uns["spearman"] = _record("spearman", method="spearman")
    assert sps.get.layer_keys(screen, "heads") == {}
    assert sps.get.layer_keys(screen, "spearman") == {}
    with pytest.raises(KeyError, match=r"adata.uns\['attention'\].*attention_edges"):
        sps.get.layer_keys(screen)
