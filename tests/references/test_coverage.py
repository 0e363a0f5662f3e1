from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

    import anndata as ad


def test_what_is_there_is_counted(screen: ad.AnnData) -> None:
    net = pd.DataFrame({"source": ["G0", "G0", "g1", "NOPE"], "target": ["G5", "NOPE", "G6", "G7"]})
    found = sps.references.coverage(net, screen).set_index("what")
    assert found["n"].to_dict() == {"source": 3, "target": 4, "genes": 6, "pairs": 4}
    assert found["n_found"].to_dict() == {"source": 1, "target": 3, "genes": 4, "pairs": 1}
    assert found["fraction"].tolist() == [1 / 3, 3 / 4, 4 / 6, 1 / 4]
    assert found["n_other_case"].to_dict() == {"source": 1, "target": 0, "genes": 1, "pairs": 0}
    assert found.loc["source", "missing"] == "g1;NOPE"
    assert set(found["best_place"]) == {"adata.var_names"}


def test_another_column_is_pointed_at(screen: ad.AnnData) -> None:
    ids = screen.var["ensembl_id"].tolist()
    net = pd.DataFrame({"source": ids[:3], "target": ids[3:6]})
    assert set(sps.references.coverage(net, screen)["best_place"]) == {"adata.var['ensembl_id']"}
    assert sps.references.coverage(net, screen, gene_symbols="ensembl_id")["fraction"].tolist() == [1.0] * 4
    with pytest.raises(KeyError, match="symbols"):
        sps.references.coverage(net, screen, gene_symbols="symbols")
    with pytest.raises(KeyError, match="lacks 'target'"):
        sps.references.coverage(net.drop(columns="target"), screen)


def test_pairs_of_categories_are_counted(screen: ad.AnnData) -> None:
    pairs = sps.references.set_pairs({"one": ["G1", "G2", "absent"]})
    assert sps.references.coverage(pairs, screen).set_index("what")["n_found"].to_dict() == {
        "source": 2, "target": 1, "genes": 2, "pairs": 1,
    }  # fmt: skip


@pytest.mark.real_data
def test_a_mouse_network_on_human_genes_is_told(data_dir: Path) -> None:
    import anndata

    adata = anndata.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    net = sps.references.from_file(data_dir / "networks" / "trrust_human.tsv")
    orthologs = pd.read_csv(data_dir / "networks" / "human_mouse_orthologs.csv.gz")
    mouse = sps.references.convert_ids(net, orthologs[["hgnc_symbol", "mgi_symbol"]])
    human = sps.references.coverage(net, adata).set_index("what").loc["genes"]
    other = sps.references.coverage(mouse, adata).set_index("what").loc["genes"]
    assert other["n_found"] < 0.05 * human["n_found"]
    assert other["n_other_case"] > 0.8 * human["n_found"]
