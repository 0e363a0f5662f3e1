"""The section on what could have been found: planted signals that were seen, and detectable effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis import get
from scepsis._core._analyses import ANALYSES
from scepsis._core._gene_table import FEATURES
from scepsis._core._keys import HEAD_ABLATION, TESTS
from scepsis._core._numbers import ABSENT, decimal, signed
from scepsis._report._biology import COEXPRESSION, REGULATORS
from scepsis._report._html import table, tag
from scepsis._report._names import named, words_of_test
from scepsis._report._sentences import words

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from scepsis._report._html import Markup

#: Results with a planted signal, and what is said to be detected by them.
PLANTED = {
    "perturbation_auroc": "AUROC of responders",
    "incremental_value": "gain in AUROC over gene features",
    "matched_evaluation": "gain in AUROC among matched targets",
    "residualize_edges": "AUROC of residual edges",
    "reference_auroc": "AUROC on the reference",
    "degree_null": "AUROC above the degree-preserving null",
    "circularity": "loss of AUROC on pairs of known mode (signal in those of unknown mode)",
    "matched_negatives": "AUROC against pairs whose genes are expressed alike",
    "select_layer": "held-out difference of the chosen layer",
    "cssi_null": "AUROC of states on the reference",
    "cssi_split_half": "held-out AUROC of states on the reference",
    "scaling_curve": "change of recovery with the number or kind of cells",
    REGULATORS: "difference between regulators (signal in those of the class, or high in the property)",
    COEXPRESSION: "correlation over pairs, under permuted genes",
    HEAD_ABLATION: "AUROC that is lost without heads",
}
#: Columns that tell tests of one analysis apart, and what is said before their values.
APART = {
    "residualizer": "gene features taken away by {}",
    "test": "{}",
    "split": "{} held out",
    "learner": "{}",
    "versus": "against {}",
    "against": "with {}",
    "condition": "without the heads of {}",
    "readout": "read at {}",
}


def power(adata: AnnData) -> list[Markup]:
    """Smallest planted signal that each analysis detects, and smallest effect that each test would have found."""
    rows = []
    for key, what in PLANTED.items():
        frame = adata.uns[key].get("detection") if key in adata.uns else None
        if frame is None or frame.empty:
            continue
        if "versus" in frame:  # criterion (a), and chance; the frame has the other comparisons too
            frame = frame[frame["versus"].isin(["chance", *FEATURES])]
        apart = [name for name in APART if name in frame]
        for names, own in frame.groupby(["edges", *apart], sort=False):
            found = own.loc[own["detected"].astype(bool), "delta"]
            smallest = f"{found.min():g} sd" if len(found) else f"none up to {own['delta'].max():g} sd"
            judged = [
                APART[name].format(_value(name, str(value))) for name, value in zip(apart, names[1:], strict=True)
            ]
            rows.append([what, str(names[0]), ", ".join(judged) or ABSENT, smallest])
    if not rows:
        return []
    head = ["analysis", "edges", "judged", "smallest signal seen"]
    caption = "Signals planted in half of the positives, and seen by the same pipeline"
    told = [table(caption, head, rows, text_columns=3)]
    if TESTS in adata.uns:
        told += _detectable(get.tests(adata, status="ok"))
    return told


def _value(column: str, value: str) -> str:
    told = words_of_test(value)
    return words(told) if column == "test" else told


def _detectable(tests: pd.DataFrame) -> list[Markup]:
    known = tests[tests["minimum_detectable"].notna() & (tests["role"] == "confirmatory")]
    rows = [
        (
            str(row["edges"]) or "all", ANALYSES[str(row["analysis"])].title, words_of_test(str(row["name"])),
            _effect(str(row["effect_type"])), _found(str(row["effect_type"]), row["effect_size"]),
            decimal(row["minimum_detectable"]), str(row["equivalence"]) or ABSENT,
        )
        for _, row in known.iterrows()
    ]  # fmt: skip
    if not rows:
        return []
    head = ["edges", "analysis", "test", "effect", "found", "detectable", "conclusion"]
    summary = "Smallest effects that confirmatory tests would have found with 80 % probability"
    return [
        tag("details", tag("summary", summary), table("Confirmatory tests", head, dict.fromkeys(rows), text_columns=4))
    ]


def _effect(kind: str) -> str:
    return " ".join(named(word) for word in kind.split(" "))


def _found(kind: str, value: float) -> str:
    """A difference with its sign, and an AUROC without one."""
    return decimal(value) if kind == "AUROC" else signed(value)
