from __future__ import annotations

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._core._labels import perturbed_genes, read_labels


def screen(labels, genes=("STAT1", "JAK2", "IRF1"), **var) -> ad.AnnData:
    obs = pd.DataFrame({"perturbation": labels}, index=[f"c{index}" for index in range(len(labels))])
    return ad.AnnData(np.ones((len(labels), len(genes))), obs=obs, var=pd.DataFrame(var, index=list(genes)))


def genes_of(adata: ad.AnnData, **kwargs) -> dict[str, str]:
    labels = read_labels(adata, "perturbation", "NT")
    found = perturbed_genes(adata, labels, control="NT", **kwargs)
    return dict(zip(labels.names, found.genes, strict=True))


def test_codes_and_names() -> None:
    adata = screen(pd.Categorical(["b", "NT", "a", "b"], categories=["unused", "b", "NT", "a"]))
    labels = read_labels(adata, "perturbation", "NT")
    assert labels.names == ["b", "a"]  # the order of the categories
    np.testing.assert_array_equal(labels.codes, [0, -1, 1, 0])
    np.testing.assert_array_equal(labels.cells(0), [0, 3])
    np.testing.assert_array_equal(labels.is_control, [False, True, False, False])
    adata.obs["perturbation"] = ["b", "NT", "a", "b"]
    assert read_labels(adata, "perturbation", "NT").names == ["a", "b"]  # sorted without categories


@pytest.mark.parametrize("missing", [None, np.nan, ""])
def test_cells_without_a_label_are_left_out_and_said(missing, caplog) -> None:
    adata = screen(["a", "NT", missing, "NT"])
    with caplog.at_level(logging.INFO, logger="scepsis"):
        labels = read_labels(adata, "perturbation", "NT")
    np.testing.assert_array_equal(labels.codes, [0, -1, -2, -1])
    assert "1 cells without a label" in caplog.text


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([0.1, 0.2, 0.3], TypeError, "astype"),
        ([0, 1, 2], TypeError, "strings"),
        (pd.Categorical([0, 1, 1]), TypeError, "strings"),
        ([True, False, True], TypeError, "strings"),
        (["a", "b", "a"], ValueError, "'NT' does not occur"),
        (["NT", "NT", "NT"], ValueError, "no label other than the control"),
        (["NT", "NT", None], ValueError, "no label other than the control"),
    ],
)
def test_bad_labels_are_named(labels, error, words: str) -> None:
    with pytest.raises(error, match=words):
        read_labels(screen(labels), "perturbation", "NT")


def test_missing_column_is_named_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="Did you mean 'perturbation'"):
        read_labels(screen(["a", "NT"]), "perturbations", "NT")


def test_genes_behind_the_labels(caplog) -> None:
    adata = screen(["STAT1", "JAK2+IRF1", "NT+JAK2", "IRF1 + NT", "XYZ", "A/B", "NT"])
    with caplog.at_level(logging.INFO, logger="scepsis"):
        found = genes_of(adata)
    assert found == {"STAT1": "STAT1", "JAK2+IRF1": "", "NT+JAK2": "JAK2", "IRF1 + NT": "IRF1", "XYZ": "", "A/B": ""}
    assert "'A/B', 'XYZ'" in caplog.text
    labels = read_labels(adata, "perturbation", "NT")
    multiple = perturbed_genes(adata, labels, control="NT").is_multiple
    assert [name for name, many in zip(labels.names, multiple, strict=True) if many] == ["JAK2+IRF1"]


def test_a_gene_may_have_a_plus_in_its_name() -> None:
    assert genes_of(screen(["A+B", "NT"], genes=("A+B", "A", "B"))) == {"A+B": "A+B"}


def test_symbols_from_a_column(caplog) -> None:
    names = ("ENSG1", "ENSG2", "ENSG3", "ENSG4")
    adata = screen(["STAT1", "JAK2", "NT"], genes=names, symbol=["STAT1", "JAK2", "JAK2", None])
    with caplog.at_level(logging.INFO, logger="scepsis"):
        assert genes_of(adata, gene_symbols="symbol") == {"JAK2": "", "STAT1": "ENSG1"}
    assert "'JAK2' stand for several genes" in caplog.text
    with pytest.raises(KeyError, match="symbols"):
        genes_of(adata, gene_symbols="symbols")


def test_no_label_is_a_gene() -> None:
    with pytest.warns(UserWarning, match="gene_symbols="):
        assert genes_of(screen(["STAT1", "NT"], genes=("ENSG1",))) == {"STAT1": ""}
