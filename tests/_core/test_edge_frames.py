from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from scepsis._core._edge_frames import edges_from_frame, read_table

if TYPE_CHECKING:
    import anndata as ad


def _full(names: list[str], seed: int = 0) -> pd.DataFrame:
    """Scores of all ordered pairs."""
    pairs = [(source, target) for source in names for target in names if source != target]
    frame = pd.DataFrame(pairs, columns=["source", "target"])
    frame["weight"] = np.random.default_rng(seed).random(len(frame)) + 0.01
    return frame


def _top(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    return frame.sort_values("weight", ascending=False).groupby("source").head(k)


NAMES = [f"G{index}" for index in range(30)]


def test_every_pair_stands_where_it_is_named(screen: ad.AnnData) -> None:
    frame = _full(NAMES).sample(frac=1, random_state=0)
    edges = edges_from_frame(screen, frame)[""]
    assert edges.params == {}
    names = screen.var_names[edges.genes]
    table = pd.DataFrame(edges.values, index=names, columns=names)
    for row in frame.itertuples():
        assert table.loc[row.source, row.target] == np.float32(row.weight)
    assert np.isnan(np.diagonal(edges.values)).all()


def test_groups_are_kept_apart(screen: ad.AnnData) -> None:
    frame = pd.concat([_full(NAMES[:5]).assign(group="a"), _full(NAMES[:8], 1).assign(group="b/c")])
    found = edges_from_frame(screen, frame)
    assert list(found) == ["a", "b/c"]
    assert len(found["a"].genes) == 5
    assert len(found["b/c"].genes) == 8


def test_what_cannot_be_placed_is_left_out_and_said(screen: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    frame = _full(NAMES[:6])
    extra = pd.DataFrame(
        {"source": ["G0", "XYZ", "G1", None], "target": ["NOPE", "G1", "G1", "G2"], "weight": [1.0, 1.0, 5.0, 1.0]}
    )
    frame.loc[0, "weight"] = np.nan
    with caplog.at_level(logging.INFO):
        table = read_table(screen, pd.concat([frame, extra]))
    assert table.unmapped == ["XYZ", "NOPE"]
    assert len(table.weight) == 6 * 5 - 1
    assert "2 genes are not in `adata.var_names`: 'XYZ', 'NOPE'" in caplog.text
    assert re.search(r"3 of 34 rows that name a gene outside.*1 that join a gene to itself and 1 without", caplog.text)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.rename(columns={"source": "TF"}), KeyError, r"`edges` lacks 'source'; its columns are 'TF'"),
        (lambda f: f.drop(columns="weight"), KeyError, r"lacks 'weight'"),
        (lambda f: f.assign(weight="A"), TypeError, r"must be numeric, not object"),
        (lambda f: f.assign(weight=np.inf), ValueError, r"infinite"),
        (lambda f: pd.concat([f, f[:2]]), ValueError, r"2 pair\(s\).*more than once: 'G0 -> G1', 'G0 -> G2'.*groupby"),
        (lambda f: f.assign(source="G0", target="G0")[:1], ValueError, r"no edge between two different genes"),
        (lambda f: f[:0], ValueError, r"`edges\['source'\]` has no names"),
    ],
)
def test_wrong_tables_are_refused(screen: ad.AnnData, change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        edges_from_frame(screen, change(_full(NAMES[:6])))


def test_another_namespace_is_diagnosed(screen: ad.AnnData) -> None:
    frame = _full(screen.var["ensembl_id"][:5].tolist())
    with pytest.raises(ValueError, match=r"look like Ensembl ids.*gene_symbols='ensembl_id'"):
        read_table(screen, frame)
    assert len(read_table(screen, frame, gene_symbols="ensembl_id").weight) == 20
    with pytest.raises(ValueError, match=r"ensembl_id'\]` \(such as.*key_added=\.\.\.\)"):
        read_table(screen, _full(NAMES[:5]), gene_symbols="ensembl_id")
    with pytest.raises(ValueError, match=r"No column of `adata\.var` has any of them"):
        read_table(screen, _full(["X1", "X2"]))
    with pytest.raises(KeyError, match="symbols"):
        read_table(screen, frame, gene_symbols="symbols")


def test_a_few_names_that_two_species_share_do_not_hide_that_these_are_two(screen: ad.AnnData) -> None:
    screen.var_names = ["C3", "F2", *[f"STAT{index}" for index in range(58)]]
    mouse = _full(["C3", "F2", *[f"Stat{index}" for index in range(40)]])
    with pytest.raises(ValueError, match=r"2 of the 42 names in .* 42 of them differ in capitals alone.*convert_ids"):
        read_table(screen, mouse)
    assert len(read_table(screen, _full(["C3", "F2", *[f"X{index}" for index in range(40)]])).weight) == 2


def test_versions_of_ensembl_ids_are_diagnosed(screen: ad.AnnData) -> None:
    ids = screen.var["ensembl_id"].astype(str)
    screen.var_names = [f"{name}.5" for name in ids]
    del screen.var["ensembl_id"]
    with pytest.raises(ValueError, match=r"5 of them differ in the version behind the dot alone.*str\.replace"):
        read_table(screen, _full(ids[:5].tolist()))


def test_a_name_of_several_genes_is_refused_when_used(screen: ad.AnnData) -> None:
    screen.var["symbol"] = ["A", "A", "B", "C", *[f"S{index}" for index in range(56)]]
    with pytest.raises(ValueError, match=r"adata.var\['symbol'\]` has several genes called 'A'"):
        read_table(screen, _full(["A", "B"]), gene_symbols="symbol")
    assert len(read_table(screen, _full(["B", "C"]), gene_symbols="symbol").weight) == 2
    screen.var["symbol"] = pd.Categorical([None, None, "B", "C", *[f"S{index}" for index in range(56)]])
    missing = pd.DataFrame({"source": [None, "nan"], "target": ["B", "C"], "weight": 1.0})
    table = read_table(screen, pd.concat([_full(["B", "C"]), missing]), gene_symbols="symbol")
    assert len(table.weight) == 2, "a missing symbol is no name"


def _dense_zeros(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    result = frame.copy()
    result.loc[~result.index.isin(_top(frame, k).index), "weight"] = 0
    return result


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda f: _top(f, 5), "every source has 5 of"),
        (lambda f: _top(f, 20), "every source has 20 of"),
        (lambda f: f.nlargest(200, "weight"), "a typical source has"),
        (lambda f: _dense_zeros(f, 10), "570 of 870 weights are exactly zero"),
    ],
    ids=["top 5", "top 20", "strongest 200", "zeros"],
)
def test_truncated_tables_are_named(screen: ad.AnnData, make: Any, reason: str) -> None:
    table = read_table(screen, make(_full(NAMES)))
    assert table.truncation.startswith(reason)
    with pytest.warns(UserWarning, match=f"looks truncated.*{reason}"):
        edges_from_frame(screen, make(_full(NAMES)))


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f,  # all pairs
        lambda f: f[f["source"].isin(NAMES[:3])],  # full rows of some sources
        lambda f: f.sample(frac=0.8, random_state=0),  # a few pairs lost on the way
        lambda f: f[f["target"].isin(NAMES[20:]) & f["source"].isin(NAMES[:10])],  # regulators x other genes
        lambda f: _top(f, 3).assign(weight=1.0),  # a network of known edges
        lambda f: _top(f, 3).assign(weight=lambda x: np.where(x["weight"] > 0.99, -1.0, 1.0)),  # with signs
    ],
)
def test_whole_tables_are_not_called_truncated(screen: ad.AnnData, make: Any) -> None:
    assert read_table(screen, make(_full(NAMES))).truncation == ""
    edges_from_frame(screen, make(_full(NAMES)))


def test_density_is_a_share_of_the_pairs_that_could_be(screen: ad.AnnData) -> None:
    assert read_table(screen, _full(NAMES)).density == 1
    assert read_table(screen, _top(_full(NAMES), 10)).density == pytest.approx(10 / 29, rel=0.02)


def test_a_matrix_that_does_not_fit_is_refused(screen: ad.AnnData) -> None:
    with pytest.raises(MemoryError, match="30 genes"):
        read_table(screen, _full(NAMES)).matrix("edges", memory_limit=1000)
