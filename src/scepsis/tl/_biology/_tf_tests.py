"""Tests over regulators: classes of them, and properties that go with their AUROC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._registry import Row
from scepsis._core._rng import child
from scepsis.stats._equivalence import minimum_detectable
from scepsis.stats._multiplicity import benjamini_hochberg

if TYPE_CHECKING:
    from scepsis._core._types import BoolArray, FloatArray

PROPERTIES = ("mean", "variance", "detection_rate", "n_listed", "n_targets")
#: Regulators that tests are over: those with several evaluated targets; all, as in the paper.
SUBSETS = ("several_targets", "all")
#: Values below which there is neither a difference of two classes nor a correlation.
MIN_VALUES = 4


@dataclass(frozen=True)
class _Found:
    statistic: float = np.nan
    p_value: float = np.nan
    detectable: float = np.nan


def regulator_tests(
    frame: pd.DataFrame, *, min_targets: int, min_regulators: int, n_null: int, key: str, seed: int
) -> pd.DataFrame:
    """
    Test over the regulators of one set of edges; `frame` has a row for each.

    q-values are over all tests of the set and of the regulators with several targets.
    """
    rows: list[dict[str, Any]] = []
    edges = str(frame["edges"].iloc[0])
    several = frame["n_targets"].to_numpy() >= min_targets
    enough = int(several.sum()) >= min_regulators
    for subset in SUBSETS:
        own = frame[several & frame["auroc"].notna()] if subset == "several_targets" else frame[frame["auroc"].notna()]
        classes = list(dict.fromkeys(own["tf_class"]))
        if len(classes) == 2 and "" not in classes:
            classes.pop()  # what the rest is of the first
        classes = [name for name in classes if name]
        found = {
            f"class/{name}": _difference(
                own["auroc"].to_numpy(),
                (own["tf_class"] == name).to_numpy(),
                n_null,
                child(seed, "tf_profile", edges, subset, name),
            )
            for name in classes
        } | {f"property/{name}": _correlation(own[name].to_numpy(), own["auroc"].to_numpy()) for name in PROPERTIES}
        for test, one in found.items():
            status = "ok" if enough else "underpowered"
            if not np.isfinite(one.statistic):
                status = "too_few_units"
            rows.append(
                {
                    "edges": edges,
                    "test": test,
                    "subset": subset,
                    "statistic": one.statistic,
                    "p_value": one.p_value,
                    "n_units": len(own),
                    "minimum_detectable": one.detectable,
                    "status": status,
                }
            )
    result = pd.DataFrame(rows)
    for subset in SUBSETS:
        here = result["subset"] == subset
        result.loc[here, "q_value"] = benjamini_hochberg(result.loc[here, "p_value"].to_numpy(dtype=float))
    return result


def _difference(values: FloatArray, member: BoolArray, n_null: int, rng: np.random.Generator) -> _Found:
    """Difference of the means of a class and the rest, two-sided against permuted labels."""
    n, inside = len(values), int(member.sum())
    if n < MIN_VALUES or not 1 < inside < n - 1:
        return _Found()
    total = float(values.sum())

    def gap(of_class: float) -> float:
        return of_class / inside - (total - of_class) / (n - inside)

    observed = gap(float(values[member].sum()))
    drawn = np.array([gap(float(values[rng.permutation(n)[:inside]].sum())) for _ in range(n_null)])
    b = int((np.abs(drawn) >= abs(observed) - 1e-12).sum())
    spread = float(drawn.std(ddof=1))
    return _Found(observed, (1 + b) / (1 + n_null), minimum_detectable(spread, n - 2))


def _correlation(first: FloatArray, second: FloatArray) -> _Found:
    from scipy.stats import spearmanr

    known = np.isfinite(first.astype(float)) & np.isfinite(second)
    first, second = first[known].astype(float), second[known]
    if len(first) < MIN_VALUES or np.ptp(first) == 0 or np.ptp(second) == 0:
        return _Found()
    found = spearmanr(first, second)
    detectable = minimum_detectable(1 / np.sqrt(len(first) - 1), len(first) - 2)
    return _Found(float(found.statistic), float(found.pvalue), detectable)


def rows(tests: pd.DataFrame, n_pos: int) -> list[Row]:
    """Rows of the registry: tests over regulators with several targets, and those over all as descriptive."""
    result: list[Row] = []
    for row in tests.to_dict("records"):
        kind, name = row["test"].split("/", 1)
        strict = row["subset"] == "several_targets"
        of_class = kind == "class"
        result.append(
            Row(
                analysis="A27",
                name=row["test"] if strict else f"{row['test']}/all",
                edges=row["edges"],
                hypothesis=f"Regulators of class {name} have another AUROC than the rest"
                if of_class
                else f"The AUROC of regulators goes with their {name.replace('_', ' ')}",
                test_type="permutation of class labels" if of_class else "Spearman",
                role="confirmatory" if strict else "descriptive",
                statistic=row["statistic"],
                p_raw=row["p_value"],
                effect_size=row["statistic"],
                effect_type="difference of AUROC" if of_class else "Spearman",
                unit="TF",
                n=row["n_units"],
                n_pos=n_pos,
                n_units=row["n_units"],
                null_family="permuted class labels" if of_class else "",
                minimum_detectable=row["minimum_detectable"],
                is_primary=strict
                and of_class
                and not any(one.is_primary and one.edges == row["edges"] for one in result),
                status=row["status"],
                reason="" if strict else "regulators with a single target are among them",
            )
        )
    return result
