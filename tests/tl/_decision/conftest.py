"""Rows of the registry as tools would enter them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest

from scepsis._core._registry import Evidence, Row, updated_tests

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = {"layer_rule": "single", "cells_hash": "c", "genes_hash": "g"}


def _enter(adata: ad.AnnData, *rows: dict[str, Any], **rest: Any) -> None:
    """Enter rows, each a dict; what they rest on by keyword (`record` is that of all edges)."""
    record = RECORD | rest.pop("record", {})
    given: dict[str, Any] = {
        "hypothesis": "as by chance",
        "test_type": "t",
        "role": "confirmatory",
        "edges": "attention",
    }
    made = [Row(**given | {"p_raw": np.nan} | row) for row in rows]
    evidence: dict[str, Any] = {
        "key": "tool",
        "params": {"margin": 0.02},
        "edges": {row.edges: record for row in made},
        "effects": "" if rest.get("reference") else "perturbation",
        "labels_hash": "l",
    }
    adata.uns.update(updated_tests(adata, made, Evidence(**evidence | rest)))


@pytest.fixture
def enter() -> Callable[..., None]:
    """Enter rows of the registry: ``enter(adata, {"analysis": ..., "name": ...}, ..., key=, effects=, record=)``."""
    return _enter


@pytest.fixture
def empty() -> ad.AnnData:
    """Data in which nothing was tested."""
    return ad.AnnData(np.zeros((2, 3), dtype=np.float32))


def _all_rows(changes: dict[str, dict[str, Any]] | None = None, *, edges: str = "attention") -> list[dict[str, Any]]:
    """
    Every row that the criteria read, of edges that meet all of them.

    `changes` maps names of rows, or beginnings that end in ``*``, to other values; None leaves the row out.
    """
    rows: list[dict[str, Any]] = [
        {"analysis": "A01", "name": "above_chance", "p_raw": 1e-9, "effect_size": 0.9, "effect_type": "AUROC"}
        | {"equivalence": "different", "ci_low": 0.88, "ci_high": 0.92},
        {"analysis": "A01", "name": "vs_spearman", "p_raw": 0.001, "effect_size": 0.05, "equivalence": "different"}
        | {"ci_low": 0.01, "ci_high": 0.09},
    ]
    rows += [
        {"analysis": "A04", "name": f"vs_{name}", "p_raw": 0.01, "effect_size": 0.1, "minimum_detectable": 0.03}
        | {"equivalence": "different", "ci_low": 0.05, "ci_high": 0.15}
        for name in ("variance", "mean", "detection_rate", "de_frequency")
    ]
    for split in ("perturbation", "gene", "joint"):
        for learner in ("logistic", "gbdt"):
            for kind in ("gain", "gain_placebo"):
                for metric in ("auroc", "auprc", "recall@10", "recall@50", "recall@100"):
                    first = split == "perturbation" and metric == "auroc"
                    row = {"analysis": "A05" if first else "A06", "name": f"{kind}/{split}/{learner}/{metric}"}
                    row |= {"role": "confirmatory" if first else "descriptive", "p_raw": 0.01, "effect_size": 0.02}
                    rows.append(row | {"ci_low": 0.01, "ci_high": 0.03, "baseline_value": 0.8})
    reference = {"reference": "reference"}
    for name in ("ols", "gbdt", "node"):
        rows += [
            {"analysis": "A08", "name": f"retention/{name}", "role": "descriptive", "effect_size": 0.9}
            | {"ci_low": 0.7, "ci_high": 1.1}
            | reference,
            {"analysis": "A08", "name": f"residual/{name}", "role": "descriptive", "effect_size": 0.7}
            | {"ci_low": 0.6, "ci_high": 0.8, "equivalence": "different"}
            | reference,
        ]
    rows += [
        {"analysis": "A09", "name": "degree/pooled", "p_raw": 0.005, "statistic": 4.0, "baseline_value": 2.0}
        | {"baseline_name": "coexpression", "direction": "greater"}
        | reference,
        {"analysis": "A10", "name": "known_mode/pooled", "role": "descriptive", "effect_size": -0.01}
        | {"ci_low": -0.02, "ci_high": 0.01}
        | reference,
        {"analysis": "A11", "name": "gain/matched", "p_raw": 0.01, "effect_size": 0.02, "equivalence": "different"}
        | {"ci_low": 0.01, "ci_high": 0.03},
    ]
    for name, values in (changes or {}).items():
        meant = [row for row in rows if row["name"] == name or (name[-1] == "*" and row["name"].startswith(name[:-1]))]
        assert meant, name
        for row in meant:
            if values is None:
                rows.remove(row)
            else:
                row.update(values)
    return [row | {"edges": edges} for row in rows]


def _enter_all(
    adata: ad.AnnData, changes: dict[str, Any] | None = None, *, edges: str = "attention", **rest: Any
) -> None:
    rows = _all_rows(changes, edges=edges)
    against = {"reference": "reference", "labels_hash": "r", "effects": ""}
    _enter(adata, *[row for row in rows if "reference" not in row], **rest)
    if known := [{k: v for k, v in row.items() if k != "reference"} for row in rows if "reference" in row]:
        _enter(adata, *known, **against | {k: v for k, v in rest.items() if k != "labels_hash"})


@pytest.fixture
def enter_all() -> Callable[..., None]:
    """Enter every row that criteria and claims read: ``enter_all(adata, changes, edges=, record=, key=)``."""
    return _enter_all
