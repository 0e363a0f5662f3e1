"""What audits of several contexts found, side by side: estimates, their summary, pairs, verdicts and claims."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._keys import TESTS, EffectKeys
from scepsis._core._registry import Row, read_tests
from scepsis._core._validate import listing
from scepsis.stats._meta_analysis import (
    deviations,
    differences,
    error_of_interval,
    random_effects,
    two_sided,
)
from scepsis.stats._multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anndata import AnnData

    from scepsis.stats._meta_analysis import (
        RandomEffects,
    )

#: Analyses that an audit makes in every context, and whose tests are compared; A06 holds variants of A05, and what
#: A02, A03 and A07 say is of one context.
COMPARED = ("A01", "A04", "A05", "A08", "A09", "A10", "A11", "R")
#: What makes rows of different contexts the same quantity.
QUANTITY = ["edges", "analysis", "name", "reference", "effects"]
#: Key of the audit's table of single layers.
LAYERS = "perturbation_auroc_layers"
UNKNOWN = "unknown"
#: What else modalities are called, in small letters and digits.
_SPELLINGS = {
    "interference": "crispri", "crisprinterference": "crispri", "activation": "crispra", "crispractivation": "crispra",
    "ko": "knockout", "crisprko": "knockout", "crisprknockout": "knockout",
}  # fmt: skip
UNDERPOWERED = "underpowered"
TOO_FEW = "too_few_units"
#: Perturbations (or regulators) below which a context can claim no equivalence.
MIN_POWERED = 10


@dataclass(frozen=True)
class Modality:
    """How genes were perturbed in a context, as declared, and who says so."""

    name: str = UNKNOWN
    source: str = ""

    @property
    def kind(self) -> str:
        """The modality, however it is written; "" where it is not said."""
        plain = re.sub(r"[^a-z0-9]", "", self.name.casefold())
        return "" if plain in {UNKNOWN, "na", "nan", "none"} else _SPELLINGS.get(plain, plain)

    @property
    def verified(self) -> bool:
        return bool(self.kind) and bool(self.source.strip())


def estimates(contexts: Mapping[str, AnnData], edges: Sequence[str], min_powered: int) -> pd.DataFrame:
    """Every compared test of every context: one row for each, with its standard error and whether it is pooled."""
    parts = []
    for name, adata in contexts.items():
        tests = read_tests(adata) if TESTS in adata.uns else None
        if tests is None:
            continue
        asked = tests["edges"].isin(edges) | (tests["key"] == LAYERS)
        own = tests[tests["analysis"].isin(COMPARED) & asked & (tests["status"] != "not_run")]
        own = own.drop_duplicates(QUANTITY, keep="last").reset_index(drop=True)
        parts.append(own.assign(context=name))
    found = pd.concat(parts, ignore_index=True)
    units = found["n_units"].to_numpy()
    few = found["status"].isin(["ok", TOO_FEW]).to_numpy() & (units < min_powered)
    found["standard_error"] = [
        error_of_interval(low, high, n) for low, high, n in zip(found["ci_low"], found["ci_high"], units, strict=True)
    ]
    # no more ranks than two to the power of units: the smallest p-value of a two-sided signed-rank test
    found["smallest_p"] = np.where(units > 0, np.minimum(2.0 ** (1 - np.minimum(units, 1000)), 1.0), np.nan)
    found.loc[few, "equivalence"] = ""
    found.loc[few & (found["status"] == "ok"), "status"] = UNDERPOWERED
    found["pooled"] = (found["status"] == "ok") & found[["effect_size", "standard_error"]].notna().all(axis=1)
    columns = [
        "context", *QUANTITY, "role", "effect_size", "effect_type", "ci_low", "ci_high", "standard_error", "statistic",
        "p_raw", "smallest_p", "n_units", "unit", "equivalence", "margin", "minimum_detectable", "pooled", "status",
    ]  # fmt: skip
    order = {name: place for place, name in enumerate(dict.fromkeys([*edges, *found["edges"]]))}
    found["order"] = found["edges"].map(order)
    found = found.sort_values(["order", *QUANTITY[1:]], kind="stable")[columns].reset_index(drop=True)
    return _with_deviations(found)


def _groups(frame: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Rows of each quantity, in their order."""
    for key, rows in frame.groupby(QUANTITY, sort=False):
        yield dict(zip(QUANTITY, key, strict=True)), rows


def _with_deviations(frame: pd.DataFrame) -> pd.DataFrame:
    """Add how far each pooled context is from what the others predict, corrected over the contexts of a quantity."""
    z, q = np.full(len(frame), np.nan), np.full(len(frame), np.nan)
    for _, rows in _groups(frame):
        own = rows.index[rows["pooled"].to_numpy()]
        z[own] = deviations(*_numbers(frame.loc[own]))
        q[own] = benjamini_hochberg(np.array([two_sided(value) for value in z[own]]))
    return frame.assign(
        deviation=z, p_deviation=[two_sided(value) for value in z], q_deviation=q, deviates=_boolean(q < 0.05, q)
    )


