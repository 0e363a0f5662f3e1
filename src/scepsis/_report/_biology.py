"""Sections on what layers know, on regulators one by one, and on what edges go along with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._names import words
from scepsis._core._numbers import ABSENT, count, decimal, enumerate_words, interval, p_value, percent, plural, signed
from scepsis._report._html import bullets, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from scepsis._report._html import Markup

LAYERS, REGULATORS, COEXPRESSION = "characterize_layers", "tf_profile", "attention_vs_coexpression"
PROPERTIES = {"n_listed": "listed targets", "n_targets": "evaluated targets"}
KINDS = {"directed": "directed", "undirected": "no direction", "gene_sets": "gene sets"}


def layers_section(entry: Mapping[str, Any]) -> list[Markup]:
    """What each reference is, how its pairs stand at the best layer, and what is left of that."""
    profile, trends = entry["profile"], entry["trends"]
    versus = str(entry["params"]["versus"])
    partial = entry["partial"]
    ranks = partial[(partial["scale"] == "rank") & (partial["kind"] == "edges")]
    rows, said = [], []
    for _, one in entry["references"].iterrows():
        name = str(one["reference"])
        for curve, own in profile[(profile["reference"] == name) & (profile["kind"] == "edges")].groupby(
            "curve", sort=False
        ):
            trend = trends[(trends["reference"] == name) & (trends["curve"] == curve)]
            rows.append(_row(one, str(curve), own, trend))
            given = ranks[(ranks["reference"] == name) & (ranks["curve"] == curve)]
            said.append(_left(name, str(curve), given))
    head = [
        "reference", "kind", "edges", "status", "listed pairs", "AUROC, lowest and highest layer", "highest layer",
        versus, "best gene feature", "slope per layer", "95 % interval", "Spearman over layers", "p by shifts",
    ]  # fmt: skip
    flat = {str(name): _flat(own, versus) for name, own in profile[profile["kind"] == "baseline"].groupby("reference")}
    for row in rows:
        row[7:7] = flat.get(row[0], [ABSENT, ABSENT])
    caption = "References at every layer; intervals are clustered by gene, since pairs share genes"
    return [bullets([one for one in said if one]), table(caption, head, rows, text_columns=4)]


def _flat(own: pd.DataFrame, versus: str) -> list[str]:
    """AUROC of what layers are compared with, and of the best feature of genes."""
    reached, features = own[own["edges"] == versus], own[own["edges"] != versus]
    return [decimal(part["auroc"].max()) if part["auroc"].notna().any() else ABSENT for part in (reached, features)]


def _row(one: pd.Series[Any], curve: str, own: pd.DataFrame, trend: pd.DataFrame) -> list[str]:
    known = own[own["auroc"].notna()]
    ends = f"{decimal(known['auroc'].min())} to {decimal(known['auroc'].max())}" if len(known) else ABSENT
    layered = len(known) > 0 and known["layer"].min() >= 0
    best = str(int(known["layer"].to_numpy()[known["auroc"].argmax()])) if layered else ABSENT
    told = [ABSENT] * 4
    if len(trend):
        row = trend.iloc[0]
        told = [
            signed(row["slope"], 4),
            interval(row["slope_low"], row["slope_high"], sign=True),
            decimal(row["rho"], 2),
            p_value(row["p_shift"]),
        ]
    status = words(one["status"])
    return [str(one["reference"]), KINDS[str(one["kind"])], curve, status, count(one["n_evaluated"]), ends, best, *told]


def _left(name: str, curve: str, given: pd.DataFrame) -> str:
    """What is left of the strongest correlation with being listed, in a sentence; "" without one."""
    plain = given[(given["given"] == "nothing") & given["p_value"].notna()]
    plain = plain[plain["p_value"] < 0.05]
    if plain.empty:
        return ""
    layer = int(plain["layer"].to_numpy()[plain["partial"].abs().argmax()])
    at = given[given["layer"] == layer].set_index("given")
    parts = []
    for what, known in (("pair", "co-expression"), ("genes", "features of both genes"), ("pair_and_genes", "both")):
        row = at.loc[[what]].iloc[0]
        clear = np.isfinite(row["ci_low"]) and (row["ci_low"] > 0 or row["ci_high"] < 0)
        kept = percent(row["retained"]) if clear else "nothing distinguishable from 0"
        parts.append(f"{kept} given {known}")
    where = f" at layer {layer}" if layer >= 0 else ""
    found = f"Of the correlation of {curve} with {name}{where} ({signed(at['r'].iloc[0])})"
    return f"{found} is left: {'; '.join(parts)}."


def regulators_section(entry: Mapping[str, Any]) -> list[Markup]:
    """How regulators differ, and what goes with it."""
    units, tests, params = entry["per_regulator"], entry["tests"], entry["params"]
    least, enough, several = (int(params[name]) for name in ("min_targets", "min_regulators", "n_several"))
    has = "has" if several == 1 else "have"
    of = count(units["regulator"].nunique())
    said = [f"{plural(several, 'regulator')} of {of} {has} at least {least} evaluated targets."]
    if several < enough:
        said.append(f"These are fewer than {enough}: the tests are underpowered and no inference.")
    known = units[(units["n_targets"] >= least) & units["auroc"].notna()]
    said += [f"{edges}: {_ends(own)}." for edges, own in known.groupby("edges", sort=False)]
    rows = [
        [
            str(row["edges"]), *_asked(str(row["test"])), words(row["status"]),
            count(row["n_units"]), signed(row["statistic"]), p_value(row["p_value"]), p_value(row["q_value"]),
            decimal(row["minimum_detectable"]),
        ]
        for _, row in tests[tests["subset"] == "several_targets"].iterrows()
    ]  # fmt: skip
    head = ["edges", "asked of", "statistic", "status", "regulators", "found", "p", "q", "detectable"]
    caption = f"What goes with the AUROC of regulators that have at least {least} targets"
    return [bullets(said), table(caption, head, rows, text_columns=4)]


def _asked(test: str) -> list[str]:
    kind, name = test.split("/", 1)
    if kind == "class":
        return [f"class {name}", "difference of mean AUROC"]
    return [PROPERTIES.get(name, words(name)), "Spearman"]


def _ends(own: pd.DataFrame) -> str:
    """Median and ends of the AUROCs of regulators, the ends by name."""
    ordered = own.sort_values("auroc", kind="stable")
    low, high = ordered.iloc[0], ordered.iloc[-1]
    return (
        f"median AUROC {decimal(own['auroc'].median())}, from {low['regulator']} ({decimal(low['auroc'])}) "
        f"to {high['regulator']} ({decimal(high['auroc'])})"
    )


def coexpression_section(entry: Mapping[str, Any]) -> list[Markup]:
    """What edges go along with over all pairs, genes being what is permuted."""
    summary, params = entry["summary"], entry["params"]
    rows = [
        [
            str(row["edges"]), words(row["against"]), words(row["status"]),
            count(row["n"]), signed(row["rho"]), decimal(row["null_sd"]), p_value(row["p_value"]),
            percent(row["r2"]), decimal(row["rho_max"]), decimal(row["auroc"]),
        ]
        for _, row in summary.iterrows()
    ]  # fmt: skip
    listed = [str(name) for name in params["references"]]
    said = (
        f"Being listed by {enumerate_words(listed)} is 0 or 1 and rare: its largest possible correlation is beside it, "
        "and the AUROC tells how well pairs are ranked."
        if listed
        else ""
    )
    head = [
        "edges", "along", "status", "pairs", "Spearman", "sd, permuted genes", "p", "linear R²", "largest possible",
        "AUROC",
    ]  # fmt: skip
    caption = f"Correlation over pairs of genes; p-values permute the genes {count(params['n_null'])} times"
    return [bullets([said]), table(caption, head, rows, text_columns=3)]
