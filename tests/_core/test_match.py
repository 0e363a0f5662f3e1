from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._core._match import match, tokens_for

if TYPE_CHECKING:
    from collections.abc import Callable

GENES = {f"ENSG{index:011d}": index + 2 for index in range(50)}


def _adata(names: list[str], **columns: list[Any]) -> ad.AnnData:
    return ad.AnnData(X=np.ones((2, len(names)), dtype=np.float32), var=pd.DataFrame(columns, index=names))


def test_ids_are_found_in_var_names_then_in_ensembl_id(make_model: Callable[..., Any], screen: ad.AnnData) -> None:
    model = make_model(GENES)
    found = match(screen, model)
    assert found.gene_ids == "ensembl_id"
    np.testing.assert_array_equal(found.tokens, [*range(2, 52), *[-1] * 10])
    assert found.tokens.dtype == np.int32
    assert found.report["n_matched"] == 50
    assert found.report["n_missing"] == 10
    assert found.report["missing"].split(";") == [f"G{index}" for index in range(50, 60)]

    screen.var_names = screen.var["ensembl_id"].to_numpy()
    assert match(screen, model).gene_ids == "var_names"


def test_versions_and_case_of_ensembl_ids_do_not_matter(make_model: Callable[..., Any]) -> None:
    adata = _adata(["ensg00000000001.12", " ENSG00000000003.2", "ENSG00000000004", "ENSG00000000004.5_PAR_Y"])
    found = match(adata, make_model(GENES))
    np.testing.assert_array_equal(found.tokens, [3, 5, 6, -1])


def test_symbols_are_taken_as_they_are(make_model: Callable[..., Any]) -> None:
    model = make_model({"TP53": 7, "HLA-A.1": 8, "Gata1": 9}, kind="symbol")
    np.testing.assert_array_equal(match(_adata(["HLA-A.1", "GATA1", "TP53"]), model).tokens, [8, -1, 7])


def test_symbols_where_ensembl_ids_are_needed_teach(
    make_model: Callable[..., Any], screen: ad.AnnData, untouched: Callable[[ad.AnnData], Any]
) -> None:
    screen.var["feature_id"] = screen.var.pop("ensembl_id")
    with (
        untouched(screen),
        pytest.raises(ValueError, match=r"look like gene symbols.*'feature_id'\]` matches 50.*gene_ids='feature_id'"),
    ):
        match(screen, make_model(GENES))
    del screen.var["feature_id"]
    with pytest.raises(ValueError, match=r"No column of `adata.var` holds more: put Ensembl ids"):
        match(screen, make_model(GENES))


def test_another_species_and_too_few_are_said(make_model: Callable[..., Any]) -> None:
    mouse = _adata([f"ENSMUSG{index:011d}" for index in range(4)])
    with pytest.raises(ValueError, match="another species"):
        match(mouse, make_model(GENES))
    few = _adata(["ENSG00000000001", *[f"X{index}" for index in range(9)]])
    with pytest.raises(ValueError, match=r"1 of 10 ids.*at least 50%.*min_fraction"):
        match(few, make_model(GENES))
    assert match(few, make_model(GENES), min_fraction=0.1).report["n_matched"] == 1
    with pytest.raises(ValueError, match="0 of 4"):
        match(mouse, make_model(GENES), min_fraction=0)


def test_all_of_a_small_vocabulary_is_enough(make_model: Callable[..., Any]) -> None:
    adata = _adata([*GENES, *[f"ENSG9{index:010d}" for index in range(500)]])
    assert match(adata, make_model(GENES)).report["fraction"] == 1


def test_given_ids_are_the_only_ones_tried(make_model: Callable[..., Any], screen: ad.AnnData) -> None:
    screen.var["symbol"] = screen.var_names
    with pytest.raises(ValueError, match=r"adata.var\['symbol'\].*gene_ids='ensembl_id'"):
        match(screen, make_model(GENES), "symbol")
    with pytest.raises(KeyError, match=r"ensembl.*Did you mean 'ensembl_id'"):
        match(screen, make_model(GENES), "ensembl_ids")
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match="min_fraction"):
            match(screen, make_model(GENES), min_fraction=wrong)


