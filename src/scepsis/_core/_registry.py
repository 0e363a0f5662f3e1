"""The registry in ``uns["tests"]``: one row for every test that any tool performs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scepsis._core._analyses import ANALYSES
from scepsis._core._keys import TESTS
from scepsis._core._resolve import resolve
from scepsis._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._types import Data

Role = Literal["confirmatory", "descriptive", "exploratory"]
SMALLEST = float(np.nextafter(0, 1))
#: Columns that a correction over the whole registry fills in, and what they hold before.
CORRECTED = {
    "p_bh": np.nan,
    "p_by": np.nan,
    "p_bh_maximal": np.nan,
    "p_bh_primary": np.nan,
    "significant": None,
    "significant_maximal": None,
    "significant_primary": None,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    One test, as the tool that performed it knows it; roles are fixed by the tool's code, before anything is run.

    A number that is undefined is NaN, and `status` says why.
    """

    analysis: str
    #: What was tested, unique within the analysis, the key, the edges and the reference: ``attention-variance``.
    name: str
    hypothesis: str
    test_type: str
    role: Role
    edges: str = ""
    direction: Literal["two-sided", "greater", "less"] = "two-sided"
    claim_polarity: Literal["effect", "null"] = "effect"
    statistic: float = np.nan
    p_raw: float = np.nan
    effect_size: float = np.nan
    effect_type: str = ""
    ci_low: float = np.nan
    ci_high: float = np.nan
    ci_method: str = ""
    #: What was resampled or clustered by: ``perturbation``, ``perturbation x gene``, ``TF``.
    unit: str = ""
    n: int = 0
    n_pos: int = 0
    n_units: int = 0
    null_mean: float = np.nan
    null_sd: float = np.nan
    null_family: str = ""
    #: The strongest trivial comparator.
    baseline_name: str = ""
    baseline_value: float = np.nan
    equivalence: str = ""
    margin: float = np.nan
    minimum_detectable: float = np.nan
    is_primary: bool = False
    status: str = "ok"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What all rows of one call rest on."""

    #: Name of the result, `key_added`.
    key: str
    #: Parameters of the call; a change in any of them counts as another setting.
    params: Mapping[str, Any]
    #: Records (``params``) of the edges that were scored, by their name in the rows.
    edges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: str = ""
    effects: str = ""
    #: Hash of the responders, or of the reference network.
    labels_hash: str = ""
    seed: int = 0
    wall_s: float = np.nan


def updated_tests(adata: AnnData, rows: Sequence[Row], evidence: Evidence) -> dict[str, pd.DataFrame]:
    """
    Give the registry with `rows` in it, as an entry of ``uns`` to be written with the result.

    A row replaces the one of the same ``test_id`` (``analysis/key/edges/reference/name``) and counts how often that
    was run, and with how many different parameters. What an earlier call under the same key, edges and reference
    tested and this one did not stays as ``not_run``, without numbers: its count is not forgotten. Rows of the last
    call stand last. Corrections over the whole registry no longer hold once it has changed, and are emptied.
    """
    return updated_tests_of(adata, [(rows, evidence)])


def updated_tests_of(adata: AnnData, parts: Sequence[tuple[Sequence[Row], Evidence]]) -> dict[str, pd.DataFrame]:
    """Give the registry with the rows of several parts in it, which rest on different references or labels."""
    tests = read_tests(adata) if TESTS in adata.uns else None
    for rows, evidence in parts:
        tests = _entered(tests, rows, evidence)
    return {} if tests is None else {TESTS: tests}


def _entered(tests: pd.DataFrame | None, rows: Sequence[Row], evidence: Evidence) -> pd.DataFrame:
    import pandas as pd

    entries = [_entry(row, evidence) for row in rows]
    ids = [entry["test_id"] for entry in entries]
    if len(set(ids)) < len(ids):
        msg = f"Two tests have the id {next(one for one in ids if ids.count(one) > 1)!r}."
        raise RuntimeError(msg)
    if tests is None:
        return _typed(pd.DataFrame(entries, columns=COLUMNS))
    old = uncorrected(tests)
    runs = dict(zip(old["test_id"], zip(old["n_runs"], old["params_hashes"], strict=True), strict=True))
    for entry in entries:
        if entry["test_id"] in runs:
            before, hashes = runs[entry["test_id"]]
            seen = dict.fromkeys([*hashes.split(";"), entry["params_hash"]])
            entry |= {"n_runs": before + 1, "n_distinct_params": len(seen), "params_hashes": ";".join(seen)}
    new = _typed(pd.DataFrame(entries, columns=COLUMNS))
    old = old[~old["test_id"].isin(ids)]
    context = ["analysis", "key", "edges", "reference", "effects"]
    again = pd.MultiIndex.from_frame(old[context]).isin(pd.MultiIndex.from_frame(new[context]))
    return _typed(pd.concat([old[~again], _unrun(old[again]), new]))


def holder_of_tests(adata: Data, mod: str | None) -> AnnData:
    """Whose registry is meant: that of an AnnData or a modality, or what was tested across all modalities."""
    if mod is None and hasattr(adata, "mod") and TESTS in adata.uns:
        across: AnnData = adata
        return across
    return resolve(adata, mod)


def read_tests(adata: AnnData) -> pd.DataFrame:
    """Give a copy of the registry, or raise a `KeyError` that says what fills it."""
    import pandas as pd

    if TESTS not in adata.uns:
        msg = (
            f"`adata.uns[{TESTS!r}]` does not exist: nothing has been tested. Call `scepsis.tl.audit(adata)`, or a "
            "tool that tests, such as `scepsis.tl.perturbation_auroc(adata)`."
        )
        raise KeyError(msg)
    frame = adata.uns[TESTS]
    if not isinstance(frame, pd.DataFrame) or not set(COLUMNS) <= set(frame.columns):
        msg = (
            f"`adata.uns[{TESTS!r}]` is not the registry of tests of this version of the package. Move it to another "
            f"key, `adata.uns['other'] = adata.uns.pop({TESTS!r})`, and run the tests anew."
        )
        raise KeyError(msg)
    return _typed(frame[COLUMNS])


def uncorrected(tests: pd.DataFrame) -> pd.DataFrame:
    """Registry without its corrections."""
    return _typed(tests.assign(**CORRECTED))


def reruns(tests: pd.DataFrame) -> pd.DataFrame:
    """What was run more than once: one row for each analysis of the same edges under the same name."""
    context = ["analysis", "key", "edges", "reference", "effects"]
    again: pd.DataFrame = tests.groupby(context, sort=False, as_index=False)[["n_runs", "n_distinct_params"]].max()
    return again[again["n_runs"] > 1].reset_index(drop=True)


def run_words(row: Any) -> str:
    """How often something was run, from whatever has the columns: ``run 4 times with 3 settings``."""
    times, settings = int(row["n_runs"]), int(row["n_distinct_params"])
    often = "once" if times == 1 else "twice" if times == 2 else f"{times} times"
    return f"run {often} with {settings} setting{'s' * (settings != 1)}"


def _entry(row: Row, evidence: Evidence) -> dict[str, Any]:
    analysis = ANALYSES[row.analysis]
    record = evidence.edges.get(row.edges, {})
    against = evidence.reference or evidence.effects
    rule = str(record.get("layer_rule", "single"))
    entry = {item.name: getattr(row, item.name) for item in fields(row)}
    if rule == "unrecorded":
        entry["role"] = "exploratory"
    if row.p_raw == 0:
        entry |= {"p_raw": SMALLEST, "p_text": f"<{SMALLEST:.1g}"}
    digest = params_hash(evidence.params)
    return (
        CORRECTED
        | {"p_text": ""}
        | entry
        | {
            "test_id": "/".join([row.analysis, evidence.key, row.edges, against, row.name]),
            "s10_section": analysis.section,
            "family": analysis.family,
            "key": evidence.key,
            "reference": evidence.reference,
            "effects": evidence.effects,
            "layer_rule": rule,
            "cells_hash": str(record.get("cells_hash", "")),
            "genes_hash": str(record.get("genes_hash", "")),
            "labels_hash": evidence.labels_hash,
            "n_runs": 1,
            "n_distinct_params": 1,
            "params_hash": digest,
            "params_hashes": digest,
            "seed": evidence.seed,
            "package_version": __version__,
            "wall_s": evidence.wall_s,
        }
    )


def params_hash(params: Mapping[str, Any]) -> str:
    """Fingerprint of the choices behind a result; hashes of data and versions are no choices."""
    choices = {name: value for name, value in params.items() if not name.endswith(("_hash", "_version"))}
    text = repr(sorted((str(name), repr(value)) for name, value in choices.items()))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _unrun(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose tests were left out when their tool was last run: their counts, without numbers."""
    emptied = rows.copy()
    for name, kind in DTYPES.items():
        if kind == "float64":
            emptied[name] = np.nan
        elif kind == "boolean":
            emptied[name] = None
    return emptied.assign(equivalence="", p_text="", status="not_run", reason="left out when the tool was run last")


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(DTYPES).reset_index(drop=True)


