"""Every slot name that the package writes or reads, built here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

EDGE_CELLS = "edge_cells"
EDGE_PANEL = "edge_panel"
COUNTS = "counts"
LOGNORM = "lognorm"
TOKEN_ID = "token_id"
IN_VOCABULARY = "in_vocabulary"
ENSEMBL_ID = "ensembl_id"
MEAN = "mean"
VARIANCE = "variance"
DETECTION_RATE = "detection_rate"
RANDOMIZED = "randomized"
RESIDUAL = "residual"
RESIDUALIZERS = ("ols", "gbdt", "node")
#: Records in ``uns`` of what was prepared, each under the name of its function.
LOGNORMALIZE = "lognormalize"
SELECT_CELLS = "select_cells"
SELECT_PANEL = "select_panel"
MATCH_GENES = "match_genes"
GENE_FEATURES = "gene_features"
#: Result of :func:`scepsis.tl.incremental_value`, which a plan reads.
INCREMENTAL_VALUE = "incremental_value"
#: Record of a choice among layers.
SELECT_LAYER = "select_layer"
#: Heads by how well each recovers regulation, and what taking them out does.
HEAD_RANKING = "head_ranking"
HEAD_ABLATION = "head_ablation"
#: The registry of tests, in ``uns``.
TESTS = "tests"
#: Slugs that would collide with a companion slot of an edges key.
RESERVED_SLUGS = (
    "n_cells", "z", "pooled", RANDOMIZED, "probability", "uniform_fold", "centered", "position", "cells", "genes",
    *(f"{RESIDUAL}_{name}" for name in RESIDUALIZERS),
)  # fmt: skip


def embedding(family: str) -> str:
    """Slot of the cells as a model of `family` sees them."""
    return f"X_{family}"


@dataclass(frozen=True)
class EdgeKeys:
    """Slots that belong to one edges key."""

    key: str

    @property
    def n_cells(self) -> str:
        return f"{self.key}_n_cells"

    @property
    def position(self) -> str:
        return f"{self.key}_position"

    @property
    def cells(self) -> str:
        """Column of ``obs`` that remembers a mask given as an array."""
        return f"{self.key}_cells"

    @property
    def genes(self) -> str:
        """Column of ``var`` that remembers a mask given as an array."""
        return f"{self.key}_genes"

    @property
    def strata(self) -> str:
        """Column of ``obs`` with the stratum of each cell that has one."""
        return f"{self.key}_strata"

    @property
    def pooled(self) -> str:
        """Edges of all strata together."""
        return f"{self.key}_pooled"

    @property
    def z(self) -> str:
        """Strongest of the standardised edges of strata."""
        return f"{self.key}_z"

    @property
    def randomized(self) -> str:
        return f"{self.key}_{RANDOMIZED}"

    def layer(self, layer: int) -> str:
        return f"{self.key}_L{layer}"

    def head(self, layer: int, head: int) -> str:
        return f"{self.key}_L{layer}H{head}"

    def scale(self, scale: str) -> EdgeKeys:
        """Keys of a further scale of the same edges."""
        return EdgeKeys(f"{self.key}_{scale}")

    def residual(self, residualizer: str) -> EdgeKeys:
        """Keys of what is left of the edges when gene features are taken away."""
        return EdgeKeys(f"{self.key}_{RESIDUAL}_{residualizer}")

    def group(self, slug: str) -> EdgeKeys:
        return EdgeKeys(f"{self.key}_{slug}")


@dataclass(frozen=True)
class EffectKeys:
    """Slots of one set of perturbation effects."""

    key: str = "perturbation"

    @property
    def lfc(self) -> str:
        return f"{self.key}_lfc"

    @property
    def qval(self) -> str:
        return f"{self.key}_qval"

    @property
    def target(self) -> str:
        return f"{self.key}_target"

    @property
    def uns(self) -> str:
        return f"{self.key}_effects"


@dataclass(frozen=True)
class AssignmentKeys:
    """Slots of one assignment of perturbations to cells."""

    key: str = "perturbation"

    @property
    def guides(self) -> str:
        """Column of ``obs`` with the guides of each cell."""
        return f"{self.key}_guides"

    @property
    def state(self) -> str:
        """Column of ``obs`` that says why a cell has a label or none."""
        return f"{self.key}_state"

    @property
    def uns(self) -> str:
        return f"{self.key}_assignment"


def slugs(labels: Iterable[str]) -> dict[str, str]:
    """Unique slot-safe names for group labels: a ``/`` in a key cannot be read back from disk."""
    taken: set[str] = set()
    result: dict[str, str] = {}
    for label in labels:
        base = re.sub(r"\W+", "_", str(label), flags=re.ASCII).strip("_") or "group"
        if base in RESERVED_SLUGS or re.fullmatch(r"L\d+(H\d+)?", base):
            base = f"group_{base}"
        slug, number = base, 2
        while slug in taken:
            slug, number = f"{base}_{number}", number + 1
        taken.add(slug)
        result[str(label)] = slug
    return result
