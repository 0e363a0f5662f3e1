from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scepsis._core._guide_targets import targets_of
from scepsis._core._guides import GuideCounts

GENES = {"CTRL", "STAT1", "STAT2", "IRF7", "NKX2-1", "HLA-A", "CD4", "CD47", "NTRK1", "GFPT1", "LUC7L", "SAFB"}


def _targets(*names: str, table: pd.DataFrame | None = None, **options: Any) -> dict[str, tuple[str, str]]:
    counts = sparse.csc_matrix((1, len(names)))
    guides = GuideCounts(counts, list(names), np.ones(1, dtype=bool), are_calls=False, slot="guides", table=table)
    frame = targets_of(guides, GENES, **options)
    return {row.guide: (row.target, row.rule) for row in frame.itertuples()}


@pytest.mark.parametrize(
    "name",
    [
        "non-targeting", "Non_Targeting_12", "nontargeting", "NT", "NTg1", "NT_4", "NTC-3", "ctrl", "CTRL", "control",
        "Control_7", "NegCtrl0", "neg_ctrl_3", "negative control", "negative_control_12", "scramble", "scrambled_2",
        "non-targeting_00023", "safe_targeting_11", "safe-harbor", "AAVS1_2", "GFP", "EGFP-1", "lacZ", "NTC",
        "INTERGENIC1216445", "No-Target", "NO_TARGET", "neg-ctrl", "non-targeting_01147|non-targeting_00221", "NT_sg3",
        "NTsgRNA2", "sgNTC", "sgNT1", "sg-NTC-1", "sgRNA_control_2", "sgAAVS1",
    ],
)  # fmt: skip
def test_names_of_guides_without_a_target(name: str) -> None:
    assert _targets(name) == {name: ("", "control")}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("STAT2g2", "STAT2"), ("STAT1_g1", "STAT1"), ("STAT11", "STAT1"), ("NKX2-1", "NKX2-1"), ("NKX2-1_g3", "NKX2-1"),
        ("NKX2-1-2", "NKX2-1"), ("HLA-A.1", "HLA-A"), ("CD4-1", "CD4"), ("CD47g1", "CD47"), ("CD4sg7", "CD4"),
        ("IRF7_+_123456.23-P1P2", "IRF7"), ("NTRK1g1", "NTRK1"), ("GFPT1_1", "GFPT1"), ("SAFB", "SAFB"),
        ("LUC7L_guide2", "LUC7L"), ("sgSTAT1_2", "STAT1"), ("sgRNA-CD47-1", "CD47"), ("sgCD4", "CD4"),
    ],
)  # fmt: skip
def test_the_longest_gene_that_a_name_begins_with(name: str, target: str) -> None:
    assert _targets(name) == {name: (target, "gene")}


def test_guesses_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scepsis"):
        found = _targets("SMAD4g1", "SMAD4_2", "MYC", "NKX3-2", "NTg1")
    assert found == {
        "SMAD4g1": ("SMAD4", "pattern"),
        "SMAD4_2": ("SMAD4", "pattern"),
        "MYC": ("MYC", "as it is"),
        "NKX3-2": ("NKX3-2", "as it is"),  # a hyphen and a number end the names of many genes
        "NTg1": ("", "control"),
    }
    assert "the targets of 2 guides are no genes of adata" in caplog.text
    assert "1 guides have no target: 'NTg1'" in caplog.text


def test_a_name_of_two_genes_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="scepsis"):
        found = _targets("STAT1_STAT2", "IRF7_STAT1_g2", "STAT1_STAT1", "CD4_NTC", "CD47_P1P2", "NKX2-1-2")
    assert [target for target, _ in found.values()] == ["STAT1", "IRF7", "STAT1", "CD4", "CD47", "NKX2-1"]
    assert "2 names are of two genes each, and are taken to be about the first: 'STAT1_STAT2', 'IRF7_STAT1_g2'" in (
        caplog.text
    )
    assert "separator='_'" in caplog.text


def test_targets_that_are_given() -> None:
    table = pd.DataFrame({"target": ["STAT1", "STAT1", None, "non-targeting", "X"]}, index=list("abcde"))
    expected = {
        "a": ("STAT1", "given"), "b": ("STAT1", "given"), "c": ("", "control"), "d": ("", "control"),
        "e": ("X", "given"),
    }  # fmt: skip
    assert _targets(*"abcde", table=table, targets="target") == expected
    given = {"a": "STAT1", "b": "STAT1", "c": "", "d": "non-targeting", "e": "X"}
    assert _targets(*"abcde", targets=given) == expected
    assert _targets(*"abcde", targets=given | {"c": None}) == expected
    assert _targets(*"abcde", targets=pd.Series(given | {"c": np.nan})) == expected
    assert _targets("a", "e", targets=given, control_guides="X")["e"] == ("", "control")
    assert _targets("a", "STAT2g1", targets={"a": "STAT1"})["STAT2g1"] == ("STAT2", "gene")
    with pytest.raises(KeyError, match=r"has none\. Pass a dict"):
        _targets("a", targets="target")
    with pytest.raises(KeyError, match="'gene'"):
        _targets(*"abcde", table=table, targets="gene")
    with pytest.raises(ValueError, match="none of which is a guide"):
        _targets("a", targets={"z": "STAT1"})


def test_a_pattern_and_controls_by_name() -> None:
    names = ("SPI1_pDS255", "STAT1_pDS262", "62(mod)_pBA581", "Gal4-4(mod)_pBA582")
    found = _targets(*names, pattern=r"(.+?)_p[A-Z]+\d+", control_guides=["62(mod)_pBA581", "Gal4-4(mod)_pBA582"])
    assert found == {
        "SPI1_pDS255": ("SPI1", "pattern"),
        "STAT1_pDS262": ("STAT1", "gene"),
        "62(mod)_pBA581": ("", "control"),
        "Gal4-4(mod)_pBA582": ("", "control"),
    }
    with pytest.raises(ValueError, match="needs a group"):
        _targets("a", pattern="x")
    with pytest.raises(ValueError, match="no regular expression"):
        _targets("a", pattern="(")
    with pytest.raises(ValueError, match="`control_guides` names 'nobody'"):
        _targets("a", control_guides=["nobody"])
