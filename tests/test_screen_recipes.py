"""The code of the page on published screens, on small synthetic files in their layouts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = (Path(__file__).parents[1] / "docs" / "perturb_seq_inputs.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
GENES = ["STAT1", "IRF7", "JAK2", "SPI1", "CREB1", "CBL", "CNN1", "ARID1A", *(f"GENE{k}" for k in range(42))]
N_CELLS = 900
CODE = "import anndata\nimport mudata\nimport scepsis as sps\n"


def _screen(hits: Sequence[Sequence[str]], factor: float) -> ad.AnnData:
    """Cells in which the genes of `hits` have `factor` of their expression."""
    rng = np.random.default_rng(0)
    rate = np.exp(rng.normal(1.3, 0.3, len(GENES))) * np.exp(rng.normal(0, 0.2, (len(hits), 1)))
    for cell, genes in enumerate(hits):
        rate[cell, [GENES.index(gene) for gene in genes]] *= factor
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    obs = pd.DataFrame(index=[f"AAAC{k:012d}-1" for k in range(len(hits))])
    return ad.AnnData(counts, obs, pd.DataFrame(index=GENES))


def _cells(*kinds: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Kinds of cells in turn."""
    return [kinds[cell % len(kinds)] for cell in range(N_CELLS)]


def _guide_counts(hits: Sequence[Sequence[str]], obs: pd.DataFrame, control: str) -> ad.AnnData:
    """Two guides for each target and two without one; a cell has one for each of its targets, or a control guide."""
    rng = np.random.default_rng(1)
    targets = sorted({gene for genes in hits for gene in genes})
    names = [f"{gene}g{number}" for gene in [*targets, control] for number in (1, 2)]
    counts = rng.poisson(0.2, (len(hits), len(names)))
    for cell, genes in enumerate(hits):
        for gene in genes or (control,):
            counts[cell, names.index(f"{gene}g{rng.integers(1, 3)}")] += 20 + rng.poisson(60)
    return ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs[[]].copy(), pd.DataFrame(index=names))


def _labels(adata: ad.AnnData) -> list[str]:
    return adata.obs["target"].astype(object).where(adata.obs["target"].notna(), "").tolist()


def _expected(hits: Sequence[Sequence[str]]) -> list[str]:
    return ["+".join(sorted(genes)) if genes else "non-targeting" for genes in hits]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(number: int) -> dict[str, Any]:
    """Run a block of the page."""
    space: dict[str, Any] = {}
    exec(CODE + BLOCKS[number], space)
    return space


def test_the_page_has_the_blocks_that_are_tested() -> None:
    assert len(BLOCKS) == 6
    for number, word in enumerate(["papalexi", "Replogle", "Adamson", "Norman", "many_guides", "correlation_edges"]):
        assert word in BLOCKS[number]


def test_papalexi(here: Path) -> None:
    hits = _cells(("STAT1",), ("IRF7",), ("JAK2",), ())
    rna = _screen(hits, 0.2)
    guides = _guide_counts(hits, rna.obs, "NT")
    with mudata.set_options(pull_on_update=False):
        mudata.MuData({"rna": rna, "gdo": guides}).write_h5mu("papalexi_2021.h5mu")
        adata = _run(0)["adata"]
    assert _labels(adata) == _expected(hits)
    table = adata.uns["target_assignment"]["guides"].set_index("guide")
    assert table.loc["STAT1g2", ["target", "rule"]].tolist() == ["STAT1", "gene"]
    assert (table["threshold"] > 2).all()


@pytest.mark.real_data
def test_papalexi_with_real_guides(here: Path, data_dir: Path) -> None:
    rna = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    published = rna.obs["perturbation"].astype(str)
    names = np.unique(rna.obs["gRNA"])
    assert len(names) == 107
    # of each cell the molecules of the guide that was called are known
    molecules = rna.obs["gRNA_umi"].to_numpy(dtype=np.float32)
    where = np.arange(rna.n_obs), np.searchsorted(names, rna.obs["gRNA"].astype(str))
    counts = sparse.csr_matrix((molecules, where), shape=(rna.n_obs, len(names)))
    guides = ad.AnnData(counts, rna.obs[[]].copy(), pd.DataFrame(index=names))
    with mudata.set_options(pull_on_update=False):
        mudata.MuData({"rna": rna, "gdo": guides}).write_h5mu("papalexi_2021.h5mu")
        adata = _run(0)["adata"]
    labels = np.array(_labels(adata))
    assert (labels == "").sum() <= 1
    assert (labels == published)[labels != ""].all()
    table = adata.uns["target_assignment"]["guides"].set_index("guide")
    assert table.loc["STAT1g2", ["target", "rule"]].tolist() == ["STAT1", "gene"]
    assert table.loc["STAT5Ag1", ["target", "rule"]].tolist() == ["STAT5A", "pattern"]
    assert table.loc["STAT1g2", "remaining"] < 0.2
    sps.pp.assign_perturbations(rna, "gRNA", crispr="knockout", key_added="target")
    assert (rna.obs["target"].astype(str) == published).all()


