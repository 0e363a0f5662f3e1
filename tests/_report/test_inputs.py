from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from scepsis._report._inputs import keys_for, read_edges, read_reference, read_screen, subset_cells

if TYPE_CHECKING:
    from pathlib import Path

    import anndata as ad


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n_umis_total > 200", lambda obs: obs["n_umis_total"] > 200),
        ("n_umis_total > 200 and batch == 'a'", lambda obs: (obs["n_umis_total"] > 200) & (obs["batch"] == "a")),
        ("batch in ['a']", lambda obs: obs["batch"] == "a"),
        ("not batch == 'a' or n_umis_total / 2 < 90", lambda obs: (obs["batch"] != "a") | (obs["n_umis_total"] < 180)),
        ("180 <= n_umis_total <= 220", lambda obs: obs["n_umis_total"].between(180, 220)),
        ("`odd name` == 1", lambda obs: obs["odd name"] == 1),
    ],
)
def test_cells_are_kept_as_pandas_would(screen: ad.AnnData, condition: str, expected: object) -> None:
    screen.obs["odd name"] = np.arange(screen.n_obs) % 2
    kept = subset_cells(screen, condition)
    mask = expected(screen.obs).to_numpy()
    assert 0 < mask.sum() < screen.n_obs
    assert kept.obs_names.tolist() == screen.obs_names[mask].tolist()
    assert not kept.is_view


@pytest.mark.parametrize(
    "condition",
    [
        "@pd.read_csv('x')",
        "batch.str.len() > 1",
        "__import__('os').system('true')",
        "n_umis_total.__class__",
        "[x for x in (1, 2)]",
        "(lambda: 1)()",
        "batch[0] == 'a'",
        "n_umis_total ** 99 > 1",
        "`batch`.str.len() > 1",
        "__name__ == 'a'",
        "n_umis_total >",
        "1 < 2",
        "n_umis_total > 1; batch == 'a'",
        "x := 3",
    ],
)
def test_anything_but_a_condition_is_refused(screen: ad.AnnData, condition: str) -> None:
    with pytest.raises(ValueError, match="condition"):
        subset_cells(screen, condition)


def test_unknown_columns_and_empty_results_are_named(screen: ad.AnnData) -> None:
    with pytest.raises(KeyError, match="gRNA_frac"):
        subset_cells(screen, "gRNA_frac >= .8")
    with pytest.raises(ValueError, match="no cell"):
        subset_cells(screen, "n_umis_total < 0")
    with pytest.raises(ValueError, match="cannot be evaluated"):
        subset_cells(screen, "perturbation + 1 > 2")


def test_edges_are_read_whatever_their_columns_are_called(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("TF,Target,importance\nA,B,0.5\nNA,nan,2\n")
    frame = read_edges(str(tmp_path / "a.csv"))
    assert frame.to_dict("list") == {"source": ["A", "NA"], "target": ["B", "nan"], "weight": [0.5, 2.0]}
    (tmp_path / "b.tsv").write_text("weight\tsource\ttarget\n1\tA\tB\n")
    assert read_edges(str(tmp_path / "b.tsv")).to_dict("list") == {"source": ["A"], "target": ["B"], "weight": [1]}
    (tmp_path / "c.csv").write_text("Gene1,Gene2\nA,B\n")
    assert read_edges(str(tmp_path / "c.csv")).to_dict("list") == {"source": ["A"], "target": ["B"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A,B,0.5\nC,D,1\n", "lacks the columns 'source', 'target'"),
        ("source,target,weight\nA,B,strong\n", "does not hold numbers"),
        ("source,target,weight\n", "holds no edges"),
        ("", "cannot be read as a table"),
    ],
)
def test_edges_that_cannot_be_read_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "edges.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_edges(str(path))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_edges(str(tmp_path / "nowhere.csv"))


def test_networks_with_and_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "trrust.tsv").write_text(
        "AATF\tBAX\tRepression\t22909821\nAATF\tBAX\tUnknown\t1;2\nAATF\tKLK3\tUnknown\t23146908\n"
    )
    frame = read_reference(str(tmp_path / "trrust.tsv"))
    expected = {"source": ["AATF", "AATF"], "target": ["BAX", "KLK3"], "mode": ["Repression", "Unknown"]}
    assert frame.to_dict("list") == expected
    (tmp_path / "later.tsv").write_text("A\tB\tUnknown\nA\tB\tActivation\n")
    assert read_reference(str(tmp_path / "later.tsv"))["mode"].tolist() == ["Activation"]
    (tmp_path / "cited.tsv").write_text("A\tB\t12;13\nA\tC\t14;15\n")
    assert list(read_reference(str(tmp_path / "cited.tsv"))) == ["source", "target"]
    (tmp_path / "weighted.csv").write_text("A,B,0.5\nA,B,-2\nA,C,1\n")
    frame = read_reference(str(tmp_path / "weighted.csv"))
    assert frame.to_dict("list") == {"source": ["A", "A"], "target": ["B", "C"], "weight": [-2.0, 1.0]}
    (tmp_path / "named.csv").write_text('"source","target","weight"\n"MYC","TERT",1\n')
    assert read_reference(str(tmp_path / "named.csv"))["source"].tolist() == ["MYC"]
    (tmp_path / "thin.csv").write_text("A\nB\n")
    with pytest.raises(ValueError, match="one column"):
        read_reference(str(tmp_path / "thin.csv"))


@pytest.mark.real_data
def test_published_networks_are_read(data_dir: Path) -> None:
    trrust = read_reference(str(data_dir / "networks" / "trrust_human.tsv"))
    raw = pd.read_csv(data_dir / "networks" / "trrust_human.tsv", sep="\t", header=None, keep_default_na=False)
    assert set(trrust["mode"]) == {"Activation", "Repression", "Unknown"}
    assert set(map(tuple, trrust[["source", "target"]].to_numpy())) == set(zip(raw[0], raw[1], strict=True))
    assert len(trrust) == len(raw.drop_duplicates([0, 1]))
    collectri = read_reference(str(data_dir / "networks" / "collectri.csv"))
    assert set(collectri["weight"]) <= {-1, 1}


def test_a_file_names_its_slot() -> None:
    named = keys_for(["a/grn boost.csv", "b/grn boost.tsv", "attention.csv", "x/L3.csv"], taken=["attention"])
    assert list(named.values()) == ["grn_boost", "grn_boost_2", "attention_2", "group_L3"]


def test_screens_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_screen(str(tmp_path / "nowhere.h5ad"))
    (tmp_path / "text.h5ad").write_text("not a file of this kind")
    with pytest.raises(ValueError, match="cannot be read"):
        read_screen(str(tmp_path / "text.h5ad"))
