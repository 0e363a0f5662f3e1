"""Every layout through `from_file`: synthetic files, and the published ones where they are at hand."""

from __future__ import annotations

import gzip
import zipfile
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

LINKS = """protein1 protein2 combined_score
9606.ENSP01 9606.ENSP02 900
9606.ENSP02 9606.ENSP01 900
9606.ENSP01 9606.ENSP03 700
9606.ENSP04 9606.ENSP02 950
9606.ENSP01 9606.ENSP05 699
9606.ENSP01 9606.ENSP09 999
9606.ENSP01 9606.ENSP04 800
"""
# ENSP04 is a second protein of GENEA; ENSP09 has no name
INFO = """#string_protein_id\tpreferred_name\tprotein_size\tannotation
9606.ENSP01\tGENEB\t10\t"a ""quoted"" word
9606.ENSP02\tGENEA\t10\tx
9606.ENSP03\tGENEC\t10\tx
9606.ENSP04\tGENEA\t10\tx
9606.ENSP05\tGENED\t10\tx
"""


@pytest.fixture
def links(tmp_path: Path) -> tuple[Path, Path]:
    """STRING's two files, in its layout but synthetic."""
    for name, text in (("links", LINKS), ("info", INFO)):
        (tmp_path / f"9606.protein.{name}.v12.0.txt").write_text(text)
    return tmp_path / "9606.protein.links.v12.0.txt", tmp_path / "9606.protein.info.v12.0.txt"


def test_string_pairs_are_undirected_and_by_gene(links: tuple[Path, Path]) -> None:
    frame = sps.references.from_file(links[0], names=links[1])
    # of A-B there are two pairs of proteins, 900 and 800; ENSP04-ENSP02 are one gene; 699 is too low
    assert frame.to_dict("list") == {
        "source": ["GENEA", "GENEB"],
        "target": ["GENEB", "GENEC"],
        "weight": [0.9, 0.7],
        "directed": [False, False],
    }
    assert len(sps.references.from_file(links[0], names=links[1], min_score=900)) == 1
    assert len(sps.references.from_file(links[0], names=links[1], min_score=0)) == 3


def test_string_with_protein_ids_is_refused(links: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"names proteins \(such as '9606.ENSP01'.*Pass `names=`.*protein.info"):
        sps.references.from_file(links[0])
    other = links[1].with_name("mouse.txt")
    other.write_text(INFO.replace("9606", "10090"))
    with pytest.raises(ValueError, match=r"None of the proteins .* has a name .*one species and version"):
        sps.references.from_file(links[0], names=other)
    with pytest.raises(ValueError, match="table of proteins starts with 'string_protein_id'"):
        sps.references.from_file(links[0], names=links[0])
    with pytest.raises(FileNotFoundError, match="`names=`"):
        sps.references.from_file(links[0], names="nowhere.txt")


