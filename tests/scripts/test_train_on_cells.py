"""The command line on small files in the layouts of the real ones, and the folders that it writes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
import train_on_cells
from _masked_genes import corrupt, encode, masked_loss, new_model, sampled
from _training import Recipe
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from pathlib import Path

N_GENES, N_CELLS = 60, 80


def _ensembl(number: int) -> str:
    return f"ENSG{number:011d}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("screens", "cells", "geneformer", "scgpt"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(1, 2, (N_CELLS, N_GENES))).astype(np.float32))
    genes = [f"G{number}" for number in range(N_GENES)]
    ids = [_ensembl(number) for number in range(N_GENES)]
    obs = pd.DataFrame(index=[f"cell{number}" for number in range(N_CELLS)])
    labels = np.where(np.arange(N_CELLS) < 70, "non-targeting", "STAT1")
    guides = obs.assign(perturbation=labels, gRNA_frac=0.9, gRNA_umi=np.where(np.arange(N_CELLS) < 60, 5, 1))
    var = pd.DataFrame({"ensembl_id": ids}, index=genes)
    ad.AnnData(counts, guides, var).write_h5ad(folder / train_on_cells.SCREEN)
    batches = obs.assign(batch=pd.Categorical(["one", "two"] * (N_CELLS // 2)))
    ad.AnnData(counts, batches, pd.DataFrame({"ensembl_id": ids}, index=ids)).write_h5ad(folder / train_on_cells.LINES)
    tokens = {"<pad>": 0, "<mask>": 1} | {gene: 2 + place for place, gene in enumerate(reversed([*ids[5:], "ENSG9"]))}
    for name, content in (
        ("token_dictionary", tokens),
        ("gene_median_dictionary", {gene: 1.5 for gene in tokens if gene.startswith("ENSG")}),
        ("gene_name_id_dict", dict(zip(genes, ids, strict=True))),
    ):
        (folder / "geneformer" / f"{name}.json").write_text(json.dumps(content))
    known = {gene: place for place, gene in enumerate([*genes[:-3], "OTHER"])}
    (folder / "scgpt" / "default_gene_vocab.json").write_text(json.dumps(known))
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = {
        key: replace(recipe, width=16, n_heads=2, n_passes=1, n_dithered=1, max_positions=64, longest=20)
        for key, recipe in train_on_cells.RECIPES.items()
    }
    monkeypatch.setattr(train_on_cells, "RECIPES", recipes)
    monkeypatch.setattr(train_on_cells, "N_TOP_GENES", 30)
    monkeypatch.setattr(train_on_cells, "N_HELD_OUT", 20)


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("family", "cells", "n_cells", "n_genes", "n_known"),
    [
        ("geneformer", "papalexi", 60, 55, 56),
        ("geneformer", "scmixology", 80, 30, 30),
        ("scgpt", "papalexi", 60, 57, 58),
        ("scgpt", "scmixology", 80, 30, 30),
    ],
)
def test_every_family_on_all_cells(
    family: str, cells: str, n_cells: int, n_genes: int, n_known: int, data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    n_threads = torch.get_num_threads()
    arguments = ["train_on_cells.py", str(tmp_path / "out"), "--family", family, "--cells", cells, "--data", str(data)]
    monkeypatch.setattr(sys, "argv", arguments)
    train_on_cells.main()
    torch.set_num_threads(n_threads)
    said = capsys.readouterr().out
    assert f"{n_cells} cells, {n_genes} genes" in said
    assert all(word in said for word in ("untrained", "trained", "permuted", "wrote"))
    model: Any = sps.models.load(tmp_path / "out")
    assert model.family == family
    assert len(model.vocabulary.tokens) == n_known
    file, names = (train_on_cells.SCREEN, "perturbation") if cells == "papalexi" else (train_on_cells.LINES, "batch")
    adata = ad.read_h5ad(data / file)
    if family == "scgpt" and cells == "scmixology":
        adata.var_names = [f"G{int(name.removeprefix('ENSG'))}" for name in adata.var_names]
    assert names in adata.obs
    sps.tl.attention_edges(adata, model, show_progress_bar=False)
    edges = sps.get.edge_matrix(adata, "attention")
    assert len(edges) == n_genes


def test_both_families_get_the_same_genes_of_the_lines(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_on_cells, "N_TOP_GENES", 30)
    known = train_on_cells.Vocabularies.read(data)
    first, second = (train_on_cells.scmixology(data, family, known) for family in ("geneformer", "scgpt"))
    assert {known.symbols[gene] for gene in first.genes} == set(second.genes)
    original = ad.read_h5ad(data / train_on_cells.LINES)
    np.testing.assert_array_equal(first.counts.toarray(), original[:, first.genes].X.toarray())
    assert [known.geneformer[gene] for gene in first.genes] == sorted(known.geneformer[gene] for gene in first.genes)


def test_sampled_genes_keep_the_positions_that_they_had() -> None:
    rng = np.random.default_rng(0)
    recipe = Recipe(width=16, n_heads=2, max_positions=64)
    cells = encode(sparse.csr_matrix(rng.poisson(1.0, (4, 40))), np.ones(40), 64)
    model = new_model(40, recipe, 0)
    tokens, positions = sampled(cells, 12, rng)
    assert positions is not None
    for cell, some, places in zip(cells, tokens, positions.numpy(), strict=True):
        np.testing.assert_array_equal(cell[places], some)
        assert (np.diff(places) > 0).all()
    ids, targets = corrupt(tokens, recipe, 42, rng)
    where = torch.arange(12).expand(4, 12)
    assert masked_loss(model, ids, targets, where) == masked_loss(model, ids, targets)
    assert masked_loss(model, ids, targets, positions) != masked_loss(model, ids, targets)
    whole, nothing = sampled(cells, None, rng)
    assert nothing is None
    assert whole is cells
