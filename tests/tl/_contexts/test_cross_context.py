"""Contexts audited alike: which differ is known, what is refused, and what few perturbations may not claim."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
#: Steps that take long and that nothing here is about.
SKIP = ["incremental_value", "matched_evaluation", "explain_edges", "residualize_edges", "perturbation_auroc_layers"]
QUICK: dict[str, Any] = {"skip": SKIP, "n_boot": 50, "n_null": 20, "show_progress_bar": False}


def _together(contexts: dict[str, ad.AnnData], axis: int = 1) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mudata.MuData(contexts, axis=axis)


def _of(frame: pd.DataFrame, name: str, edges: str = "attention") -> pd.DataFrame:
    return frame[(frame["name"] == name) & (frame["edges"] == edges)]


@pytest.fixture
def contexts(make_audit: Callable[..., ad.AnnData]) -> dict[str, ad.AnnData]:
    """Two screens in which attention says nothing of pairs, and one in which it does."""
    signals = {"A": 0.0, "B": 0.0, "C": 1.5}
    return {
        name: make_audit(signal=signal, seed=seed, n_genes=120, companions=())
        for seed, (name, signal) in enumerate(signals.items())
    }


def test_recovers_which_of_three_simulated_contexts_differs() -> None:
    size = {"n_genes": 300, "n_regulators": 30, "n_other": 10, "n_controls": 800, "cells_per_perturbation": 70}
    wiring = {"A": 0.2, "B": 0.2, "C": 1.0}
    mdata = _together(
        {
            name: sps.datasets.simulate_screen(**size, rng=seed, wiring=w)
            for seed, (name, w) in enumerate(wiring.items())
        }
    )
    sps.tl.cross_context(mdata, edges="spearman", **QUICK)
    result = mdata.uns["cross_context"]
    for name in ("vs_variance", "vs_mean", "vs_detection_rate", "vs_de_frequency"):
        own = _of(result["estimates"], name, "spearman").set_index("context")
        assert own["deviates"].to_dict() == {"A": False, "B": False, "C": True}
        assert (own["effect_size"] > 0).to_dict() == {"A": False, "B": False, "C": True}
        pairs = _of(result["pairwise"], name, "spearman").set_index(["context", "versus"])["differs"]
        assert pairs.to_dict() == {("A", "B"): False, ("A", "C"): True, ("B", "C"): True}
        overall = _of(result["summary"], name, "spearman").iloc[0]
        assert overall["p_heterogeneity"] < 1e-4
        assert overall["i2"] > 0.8
        assert overall["n_above"] == 1


def test_contexts_that_are_alike_do_not_differ(make_audit: Callable[..., ad.AnnData]) -> None:
    mdata = _together({name: make_audit(signal=1.0, seed=seed, companions=()) for seed, name in enumerate("ABCD")})
    sps.tl.cross_context(mdata, edges="attention", **QUICK)
    result = mdata.uns["cross_context"]
    overall = _of(result["summary"], "vs_spearman").iloc[0]
    assert overall["q_heterogeneity"] > 0.05
    assert not _of(result["pairwise"], "vs_spearman")["differs"].any()
    assert (overall["ci_low"], overall["n_above"], overall["n_pooled"]) > (0, 3, 3)


def test_every_context_has_the_audit_it_would_have_alone(contexts: dict[str, ad.AnnData]) -> None:
    mdata = _together({name: one.copy() for name, one in contexts.items()})
    sps.tl.cross_context(mdata, edges="attention", rng=3, **QUICK)
    alone = contexts["B"]
    sps.tl.audit(alone, edges="attention", rng=3, **QUICK)
    for key in ("perturbation_auroc", "audit", "verdict"):
        assert key in mdata.mod["B"].uns
    pd.testing.assert_frame_equal(
        mdata.mod["B"].uns["perturbation_auroc"]["contrasts"], alone.uns["perturbation_auroc"]["contrasts"]
    )
    pd.testing.assert_frame_equal(
        sps.get.tests(mdata, mod="B").drop(columns="wall_s"), sps.get.tests(alone).drop(columns="wall_s")
    )
    own = mdata.uns["cross_context"]["estimates"].query("context == 'B' and name == 'vs_mean'").iloc[0]
    row = sps.get.tests(alone, analysis="A04", edges="attention").set_index("name").loc["vs_mean"]
    assert own["effect_size"] == row["effect_size"]
    half = (row["ci_high"] - row["ci_low"]) / 2
    assert own["standard_error"] == pytest.approx(half / stats.t.ppf(0.975, row["n_units"] - 1))


def test_finds_the_planted_signal_and_no_other(contexts: dict[str, ad.AnnData]) -> None:
    mdata = _together(contexts)
    sps.tl.cross_context(mdata, edges="attention", **QUICK)
    result = mdata.uns["cross_context"]
    own = _of(result["estimates"], "above_chance").set_index("context")
    assert own["deviates"].to_dict() == {"A": False, "B": False, "C": True}
    assert (own.loc[["A", "B"], "p_raw"] > 0.01).all()
    assert own.loc["C", "effect_size"] > 0.7


def test_few_perturbations_are_labelled_and_claim_no_equivalence(make_audit: Callable[..., ad.AnnData]) -> None:
    many = {name: make_audit(seed=seed, companions=(), n_units=40) for seed, name in enumerate(("A", "B"))}
    few = make_audit(seed=7, n_units=7, companions=())
    mdata = _together(many | {"few": few})
    sps.tl.cross_context(mdata, edges="attention", **QUICK)
    result = mdata.uns["cross_context"]
    table = result["contexts"].set_index("context")
    assert table["status"].to_dict() == {"A": "ok", "B": "ok", "few": "underpowered"}
    assert table.loc["few", "smallest_p"] == pytest.approx(2 / 2**7)
    own = _of(result["estimates"], "vs_spearman").set_index("context")
    assert own.loc["few", "status"] == "underpowered"
    assert own.loc["few", "equivalence"] == ""
    assert own.loc["few", "pooled"] == np.False_
    # of the exact distribution of 7 signed ranks: a multiple of its smallest step
    steps = own.loc["few", "p_raw"] * 2**7 / 2
    assert steps == pytest.approx(round(steps))
    assert np.isfinite(own.loc["few", "effect_size"])
    overall = _of(result["summary"], "vs_spearman").iloc[0]
    assert (overall["n_contexts"], overall["n_pooled"], overall["n_underpowered"]) == (3, 2, 1)
    assert overall["mean"] == pytest.approx(own.loc[["A", "B"], "effect_size"].mean(), abs=0.02)
    assert np.isnan(own.loc["few", "deviation"])


def test_degenerate_contexts_have_rows_and_no_numbers(make_audit: Callable[..., ad.AnnData]) -> None:
    mdata = _together({name: make_audit(seed=seed, n_units=3, companions=()) for seed, name in enumerate("AB")})
    sps.tl.cross_context(mdata, edges="attention", **QUICK)
    result = mdata.uns["cross_context"]
    assert set(result["contexts"]["status"]) == {"underpowered"}
    assert set(result["summary"]["status"]) == {"too_few_units"}
    assert result["summary"][["mean", "tau", "p_heterogeneity"]].isna().all(axis=None)
    assert result["pairwise"].empty
    tests = sps.get.tests(mdata)
    assert tests["p_raw"].isna().all()
    assert set(tests["status"]) == {"too_few_units"}


def test_modalities_count_only_with_their_sources(contexts: dict[str, ad.AnnData]) -> None:
    mdata = _together(contexts)

    def claim(**declared: Any) -> Any:
        sps.tl.cross_context(mdata, edges="attention", **declared, **QUICK)
        return mdata.uns["cross_context"]["claims"].set_index(["edges", "claim"]).loc[("attention", "two modalities")]

    both = {"A": "CRISPRi", "B": "CRISPRa", "C": "CRISPRi"}
    unsourced = claim(modality=both, modality_source={"A": "doi:1"})
    assert unsourced["reason"].startswith("blocked")
    assert pd.isna(unsourced["holds"])
    assert "'B', 'C'" in unsourced["reason"]
    sourced = claim(modality=both, modality_source=dict.fromkeys("ABC", "doi:1"))
    assert not sourced["reason"].startswith("blocked")
    assert mdata.uns["cross_context"]["contexts"]["modality"].tolist() == ["CRISPRi", "CRISPRa", "CRISPRi"]


def test_claims_follow_from_verdicts() -> None:
    from scepsis.tl._contexts._context_tables import claims

    table = pd.DataFrame({"context": ["A", "B"], "modality": ["CRISPRi", "CRISPRa"], "modality_source": ["x", "y"]})

    def holds(a: Any, b: Any) -> list[Any]:
        judged = pd.DataFrame({"context": ["A", "B"], "edges": "e", "criterion": "overall"})
        judged["passed"] = pd.Series([a, b], dtype="boolean")
        return [None if pd.isna(one) else bool(one) for one in claims(table, judged, ["e"])["holds"]]

    assert holds(True, True) == [True, True]
    assert holds(True, False) == [False, False]
    assert holds(True, None) == [None, None]
    assert holds(False, None) == [False, False]
    table["modality"] = "unknown"
    assert holds(True, True) == [True, None]
    for alike in (
        ["CRISPRi", "CRISPRi"], ["CRISPRi", "crispr-I "], ["interference", "CRISPRi"],
        ["CRISPR interference", "CRISPRi"], ["CRISPRi", "Unknown"], ["CRISPRi", " "],
    ):  # fmt: skip
        table["modality"] = alike
        assert holds(True, True) == [True, None], alike
    table["modality"], table["modality_source"] = ["CRISPRi", "CRISPRa"], ["x", " "]
    assert holds(True, True) == [True, None]


def test_registry_and_references(contexts: dict[str, ad.AnnData]) -> None:
    mdata = _together(contexts)
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame({"source": [f"G{i}" for i in range(12) for _ in range(5)]})
    pairs["target"] = [f"G{i}" for i in rng.choice(np.arange(40, 120), 60)]
    kept = [step for step in SKIP if step != "residualize_edges"]
    more = QUICK | {"skip": [*kept, "degree_null", "residualize_edges"]}
    for _ in range(2):
        sps.tl.cross_context(mdata, edges="attention", reference={"net": pairs}, **more)
    tests = sps.get.tests(mdata)
    assert set(tests["analysis"]) == {"A16"}
    assert set(tests["reference"]) == {"", "net"}
    assert ((tests["reference"] == "") != (tests["effects"] == "")).all()
    assert {"pooled/R/pooled", "heterogeneity/R/pooled"} <= set(tests.loc[tests["reference"] == "net", "name"])
    assert set(tests["n_runs"]) == {2}
    assert tests["test_id"].is_unique
    primary = tests[tests["is_primary"]]
    assert primary["name"].tolist() == ["pooled/A01/vs_spearman"]
    assert (tests["labels_hash"] != "").all()
    sps.tl.correct_tests(mdata)
    assert sps.get.tests(mdata, role="confirmatory")["p_bh"].notna().any()
    row = tests[tests["edges"] == "attention"].set_index("name").loc["pooled/A04/vs_mean"]
    overall = _of(mdata.uns["cross_context"]["summary"], "vs_mean").iloc[0]
    assert (row["effect_size"], row["p_raw"]) == (overall["mean"], overall["p_value"])


def test_survives_disk_and_repeats(contexts: dict[str, ad.AnnData], tmp_path: Path) -> None:
    mdata = _together(contexts)
    again = mdata.copy()
    assert sps.tl.cross_context(mdata, edges="attention", **QUICK) is None
    back = sps.tl.cross_context(again, edges="attention", copy=True, **QUICK)
    assert "cross_context" not in again.uns
    mdata.write(tmp_path / "contexts.h5mu")
    read = mudata.read(tmp_path / "contexts.h5mu")
    for name, frame in mdata.uns["cross_context"].items():
        if name != "params":
            pd.testing.assert_frame_equal(back.uns["cross_context"][name], frame)
            stored = read.uns["cross_context"][name]
            pd.testing.assert_frame_equal(stored.reset_index(drop=True), frame, check_dtype=False)
    assert list(read.uns["cross_context"]["params"]["contexts"]) == ["A", "B", "C"]
    assert sps.get.tests(read, mod="A").shape == sps.get.tests(mdata, mod="A").shape


def test_labels_may_be_written_differently_in_every_context(contexts: dict[str, ad.AnnData]) -> None:
    for one in contexts.values():
        del one.uns["perturbation_effects"], one.varm["perturbation_target"]
    contexts["B"].obs["guide"] = contexts["B"].obs.pop("perturbation").cat.rename_categories({"non-targeting": "NT"})
    mdata = _together(contexts)
    given = {"A": "perturbation", "B": "guide", "C": "perturbation"}
    control = {"A": "non-targeting", "B": "NT", "C": "non-targeting"}
    sps.tl.cross_context(mdata, edges="spearman", groupby=given, control=control, **QUICK)
    assert mdata.mod["B"].uns["perturbation_effects"]["params"]["control"] == "NT"
    with pytest.raises(ValueError, match="says nothing of the context 'C'"):
        sps.tl.cross_context(mdata, edges="spearman", groupby={"A": "perturbation", "B": "guide"}, **QUICK)


def _reordered(given: dict[str, ad.AnnData]) -> dict[str, ad.AnnData]:
    return given | {"B": given["B"][:, ::-1].copy()}


def _renamed(given: dict[str, ad.AnnData]) -> dict[str, ad.AnnData]:
    other = given["B"].copy()
    other.var_names = [f"ENSG{index}" for index in range(other.n_vars)]
    return given | {"B": other}


def _fewer(given: dict[str, ad.AnnData]) -> dict[str, ad.AnnData]:
    return given | {"B": given["B"][:, :100].copy()}


def _same_cells(given: dict[str, ad.AnnData]) -> dict[str, ad.AnnData]:
    other = given["B"].copy()
    values = other.X.copy()
    values[:3] = given["A"].X[5:8]  # under other names
    other.X = values
    return given | {"B": other}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_reordered, r"another order.*mdata.mod\['A'\].var_names"),
        (_renamed, "name genes differently"),
        (_fewer, "share 100 of 120 and 100 genes.*intersection"),
        (_same_cells, "3 cells are in two contexts.*c5 of A and c0 of B"),
        (lambda given: {"A": given["A"]}, "two or more"),
    ],
)
def test_contexts_that_are_none_are_refused(contexts: dict[str, ad.AnnData], change: Any, match: str) -> None:
    mdata = _together(change(contexts))
    with pytest.raises(ValueError, match=match):
        sps.tl.cross_context(mdata, edges="attention", **QUICK)
    assert "cross_context" not in mdata.uns
    assert all("audit" not in one.uns for one in mdata.mod.values())


def test_other_bad_input_leaves_everything_as_it_was(
    contexts: dict[str, ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError, match=r"mudata.MuData\({'K562': adata_1, 'RPE1': adata_2}, axis=1\)"):
        sps.tl.cross_context(contexts["A"], edges="attention")
    with pytest.raises(ValueError, match=r"mudata.MuData\(dict\(mdata.mod\), axis=1\)"):
        sps.tl.cross_context(_together(contexts, axis=0), edges="attention")
    del contexts["C"].varp["attention"]
    mdata = _together(contexts)
    for given, error, match in (
        ({"edges": "attention"}, KeyError, "attention"),  # only the last context lacks it
        ({"edges": "spearman", "modality": {"D": "CRISPRi"}}, ValueError, "'D'"),
        ({"edges": "spearman", "modality_source": {"D": "doi"}}, ValueError, "'D'"),
        ({"edges": "spearman", "modality": {"A": np.nan}}, TypeError, r"modality\['A'\]` must be a string"),
        ({"edges": "spearman", "min_powered": 1}, ValueError, "min_powered"),
        ({"edges": "spearman", "key_added": "a/b"}, ValueError, "key_added"),
        ({"edges": "spearman", "control": {"A": "x"}}, ValueError, "control"),
    ):
        with pytest.raises(error, match=match):
            sps.tl.cross_context(mdata, **QUICK | given)
        assert not mdata.uns
        assert all("audit" not in one.uns and "tests" not in one.uns for one in mdata.mod.values())
    del mdata.mod["B"].uns["perturbation_effects"]
    called: list[int] = []
    monkeypatch.setattr(sps.tl, "audit", lambda *_, **__: called.append(1))
    for given, error, match in (
        ({"edges": "attention"}, KeyError, "'C'"),
        ({"edges": "spearman", "control": "NT"}, ValueError, "'B'"),
        ({"edges": "spearman", "skip": "nothing"}, KeyError, ""),
        ({"edges": "spearman", "reference": pd.DataFrame({"source": ["x"], "target": ["y"]})}, ValueError, "'A'"),
    ):
        with pytest.raises(error) as raised:
            sps.tl.cross_context(mdata, **QUICK | given)
        assert match in "".join(getattr(raised.value, "__notes__", []))
    assert not called, "nothing is audited before every context was looked at"
    assert not mdata.uns


def test_a_failure_half_way_leaves_everything_as_it_was(
    contexts: dict[str, ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    mdata = _together(contexts)
    seen: list[ad.AnnData] = []

    def fails_at_the_second(adata: ad.AnnData, **_: Any) -> None:
        seen.append(adata)
        adata.uns["audit"] = {"params": {"edges": ["attention"]}}
        adata.obs["edge_cells"] = False
        if len(seen) == 2:
            msg = "out of cells"
            raise RuntimeError(msg)

    monkeypatch.setattr(sps.tl, "audit", fails_at_the_second)
    with pytest.raises(RuntimeError, match="out of cells"):
        sps.tl.cross_context(mdata, edges="attention", **QUICK)
    assert len(seen) == 2
    assert all("audit" not in one.uns and one.obs["edge_cells"].any() for one in mdata.mod.values())


@pytest.mark.real_data
def test_replicates_of_a_real_screen_are_too_small_to_claim_anything(data_dir: Path) -> None:
    adata = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    sps.pp.lognormalize(adata, totals="n_umis_total")
    kept = adata.obs["perturbation"].isin(["non-targeting", "IFNGR2", "STAT1", "JAK2", "IRF1", "STAT2"])
    parts = {name: adata[kept & (adata.obs["bio_rep"] == name)].copy() for name in ("rep_1", "rep_2", "rep_3")}
    mdata = _together(parts)
    sps.tl.cross_context(mdata, edges="spearman", **QUICK)
    result = mdata.uns["cross_context"]
    assert set(result["contexts"]["status"]) == {"underpowered"}
    assert (result["contexts"]["n_units"] < 6).all()
    assert result["estimates"]["equivalence"].eq("").all()
    assert result["estimates"]["effect_size"].notna().any()
    shared = dict.fromkeys(("rep_1", "rep_2"), parts["rep_1"])
    with pytest.raises(ValueError, match="cells are in two contexts"):
        sps.tl.cross_context(_together({name: one.copy() for name, one in shared.items()}), edges="spearman", **QUICK)
