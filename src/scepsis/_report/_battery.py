"""Sections on what an audit asked beyond the scores: each only where there is a result to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scepsis import get
from scepsis._core._evidence import reliability
from scepsis._core._keys import TESTS
from scepsis._core._names import named, words
from scepsis._core._numbers import ABSENT, count, decimal, enumerate_words, interval, p_value, percent, plural, signed
from scepsis._core._registry import run_words
from scepsis._core._results import entries
from scepsis._report._biology import (
    COEXPRESSION,
    LAYERS,
    REGULATORS,
    coexpression_section,
    layers_section,
    regulators_section,
)
from scepsis._report._causal import ABLATION, RANKING, causal, ranking
from scepsis._report._components import EFFECTS, MEDIATED, mediation, model_effects
from scepsis._report._html import bullets, table, tag
from scepsis._report._power import power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData

    from scepsis._report._html import Markup

VERDICT, CORRECTED = "verdict", "correct_tests"
#: Sections on causes, the frames that their results hold, and what they say.
CAUSES = (
    ("Heads one by one", RANKING, ranking),
    ("Without some of its heads", ABLATION, causal),
    ("Effects in the model", EFFECTS, model_effects),
    ("Parts of the model", MEDIATED, mediation),
)
#: Measures of a whole ranking; others are of its top.
WHOLE = ("auroc", "auprc")


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
    ]
    sections = [(title, read(entry)) for title, key, read in made if (entry := adata.uns.get(key)) is not None]
    sections += [(title, parts) for title, frames, read in CAUSES if (parts := _each(adata, frames, read))]
    if (entry := adata.uns.get(CORRECTED)) is not None:
        sections.append(("Tests and corrections", _registry(adata, entry)))
    found = power(adata)
    return [*sections, ("What could have been found", found)] if found else sections


def _each(
    adata: AnnData, frames: tuple[str, ...], read: Callable[[AnnData, str, Mapping[str, Any]], list[Markup]]
) -> list[Markup]:
    """What every result with these frames says, each under its name where there are several."""
    found = list(entries(adata, *frames))
    parts = []
    for key, entry in found:
        parts += [tag("h3", key)] * (len(found) > 1) + read(adata, key, entry)
    return parts


def first_criterion(adata: AnnData) -> dict[str, bool | None]:
    """Whether edges are better than each feature of single genes, by the verdict, for the edges that it judged."""
    if VERDICT not in adata.uns:
        return {}
    rows = adata.uns[VERDICT]["criteria"]
    rows = rows[rows["criterion"] == "a"]
    known = zip(rows["edges"].astype(str), rows["passed"], strict=True)
    return {name: None if pd.isna(passed) else bool(passed) for name, passed in known}


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
        found = _holds(row["passed"])
        reason = str(row["reason"]).removeprefix(f"{found}: ")
        name = str(row["criterion"])
        rows.append([str(row["edges"]), name if name == "overall" else f"({name})", str(row["question"]), found,
                     _beside(row), reason, reliability(own) or ABSENT])  # fmt: skip
    head = ["edges", "criterion", "asked", "found", "beside", "because", "reliability"]
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
    head = [
        "edges", "held out", "learner", "metric", "finding", "gene features", "gain", "95 % interval",
        "gain over placebo", "95 % interval", "detectable",
    ]  # fmt: skip
    caption = (
        "What edges add to a model of gene features, out of fold; the placebo are the same edges permuted within "
        f"perturbations ({plural(int(entry['params']['n_placebo']), 'draw')})"
    )
    whole = gains["metric"].isin(WHOLE)
    shown = [table(caption, head, _gain_rows(gains[whole]), text_columns=5)]
    if whole.all():
        return shown
    summary = "The same for the top of the lists (recall)"
    return [
        *shown,
        tag("details", tag("summary", summary), table(caption, head, _gain_rows(gains[~whole]), text_columns=5)),
    ]


def _gain_rows(gains: pd.DataFrame) -> list[list[str]]:
    return [
        [
            str(row["edges"]), named(row["split"]), named(row["learner"]), named(row["metric"]), _status(row),
            decimal(row["gene_only"]), signed(row["gain"]), interval(row["ci_low"], row["ci_high"], sign=True),
            signed(row["gain_placebo"]), interval(row["placebo_low"], row["placebo_high"], sign=True),
            decimal(row["minimum_detectable"]),
        ]
        for _, row in gains.iterrows()
    ]  # fmt: skip


def _status(row: pd.Series[Any]) -> str:
    if row["status"] != "ok":
        return words(row["status"])
    if str(row["reason"]) == "saturated":
        return "at its ceiling"
    return str(row["equivalence"]) or ABSENT


def _residual(entry: Mapping[str, Any]) -> list[Markup]:
    summary = entry["summary"]
    rows = [
        [
            str(row["edges"]), named(row["residualizer"]), named(row["split"]), words(row["status"]),
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
            str(row["edges"]), words(row["kind"]), named(row["null"]),
            words(row["status"]), decimal(row["observed"]), signed(row["degree"]),
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
        [str(row["design"]), named(row["covariate"]), "yes" if row["balanced"] else "no",
         signed(row["smd_before"], 2), signed(row["smd_after"], 2)]
        for _, row in balance.iterrows()
    ]  # fmt: skip
    told = [
        [str(row["design"]), str(row["edges"]), named(row["features"]), "residual imbalance"
         if row["residual_imbalance"] else words(row["status"]), decimal(row["auroc_gene_only"]),
         signed(row["gain"]), interval(row["ci_low"], row["ci_high"], sign=True)]
        for _, row in gains.iterrows()
    ]  # fmt: skip
    uneven = balance[(balance["design"] == "within") & ~balance["balanced"].astype(bool)]
    names = enumerate_words([named(name) for name in uneven["covariate"]])
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
        [words(row["family"]), str(row["edges"]) or "all", words(row["excluded"]) or ABSENT,
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
