from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import anndata as ad


@pytest.fixture
def tested(empty: ad.AnnData, enter_all: Callable[..., None]) -> ad.AnnData:
    enter_all(empty, edges="b_edges")
    enter_all(empty, {"vs_mean": {"status": "not_run", "reason": "nothing to read"}}, edges="a")
    sps.tl.correct_tests(empty)
    return empty


def test_every_test_is_a_row_in_order(tested: ad.AnnData) -> None:
    table, tests = sps.get.summary(tested), sps.get.tests(tested)
    assert len(table) == len(tests)
    assert list(dict.fromkeys(table["edges"])) == ["b_edges", "a"]
    for _, own in table.groupby("edges"):
        assert own["analysis"].is_monotonic_increasing
    assert (table["title"] != "").all()
    assert dict(zip(table["analysis"], table["against"], strict=True)) == {
        "A01": "perturbation", "A04": "perturbation", "A05": "perturbation", "A06": "perturbation",
        "A08": "reference", "A09": "reference", "A10": "reference", "A11": "perturbation",
    }  # fmt: skip
    row = table.query("edges == 'a' and test == 'vs_mean'").iloc[0]
    assert (row["status"], row["note"]) == ("not_run", "nothing to read")
    merged = tests.set_index(["edges", "analysis", "name"])
    for _, one in table.iterrows():
        source = merged.loc[(one["edges"], one["analysis"], one["test"])]
        np.testing.assert_array_equal(
            one[["effect", "p", "q (BH)", "95 % low"]].astype(float),
            source[["effect_size", "p_raw", "p_bh", "ci_low"]].astype(float),
        )
    assert set(sps.get.summary(tested, edges="a")["edges"]) == {"a"}


def test_tables_can_be_written(tested: ad.AnnData, tmp_path: Path) -> None:
    table = sps.get.summary(tested)
    table.to_csv(tmp_path / "table.csv", index=False)
    back = pd.read_csv(tmp_path / "table.csv", keep_default_na=False, na_values={"p": [""], "effect": [""]})
    assert list(back.columns) == list(table.columns)
    np.testing.assert_allclose(back["effect"], table["effect"])
    text = table.to_latex(index=False, escape=True)
    assert text.count(r"\\") == len(table) + 1
    assert r"b\_edges" in text


def test_bad_input(empty: ad.AnnData, untouched: Callable[..., Any], tested: ad.AnnData) -> None:
    with untouched(tested), pytest.raises(KeyError, match="no row of the edges 'c'; there are: 'b_edges', 'a'"):
        sps.get.summary(tested, edges="c")
    del empty.uns["tests"]
    with pytest.raises(KeyError, match="nothing has been tested"):
        sps.get.summary(empty)