def test_duplicated_ids_are_refused_unless_a_mapping_collapses_them(make_model: Callable[..., Any]) -> None:
    ids = ["ENSG00000000001", "ENSG00000000002", "ENSG00000000001.3", "OLD7", None, None]
    adata = _adata([f"G{index}" for index in range(6)], gene_id=ids)
    with pytest.raises(ValueError, match=r"more than once: 'ENSG00000000001', 'ENSG00000000001.3'.*ensembl_mapping"):
        match(adata, make_model(GENES), "gene_id")
    model = make_model(GENES, mapping={"OLD7": "ENSG00000000002"})
    found = match(adata, model, "gene_id")
    np.testing.assert_array_equal(found.tokens, [3, 4, 3, 4, -1, -1])
    np.testing.assert_array_equal(found.owner, [True, True, False, False, False, False])
    assert found.report["n_collapsed"] == 2
    assert found.report["collapsed"] == "G0;G1;G2;G3"


def test_every_gene_owns_its_token_when_all_match(make_model: Callable[..., Any]) -> None:
    assert match(_adata([*GENES]), make_model(GENES)).owner.all()


def test_stored_tokens_are_used_for_their_own_vocabulary_alone(
    make_model: Callable[..., Any], screen: ad.AnnData
) -> None:
    own, foreign = make_model(GENES, digest="a"), make_model({gene: 99 - token for gene, token in GENES.items()})
    screen.var["token_id"] = np.arange(60, dtype=np.int32)  # a marker, to see whether it was read
    screen.uns["match_genes"] = {"params": {"gene_ids": "ensembl_id", "vocabulary_hash": "a"}}
    np.testing.assert_array_equal(tokens_for(screen, own).tokens, np.arange(60))
    assert tokens_for(screen, own).gene_ids == "ensembl_id"
    np.testing.assert_array_equal(tokens_for(screen, foreign).tokens[:50], 97 - np.arange(50))
    screen.var["token_id"] = screen.var["token_id"].astype(float)  # a concatenation turned them into fractions
    np.testing.assert_array_equal(tokens_for(screen, own).tokens[:50], np.arange(2, 52))
    del screen.uns["match_genes"]
    np.testing.assert_array_equal(tokens_for(screen, own).tokens[:50], np.arange(2, 52))


def test_matching_anew_looks_where_the_last_match_looked(make_model: Callable[..., Any], screen: ad.AnnData) -> None:
    screen.var["mine"] = screen.var.pop("ensembl_id")
    screen.uns["match_genes"] = {"params": {"gene_ids": "mine", "vocabulary_hash": "other", "min_fraction": 0.9}}
    assert tokens_for(screen, make_model(GENES)).gene_ids == "mine"
    symbols = make_model({f"G{index}": index for index in range(58)}, kind="symbol")
    assert tokens_for(screen, symbols).gene_ids == "var_names"
    with pytest.raises(ValueError, match="at least 90%"):
        tokens_for(screen, make_model({f"G{index}": index for index in range(70) if index % 2}, kind="symbol"))


@pytest.mark.real_data
def test_real_genes_against_the_first_generations_dictionary(make_model: Callable[..., Any], data_dir: Any) -> None:
    tokens = json.loads((data_dir / "geneformer" / "token_dictionary.json").read_text())
    genes = {gene: token for gene, token in tokens.items() if not gene.startswith("<")}
    model = make_model(genes)
    screen = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad", backed="r")
    found = match(screen, model)
    assert found.gene_ids == "ensembl_id"
    assert found.report["n_matched"] == 246
    np.testing.assert_array_equal(found.in_vocabulary, screen.var["in_geneformer_v1"])
    with pytest.raises(ValueError, match=r"gene symbols.*gene_ids='ensembl_id'"):
        match(screen, model, "var_names")
    screen.file.close()
    cells = ad.read_h5ad(data_dir / "cells" / "scmixology_lung_lines_5batches.h5ad", backed="r")
    assert match(cells, model).report["n_matched"] == 15_409
    cells.file.close()
