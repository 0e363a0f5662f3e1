"""Sentences about edges, each computed from the rows that it speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._numbers import count, decimal, enumerate_words, equals, interval, plural, signed
from scepsis._report._findings import (
    ALPHA,
    MIN_UNITS,
    TRIVIAL,
    beats_trivial,
    finding,
    is_barred,
    is_significant,
    is_twin,
    level,
    trivial_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from scepsis._report._findings import Finding

LEAK = " Perturbed cells were among those that edges were made from, so this supports nothing."
NO_INFERENCE = f"with fewer than {MIN_UNITS} no inference is possible"
#: How a group of comparisons is introduced.
GROUPS: dict[Finding, str] = {
    "better": "better than",
    "worse": "worse than",
    "equal": "equal within the margin to",
    "undecided": "not shown to differ from",
    "no inference": "compared, without inference, with",
}


def against_chance(row: pd.Series[Any]) -> str:
    """One predictor against an AUROC of one half, from its row of the summary."""
    name, where = row["predictor"], level(row)
    if where == "not scored":
        return f"{name} was not scored ({words(row['status'])})."
    mean = f"mean AUROC {decimal(row['auroc'])} over {plural(row['n_units'], 'perturbation')}"
    if where == "no inference":
        reason = NO_INFERENCE if row["n_units"] < MIN_UNITS else f"no test is possible ({words(row['status'])})"
        return f"{name}: {mean}; {reason}."
    told = {
        "above": "ranks responders above chance",
        "below": "ranks responders below chance",
        "undecided": "is not shown to differ from chance",
    }[where]
    numbers = f"95 % interval {interval(row['ci_low'], row['ci_high'])}, {equals('p', row['p_value'])}"
    return f"{name} {told}: {mean} ({numbers}).{LEAK if is_barred(row) else ''}"


def comparison(row: pd.Series[Any]) -> str:
    """One predictor against another, from their row of the contrasts."""
    edges, versus, found = row["edges"], row["versus"], finding(row)
    if found == "not compared":
        return f"{edges} was not compared with {versus} ({words(row['status'])})."
    units = plural(row["n_units"], "perturbation")
    difference = f"mean AUROC differs by {signed(row['difference'])}"
    if found == "no inference":
        reason = NO_INFERENCE if row["n_units"] < MIN_UNITS else f"no test is possible ({words(row['status'])})"
        return f"{edges} against {versus}: {difference} over {units}; {reason}."
    between = interval(row["twoway_low"], row["twoway_high"], sign=True)
    numbers = f"{difference} (95 % interval {between}, {equals('q', row['q_value'])}, {units})"
    margin = decimal(row["margin"], 2)
    told = {
        "better": f"{edges} ranks responders better than {versus}",
        "worse": f"{edges} ranks responders worse than {versus}",
        "equal": f"{edges} and {versus} rank responders equally well, within a margin of {margin}",
        "undecided": f"It cannot be told whether {edges} or {versus} ranks responders better",
    }[found]
    return f"{told}: {numbers}.{_second_opinion(row, found)}{LEAK if is_barred(row) else ''}"


def _second_opinion(row: pd.Series[Any], found: Finding) -> str:
    """What the signed-rank test adds where it does not agree, and what could have been seen."""
    tested = equals("q", row["q_value"])
    if found in {"better", "worse"} and not is_significant(row):
        return f" The signed-rank test over perturbations does not confirm it ({tested})."
    if found == "equal" and is_significant(row):
        return f" The signed-rank test over perturbations finds the difference, small as it is ({tested})."
    if found != "undecided":
        return ""
    power = ""
    if np.isfinite(row["minimum_detectable"]):
        power = f" A difference of {decimal(row['minimum_detectable'])} would have been found with 80 % probability."
    if is_significant(row):
        power += " The signed-rank test over perturbations, which takes the genes as given, finds one."
    return power


def against_trivial(contrasts: pd.DataFrame, edges: str) -> str:
    """Edges against the features of the target gene that every table is read by."""
    rows = trivial_rows(contrasts, edges)
    grouped: dict[str, list[str]] = {}
    for name, row in rows.items():
        found = "not compared" if row is None else finding(row)
        text = name if row is None or found == "not compared" else f"{name} ({signed(row['difference'])})"
        grouped.setdefault(GROUPS.get(found, "not compared with"), []).append(text)
    order = [*GROUPS.values(), "not compared with"]
    parts = [f"{intro} {enumerate_words(grouped[intro])}" for intro in order if intro in grouped]
    return f"Against features of the target gene alone, {edges} is {enumerate_words(parts)}."


def conclusion(contrasts: pd.DataFrame, edges: str) -> str:
    """What may be claimed for edges."""
    if beats_trivial(contrasts, edges):
        return (
            f"In this screen {edges} ranks responders better than the variance, the mean and the detection rate of the "
            "target gene do. That is an association (claim level 1 of 4, decoding): responses include indirect ones, "
            "and nothing here speaks for a mechanism."
        )
    rows = trivial_rows(contrasts, edges)
    found = {name: "not compared" if row is None else finding(row) for name, row in rows.items()}
    leaks = any(row is not None and is_barred(row) for row in rows.values())
    if leaks or "no inference" in found.values():
        return f"Whether {edges} ranks responders better than features of single genes do cannot be assessed here."
    if lost := [f"the {words(name)}" for name, told in found.items() if told in {"worse", "equal"}]:
        return f"In this screen {edges} ranks responders no better than {enumerate_words(lost)} of the target gene."
    if "not compared" in found.values():
        return f"Whether {edges} ranks responders better than features of single genes do cannot be assessed here."
    return f"It is not shown that {edges} ranks responders better than features of single genes do."


def against_control(row: pd.Series[Any]) -> str:
    """Edges of a trained model against those of the same model with random weights."""
    found = finding(row)
    if found in {"equal", "worse", "undecided"}:
        learned = f" So the score of {row['edges']} is not shown to come from what the model learned."
        return comparison(row) + learned
    return comparison(row)


def best(summary: pd.DataFrame) -> str:
    """The predictor with the highest mean."""
    scored = summary[summary["auroc"].notna()]
    if scored.empty:
        return "No predictor could be scored."
    top = scored.iloc[int(scored["auroc"].to_numpy().argmax())]
    kind = {"baseline": "a feature of single genes", "control": "a control"}.get(str(top["kind"]), "edges")
    return f"The highest mean AUROC is that of {top['predictor']} ({decimal(top['auroc'])}), {kind}."


def within_deciles(deciles: pd.DataFrame, predictor: str) -> str:
    """AUROC among genes of similar expression; empty where there is none."""
    own = deciles[(deciles["predictor"] == predictor) & deciles["auroc"].notna()]
    if own.empty:
        return ""
    values = own["auroc"].to_numpy(dtype=float)
    mean = np.average(values, weights=own["n_units"].to_numpy(dtype=float))
    return (
        f"Among candidate genes of similar mean expression, the AUROC of {predictor} averages {decimal(mean)} over "
        f"{plural(len(values), 'class', 'classes')} (from {decimal(values.min())} to {decimal(values.max())}; averages "
        "weighted by perturbations)."
    )


def headline(contrasts: pd.DataFrame, summary: pd.DataFrame, edges: str) -> list[str]:
    """Edges against chance, features of single genes, other edges and the same model with random weights."""
    row = summary[summary["predictor"] == edges].iloc[0]
    sentences = [against_chance(row), against_trivial(contrasts, edges)]
    for _, other in contrasts[contrasts["edges"] == edges].iterrows():
        if is_twin(edges, other["versus"]):
            sentences.append(against_control(other))
        elif other["versus_kind"] == "edges":
            sentences.append(comparison(other))
    return sentences


def remaining(contrasts: pd.DataFrame, edges: str) -> list[str]:
    """Comparisons that the headline does not spell out."""
    own = contrasts[(contrasts["edges"] == edges) & (contrasts["versus_kind"] != "edges")]
    return [comparison(row) for _, row in own.iterrows() if not is_twin(edges, row["versus"])]


def rules() -> str:
    """How numbers became words, for the foot of the page."""
    return (
        f"Words follow from rules. Better, worse, equal and undecided rest on the interval of the difference that is "
        f"clustered by perturbation and by gene: its 90 % version inside the margin is called equal, a 95 % version "
        f"without zero is called better or worse, anything else is undecided. p is from Student's t test against one "
        f"half and q from Wilcoxon's signed-rank test over perturbations, corrected by Benjamini-Hochberg; both are "
        f"read at {ALPHA}. Fewer than {count(MIN_UNITS)} perturbations allow no inference. Edges are said to be better "
        f"than features of single genes only when they are better than each of {enumerate_words(list(TRIVIAL))}, by "
        "interval and by test."
    )
