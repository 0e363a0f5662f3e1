"""Settings of a sensitivity scan, and the frame of what they gave."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scepsis._core._gene_table import FEATURES
from scepsis._core._registry import Row
from scepsis._core._validate import require_choice, require_positive

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anndata import AnnData

    from scepsis._core._types import Direction

logger = logging.getLogger(__name__)
Test = Literal["student", "welch", "mannwhitney"]
#: Expected expressing cells that make a gene testable; ``welch`` with none of it gives the paper's labels.
MIN_EXPECTED: dict[str, float] = {"student": 5, "welch": 0, "mannwhitney": 5}
BASELINES = (*FEATURES, "de_frequency")


@dataclass(frozen=True)
class Rules:
    """What is the same in all settings."""

    groupby: str
    control: str
    #: Whether cells count for each of several perturbations.
    overlapping: bool
    #: Label of the cells that edges are made from.
    unperturbed: str
    layer: str | None
    gene_symbols: str | None
    force: Sequence[str] | Literal["perturbed"] | None
    direction: Direction
    baselines: tuple[str, ...]
    min_cells: int
    min_candidates: int
    min_positives: int
    min_units: int
    seed: int

    def check(self) -> None:
        """Raise for a number that is out of range."""
        for argument, minimum in (("min_cells", 2), ("min_candidates", 1), ("min_positives", 1), ("min_units", 2)):
            require_positive(getattr(self, argument), argument=argument, minimum=minimum)


@dataclass(frozen=True)
class Setting:
    """One cell of the grid."""

    lfc_threshold: float
    n_cells: int
    n_genes: int
    test: Test

    @property
    def labels(self) -> str:
        """Name of the label set."""
        return f"{self.test}_{self.lfc_threshold:g}"


@dataclass(frozen=True)
class Grid:
    """All settings."""

    lfc_thresholds: tuple[float, ...]
    n_cells: tuple[int, ...]
    n_genes: tuple[int, ...]
    tests: tuple[Test, ...]

    @property
    def size(self) -> int:
        return len(self.lfc_thresholds) * len(self.n_cells) * len(self.n_genes) * len(self.tests)

    @property
    def reference(self) -> Setting:
        """The package's own setting where the grid has it, else what comes first (of cells and genes: last)."""
        return Setting(
            0.5 if 0.5 in self.lfc_thresholds else self.lfc_thresholds[0],
            2000 if 2000 in self.n_cells else self.n_cells[-1],
            2000 if 2000 in self.n_genes else self.n_genes[-1],
            "student" if "student" in self.tests else self.tests[0],
        )


def grid_of(
    adata: AnnData,
    rules: Rules,
    lfc_thresholds: Sequence[float],
    n_cells: Sequence[int],
    n_genes: Sequence[int],
    tests: Sequence[Test],
) -> Grid:
    """Distinct values of every axis, ascending; what is beyond the data becomes all that there is, once."""
    axes = {"lfc_thresholds": lfc_thresholds, "n_cells": n_cells, "n_genes": n_genes, "tests": tests}
    for argument, values in axes.items():
        if isinstance(values, str) or not len(values):
            msg = f"`{argument}` takes a list of at least one value, not {values!r}."
            raise ValueError(msg)
        for value in values:
            if argument == "tests":
                require_choice(value, list(MIN_EXPECTED), argument="tests")
            else:
                require_positive(float(value), argument=argument, minimum=0 if argument == "lfc_thresholds" else 1)
    n_controls = int((adata.obs[rules.groupby] == rules.unperturbed).sum())
    return Grid(
        lfc_thresholds=tuple(sorted({float(value) for value in lfc_thresholds})),
        n_cells=_within(n_cells, n_controls, "n_cells", "control cells"),
        n_genes=_within(n_genes, adata.n_vars, "n_genes", "genes"),
        tests=tuple(dict.fromkeys(tests)),
    )


def _within(asked: Sequence[int], there: int, argument: str, what: str) -> tuple[int, ...]:
    if max(asked) > there:
        logger.warning("there are %d %s: larger values of `%s` are tried once, as all of them", there, what, argument)
    return tuple(sorted({min(int(value), there) for value in asked}))


def known_baselines(baselines: Sequence[str]) -> list[str]:
    """Names of baselines that need nothing but labels and features of genes, each once."""
    names = [baselines] if isinstance(baselines, str) else list(baselines)
    for name in names:
        require_choice(name, BASELINES, argument="baselines")
    return list(dict.fromkeys(names))