def test_undirected_edges_are_unordered_pairs(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("Gene1,Gene2\nB,A\nA,B\nC,A\nA,A\n")
    frame = sps.references.from_file(path, directed=False)
    assert frame[["source", "target"]].to_numpy().tolist() == [["A", "B"], ["A", "C"]]
    directed = sps.references.from_file(path)
    assert directed[["source", "target"]].to_numpy().tolist() == [["B", "A"], ["A", "B"], ["C", "A"]]
    frame.to_csv(path, index=False)  # what was read can be written and read again
    again = sps.references.from_file(path)
    pd.testing.assert_frame_equal(again, frame)
    assert sps.references.from_file(path, directed=True)["directed"].all()


def test_names_are_trimmed_and_missing_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("source,target,weight\n A,B ,1\nA,B,2\n,B,1\nA,,1\n")
    frame = sps.references.from_file(path)
    assert frame[["source", "target", "weight"]].to_numpy().tolist() == [["A", "B", 1.0]]
    assert frame.attrs["reference"]["n_rows"] == 4
    path.write_text("source,target,weight\nA,A,1\n")
    with pytest.raises(ValueError, match="no pair of two different genes"):
        sps.references.from_file(path)


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file .*net\.csv"):
        sps.references.from_file(tmp_path / "net.csv")
    path = tmp_path / "net.csv"
    path.write_text("source,target\nA,B\n")
    with pytest.raises(ValueError, match="`layout` takes one of"):
        sps.references.from_file(path, "tsv")
    with pytest.raises(ValueError, match="TRRUST has four"):
        sps.references.from_file(path, "trrust")
    with pytest.raises(ValueError, match="`min_score`"):
        sps.references.from_file(path, min_score=1.5e3)
    with pytest.raises(ValueError, match=r"thousandths.*`min_score=700`"):
        sps.references.from_file(path, min_score=0.7)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("net.csv.gz", b"no archive"),
        ("net.gmt.zip", b"no archive"),
        ("net.csv", "source,target\nA,B\xe9\n".encode("latin1")),
        ("cut.csv.gz", gzip.compress(b"source,target\n" + b"A,B\n" * 1000)[:40]),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} cannot be read"):
        sps.references.from_file(path)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    """As spreadsheets write it."""
    text = "source,target,weight\nA,B,1\n".encode("utf-8-sig")
    (tmp_path / "net.csv").write_bytes(text)
    (tmp_path / "net.csv.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "net.csv.zip", "w") as archive:
        archive.writestr("net.csv", text)
    for name in ("net.csv", "net.csv.gz", "net.csv.zip"):
        assert sps.references.from_file(tmp_path / name)[["source", "target"]].to_numpy().tolist() == [["A", "B"]]


def test_pairs_that_are_listed_both_ways_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "net.csv"
    path.write_text("Gene1,Gene2\nA,B\nB,A\nC,A\nA,C\nA,D\n")
    sps.references.from_file(path)
    assert "4 of 5 pairs are listed in both directions" in caplog.text
    assert "directed=False" in caplog.text
    caplog.clear()
    assert len(sps.references.from_file(path, directed=False)) == 3
    sps.references.from_file(path, directed=True)
    assert not caplog.text


def test_references_go_into_the_tools_that_take_them(tmp_path: Path) -> None:
    adata = sps.datasets.demo()
    sps.pp.select_cells(adata)
    sps.pp.gene_features(adata)
    sps.tl.correlation_edges(adata)
    truth = adata.uns["simulate_screen"]["network"]
    path = tmp_path / "net.csv"
    truth.to_csv(path, index=False)
    net = sps.references.from_file(path)
    for name, frame in (("raw", truth), ("read", net)):
        sps.tl.reference_auroc(adata, frame, edges="spearman", n_boot=50, reference_name=name, key_added=name)
    pd.testing.assert_frame_equal(adata.uns["raw"]["summary"], adata.uns["read"]["summary"])

    rng = np.random.default_rng(0)
    sets = {f"s{k}": rng.choice(adata.var_names, 12, replace=False).tolist() for k in range(20)}
    pairs = sps.references.set_pairs(sets)
    with pytest.raises(ValueError, match=r"without a direction.*`universe='unordered'`"):
        sps.tl.reference_auroc(adata, pairs, edges="spearman", n_boot=50)
    sps.tl.reference_auroc(adata, pairs, edges="spearman", universe="unordered", n_boot=50)
    summary = adata.uns["reference_auroc"]["summary"].set_index("predictor").loc["spearman"]
    assert summary["n_pos"] == len({frozenset(pair) for one in sets.values() for pair in combinations(one, 2)})
    assert summary["n"] == 300 * 299 / 2


def test_a_mouse_network_on_human_genes_is_refused_with_the_remedy() -> None:
    adata = sps.datasets.demo()
    adata.var_names = [name.upper() for name in adata.var_names]
    sps.pp.select_cells(adata)
    sps.tl.correlation_edges(adata)
    mouse = pd.DataFrame({"source": adata.var_names[:5].str.lower(), "target": adata.var_names[5:10].str.lower()})
    with pytest.raises(ValueError, match=r"differ in capitals alone, as between mouse and human.*convert_ids"):
        sps.tl.reference_auroc(adata, mouse, edges="spearman")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "layout", "n_pairs"),
    [
        ("trrust_human.tsv", "trrust", 8403),
        ("collectri.csv", "edges", None),
        ("dorothea_hs.csv.gz", "edges", 454504),
        ("hHEP_STRING_TFs500.csv", "edges", None),
    ],
)
def test_published_networks(file: str, layout: str, n_pairs: int | None, data_dir: Path) -> None:
    path = data_dir / "networks" / file
    undirected = "STRING" in file
    frame = sps.references.from_file(path, directed=False if undirected else None)
    assert frame.attrs["reference"]["layout"] == layout
    # the same, by pandas alone
    if layout == "trrust":
        raw = pd.read_csv(path, sep="\t", header=None, usecols=[0, 1], keep_default_na=False)
    else:
        raw = pd.read_csv(path, keep_default_na=False).rename(columns=str.lower)
        columns = [next(iter(set(raw) & names)) for names in ({"source", "gene1", "tf"}, {"target", "gene2"})]
        raw = raw[columns]
    pairs = {(a, b) for a, b in raw.to_numpy().tolist() if a != b}
    if undirected:
        pairs = {tuple(sorted(pair)) for pair in pairs}
    assert set(zip(frame["source"], frame["target"], strict=True)) == pairs
    assert len(frame) == len(pairs)
    if n_pairs is not None:
        assert len(frame) == n_pairs
    assert frame["directed"].eq(not undirected).all()


