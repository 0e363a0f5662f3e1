from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

RNG = np.random.default_rng(0)


def _filled(adata: ad.AnnData, enter: Callable[..., None]) -> pd.DataFrame:
    """Two sets of edges; p-values that differ in all families; rows that are in none."""
    for edges, scale in (("attention", 1e-3), ("spearman", 0.5)):
        rows = [
            {"analysis": analysis, "name": f"{analysis}-{number}", "edges": edges, "p_raw": scale * RNG.random()}
            | {"is_primary": number == 0}
            for analysis in ("A01", "A04", "A05", "A09")
            for number in range(3)
        ]
        rows += [
            {"analysis": "A06", "name": f"d{number}", "edges": edges, "role": "descriptive", "p_raw": p}
            for number, p in enumerate((np.nan, 0.5, np.nan, 1e-4))
        ]
        rows += [
            {"analysis": "A04", "name": "gone", "edges": edges, "status": "not_run"},
            {"analysis": "A04", "name": "leak", "edges": edges, "status": "label_leak", "p_raw": 1e-9},
            {"analysis": "A11", "name": "leak", "edges": edges, "status": "label_leak", "p_raw": 1e-9}
            | {"is_primary": True},
        ]
        enter(adata, *rows)
    unrecorded = {"layer_rule": "unrecorded"}
    chosen = [{"analysis": "A01", "name": f"x{n}", "edges": "chosen", "p_raw": p} for n, p in enumerate((0.02, 0.03))]
    enter(adata, *chosen, record=unrecorded)
    sps.tl.correct_tests(adata)
    return adata.uns["tests"]


def test_families_are_those_of_statsmodels(empty: ad.AnnData, enter: Callable[..., None]) -> None:
    tests = _filled(empty, enter)
    ok = tests["status"] == "ok"
    confirmatory = tests[ok & (tests["role"] == "confirmatory")]
    assert len(confirmatory) == 24
    for column, method in (("p_bh", "fdr_bh"), ("p_by", "fdr_by")):
        np.testing.assert_allclose(confirmatory[column], multipletests(confirmatory["p_raw"], method=method)[1])
    hits = multipletests(confirmatory["p_raw"], 0.05, method="fdr_bh")[0]
    assert confirmatory["significant"].tolist() == hits.tolist()
    assert 0 < hits.sum() < len(hits)

    planned = tests[ok & (tests["role"] != "exploratory")]
    assert len(planned) == 32
    np.testing.assert_allclose(planned["p_bh_maximal"], false_discovery_control(planned["p_raw"].fillna(1.0)))
    assert planned["significant_maximal"].tolist() == (planned["p_bh_maximal"] < 0.05).tolist()

    primary = tests[ok & tests["is_primary"]]
    for _, own in primary.groupby("edges"):
        assert len(own) == 4  # A11 leaked
        np.testing.assert_allclose(own["p_bh_primary"], false_discovery_control(own["p_raw"]))

    exploratory = tests[tests["role"] == "exploratory"]
    np.testing.assert_allclose(exploratory["p_bh"], [0.03, 0.03])
    assert exploratory["significant"].tolist() == [True, True]
    outside = tests[~ok | (tests["role"] == "descriptive")]
    assert outside[["p_bh", "p_by", "significant", "significant_primary"]].isna().all(axis=None)
    assert tests.loc[~ok, "p_bh_maximal"].isna().all()


def test_families_are_counted(empty: ad.AnnData, enter: Callable[..., None]) -> None:
    tests = _filled(empty, enter)
    families = empty.uns["correct_tests"]["families"].set_index(["family", "edges"])
    assert list(families.index) == [
        ("confirmatory", ""),
        ("maximal", ""),
        ("maximal_tested", ""),
        ("primary", "attention"),
        ("primary", "spearman"),
        ("exploratory", ""),
    ]
    assert families["n"].tolist() == [24, 32, 28, 4, 4, 2]
    assert families["n_rows"].tolist() == [30, 38, 38, 5, 5, 2]
    assert families.loc[("confirmatory", ""), "excluded"] == "not_run 2; label_leak 4"
    assert families.loc[("maximal_tested", ""), "excluded"] == "without p 4; not_run 2; label_leak 4"
    told = families["n_significant"]
    assert told.iloc[0] == tests.query("role == 'confirmatory'")["significant"].sum()
    assert told.iloc[1] == tests["significant_maximal"].sum() <= told.iloc[2]
    assert told.iloc[3] + told.iloc[4] == tests["significant_primary"].sum()
    assert (families["n_significant_by"] <= told).all()