def params_of(rules: Rules, grid: Grid) -> dict[str, Any]:
    """What is recorded of a scan."""
    fixed = {name: value for name, value in asdict(rules).items() if name != "force"}
    force = rules.force if rules.force is None or isinstance(rules.force, str) else "list"
    return fixed | asdict(grid) | {"force": force, "n_settings": grid.size, "reference": asdict(grid.reference)}


@dataclass(frozen=True)
class Outcome:
    """What one setting gave."""

    setting: Setting
    #: Rows of `perturbation_auroc`'s summary; None where a set has no gene of the panel.
    summary: pd.DataFrame | None
    n_candidates: int
    n_controls: int
    #: Largest share of control splits with a false call.
    false_calls: float
    #: Records of the edges, and hash of the labels.
    records: dict[str, dict[str, Any]]
    labels_hash: str


def frame(outcomes: Iterable[Outcome], extracted: dict[str, bool], grid: Grid, min_units: int) -> pd.DataFrame:
    """One row for each setting and predictor; without numbers where too few perturbations count."""
    parts = [_rows(one, extracted, grid, min_units) for one in outcomes]
    return pd.concat(parts, ignore_index=True)


NUMBERS = ["auroc", "auroc_sd", "ci_low", "ci_high", "p_value"]


def _rows(one: Outcome, extracted: dict[str, bool], grid: Grid, min_units: int) -> pd.DataFrame:
    setting = one.setting
    if one.summary is None:
        found = pd.DataFrame({"predictor": list(extracted), "kind": "edges", "n_units": 0, "status": "missing_vocab"})
        found = found.reindex(columns=["predictor", "kind", "n_units", *NUMBERS, "status"])
    else:
        found = one.summary[["predictor", "kind", "n_units", *NUMBERS, "status"]].copy()
    few = found["n_units"] < min_units
    found.loc[few, NUMBERS] = np.nan
    ranked = found["auroc"].where(found["kind"].isin(["edges", "baseline"]))
    found["rank"] = ranked.rank(ascending=False, method="min")
    found["n_ranked"] = int(ranked.notna().sum())
    told = {
        "lfc_threshold": setting.lfc_threshold,
        "n_cells": setting.n_cells,
        "n_genes": setting.n_genes,
        "test": setting.test,
        "is_reference": setting == grid.reference,
    }
    for position, (name, value) in enumerate(told.items()):
        found.insert(position, name, value)
    found["n_candidates"] = one.n_candidates
    found["false_calls"] = one.false_calls
    found["extracted_anew"] = [extracted.get(str(name), True) for name in found["predictor"]]
    return found


def reference_row(rows: pd.DataFrame, name: str, n_settings: int) -> Row:
    """The only test of a scan that counts: the settings depend on each other, and the others are no further ones."""
    own = rows[rows["is_reference"] & (rows["predictor"] == name)].iloc[0]
    n_units = int(own["n_units"])
    error = float(own["auroc_sd"]) / np.sqrt(n_units) if n_units else np.nan
    others = rows[(rows["predictor"] == name) & rows["auroc"].notna()]["auroc"]
    spread = f"{others.min():.3f} to {others.max():.3f}" if len(others) else "none"
    trivial = rows[rows["is_reference"] & (rows["kind"] == "baseline") & rows["auroc"].notna()]
    best = trivial.sort_values("auroc").iloc[-1] if len(trivial) else None
    return Row(
        analysis="A02",
        name="reference_setting",
        edges=name,
        hypothesis=f"{name} ranks responders as chance does (mean AUROC of one half) at the setting of reference",
        test_type="one-sample t",
        role="confirmatory",
        statistic=(float(own["auroc"]) - 0.5) / error if error > 0 else np.nan,
        p_raw=float(own["p_value"]),
        effect_size=float(own["auroc"]),
        effect_type="AUROC",
        ci_low=float(own["ci_low"]),
        ci_high=float(own["ci_high"]),
        ci_method="t over perturbations",
        unit="perturbation",
        n_units=n_units,
        null_mean=0.5,
        null_family="chance",
        baseline_name="" if best is None else str(best["predictor"]),
        baseline_value=np.nan if best is None else float(best["auroc"]),
        is_primary=True,
        status=str(own["status"]),
        reason=f"one of {n_settings} settings; mean AUROC over {len(others)} with numbers: {spread}",
    )
