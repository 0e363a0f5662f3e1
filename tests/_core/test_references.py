from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from scepsis._core._references import read_references

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


def read(adata: ad.AnnData, **references: Any) -> dict[str, Any]:
    found = read_references(adata, references, "attention", versus="spearman", min_targets=1)
    return {one.name: one for one in found.references}


def frame(*pairs: tuple[str, str], **more: Any) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["source", "target"]).assign(**more)


def test_what_a_reference_is_is_seen_from_it(make_audit: Callable[..., ad.AnnData]) -> None:
    found = read(
        make_audit(n_genes=20, n_units=4),
        network=frame(("G0", "G1"), ("G1", "G2"), ("G1", "G0"), ("G3", "G4"), ("G4", "G6")),
        proteins=frame(("G0", "G1"), ("G1", "G0"), ("G2", "G3"), ("G3", "G2"), ("G5", "G6")),
        regulators=frame(("G0", "G1"), ("G1", "G0"), mode=["Activation", "Unknown"]),
        known=frame(("G0", "G1"), ("G2", "G3"), directed=False),
        terms=frame(("term A", "G0"), ("term A", "G1"), ("term B", "G5")),
        sets={"term A": ["G0", "G1", "G2"]},
    )
    assert {name: one.kind for name, one in found.items()} == {
        "network": "directed", "proteins": "undirected", "regulators": "directed", "terms": "gene_sets",
        "known": "undirected", "sets": "gene_sets",
    }  # fmt: skip
    assert {name: int(one.listed.sum()) for name, one in found.items()} == {
        "network": 5, "proteins": 3, "regulators": 2, "terms": 1, "known": 2, "sets": 3,
    }  # fmt: skip
    assert found["network"].sources.tolist() == [0, 1, 3, 4]


def test_pairs_are_those_that_all_sets_and_features_have(
    make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit(n_genes=12, n_units=4, outside=2)  # the last two are no tokens
    adata.var.loc["G3", "variance"] = np.nan
    both = read(adata, sets={"all": list(adata.var_names)}, network=frame(("G0", "G3"), ("G0", "G4"), ("G0", "G11")))
    assert both["sets"].candidate.sum() == 9 * 8 // 2
    assert both["network"].listed.sum() == 1
    assert both["network"].candidate.sum() == 8


def test_a_kind_can_be_told(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_genes=20, n_units=4)
    once = {"string": frame(("G0", "G1"), ("G2", "G3"))}
    found = read_references(adata, once, "attention", versus="spearman", kinds={"string": "undirected"})
    assert found.references[0].dyadic
    with pytest.raises(ValueError, match="takes one of"):
        read_references(adata, once, "attention", versus="spearman", kinds={"string": "symmetric"})