@pytest.mark.real_data
def test_published_networks_on_published_cells(data_dir: Path) -> None:
    """Papalexi's panel by symbol, and a whole transcriptome by Ensembl id through a dictionary of names."""
    import anndata

    papalexi = anndata.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    net = sps.references.from_file(data_dir / "networks" / "trrust_human.tsv")
    found = sps.references.coverage(net, papalexi).set_index("what")
    known = net["source"].isin(papalexi.var_names) & net["target"].isin(papalexi.var_names)
    assert found.loc["pairs", "n_found"] == known.sum()

    cells = anndata.read_h5ad(data_dir / "cells" / "scmixology_lung_lines_5batches.h5ad")
    ids = pd.read_json(data_dir / "geneformer" / "gene_name_id_dict.json", typ="series").to_dict()
    by_id = sps.references.convert_ids(net, ids)
    covered = sps.references.coverage(by_id, cells).set_index("what")
    assert covered.loc["genes", "fraction"] > 0.8
    detected = cells[:, np.asarray((cells.X > 0).sum(axis=0)).ravel() > 700].copy()
    listed = detected.var_names.isin(by_id["source"]) | detected.var_names.isin(by_id["target"])
    panel = detected[:, np.flatnonzero(listed)[:400]].copy()
    sps.pp.select_cells(panel, groupby="cell_line", control="H1975", n_cells=200)
    sps.tl.correlation_edges(panel)
    sps.tl.reference_auroc(panel, by_id, edges="spearman", baselines=(), n_boot=50)
    row = panel.uns["reference_auroc"]["summary"].query("statistic == 'pooled'").iloc[0]
    assert row["n_pos"] > 10
    assert 0 < row["auroc"] < 1


@pytest.mark.real_data
def test_published_gene_sets(data_dir: Path) -> None:
    import anndata

    papalexi = anndata.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    for file in ("KEGG_2016.gmt", "GO_Biological_Process_2021.gmt"):
        path = data_dir / "networks" / file
        frame = sps.references.from_file(path, genes=papalexi.var_names)
        genes = set(papalexi.var_names)
        expected = set()
        for line in path.read_text().splitlines():
            expected |= set(combinations(sorted(set(line.split("\t")[2:]) & genes), 2))
        assert set(zip(frame["source"], frame["target"], strict=True)) == expected
        assert frame.attrs["reference"]["checksum"] == "verified"
