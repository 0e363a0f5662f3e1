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
