"""Sections on what an audit asked beyond the scores: each only where there is a result to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scepsis import get
from scepsis._core._gene_table import FEATURES
from scepsis._core._keys import HEAD_ABLATION, TESTS
from scepsis._core._numbers import ABSENT, count, decimal, enumerate_words, interval, p_value, percent, plural, signed
from scepsis._core._registry import run_words
from scepsis._report._biology import (
    COEXPRESSION,
    LAYERS,
    REGULATORS,
    coexpression_section,
    layers_section,
    regulators_section,
)
from scepsis._report._causal import causal
from scepsis._report._components import mediation, model_effects
from scepsis._report._html import bullets, table, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData

    from scepsis._report._html import Markup

VERDICT, CORRECTED = "verdict", "correct_tests"
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


def battery(adata: AnnData) -> list[tuple[str, list[Markup]]]:
    """Title and content of every section that there are results for, the verdict first."""
    made: list[tuple[str, str, Callable[[Mapping[str, Any]], list[Markup]]]] = [
        ("Verdict", VERDICT, lambda entry: _verdict(adata, entry)),
        ("Incremental value", "incremental_value", _incremental),
        ("What gene features leave", "residualize_edges", _residual),
        ("Against degrees", "degree_null", _degree),
        ("Among matched targets", "matched_evaluation", _matched),
        ("What layers know", LAYERS, layers_section),
        ("Regulators one by one", REGULATORS, regulators_section),
        ("Along co-expression", COEXPRESSION, coexpression_section),
        ("Without some of its heads", HEAD_ABLATION, causal),
        ("Effects in the model", "model_effects", model_effects),
        ("Parts of the model", "mediation", mediation),
        ("Tests and corrections", CORRECTED, lambda entry: _registry(adata, entry)),
    ]
    sections = [(title, read(entry)) for title, key, read in made if (entry := adata.uns.get(key)) is not None]
    power = _power(adata)
    return [*sections, ("What could have been found", power)] if power else sections


def first_criterion(adata: AnnData) -> dict[str, bool | None]:
    """Whether edges are better than each feature of single genes, by the verdict, for the edges that it judged."""
    if VERDICT not in adata.uns:
        return {}
    rows = adata.uns[VERDICT]["criteria"]
    rows = rows[rows["criterion"] == "a"]
    known = zip(rows["edges"].astype(str), rows["passed"], strict=True)
    return {name: None if pd.isna(passed) else bool(passed) for name, passed in known}


def _words(text: object) -> str:
    return str(text).replace("_", " ")


def _holds(value: Any) -> str:
    return "not assessable" if pd.isna(value) else "holds" if value else "fails"


def _verdict(adata: AnnData, entry: Mapping[str, Any]) -> list[Markup]:
    criteria, evidence = entry["criteria"], entry["evidence"]
    overall = criteria[criteria["criterion"] == "overall"]
    said = [
        f"{row['edges']}: the verdict {_overall(row['passed'])} ({row['reason']})." for _, row in overall.iterrows()
    ]
    rows = []
    for _, row in criteria.iterrows():
        own = evidence[(evidence["edges"] == row["edges"]) & (evidence["criterion"] == row["criterion"])]
        ran = own[own["test_id"] != ""]
        often = run_words(ran[["n_runs", "n_distinct_params"]].max()) if len(ran) else ABSENT
        found = _holds(row["passed"])
        reason = str(row["reason"]).removeprefix(f"{found}: ")
        name = str(row["criterion"])
        rows.append([str(row["edges"]), name if name == "overall" else f"({name})", str(row["question"]), found,
                     _beside(row), reason, often])  # fmt: skip
    head = ["edges", "criterion", "asked", "found", "beside", "because", "tests"]
    told = table("Criteria, all of which must hold", head, rows, text_columns=7)
    if TESTS not in adata.uns:
        return [bullets(said), told]
    claims = get.claims(adata, edges=list(dict.fromkeys(criteria["edges"])))
    listed = [[row["edges"], row["claim"], row["verdict"], row["reason"]] for _, row in claims.iterrows()]
    head = ["edges", "claim", "verdict", "because"]
    return [bullets(said), told, table("What may be claimed", head, listed, text_columns=4)]


def _overall(passed: Any) -> str:
    if pd.isna(passed):
        return "is open: no criterion fails, and not all can be assessed"
    return "holds: every criterion does" if passed else "is negative"


def _beside(row: pd.Series[Any]) -> str:
    said = []
    if not pd.isna(row["strict"]):
        said.append(f"stronger comparators {'beaten' if row['strict'] else 'not beaten'}")
    if not pd.isna(row["material"]):
        said.append(f"gain {'of' if row['material'] else 'not of'} a size that matters")
    return "; ".join(said) or ABSENT


def _incremental(entry: Mapping[str, Any]) -> list[Markup]:
    gains = entry["gains"]
    rows = [
        [
            str(row["edges"]), str(row["split"]), str(row["learner"]), str(row["metric"]), _status(row),
            decimal(row["gene_only"]), signed(row["gain"]), interval(row["ci_low"], row["ci_high"], sign=True),
            signed(row["gain_placebo"]), interval(row["placebo_low"], row["placebo_high"], sign=True),
            decimal(row["minimum_detectable"]),
        ]
        for _, row in gains.iterrows()
    ]  # fmt: skip
    head = [
        "edges", "held out", "learner", "metric", "finding", "gene features", "gain", "95 % interval",
        "gain over placebo", "95 % interval", "detectable",
    ]  # fmt: skip
    caption = (
        "What edges add to a model of gene features, out of fold; the placebo are the same edges permuted within "
        f"perturbations ({plural(int(entry['params']['n_placebo']), 'draw')})"
    )
    return [table(caption, head, rows, text_columns=5)]


def _status(row: pd.Series[Any]) -> str:
    if row["status"] != "ok":
        return _words(row["status"])
    if str(row["reason"]) == "saturated":
        return "at its ceiling"
    return str(row["equivalence"]) or ABSENT


def _residual(entry: Mapping[str, Any]) -> list[Markup]:
    summary = entry["summary"]
    rows = [
        [
            str(row["edges"]), str(row["residualizer"]), str(row["split"]), _words(row["status"]),
            decimal(row["r2"], 2), decimal(row["auroc_raw"]), decimal(row["auroc"]),
            interval(row["ci_low"], row["ci_high"]), percent(row["retention"]),
            _shares(row["retention_low"], row["retention_high"]),
        ]
        for _, row in summary[summary["variant"] == "magnitude"].iterrows()
    ]  # fmt: skip
    head = [
        "edges", "taken away by", "held out", "status", "R²", "AUROC before", "AUROC after", "95 % interval",
        "retained", "95 % interval",
    ]  # fmt: skip
    reference = entry["params"].get("reference", "")
    against = f", and what that leaves of their AUROC on {reference}" if reference else ""
    return [table(f"What gene features or node effects explain of edges{against}", head, rows, text_columns=4)]


def _shares(low: float, high: float) -> str:
    shown = [percent(low), percent(high)]
    return ABSENT if ABSENT in shown else " to ".join(shown)


def _degree(entry: Mapping[str, Any]) -> list[Markup]:
    summary = entry["summary"]
    rows = [
        [
            str(row["edges"]), _words(row["kind"]), _words(row["null"]),
            _words(row["status"]), decimal(row["observed"]), signed(row["degree"]),
            signed(row["residual"]), decimal(row["z"], 2), p_value(row["p_value"]),
        ]
        for _, row in summary[summary["statistic"] == "pooled"].iterrows()
    ]  # fmt: skip
    params = entry["params"]
    mixed = "mixed" if params["mixed"] else "did not mix, so that there is no p-value"
    said = f"The chains of rewired networks {mixed}: {percent(params['overlap'])} of the listed pairs stay, on average."
    head = ["score", "kind", "null", "status", "AUROC", "by the null", "above it", "z", "p (one-sided)"]
    caption = "AUROC on the reference, as 0.5, what the null gives above that, and what is above the null"
    return [bullets([said]), table(caption, head, rows, text_columns=4)]


def _matched(entry: Mapping[str, Any]) -> list[Markup]:
    balance, gains = entry["balance"], entry["gains"]
    rows = [
        [str(row["design"]), _words(row["covariate"]), "yes" if row["balanced"] else "no",
         signed(row["smd_before"], 2), signed(row["smd_after"], 2)]
        for _, row in balance.iterrows()
    ]  # fmt: skip
    told = [
        [str(row["design"]), str(row["edges"]), str(row["features"]), "residual imbalance"
         if row["residual_imbalance"] else _words(row["status"]), decimal(row["auroc_gene_only"]),
         signed(row["gain"]), interval(row["ci_low"], row["ci_high"], sign=True)]
        for _, row in gains.iterrows()
    ]  # fmt: skip
    uneven = balance[(balance["design"] == "within") & ~balance["balanced"].astype(bool)]
    names = enumerate_words([_words(name) for name in uneven["covariate"]])
    said = f"Matched responders still differ in {names}: what is registered is no evidence." if names else ""
    head = ["design", "covariate", "balanced", "difference before", "difference after"]
    return [
        bullets([said]),
        table("Standardised mean differences between responders and their partners", head, rows, text_columns=3),
        table("What edges add to gene features among matched targets",
              ["design", "edges", "features", "status", "gene features", "gain", "95 % interval"], told,
              text_columns=4),
    ]  # fmt: skip


def _registry(adata: AnnData, entry: Mapping[str, Any]) -> list[Markup]:
    families, params = entry["families"], entry["params"]
    rows = [
        [_words(row["family"]), str(row["edges"]) or "all", _words(row["excluded"]) or ABSENT,
         count(row["n_rows"]), count(row["n"]), count(row["n_significant"]), count(row["n_significant_by"])]
        for _, row in families.iterrows()
    ]  # fmt: skip
    inferences = plural(int(params["n_inferences"]), "inference")
    stable = f"Of {inferences} that are in all families, {count(params['n_stable'])} are significant in all or in none."
    said = [f"{plural(int(params['n_tests']), 'test')} on record.", stable]
    said += [
        f"{row['analysis']} of {row['edges']} ({row['key']}): {run_words(row)}."
        for _, row in entry["reruns"].iterrows()
    ]
    stale = TESTS in adata.uns and len(adata.uns[TESTS]) != int(params["n_tests"])
    if stale:
        said.append("Tests were added since they were corrected; call `scepsis.tl.correct_tests` anew.")
    head = ["family", "edges", "left out", "rows", "tests", "significant", "under any dependence"]
    caption = f"Corrections for how many tests there are, at a false discovery rate of {percent(params['alpha'])}"
    return [bullets(said), table(caption, head, rows, text_columns=3)]


def _power(adata: AnnData) -> list[Markup]:
    """Smallest planted signal that each analysis detects, and smallest effect that each test would have found."""
    rows = []
    for key, what in PLANTED.items():
        frame = adata.uns[key].get("detection") if key in adata.uns else None
        if frame is None or frame.empty:
            continue
        if "versus" in frame:  # criterion (a), and chance; the frame has the other comparisons too
            frame = frame[frame["versus"].isin(["chance", *FEATURES])]
            frame = frame.assign(versus="against " + frame["versus"].map(_words))
        by = ["edges", *(name for name in ("residualizer", "test", "versus", "against", "readout") if name in frame)]
        for names, own in frame.groupby(by, sort=False):
            found = own.loc[own["detected"].astype(bool), "delta"]
            smallest = f"{found.min():g} sd" if len(found) else f"none up to {own['delta'].max():g} sd"
            rows.append([what, ", ".join(str(name) for name in names), smallest])
    told = []
    if rows:
        head = ["analysis", "edges", "smallest signal seen"]
        told = [
            table("Signals planted in half of the positives, and seen by the same pipeline", head, rows, text_columns=2)
        ]
    if TESTS in adata.uns:
        told += _detectable(get.tests(adata, status="ok"))
    return told if rows else []


def _detectable(tests: pd.DataFrame) -> list[Markup]:
    known = tests[tests["minimum_detectable"].notna() & (tests["role"] == "confirmatory")]
    rows = [
        [str(row["edges"]), str(row["analysis"]), str(row["name"]), str(row["effect_type"]), signed(row["effect_size"]),
         decimal(row["minimum_detectable"]), str(row["equivalence"]) or ABSENT]
        for _, row in known.iterrows()
    ]  # fmt: skip
    if not rows:
        return []
    head = ["edges", "analysis", "test", "effect", "found", "detectable", "conclusion"]
    return [tag("details", tag("summary", "Smallest effects that confirmatory tests would have found with 80 % "
                               "probability"), table("Confirmatory tests", head, rows, text_columns=4))]  # fmt: skip
