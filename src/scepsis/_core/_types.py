"""The words that signatures are written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData
    from scipy import sparse

Data: TypeAlias = "AnnData | MuData"
Mask: TypeAlias = "str | NDArray[np.bool_] | None"
Seed: TypeAlias = "int | np.random.Generator | np.random.SeedSequence | None"
Matrix: TypeAlias = "NDArray[Any] | sparse.csr_matrix | sparse.csc_matrix"
EdgesLike: TypeAlias = "str | Sequence[str] | pd.DataFrame | Mapping[str, str | pd.DataFrame]"
Head: TypeAlias = tuple[int, int]
Scale = Literal["probability", "uniform_fold", "centered"]
Variant = Literal["cosine", "centroid", "dot"]
Direction = Literal["source", "target", "mean", "max"]
BaselineMethod = Literal["mutual_information", "partial_correlation", "ridge", "genie3_like", "gene_product"]
LayerRule = Literal["frozen", "nested", "single", "unrecorded"]

#: What a row can say of itself; all but the first say why it has no number, or one that supports nothing.
Status = Literal[
    "ok", "no_positives", "no_negatives", "constant_score", "too_few_units", "single_stratum", "missing_vocab",
    "structurally_null", "not_run", "not_applied", "not_applicable", "null_not_mixed", "multi_target", "label_leak",
    "underpowered",
]  # fmt: skip

BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.floating[Any]]

__all__ = [
    "BaselineMethod",
    "BoolArray",
    "Data",
    "Direction",
    "EdgesLike",
    "FloatArray",
    "Head",
    "IntArray",
    "LayerRule",
    "Mapping",
    "Mask",
    "Matrix",
    "Scale",
    "Seed",
    "Sequence",
    "Status",
    "Variant",
]
