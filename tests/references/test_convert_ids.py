from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

NET = pd.DataFrame(
    {
        "source": ["A", "A", "B", "OLD", "A", "D"],
        "target": ["B", "C", "A", "A", "OLD", "E"],
        "weight": [1.0, -1.0, 1.0, 1.0, 1.0, 1.0],
        "mode": ["activation", "repression", "unknown", "unknown", "unknown", "unknown"],
    }
)


def test_names_are_converted_and_reported() -> None:
    mapping = {"A": "ENSG1", "B": "ENSG2", "C": "ENSG3", "D": "ENSG4", "OLD": "ENSG2"}
    frame = sps.references.convert_ids(NET, mapping)
    # OLD is B: OLD -> A repeats B -> A, and A -> OLD repeats A -> B; E is unknown, so D -> E is gone
    assert frame[["source", "target", "weight", "mode"]].to_numpy().tolist() == [
        ["ENSG1", "ENSG2", 1.0, "activation"],
        ["ENSG1", "ENSG3", -1.0, "repression"],
        ["ENSG2", "ENSG1", 1.0, "unknown"],
    ]
    assert list(frame) == ["source", "target", "weight", "mode"]
    report = frame.attrs["reference"]["conversion"]
    assert report == {
        "n_names": 6,
        "n_known": 0,
        "n_converted": 5,
        "n_ambiguous": 0,
        "n_unmapped": 1,
        "n_merged": 1,
        "n_pairs_before": 6,
        "n_pairs_after": 3,
        "ambiguous": "",
        "unmapped": "E",
    }


def test_two_columns_are_enough_and_missing_names_are_none() -> None:
    net = pd.DataFrame({"source": ["A", None, "A"], "target": ["B", "C", "D"]})
    frame = sps.references.convert_ids(net, {"A": "x", "B": "y", "C": "z"})
    assert frame.to_numpy().tolist() == [["x", "y"]]
    assert list(frame) == ["source", "target"]
    report = frame.attrs["reference"]["conversion"]
    assert (report["n_names"], report["n_unmapped"], report["unmapped"]) == (4, 1, "D")


def test_a_name_with_several_new_ones_stands_for_none() -> None:
    mapping = pd.DataFrame(
        {"alias": ["A", "A", "B", "C", "OLD", "D", "B"], "symbol": ["A1", "A2", "B1", "C1", "O1", "D1", "B1"]}
    )
    with pytest.raises(ValueError, match="lists no pair"):
        sps.references.convert_ids(NET, mapping)
    net = pd.concat([NET, pd.DataFrame({"source": ["B"], "target": ["D"], "weight": [1.0]})], ignore_index=True)
    frame = sps.references.convert_ids(net, mapping)
    assert frame[["source", "target"]].to_numpy().tolist() == [["B1", "D1"]]
    report = frame.attrs["reference"]["conversion"]
    assert (report["n_ambiguous"], report["ambiguous"]) == (1, "A")


def test_an_alias_that_is_a_symbol_of_another_gene_stays() -> None:
    # B is the present symbol of one gene and an old name of C
    aliases = {"OLD": "D", "B": "C"}
    frame = sps.references.convert_ids(NET, aliases, known=["A", "B", "C", "D"])
    assert ["A", "B"] in frame[["source", "target"]].to_numpy().tolist()
    assert ["D", "A"] in frame[["source", "target"]].to_numpy().tolist()
    assert frame.attrs["reference"]["conversion"]["n_known"] == 4
    assert frame.attrs["reference"]["conversion"]["n_converted"] == 1


def test_undirected_pairs_stay_without_an_order() -> None:
    pairs = sps.references.set_pairs({"set": ["A", "B", "C"]}, name="mine")
    frame = sps.references.convert_ids(pairs, {"A": "Z", "B": "Y", "C": "X"})
    assert frame[["source", "target"]].to_numpy().tolist() == [["Y", "Z"], ["X", "Z"], ["X", "Y"]]
    assert not frame["directed"].any()
    assert frame.attrs["reference"]["name"] == "mine"


def test_the_wrong_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 of the 6 names .*gene symbols.*'ENSG1'.*Ensembl ids.*other order"):
        sps.references.convert_ids(NET, {"ENSG1": "A", "ENSG2": "B"})
    with pytest.raises(ValueError, match="2 of the 6 names"):
        sps.references.convert_ids(NET, {"A": "ENSG1", "B": "ENSG2"})
    assert len(sps.references.convert_ids(NET, {"A": "ENSG1", "B": "ENSG2"}, min_fraction=0.2)) == 2
    with pytest.raises(TypeError, match="pass the two that are meant"):
        sps.references.convert_ids(NET, NET)
    with pytest.raises(TypeError, match="not list"):
        sps.references.convert_ids(NET, ["A"])
    with pytest.raises(KeyError, match="lacks 'target'"):
        sps.references.convert_ids(NET.drop(columns="target"), {"A": "B"})
    with pytest.raises(ValueError, match="`min_fraction` must lie between 0 and 1"):
        sps.references.convert_ids(NET, {"A": "B"}, min_fraction=2)


@pytest.mark.real_data
def test_symbols_become_ensembl_ids_and_mouse_becomes_human(data_dir: Path) -> None:
    net = sps.references.from_file(data_dir / "networks" / "trrust_human.tsv")
    ids = pd.read_json(data_dir / "geneformer" / "gene_name_id_dict.json", typ="series").to_dict()
    frame = sps.references.convert_ids(net, ids)
    report = frame.attrs["reference"]["conversion"]
    assert frame["source"].str.startswith("ENSG").all()
    assert report["n_converted"] > 0.9 * report["n_names"]
    orthologs = pd.read_csv(data_dir / "networks" / "human_mouse_orthologs.csv.gz")[["hgnc_symbol", "mgi_symbol"]]
    mouse = sps.references.convert_ids(net, orthologs)
    back = sps.references.convert_ids(mouse, orthologs[["mgi_symbol", "hgnc_symbol"]])
    there = set(zip(net["source"], net["target"], strict=True))
    returned = set(zip(back["source"], back["target"], strict=True))
    assert len(returned) > 0.85 * len(there)
    assert returned <= there