def test_replogle(here: Path) -> None:
    hits = _cells(("STAT1",), ("IRF7",), ("JAK2",), (), ())
    adata = _screen([() if genes == ("IRF7",) else genes for genes in hits], 0.2)  # a guide that does nothing
    adata.obs["perturbation"] = pd.Categorical([genes[0] if genes else "control" for genes in hits])
    adata.write_h5ad("ReplogleWeissman2022_K562_essential.h5ad")
    authors = adata.copy()
    authors.obs["gene"] = [genes[0] if genes else "non-targeting" for genes in hits]
    authors.var = pd.DataFrame({"gene_name": GENES}, index=[f"ENSG{k:011d}" for k in range(len(GENES))])
    authors.write_h5ad("K562_essential_raw_singlecell_01.h5ad")
    expected = ["" if label == "IRF7" else label for label in _expected(hits)]
    assert _labels(_run(1)["adata"]) == expected
    space: dict[str, Any] = {}
    exec(CODE + BLOCKS[1].partition('adata = anndata.read_h5ad("K562')[0], space)
    assert _labels(space["adata"]) == expected


def test_adamson(here: Path) -> None:
    hits = _cells(("SPI1",), ("CREB1",), (), ("*",), ("",))
    adata = _screen([() if genes in {("*",), ("",)} else genes for genes in hits], 0.2)
    plasmids = {("SPI1",): "SPI1_pDS255", ("CREB1",): "CREB1_pDS269", (): "62(mod)_pBA581", ("*",): "*", ("",): None}
    adata.obs["perturbation"] = pd.Categorical([plasmids[genes] for genes in hits])
    adata.write_h5ad("AdamsonWeissman2016_GSM2406675_10X001.h5ad")
    found = _run(2)["adata"]
    assert _labels(found) == ["" if label in {"*", ""} else label for label in _expected(hits)]
    assert found.uns["target_assignment"]["guides"].loc[lambda frame: frame["target"] != "", "remaining"].max() < 0.4


def test_norman(here: Path) -> None:
    hits = _cells(("CBL",), ("CBL", "CNN1"), ("ARID1A",), ("CNN1",), ())
    adata = _screen(hits, 4.0)
    adata.obs["perturbation"] = pd.Categorical(["_".join(genes) or "control" for genes in hits])
    adata.write_h5ad("NormanWeissman2019_filtered.h5ad")
    adata.obs["perturbation_name"] = pd.Categorical(["+".join(genes) or "control" for genes in hits])
    adata.write_h5ad("norman_2019.h5ad")
    found = _run(3)["adata"]
    assert _labels(found) == _expected(hits)
    found = ad.read_h5ad("NormanWeissman2019_filtered.h5ad")
    options = {"max_targets": 2, "crispr": "activation", "min_efficacy": 0.5, "key_added": "target"}
    sps.pp.assign_perturbations(found, "perturbation", separator="_", **options)
    assert _labels(found) == _expected(hits)
    # the authors' names: the same pair of guides twice, single targets beside a guide without one
    found.obs["guide_identity"] = [
        f"{one}__{one}" for one in ("_".join((*genes, "NegCtrl0", "NegCtrl10")[:2]) for genes in hits)
    ]
    sps.pp.assign_perturbations(found, "guide_identity", separator="_", **options)
    assert _labels(found) == _expected(hits)
    sps.tl.perturbation_effects(found, groupby="target", n_null_splits=2, show_progress_bar=False)
    frame = found.uns["perturbation_effects"]["perturbations"].set_index("perturbation")
    assert frame.loc["CBL+CNN1", "status"] == "multi_target"


def test_many_guides(here: Path) -> None:
    hits = _cells(("STAT1", "JAK2", "SPI1"), ("STAT1", "CREB1"), ("CBL", "CNN1", "IRF7"), ("JAK2", "CREB1", "CBL"), ())
    adata = _screen(hits, 0.2)
    adata.obsm["guides"] = _guide_counts(hits, adata.obs, "non-targeting_").to_df()
    adata.write_h5ad("many_guides.h5ad")
    found = _run(4)["adata"]
    called = sps.get.effects(found, "target")
    assert sorted(called) == ["CBL", "CNN1", "CREB1", "IRF7", "JAK2", "SPI1", "STAT1"]
    for gene in called:
        assert called.loc[gene, gene] == 1
    frame = found.uns["perturbation_effects"]["perturbations"].set_index("perturbation")
    assert frame.loc["STAT1", "n_cells"] == pytest.approx(2 * N_CELLS / 5, rel=0.01)


def test_from_there_on(here: Path) -> None:
    hits = _cells(("STAT1",), ("IRF7",), ("JAK2",), (), ())
    adata = _screen(hits, 0.2)
    adata.obs["perturbation"] = pd.Categorical([genes[0] if genes else "control" for genes in hits])
    adata.write_h5ad("ReplogleWeissman2022_K562_essential.h5ad")
    found = _run(5)["adata"]
    assert "spearman" in found.varp
    assert len(found.uns["perturbation_auroc"]["summary"])
