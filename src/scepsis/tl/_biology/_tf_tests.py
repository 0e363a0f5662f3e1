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
from scepsis.stats._planted import ALPHA, DELTAS, critical_value

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    #: Distance from 0 beyond which it is significant at 5 %.
    critical: float = np.nan


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
        for test in _asked(own):
            one = _tested(own, test, own["auroc"].to_numpy(), n_null, child(seed, *_names(edges, subset, test)))
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


def _asked(own: pd.DataFrame) -> list[str]:
    """Every class, but the second of two that have all regulators: what the rest is of the first. Then properties."""
    classes = list(dict.fromkeys(own["tf_class"]))
    if len(classes) == 2 and "" not in classes:
        classes.pop()
    return [f"class/{name}" for name in classes if name] + [f"property/{name}" for name in PROPERTIES]


def _names(edges: str, subset: str, test: str) -> tuple[str, ...]:
    """What the generator of a test is told apart by."""
    return ("tf_profile", edges, subset, test.split("/", 1)[1])


def _tested(own: pd.DataFrame, test: str, auroc: FloatArray, n_null: int, rng: np.random.Generator) -> _Found:
    kind, name = test.split("/", 1)
    if kind == "class":
        return _difference(auroc, (own["tf_class"] == name).to_numpy(), n_null, rng)
    return _correlation(own[name].to_numpy(), auroc)


def detection(
    frame: pd.DataFrame, lifted: Mapping[float, FloatArray], *, min_targets: int, n_null: int, seed: int
) -> pd.DataFrame:
    """
    What the tests say of regulators with several targets when a part of these had a signal in their edges.

    `lifted` are the AUROCs of all regulators, in the order of `frame`, with signals of each strength. They are taken
    for regulators of the class, or for those above the median of the property; a signal in all alike is no difference.
    """
    rows: list[dict[str, Any]] = []
    used = (frame["n_targets"].to_numpy() >= min_targets) & frame["auroc"].notna().to_numpy()
    own, edges = frame[used], str(frame["edges"].iloc[0])
    for test in _asked(own):
        kind, name = test.split("/", 1)
        values = own["tf_class" if kind == "class" else name]
        chosen = (values == name if kind == "class" else values > values.median()).to_numpy()
        for delta in DELTAS:
            auroc = np.where(chosen, lifted[delta][used], own["auroc"].to_numpy())
            found = _tested(own, test, auroc, n_null, child(seed, *_names(edges, SUBSETS[0], test)))
            if not np.isfinite(found.statistic):
                continue
            low, high = found.statistic - found.critical, found.statistic + found.critical
            rows.append(
                {
                    "edges": edges,
                    "test": test,
                    "delta": delta,
                    "statistic": found.statistic,
                    "ci_low": max(low, -1.0),
                    "ci_high": min(high, 1.0),
                    "detected": bool(low > 0),
                }
            )
    return pd.DataFrame(rows, columns=DETECTION)


#: Columns of the frame of planted signals.
DETECTION = ["edges", "test", "delta", "statistic", "ci_low", "ci_high", "detected"]


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
    return _Found(observed, (1 + b) / (1 + n_null), minimum_detectable(spread, n - 2), critical_value(drawn))


def _correlation(first: FloatArray, second: FloatArray) -> _Found:
    from scipy.stats import spearmanr, t

    known = np.isfinite(first.astype(float)) & np.isfinite(second)
    first, second = first[known].astype(float), second[known]
    if len(first) < MIN_VALUES or np.ptp(first) == 0 or np.ptp(second) == 0:
        return _Found()
    found = spearmanr(first, second)
    df = len(first) - 2
    quantile = float(t.ppf(1 - ALPHA / 2, df))  # the correlation itself is tested by Student's t
    critical = quantile / np.sqrt(df + quantile**2)
    detectable = minimum_detectable(1 / np.sqrt(len(first) - 1), df)
    return _Found(float(found.statistic), float(found.pvalue), detectable, float(critical))


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
