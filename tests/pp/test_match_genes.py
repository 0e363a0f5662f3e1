from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Untouched = Callable[[ad.AnnData], Any]

GENES = {f"ENSG{index:011d}": index + 2 for index in range(50)}


def test_tokens_stand_beside_their_genes(screen: ad.AnnData, make_model: Callable[..., Any]) -> None:
    screen = screen[:, np.random.default_rng(0).permutation(60)].copy()
    sps.pp.match_genes(screen, make_model(GENES))
    for _, gene in screen.var.iterrows():
        assert gene["token_id"] == GENES.get(gene["ensembl_id"], -1)
        assert gene["in_vocabulary"] == (gene["ensembl_id"] in GENES)
    assert screen.var["token_id"].dtype == np.int32
    assert screen.var["in_vocabulary"].dtype == bool
    entry = screen.uns["match_genes"]
    assert entry["params"]["gene_ids"] == "ensembl_id"
    assert entry["params"]["vocabulary_hash"] == make_model(GENES).vocabulary.hash
    assert entry["params"]["vocabulary_size"] == 50
    assert entry["params"]["model"] == "stand-in"
    assert (entry["report"]["n_matched"], entry["report"]["n_missing"]) == (50, 10)


def test_a_second_vocabulary_takes_the_place_of_the_first(screen: ad.AnnData, make_model: Callable[..., Any]) -> None:
    sps.pp.match_genes(screen, make_model(GENES))
    symbols = make_model({f"G{index}": 100 + index for index in range(60)}, kind="symbol", name="other")
    sps.pp.match_genes(screen, symbols, gene_ids="var_names")
    np.testing.assert_array_equal(screen.var["token_id"], 100 + np.arange(60))
    assert screen.uns["match_genes"]["params"]["model"] == "other"


def test_superseded_ids_are_collapsed(screen: ad.AnnData, make_model: Callable[..., Any]) -> None:
    model = make_model(GENES, mapping={f"ENSG{50 + index:011d}": f"ENSG{index:011d}" for index in range(3)})
    sps.pp.match_genes(screen, model)
    np.testing.assert_array_equal(screen.var["token_id"].iloc[50:53], [2, 3, 4])
    assert screen.uns["match_genes"]["report"]["n_collapsed"] == 3


def test_wrong_input_is_refused(screen: ad.AnnData, make_model: Callable[..., Any], untouched: Untouched) -> None:
    screen.var["twice"] = [f"ENSG{index // 2:011d}" for index in range(60)]
    screen.var["number"] = np.arange(60)
    model = make_model(GENES)
    with untouched(screen):
        with pytest.raises(
            ValueError, match=r"gene symbols.*ensembl_id'\]` matches 50: call `scepsis.pp.match_genes\("
        ):
            sps.pp.match_genes(screen, model, gene_ids="var_names")
        with pytest.raises(ValueError, match=r"names 30 genes of the vocabulary more than once.*ensembl_mapping="):
            sps.pp.match_genes(screen, model, gene_ids="twice")
        with pytest.raises(ValueError, match="look like numbers"):
            sps.pp.match_genes(screen, model, gene_ids="number")
        with pytest.raises(KeyError, match="Did you mean 'ensembl_id'"):
            sps.pp.match_genes(screen, model, gene_ids="ensembl")
        with pytest.raises(ValueError, match="min_fraction"):
            sps.pp.match_genes(screen, model, min_fraction=2)
        with pytest.raises(ValueError, match=r"at least 100% are needed"):
            sps.pp.match_genes(
                screen, make_model(GENES | {f"X{index}": 90 + index for index in range(9)}), min_fraction=1
            )


def test_views_and_files(
    screen: ad.AnnData, make_model: Callable[..., Any], untouched: Untouched, tmp_path: Path
) -> None:
    view = screen[:, 5:]
    with untouched(screen), pytest.warns(UserWarning, match="is a view"):
        sps.pp.match_genes(view, make_model(GENES))
    np.testing.assert_array_equal(view.var["token_id"].iloc[:45], np.arange(7, 52))
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    sps.pp.match_genes(backed, make_model(GENES))
    assert backed.var["in_vocabulary"].sum() == 50
    backed.file.close()


def test_it_survives_writing(
    screen: ad.AnnData, make_model: Callable[..., Any], roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    sps.pp.match_genes(screen, make_model({f"ENSG{index:011d}": index for index in range(60)}))  # nothing missing
    for back in roundtrips(screen):
        pd.testing.assert_frame_equal(
            back.var[["token_id", "in_vocabulary"]], screen.var[["token_id", "in_vocabulary"]]
        )
        assert back.uns["match_genes"]["params"]["vocabulary_hash"] == "hash-of-60-ensembl"
        assert back.uns["match_genes"]["report"]["missing"] == ""


@pytest.mark.real_data
def test_a_real_screen(data_dir: Path, make_model: Callable[..., Any]) -> None:
    tokens = json.loads((data_dir / "geneformer" / "token_dictionary.json").read_text())
    model = make_model({gene: token for gene, token in tokens.items() if not gene.startswith("<")})
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")[:20].copy()
    sps.pp.match_genes(adata, model)
    np.testing.assert_array_equal(adata.var["in_vocabulary"], adata.var["in_geneformer_v1"])
    assert adata.var["in_vocabulary"].sum() == 246
    assert adata.var.loc["JAK2", "token_id"] == tokens["ENSG00000096968"]
