from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis._core._references import _kind


def _loop(sets: dict[str, list[str]], genes: set[str] | None, low: int, high: float) -> dict[tuple[str, str], int]:
    """Count shared sets pair by pair."""
    counted: dict[tuple[str, str], int] = {}
    for members in sets.values():
        if low <= len(set(members)) <= high:
            kept = sorted(gene for gene in set(members) if genes is None or gene in genes)
            for pair in combinations(kept, 2):
                counted[pair] = counted.get(pair, 0) + 1
    return counted


@pytest.mark.parametrize(
    "options", [{}, {"max_size": 8}, {"min_size": 6}, {"genes": [f"g{i:02d}" for i in range(0, 30, 2)]}]
)
def test_pairs_are_those_of_a_loop(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    genes = [f"g{i:02d}" for i in range(30)]
    sets = {f"s{k}": rng.choice(genes, rng.integers(1, 12)).tolist() for k in range(40)}
    frame = sps.references.set_pairs(sets, **options)
    found = {(one.source, one.target): one.n_sets for one in frame.itertuples()}
    wanted = set(options["genes"]) if "genes" in options else None
    assert found == _loop(sets, wanted, options.get("min_size", 2), options.get("max_size", np.inf))
    assert (frame["source"].astype(str) < frame["target"].astype(str)).all()
    assert not frame["directed"].any()
    assert (frame["weight"] == 1).all()


def test_a_frame_of_decoupler_is_taken_as_it_is() -> None:
    sets = {"HYPOXIA": ["VEGFA", "PGK1"], "GLYCOLYSIS": ["PGK1", "PKM", "VEGFA"]}
    rows = [(name, gene) for name, members in sets.items() for gene in members]
    frame = pd.DataFrame(rows, columns=["source", "target"])
    for one in (frame, frame.astype("category")):
        pd.testing.assert_frame_equal(sps.references.set_pairs(one), sps.references.set_pairs(sets))
    with pytest.raises(KeyError, match="lacks 'target'"):
        sps.references.set_pairs(frame.rename(columns={"target": "genesymbol"}))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, ""])
def test_a_missing_name_is_no_gene(missing: Any) -> None:
    frame = pd.DataFrame({"source": ["a", "a", "a", "b", "b"], "target": ["X", "Y", missing, "Z", missing]})
    for sets in (frame, {"a": ["X", "Y", missing], "b": ["Z", missing]}):
        pairs = sps.references.set_pairs(sets)
        assert pairs[["source", "target"]].astype(str).to_numpy().tolist() == [["X", "Y"]]


def test_what_cannot_be_paired_is_named() -> None:
    sets = {"a": ["X", "Y"], "b": ["Z"]}
    with pytest.raises(ValueError, match="two namespaces"):
        sps.references.set_pairs(sets, genes=["ENSG1", "ENSG2"])
    mouse = {"coagulation": ["F2", "F3", "F10"], "interferon": [f"Stat{index}" for index in range(60)]}
    human = ["F2", "F3", "F10", *(f"STAT{index}" for index in range(100))]
    with pytest.raises(ValueError, match=r"3 of the 103 `genes` .* 63 are but for capitals.*convert_ids"):
        sps.references.set_pairs(mouse, genes=human)
    with pytest.raises(ValueError, match="None of the 2 sets has a size"):
        sps.references.set_pairs(sets, min_size=3)
    with pytest.raises(ValueError, match="`min_size` must be at least 2"):
        sps.references.set_pairs(sets, min_size=1)
    with pytest.raises(TypeError, match=r"`sets\['a'\]` is a string"):
        sps.references.set_pairs({"a": "XY"})
    with pytest.raises(TypeError, match="not list"):
        sps.references.set_pairs(["X", "Y"])


def test_too_many_pairs_are_refused_before_they_are_made() -> None:
    sets = {"all": [f"g{i}" for i in range(2000)]}
    with pytest.raises(MemoryError, match=r"1999000 pairs of genes.*`genes=adata.var_names`"):
        sps.references.set_pairs(sets, memory_limit=10_000_000)
    assert len(sps.references.set_pairs(sets, genes=["g1", "g2", "g3"], memory_limit=10_000_000)) == 3


def test_tools_that_judge_a_reference_by_itself_see_no_direction() -> None:
    adata = sps.datasets.demo()
    pairs = sps.references.set_pairs({"one": adata.var_names[:10].tolist()})
    assert _kind(adata, pairs, None) == "undirected"
    assert _kind(adata, pairs.drop(columns="directed"), None) == "directed"