def test_an_inference_is_stable_if_all_families_agree(empty: ad.AnnData, enter: Callable[..., None]) -> None:
    filler = [{"analysis": "A06", "name": f"d{n}", "role": "descriptive"} for n in range(6)]
    enter(
        empty,
        {"analysis": "A01", "name": "strong", "p_raw": 1e-6, "is_primary": True},
        {"analysis": "A04", "name": "edge", "p_raw": 0.014, "is_primary": True},
        {"analysis": "A09", "name": "weak", "p_raw": 0.6, "is_primary": True},
        {"analysis": "A09", "name": "other", "p_raw": 0.9},
        *filler,
    )
    sps.tl.correct_tests(empty)
    stable = empty.uns["correct_tests"]["stability"].set_index(["test_id"])
    stable.index = stable.index.str.rpartition("/").get_level_values(2)
    # 0.014: q is 0.021 of 3 tests, 0.028 of 4, 0.07 of 10
    assert stable.loc["edge", ["confirmatory", "maximal", "primary", "stable"]].tolist() == [True, False, True, False]
    assert stable["stable"].to_dict() == {"strong": True, "edge": False, "weak": True}
    params = empty.uns["correct_tests"]["params"]
    assert (params["n_inferences"], params["n_stable"], params["n_tests"]) == (3, 2, 10)


def test_of_an_analysis_that_was_run_under_two_names_the_last_counts(
    empty: ad.AnnData, enter: Callable[..., None]
) -> None:
    for key, p in (("first", 0.001), ("second", 0.2)):
        enter(empty, {"analysis": "A01", "name": "x", "p_raw": p, "is_primary": True}, key=key)
    sps.tl.correct_tests(empty)
    tests = empty.uns["tests"].set_index("key")
    assert tests["p_bh_primary"].isna().to_dict() == {"first": True, "second": False}
    family = empty.uns["correct_tests"]["families"].query("family == 'primary'").iloc[0]
    assert (family["n"], family["excluded"]) == (1, "superseded 1")


def test_two_levels_name_the_tests(empty: ad.AnnData, enter: Callable[..., None]) -> None:
    enter(
        empty,
        {"analysis": "A01", "name": "a", "p_raw": 0.001},
        {"analysis": "A01", "name": "b", "p_raw": 0.04},
        {"analysis": "A09", "name": "c", "p_raw": 0.4},
    )
    sps.tl.correct_tests(empty)
    found = empty.uns["correct_tests"]["two_level"].set_index("family")
    assert found["selected"].to_dict() == {"F1": True, "F3": False}
    assert found.loc["F1", "level"] == 0.025
    assert found.loc["F1", "tests"] == "A01/tool/attention/perturbation/a"
    assert (found.loc["F3", "tests"], found.loc["F3", "n_significant"]) == ("", 0)


def test_reruns_are_told(empty: ad.AnnData, enter: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    for margin in (0.02, 0.05, 0.02, 0.1):
        enter(empty, {"analysis": "A01", "name": "x", "p_raw": 0.5}, params={"margin": margin})
    enter(empty, {"analysis": "A04", "name": "x", "p_raw": 0.5})
    with caplog.at_level(logging.INFO, logger="scepsis"):
        sps.tl.correct_tests(empty)
    again = empty.uns["correct_tests"]["reruns"]
    assert again[["analysis", "n_runs", "n_distinct_params"]].to_numpy().tolist() == [["A01", 4, 3]]
    assert "A01 (tool) of attention: run 4 times with 3 settings" in caplog.text


def test_alpha_decides(empty: ad.AnnData, enter: Callable[..., None]) -> None:
    enter(empty, {"analysis": "A01", "name": "x", "p_raw": 0.03})
    for alpha, expected in ((0.05, True), (0.01, False)):
        sps.tl.correct_tests(empty, alpha=alpha)
        assert empty.uns["tests"]["significant"].tolist() == [expected]


@pytest.mark.parametrize("alpha", [0, 1, np.nan, True, 5])
def test_bad_input(empty: ad.AnnData, enter: Callable[..., None], untouched: Callable[..., Any], alpha: float) -> None:
    with pytest.raises(KeyError, match="nothing has been tested"):
        sps.tl.correct_tests(empty)
    enter(empty, {"analysis": "A01", "name": "x", "p_raw": 0.03})
    with untouched(empty):
        with pytest.raises(ValueError, match="`alpha` must be between 0 and 1"):
            sps.tl.correct_tests(empty, alpha=alpha)
        with pytest.raises(ValueError, match="key_added"):
            sps.tl.correct_tests(empty, key_added="a/b")
        copied = sps.tl.correct_tests(empty, copy=True)
    assert "correct_tests" in copied.uns


def test_everything_survives_writing_and_reading(
    empty: ad.AnnData, enter: Callable[..., None], roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    tests = _filled(empty, enter)
    result = empty.uns["correct_tests"]
    for back in roundtrips(empty):
        for name in ("families", "two_level", "stability", "reruns"):
            frame = back.uns["correct_tests"][name]
            pd.testing.assert_frame_equal(frame.astype(result[name].dtypes.to_dict()), result[name])
        sps.tl.correct_tests(back)
        pd.testing.assert_frame_equal(back.uns["tests"], tests)


def test_nothing_that_can_be_corrected_is_no_error(empty: ad.AnnData, enter: Callable[..., None]) -> None:
    enter(empty, {"analysis": "A01", "name": "x", "status": "too_few_units", "is_primary": True})
    sps.tl.correct_tests(empty)
    assert empty.uns["tests"]["p_bh"].isna().all()
    assert empty.uns["correct_tests"]["families"]["n"].tolist() == [0, 0, 0, 0, 0]
    assert empty.uns["correct_tests"]["two_level"].empty
    assert empty.uns["correct_tests"]["stability"].empty
