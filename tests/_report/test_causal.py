from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import pandas as pd

from scepsis._report._causal import causal


def _entry(**changes: Any) -> dict[str, Any]:
    row = {
        "condition": "top_5", "label": "zero heads L0H1", "readout": "attention_L5", "reachable": "yes",
        "difference": -0.0312, "ci_low": -0.05, "ci_high": -0.01, "p_value": 0.002, "minimum_detectable": 0.02,
        "hidden_max": 0.083, "equivalence": "different", "is_evidence": True, "n_null": 12, "null_mean": -0.001,
        "p_random": 0.0769, "p_random_floor": 0.0769, "status": "ok", "reason": "",
    } | changes  # fmt: skip
    unreached = row | {
        "condition": "mlp_8", "label": "zero MLPs L8", "reachable": "no", "difference": 0.0, "ci_low": 0.0,
        "ci_high": 0.0, "p_value": np.nan, "equivalence": "", "is_evidence": False, "n_null": 0,
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
    told = pd.DataFrame([held, nothing])
    return {"results": table, "doses": doses, "held_out": told, "params": {"model": "demo", "n_cells_run": 64}}


def text(**changes: Any) -> str:
    plain = unescape(re.sub(r"<[^>]+>", " ", " ".join(causal(_entry(**changes)))))
    return re.sub(r"\s+", " ", plain.replace("\u00a0", " "))


def test_page_says_what_was_done_could_it_reach_did_it_bite_did_it_matter() -> None:
    said = text()
    assert "taken out of demo, and attention was read anew on 64 cells" in said
    assert "top_5 zero heads L0H1 attention_L5 yes different 0.083 −0.0312" in said
    assert "mlp_8 zero MLPs L8 attention_L5 no, it is made before none: structurally null" in said
    assert "12 random sets of heads by −0.0010 on average" in said
    assert "it costs no more than others" in said
    assert "falls with the number of top heads taken out (0, 1, 5; p = 0.01)" in said
    assert "Of 2 results, 1 cannot reach what is read and say nothing, and 1 count as evidence" in said
    assert "judged on the other, top_5 changes AUROC at attention_L5 by −0.0123 (−0.020 to −0.001)" in said
    assert "those that all genes chose, by −0.0312" in said
    assert "attention_L3 by" not in said
    assert "1 condition of the paper do not exist" in said
    assert "top_50" not in said


def test_words_follow_the_numbers() -> None:
    assert "it costs more than others" in text(p_random=0.01)
    assert "equivalent, no evidence: hidden states moved by 0.001" in text(
        equivalence="equivalent", is_evidence=False, reason="hidden states moved by 0.001"
    )
