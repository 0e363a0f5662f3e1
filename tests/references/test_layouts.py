"""Published layouts, on small files written here in each of them."""

from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import pytest

from scepsis.references._layouts import layout_of, read_edges, read_gmt, read_omnipath, read_string, read_trrust

if TYPE_CHECKING:
    from pathlib import Path

FIRST_LINES = {
    "trrust": "AATF\tBAX\tRepression\t22909821\n",
    "string": "protein1 protein2 combined_score\n9606.ENSP00000000233 9606.ENSP00000356607 173\n",
    "omnipath": "source\ttarget\tsource_genesymbol\ttarget_genesymbol\tis_directed\tis_stimulation\tis_inhibition\n",
    "edges": '"source","target","weight"\n"MYC","TERT",1\n',
}


@pytest.mark.parametrize("layout", FIRST_LINES)
def test_a_layout_is_told_from_its_first_line(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text(FIRST_LINES[layout])
    assert layout_of(path) == layout
    with gzip.open(tmp_path / "file.txt.gz", "wt") as file:
        file.write(FIRST_LINES[layout])
    assert layout_of(tmp_path / "file.txt.gz") == layout


@pytest.mark.parametrize(
    "header", ["tf,confidence,target,mor", "Gene1,Gene2", "TF\ttarget\timportance", ",source,target,weight"]
)
def test_edge_tables_go_by_many_names(header: str, tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    separator = "\t" if "\t" in header else ","
    path.write_text(f"{header}\n{separator.join(['1'] * len(header.split(separator)))}\n")
    assert layout_of(path) == "edges"
    assert {"source", "target", "weight"} <= set(read_edges(path))
    assert not [name for name in read_edges(path) if "Unnamed" in name]


def test_an_unknown_layout_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.txt"
    path.write_text("MYC TERT\n")
    with pytest.raises(ValueError, match=r"cannot be told from its first line, 'MYC TERT'.*Pass `layout=`"):
        layout_of(path)
    path.write_text("")
    with pytest.raises(ValueError, match="cannot be told"):
        layout_of(path)


def test_trrust_merges_the_modes_of_a_pair(tmp_path: Path) -> None:
    path = tmp_path / "trrust.tsv"
    path.write_text(
        "A\tX\tUnknown\t1\nA\tX\tRepression\t2;3\nB\tX\tActivation\t4\nB\tX\tRepression\t5\nC\tX\tUnknown\t6\n"
    )
    frame = read_trrust(path)
    assert frame.to_dict("list") == {
        "source": ["A", "B", "C"],
        "target": ["X", "X", "X"],
        "weight": [-1.0, 1.0, 1.0],
        "mode": ["repression", "activation;repression", "unknown"],
        "references": ["1;2;3", "4;5", "6"],
    }


@pytest.mark.parametrize("text", ["AATF\n", "AATF\tBAX\n", "AATF\tBAX\tRepression\n", "source,target\nA,B\n"])
def test_trrust_with_too_few_columns_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trrust.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match="TRRUST has four, separated by tabs"):
        read_trrust(path)


def test_edges_without_a_target_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("source,weight\nA,1\n")
    with pytest.raises(ValueError, match="has the columns 'source', 'weight'; a table of edges needs"):
        read_edges(path)
    path.write_text("source,target,weight\nA,B,much\n")
    with pytest.raises(ValueError, match="no number: 'much'"):
        read_edges(path)


def test_names_that_look_like_missing_values_stay(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("source,target,weight\nNA,NaN,1\n")
    assert read_edges(path)[["source", "target"]].to_numpy().tolist() == [["NA", "NaN"]]


def test_a_sign_by_default_is_no_known_mode(tmp_path: Path) -> None:
    path = tmp_path / "collectri.csv"
    path.write_text(
        "source,target,weight,resources,references,sign_decision\n"
        "MYC,TERT,1,x,1,PMID\nMYC,CDKN1A,-1,x,2,regulon\nSPI1,BGLAP,1,x,3,default activation\n"
    )
    assert read_edges(path)["mode"].tolist() == ["activation", "repression", "unknown"]


def test_omnipath_signs(tmp_path: Path) -> None:
    path = tmp_path / "omnipath.tsv"
    columns = [
        "source", "target", "source_genesymbol", "target_genesymbol", "is_directed", "is_stimulation", "is_inhibition",
        "consensus_stimulation", "consensus_inhibition", "dorothea_level",
    ]  # fmt: skip
    rows = [
        ("P1", "P2", "A", "X", "True", "True", "False", "True", "False", "A;B"),
        ("P1", "P3", "A", "Y", "1", "0", "1", "0", "1", "B"),
        ("P1", "P4", "A", "Z", "True", "True", "True", "False", "True", "C"),
        ("P1", "P5", "A", "W", "False", "False", "False", "False", "False", "D"),
        ("P1", "P6", "A", "V", "True", "True", "True", "False", "False", "D"),  # resources disagree, and none prevails
        ("P1", "P7", "A", "U", "True", "True", "True", "True", "False", "D"),
    ]
    path.write_text("\n".join("\t".join(row) for row in [columns, *rows]) + "\n")
    frame = read_omnipath(path)
    assert frame.to_dict("list") == {
        "source": ["A"] * 6,
        "target": ["X", "Y", "Z", "W", "V", "U"],
        "weight": [1.0, -1.0, -1.0, 1.0, 1.0, 1.0],
        "mode": ["activation", "repression", "repression", "unknown", "unknown", "activation"],
        "confidence": ["A", "B", "C", "D", "D", "D"],
        "directed": [True, True, True, False, True, True],
    }
    path.write_text("source\ttarget\tis_stimulation\tis_inhibition\nP1\tP2\t1\t0\n")
    with pytest.raises(ValueError, match=r"lacks 'source_genesymbol', 'target_genesymbol'.*`genesymbols=1`"):
        read_omnipath(path)


def test_string_without_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "links.txt"
    path.write_text("protein1 protein2\nA B\n")
    with pytest.raises(ValueError, match="lacks 'combined_score'"):
        read_string(path, None, 700)


def test_gmt_in_every_wrapping(tmp_path: Path) -> None:
    text = "glycolysis\t\tHK1\tPFKM,1.0\tHK1\t\n\nstarch\tof plants\tHK1\n"
    expected = {"glycolysis": ["HK1", "PFKM"], "starch": ["HK1"]}
    (tmp_path / "sets.gmt").write_text(text)
    with gzip.open(tmp_path / "sets.gmt.gz", "wt") as file:
        file.write(text)
    with zipfile.ZipFile(tmp_path / "sets.gmt.zip", "w") as archive:
        archive.writestr("sets.gmt", text)
    for name in ("sets.gmt", "sets.gmt.gz", "sets.gmt.zip"):
        assert read_gmt(tmp_path / name) == expected
    with zipfile.ZipFile(tmp_path / "two.gmt.zip", "w") as archive:
        archive.writestr("a.gmt", text)
        archive.writestr("b.gmt", text)
    with pytest.raises(ValueError, match="holds 2 files"):
        read_gmt(tmp_path / "two.gmt.zip")


def test_a_set_that_is_listed_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("a\t\tX\tY\nb\t\tX\tZ\na\t\tY\tX\n")
    assert read_gmt(path) == {"a": ["X", "Y"], "b": ["X", "Z"]}
    assert "1 sets are listed twice with the same genes" in caplog.text
    path.write_text("a\t\tX\tY\nb\t\tX\tZ\na\t\tY\tQ\n")
    with pytest.raises(ValueError, match=r"with different genes: 'a \(lines 1 and 3\)'"):
        read_gmt(path)


@pytest.mark.parametrize(("text", "said"), [("glycolysis\n", "has 1 column"), ("\n", "lists no set")])
def test_gmt_that_is_none(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_gmt(path)