_INTEGERS = ("n", "n_pos", "n_units", "n_runs", "n_distinct_params", "seed")
_FLOATS = (
    "statistic", "p_raw", "p_bh", "p_by", "p_bh_maximal", "p_bh_primary", "effect_size", "ci_low", "ci_high",
    "null_mean", "null_sd", "baseline_value", "margin", "minimum_detectable", "wall_s",
)  # fmt: skip
#: Columns of the registry, in order.
COLUMNS = [
    "test_id", "analysis", "s10_section", "family", "key", "name", "edges", "reference", "effects", "hypothesis",
    "test_type", "role", "direction", "claim_polarity", "statistic", "p_raw", "p_text", "p_bh", "p_by", "p_bh_maximal",
    "p_bh_primary", "significant", "significant_maximal", "significant_primary", "effect_size", "effect_type",
    "ci_low", "ci_high", "ci_method", "unit", "n", "n_pos", "n_units", "null_mean", "null_sd", "null_family",
    "baseline_name", "baseline_value", "equivalence", "margin", "minimum_detectable", "is_primary", "layer_rule",
    "cells_hash", "genes_hash", "labels_hash", "n_runs", "n_distinct_params", "params_hash", "params_hashes",
    "status", "reason", "seed", "package_version", "wall_s",
]  # fmt: skip
DTYPES: dict[str, str] = {
    name: "int64"
    if name in _INTEGERS
    else "float64"
    if name in _FLOATS
    else "bool"
    if name == "is_primary"
    else "boolean"
    if name.startswith("significant")
    else "object"
    for name in COLUMNS
}
