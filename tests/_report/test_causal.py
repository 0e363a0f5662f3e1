from __future__ import annotations

import re
from html import unescape
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scepsis._report._battery import battery
from scepsis._report._causal import sentences


def _entry(**changes: Any) -> dict[str, Any]:
    row = {
        "condition": "top_5", "kind": "heads", "label": "zero heads L0H1", "readout": "attention_L5",
        "reachable": "yes", "difference": -0.0312, "ci_low": -0.05, "ci_high": -0.01, "p_value": 0.002,
        "minimum_detectable": 0.02, "hidden_max": 0.083, "equivalence": "different", "margin": 0.005,
        "is_evidence": True, "n_null": 12, "null_mean": -0.001, "p_random": 0.0769, "p_random_floor": 0.0769,
        "status": "ok", "reason": "",
    } | changes  # fmt: skip
    unreached = row | {
        "condition": "mlp_8", "kind": "mlp", "label": "zero MLPs L8", "reachable": "no", "difference": 0.0,
        "ci_low": 0.0, "ci_high": 0.0, "p_value": np.nan, "equivalence": "", "is_evidence": False, "n_null": 0,
        "status": "structurally_null",
    }  # fmt: skip
    absent = unreached | {"condition": "top_50", "status": "not_applicable", "reachable": ""}
    again = absent | {"readout": "attention_L3"}  # one condition, whichever readout
    table = pd.DataFrame([row, unreached, absent, again]).astype({"is_evidence": "boolean"})
    doses = pd.DataFrame(
        [{"family": "top", "readout": "attention_L5", "doses": "0;1;5", "p_value": 0.01, "slope": -0.02}]
    )
    held = {
        "condition": "top_5",
        "readout": "attention_L5",
        "difference": -0.0123,
        "in_sample": -0.0312,
        "ci_low": -0.02,
    }
    held |= {"ci_high": -0.001, "status": "ok"}
    nothing = held | {"readout": "attention_L3", "status": "structurally_null", "difference": 0.0}
    null = pd.DataFrame({"condition": ["top_5"], "readout": ["attention_L5"], "draw": [0], "difference": [-0.001]})
    return {
        "results": table, "doses": doses, "held_out": pd.DataFrame([held, nothing]), "null": null,
        "fidelity": pd.DataFrame(), "params": {"model": "demo", "n_cells_run": 64},
    }  # fmt: skip


def _ranking() -> dict[str, Any]:
    heads = pd.DataFrame({"layer": [0, 0, 1, 1], "head": [0, 1, 0, 1], "reference_auroc": [0.6, 0.5, 0.55, 0.52]})
    heads["rank_reference"] = [1, 4, 2, 3]
    best = [("reference", 1, 0.6, 0.58, 0.54, 0.4), ("reference", 2, 0.58, 0.51, 0.54, 0.4)]
    best += [("perturbation", 1, 0.7, np.nan, 0.6, np.nan)]
    columns = ["ranking", "k", "in_sample", "held_out", "of_all", "rank_correlation"]
    sources = pd.DataFrame({"gene": ["a", "b", "c"]})
    params = {"model": "demo", "n_cells": 1500}
    return {"heads": heads, "cross_fit": pd.DataFrame(best, columns=columns), "sources": sources, "params": params}


def _sections(**uns: Any) -> dict[str, str]:
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns |= uns
    return {title: " ".join(parts) for title, parts in battery(adata)}


def _plain(markup: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", markup)).replace("\u00a0", " "))


def _said(**changes: Any) -> str:
    return " ".join(sentences(_entry(**changes)))


def test_page_says_what_was_done_could_it_be_felt_did_it_take_effect_did_it_matter() -> None:
    page = _sections(mine=_entry())
    assert list(page) == ["Without some of its heads"]
    said = _plain(page["Without some of its heads"])
    assert "What was done: 2 interventions on demo, read anew on 64 cells" in said
    assert "heads taken out (1) and MLPs taken out (1). 1 condition asked for cannot be made in this model." in said
    assert "Could it be felt: 1 of 2 results cannot be" in said
    assert "says nothing (mlp_8)" in said
    assert "Did it take effect: in 1 of 1 result that can be felt (hidden states moved by more than 0.02" in said
    assert "Did it matter: responders are ranked worse under top_5." in said
    assert "12 random sets of heads by −0.0010 on average" in said
    assert "it is not shown to cost more than others" in said
    assert "falls with the number of top heads taken out (0, 1, 5; p = 0.01)" in said
    assert "judged on the other, top_5 changes AUROC at attention_L5 by −0.0123 (−0.020 to −0.001)" in said
    assert "those that all genes chose, by −0.0312" in said
    assert "attention_L3 by" not in said
    assert "top_5 zero heads L0H1 attention_L5 yes different 0.083 −0.0312" in said
    assert "mlp_8 zero MLPs L8 attention_L5 no, it is made before none: structurally null" in said
    assert "top_50" not in said


def test_every_readout_is_drawn_with_what_cannot_reach_it() -> None:
    entry = _entry()
    other = entry["results"].iloc[:2].assign(readout="attention_L3")
    entry["results"] = pd.concat([entry["results"], other], ignore_index=True)
    page = _sections(head_ablation=entry)["Without some of its heads"]
    described = re.findall(r'alt="([^"]*)"', page)
    assert [text.split(" under ")[0] for text in described] == [
        "Difference of AUROC at attention_L5", "Difference of AUROC at attention_L3",
    ]  # fmt: skip
    assert all("mlp_8 cannot reach it" in text and "top_5 −0.0312" in text for text in described)
    assert "(mlp_8 at attention_L5 and mlp_8 at attention_L3)" in _plain(page)


def test_words_follow_the_numbers() -> None:
    assert "it costs more than others" in _said(p_random=0.01)
    assert "is not shown to cost more than others" in _said(p_random=0.01, difference=0.02)
    assert "they are ranked better under top_5" in _said(difference=0.02)
    assert "nothing changes beyond the margin under top_5" in _said(equivalence="equivalent")
    assert "it stays open under top_5" in _said(equivalence="inconclusive")
    assert "all of 1 result can be" in " ".join(sentences(_entry() | {"results": _entry()["results"].iloc[:1]}))
    weak = {"is_evidence": False, "reason": "hidden states moved by 0.001 at most"}
    assert "in 0 of 1 result that can be felt" in _said(**weak)
    assert "not those of top_5, which are no evidence either way" in _said(**weak)
    assert "no result counts as evidence" in _said(**weak)
    page = _plain(_sections(x=_entry(equivalence="equivalent", **weak))["Without some of its heads"])
    assert "equivalent, no evidence: hidden states moved by 0.001 at most" in page


def test_best_heads_are_told_with_what_they_are_worth_elsewhere() -> None:
    page = _sections(head_ranking=_ranking())
    assert list(page) == ["Heads one by one"]
    said = _plain(page["Heads one by one"])
    assert "4 heads of demo were read on 1,500 cells, from 3 source genes" in said
    assert (
        "The 2 best heads by reference (mean AUROC against the reference): 0.580 where chosen, 0.510 on source genes "
        "that had no part in the choice, 0.540 over all heads." in said
    )
    assert "by perturbation" not in said, "nothing is known of it elsewhere"
    assert page["Heads one by one"].count("<img") == 1


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_several_results_stand_under_their_names(names: list[str]) -> None:
    page = _sections(**{name: _entry() for name in names})["Without some of its heads"]
    assert re.findall(r"<h3>([^<]*)</h3>", page) == (names if len(names) > 1 else [])