def _boolean(values: Any, known: Any) -> pd.Series[Any]:
    result = pd.Series(values, dtype="boolean")
    result[np.isnan(known)] = None
    return result


def _numbers(rows: pd.DataFrame) -> tuple[Any, Any]:
    return rows["effect_size"].to_numpy(dtype=float), rows["standard_error"].to_numpy(dtype=float)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each quantity: mean over the contexts that have power, and how far they differ."""
    rows = []
    for quantity, own in _groups(frame):
        pooled = own[own["pooled"]]
        found = random_effects(*_numbers(pooled))
        margin = float(own["margin"].iloc[0])
        rows.append(quantity | _summary_row(own, pooled, found, margin))
    table = pd.DataFrame(rows)
    table["q_heterogeneity"] = benjamini_hochberg(table["p_heterogeneity"].to_numpy(dtype=float))
    return table


def _summary_row(own: pd.DataFrame, pooled: pd.DataFrame, found: RandomEffects, margin: float) -> dict[str, Any]:
    centre = 0.5 if str(own["effect_type"].iloc[0]) == "AUROC" else 0.0
    excess = random_effects(pooled["effect_size"].to_numpy(dtype=float) - centre, _numbers(pooled)[1])
    sides = np.sign(pooled["effect_size"].to_numpy(dtype=float) - centre)
    return {
        "effect_type": str(own["effect_type"].iloc[0]),
        "role": str(own["role"].iloc[0]),
        "n_contexts": len(own),
        "n_pooled": found.n,
        "n_underpowered": int(own["status"].isin([UNDERPOWERED, TOO_FEW]).sum()),
        "n_above": int((sides > 0).sum()),
        "mean": found.mean,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "standard_error": found.standard_error,
        "p_value": excess.p_value,
        "prediction_low": found.prediction.low,
        "prediction_high": found.prediction.high,
        "tau": float(np.sqrt(found.tau2)),
        "i2": found.i2,
        "cochran_q": found.cochran_q,
        "p_heterogeneity": found.p_heterogeneity,
        "equivalence": excess.equivalence(margin) if margin > 0 else "",
        "margin": margin,
        "status": "ok" if found.n > 1 else TOO_FEW,
    }


def pairwise(frame: pd.DataFrame) -> pd.DataFrame:
    """Every two pooled contexts of each quantity, corrected over the pairs of that quantity."""
    columns = [
        *QUANTITY, "context", "versus", "difference", "ci_low", "ci_high", "standard_error", "z", "p_value", "q_value",
        "differs",
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    for quantity, own in _groups(frame):
        pooled = own[own["pooled"]]
        names = pooled["context"].tolist()
        found = differences(*_numbers(pooled))
        adjusted = benjamini_hochberg(np.array([one.p_value for one in found]))
        rows += [
            quantity
            | {"context": names[one.first], "versus": names[one.second], "difference": one.difference}
            | {"ci_low": one.interval.low, "ci_high": one.interval.high, "standard_error": one.standard_error}
            | {"z": one.z, "p_value": one.p_value, "q_value": q, "differs": q < 0.05}
            for one, q in zip(found, adjusted.tolist(), strict=True)
        ]
    return pd.DataFrame(rows, columns=columns).astype({"differs": bool} if rows else {})


def contexts_table(
    contexts: Mapping[str, AnnData],
    modalities: Mapping[str, Modality],
    frame: pd.DataFrame,
    effects: str,
    min_powered: int,
) -> pd.DataFrame:
    """One row for each context: what it is, how large, and whether it can claim anything."""
    rows = []
    for name, adata in contexts.items():
        own = frame[(frame["context"] == name) & (frame["effects"] == effects)]
        n_units = int(own["n_units"].max()) if len(own) else 0
        params = dict(adata.uns[EffectKeys(effects).uns]["params"]) if EffectKeys(effects).uns in adata.uns else {}
        tests = read_tests(adata) if TESTS in adata.uns else None
        last = [] if tests is None else list(tests[tests["effects"] == effects].tail(1).to_dict("records"))
        hashes: Mapping[Any, Any] = last[0] if last else {}
        status = "ok" if n_units >= min_powered else UNDERPOWERED if len(own) else "not_run"
        rows.append(
            {"context": name, "modality": modalities[name].name, "modality_source": modalities[name].source}
            | {"n_cells": adata.n_obs, "n_genes": adata.n_vars, "n_units": n_units}
            | {"smallest_p": min(2.0 ** (1 - min(n_units, 1000)), 1.0) if n_units else np.nan, "status": status}
            | {name: str(hashes.get(name, "")) for name in ("cells_hash", "genes_hash")}
            | {"labels_hash": str(params.get("labels_hash", ""))}
        )
    return pd.DataFrame(rows)


def verdicts(contexts: Mapping[str, AnnData], key: str = "verdict") -> pd.DataFrame:
    """Criteria of the verdict in every context."""
    columns = ["context", "edges", "criterion", "passed", "reason"]
    parts = [
        adata.uns[key]["criteria"].assign(context=name)[columns] for name, adata in contexts.items() if key in adata.uns
    ]
    empty = pd.DataFrame(columns=columns).astype({"passed": "boolean"})
    return pd.concat(parts, ignore_index=True) if parts else empty


def claims(table: pd.DataFrame, judged: pd.DataFrame, edges: Sequence[str]) -> pd.DataFrame:
    """What may be said of all contexts; `holds` is missing where it cannot be said either way."""
    overall = judged[judged["criterion"] == "overall"]
    declared = {
        row["context"]: Modality(str(row["modality"]), str(row["modality_source"])) for _, row in table.iterrows()
    }
    rows = []
    for name in edges:
        passed = dict(zip(*overall.loc[overall["edges"] == name, ["context", "passed"]].T.to_numpy(), strict=True))
        rows.append({"edges": name, "claim": "every context"} | _everywhere(passed, list(declared)))
        rows.append({"edges": name, "claim": "two modalities"} | _in_two_modalities(passed, declared))
    return pd.DataFrame(rows, columns=["edges", "claim", "holds", "reason"]).astype({"holds": "boolean"})


def _everywhere(passed: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    failed = [name for name in names if passed.get(name) is False]
    open_ = [name for name in names if name not in passed or pd.isna(passed[name])]
    if failed:
        return {"holds": False, "reason": f"the verdict is negative in {listing(failed)}"}
    if open_:
        return {"holds": None, "reason": f"the verdict is open in {listing(open_)}"}
    return {"holds": True, "reason": "the verdict is positive in every context"}


def _in_two_modalities(passed: Mapping[str, Any], declared: Mapping[str, Modality]) -> dict[str, Any]:
    unverified = [name for name, one in declared.items() if not one.verified]
    verified = {one.kind: one.name for one in declared.values() if one.verified}
    if len(verified) < 2:
        why = f"the modality of {listing(unverified)} is unknown or without a source" if unverified else "all are alike"
        return {"holds": None, "reason": f"blocked: two modalities with a source are needed, and {why}"}
    by_modality: dict[str, list[Any]] = {}
    for name, one in declared.items():
        if one.verified:
            by_modality.setdefault(verified[one.kind], []).append(passed.get(name))
    positive = [name for name, found in by_modality.items() if any(value is True for value in found)]
    if len(positive) >= 2:
        return {"holds": True, "reason": f"the verdict is positive in {listing(positive)}"}
    undecided = [name for name, found in by_modality.items() if any(value is None or pd.isna(value) for value in found)]
    if len(set(positive) | set(undecided)) >= 2:
        return {"holds": None, "reason": f"the verdict is open in {listing(undecided)}"}
    return {
        "holds": False,
        "reason": f"the verdict is positive in {listing(positive)} of {listing(sorted(verified.values()))}",
    }


def rows_of(table: pd.DataFrame, reference: str) -> list[Row]:
    """Two tests of each quantity against one reference ("": against labels): its mean, and whether contexts differ."""
    rows = []
    for _, one in table[table["reference"] == reference].iterrows():
        what = f"{one['analysis']}/{one['name']}"
        status, enough = str(one["status"]), one["status"] == "ok"
        common: dict[str, Any] = {
            "analysis": "A16", "edges": str(one["edges"]), "unit": "context", "n": int(one["n_contexts"]),
            "n_units": int(one["n_pooled"]), "status": status,
            "reason": "" if enough else f"{one['n_pooled']} contexts have an estimate and enough units, of 2 needed",
        }  # fmt: skip
        chance = "one half" if one["effect_type"] == "AUROC" else "0"
        rows.append(
            Row(
                **common, name=f"pooled/{what}", role=one["role"], test_type="random effects, t",
                hypothesis=f"{one['effect_type']} of {one['edges']} ({what}) is {chance} on average over contexts",
                statistic=float(one["mean"]) / float(one["standard_error"]) if enough else np.nan,
                p_raw=float(one["p_value"]), effect_size=float(one["mean"]), effect_type=str(one["effect_type"]),
                ci_low=float(one["ci_low"]), ci_high=float(one["ci_high"]), ci_method="Hartung-Knapp",
                equivalence=str(one["equivalence"]), margin=float(one["margin"]),
                is_primary=(one["analysis"], one["name"]) == ("A01", "vs_spearman"),
            )
        )  # fmt: skip
        rows.append(
            Row(
                **common, name=f"heterogeneity/{what}", role="descriptive", test_type="Cochran's Q",
                direction="greater", hypothesis=f"{one['effect_type']} of {one['edges']} ({what}) is the same in all "
                "contexts", statistic=float(one["cochran_q"]), p_raw=float(one["p_heterogeneity"]),
                effect_size=float(one["i2"]), effect_type="I2",
            )
        )  # fmt: skip
    return rows
