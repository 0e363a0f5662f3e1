from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import anndata as ad

PERTURBED = tuple(f"G{index}" for index in range(9))
SMALL = {
    "lfc_thresholds": [0.25, 0.5],
    "n_cells": [60, 150],
    "n_genes": [40, 60],
    "tests": ["student", "welch"],
    "min_cells": 30,
    "show_progress_bar": False,
}
NUMBERS = ["auroc", "auroc_sd", "ci_low", "ci_high", "p_value"]


@pytest.fixture
def adata(make_screen: Callable) -> ad.AnnData:
    adata = make_screen(perturbed=PERTURBED)
    sps.pp.select_cells(adata, n_cells=150)
    sps.tl.correlation_edges(adata)
    return adata


def scan(adata: ad.AnnData, **more: Any) -> pd.DataFrame:
    assert sps.tl.sensitivity_scan(adata, **({"edges": "spearman"} | SMALL | more)) is None
    return adata.uns[more.get("key_added", "sensitivity_scan")]["settings"]


def by_hand(adata: ad.AnnData, setting: tuple[float, int, int, str], **more: Any) -> pd.DataFrame:
    """The same setting by the tools that a user would call."""
    threshold, n_cells, n_genes, test = setting
    own = adata.copy()
    sps.pp.select_cells(own, n_cells=n_cells)
    sps.pp.gene_features(own)
    sps.pp.select_panel(own, n_top_genes=n_genes)
    sps.tl.correlation_edges(own)
    sps.tl.perturbation_effects(
        own, test=test, min_expected=0 if test == "welch" else 5, lfc_threshold=threshold, min_cells=30,
        n_null_splits=1, show_progress_bar=False,
    )  # fmt: skip
    sps.tl.perturbation_auroc(own, n_boot=1, **({"edges": "spearman"} | more))
    return own.uns["perturbation_auroc"]["summary"].set_index("predictor")


def of(frame: pd.DataFrame, setting: tuple[float, int, int, str]) -> pd.DataFrame:
    columns = ["lfc_threshold", "n_cells", "n_genes", "test"]
    chosen = np.logical_and.reduce([frame[name] == value for name, value in zip(columns, setting, strict=True)])
    return frame[chosen].set_index("predictor")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("setting", [(0.5, 150, 60, "student"), (0.25, 60, 40, "welch"), (0.5, 60, 60, "welch")])
def test_a_setting_is_what_the_tools_give_when_called_by_hand(
    adata: ad.AnnData, setting: tuple[float, int, int, str]
) -> None:
    found, expected = of(scan(adata), setting), by_hand(adata, setting)
    assert expected.loc["spearman", "n_units"] >= 6
    for predictor in ("spearman", "spearman_signed", "variance", "mean", "detection_rate", "de_frequency"):
        np.testing.assert_allclose(
            found.loc[predictor, NUMBERS].astype(float), expected.loc[predictor, NUMBERS].astype(float), rtol=1e-6
        )
    scored = found[found["kind"] != "signed"]
    assert scored["rank"].tolist() == (-scored["auroc"]).rank(method="min").tolist()
    assert (scored["n_ranked"] == 5).all()


def test_every_combination_is_a_row_and_one_of_them_the_reference(adata: ad.AnnData) -> None:
    frame = scan(adata)
    own = frame[frame["predictor"] == "spearman"]
    assert len(own) == 2 * 2 * 2 * 2
    assert not own.duplicated(["lfc_threshold", "n_cells", "n_genes", "test"]).any()
    reference = own[own["is_reference"]]
    assert reference[["lfc_threshold", "n_cells", "n_genes", "test"]].to_numpy().tolist() == [[0.5, 150, 60, "student"]]
    tests = adata.uns["tests"]
    assert tests["name"].tolist() == ["reference_setting"]
    row = tests.iloc[0]
    assert (row["analysis"], row["role"], row["is_primary"], row["effects"]) == (
        "A02", "confirmatory", True, "perturbation",
    )  # fmt: skip
    assert row["effect_size"] == reference["auroc"].iloc[0]
    assert row["p_raw"] == reference["p_value"].iloc[0]
    assert "16 settings" in row["reason"]


def test_nothing_but_the_result_is_written(adata: ad.AnnData, untouched: Callable) -> None:
    copied, little = adata.copy(), {"n_cells": [60], "n_genes": [60], "tests": ["student"]}
    with untouched(adata):
        changed = sps.tl.sensitivity_scan(adata, edges="spearman", copy=True, **(SMALL | little))
    scan(copied, **little)
    for key in ("sensitivity_scan", "tests"):
        assert key in changed.uns
        del copied.uns[key], changed.uns[key]
    for slot in ("obs", "var", "uns", "obsm", "varm", "varp", "layers"):
        assert list(getattr(copied, slot)) == list(getattr(adata, slot))
    pd.testing.assert_frame_equal(copied.obs, adata.obs)
    pd.testing.assert_frame_equal(copied.var, adata.var)


def test_a_setting_with_too_few_perturbations_has_no_numbers(adata: ad.AnnData) -> None:
    frame = scan(adata, min_units=50, n_genes=[60])
    assert frame[NUMBERS].isna().all(axis=None)
    assert (frame["n_units"] > 0).any()
    assert frame["rank"].isna().all()
    row = adata.uns["tests"].iloc[0]
    assert row["status"] == "too_few_units"
    assert np.isnan(row["p_raw"])


def test_what_is_beyond_the_data_is_tried_once(adata: ad.AnnData, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="scepsis"):
        frame = scan(adata, n_cells=[60, 5000, 10_000], n_genes=[60, 2000], tests=["student"])
    assert sorted(set(frame["n_cells"])) == [60, 160]
    assert set(frame["n_genes"]) == {60}
    assert any("160 control cells" in message for message in caplog.messages)


def test_tables_are_the_same_in_every_setting_and_that_is_said(
    adata: ad.AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    names = adata.var_names
    pairs = [(one, other) for one in PERTURBED for other in names if one != other]
    table = pd.DataFrame(pairs, columns=["source", "target"]).assign(weight=rng.random(len(pairs)))
    with caplog.at_level(logging.WARNING, logger="scepsis"), pytest.warns(UserWarning, match="no record of the cells"):
        frame = scan(adata, edges={"table": table, "spearman": "spearman"}, lfc_thresholds=[0.5], tests=["student"])
    assert any("the same edges in every setting" in message for message in caplog.messages)
    own = frame[frame["predictor"] == "table"]
    assert not own["extracted_anew"].any()
    assert frame.loc[frame["predictor"] == "spearman", "extracted_anew"].all()
    assert set(adata.uns["tests"]["edges"]) == {"table", "spearman"}
    few = of(frame, (0.5, 150, 40, "student")).loc["table"]
    assert few["n_candidates"] == 40


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_attention_is_extracted_anew_when_asked(
    adata: ad.AnnData, small_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sps.tl.attention_edges(adata, small_model, layers=[1], show_progress_bar=False)
    options = {
        "edges": "attention",
        "n_cells": [40, 150],
        "n_genes": [60],
        "tests": ["student"],
        "lfc_thresholds": [0.5],
    }
    with caplog.at_level(logging.WARNING, logger="scepsis"):
        anew = scan(adata, model=small_model, reextract=True, **options)
    assert any("190 cells pass through the model" in message for message in caplog.messages)
    fixed = scan(adata, key_added="fixed", **options)
    own = adata.copy()
    sps.pp.select_cells(own, n_cells=40)
    sps.tl.attention_edges(own, small_model, layers=[1], show_progress_bar=False)
    expected = by_hand(own, (0.5, 40, 60, "student"), edges="attention")
    found, stale = (of(frame, (0.5, 40, 60, "student")).loc["attention"] for frame in (anew, fixed))
    assert found["auroc"] == pytest.approx(expected.loc["attention", "auroc"], abs=1e-6)
    assert stale["auroc"] != pytest.approx(found["auroc"], abs=1e-6)
    assert (found["extracted_anew"], stale["extracted_anew"]) == (True, False)
    same = of(fixed, (0.5, 150, 60, "student")).loc["attention", "auroc"]
    assert of(anew, (0.5, 150, 60, "student")).loc["attention", "auroc"] == pytest.approx(same, abs=1e-6)
    assert set(adata.uns["tests"]["layer_rule"]) == {"unrecorded"}
    assert set(adata.uns["tests"]["role"]) == {"exploratory"}


def test_the_result_survives_the_disk(
    adata: ad.AnnData, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    frame = scan(adata, n_cells=[150], n_genes=[60])
    for back in roundtrips(adata):
        read = back.uns["sensitivity_scan"]["settings"].reset_index(drop=True)
        pd.testing.assert_frame_equal(read, frame, check_dtype=False)


def test_same_seed_same_numbers(adata: ad.AnnData) -> None:
    little = {"n_cells": [60], "n_genes": [60], "tests": ["student"]}
    one = scan(adata, **little).copy()
    pd.testing.assert_frame_equal(scan(adata, **little), one)
    assert not scan(adata, rng=1, **little)["auroc"].equals(one["auroc"])


def many_guides(*, controls: bool = True) -> ad.AnnData:
    """
    Cells with about 1.5 of nine perturbations each, of which each moves ten genes.

    A tenth of the cells has a guide without a target alone, or none at all has, where `controls` is False.
    """
    rng = np.random.default_rng(0)
    n_cells, n_genes, n_targets = 900, 60, 9
    hit = rng.random((n_cells, n_targets)) < 1.5 / n_targets
    hit[:90] = False
    hit[90:][~hit[90:].any(axis=1), 0] = True
    rate = np.exp(rng.normal(1.0, 0.3, n_genes)) * np.exp(rng.normal(0, 0.2, (n_cells, 1)))
    responders = np.stack([rng.choice(np.arange(9, n_genes), 10, replace=False) for _ in range(n_targets)])
    for target, moved in enumerate(responders):
        rate[np.ix_(hit[:, target], moved)] *= 2.5
    names = [f"G{gene}" for gene in range(n_genes)]
    adata = AnnData(rng.poisson(rate).astype(np.float32), var=pd.DataFrame(index=names))
    calls = pd.DataFrame(hit, index=adata.obs_names, columns=[f"G{target}_g1" for target in range(n_targets)])
    calls["non-targeting_1"] = ~hit.any(axis=1)
    adata.uns["moved"] = responders
    adata = adata if controls else adata[hit.any(axis=1)].copy()
    sps.pp.assign_perturbations(adata, calls.loc[adata.obs_names].astype(int) * 50, max_targets=None)
    return adata


OVERLAPPING = SMALL | {"overlapping": True, "n_cells": [60, 90], "lfc_thresholds": [0.5], "tests": ["student"]}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("control", ["complement", "non-targeting"])
def test_cells_with_several_perturbations_count_for_each(control: str) -> None:
    """A setting is what the tools give when called by hand; planted responders are found in either design."""
    adata = many_guides()
    sps.tl.correlation_edges(adata, mask_obs=(adata.obs["perturbation"] == "non-targeting").to_numpy())
    frame = scan(adata, **OVERLAPPING, control=control, force="perturbed")
    assert set(frame["n_cells"]) == {60, 90}
    for n_cells, n_genes in ((60, 40), (90, 60)):
        own = adata.copy()
        sps.pp.select_cells(own, n_cells=n_cells)
        sps.pp.gene_features(own)
        sps.pp.select_panel(own, n_top_genes=n_genes, force=PERTURBED)
        sps.tl.correlation_edges(own)
        sps.tl.perturbation_effects(
            own, overlapping=True, control=control, lfc_threshold=0.5, min_cells=30, n_null_splits=1,
            show_progress_bar=False,
        )  # fmt: skip
        called = sps.get.effects(own, "target").to_numpy()
        for perturbation, moved in enumerate(adata.uns["moved"]):
            assert called[moved, perturbation].mean() > 0.9
        sps.tl.perturbation_auroc(own, edges="spearman", n_boot=1)
        expected = own.uns["perturbation_auroc"]["summary"].set_index("predictor")
        assert expected.loc["spearman", "n_units"] == 9
        found = of(frame, (0.5, n_cells, n_genes, "student"))
        for predictor in ("spearman", "mean", "de_frequency"):
            np.testing.assert_allclose(
                found.loc[predictor, NUMBERS].astype(float), expected.loc[predictor, NUMBERS].astype(float), rtol=1e-6
            )
    params = adata.uns["sensitivity_scan"]["params"]
    assert params["overlapping"]
    assert (params["control"], params["unperturbed"]) == (control, "non-targeting")


def test_without_unperturbed_cells_there_is_nothing_to_choose_among(untouched: Callable) -> None:
    adata = many_guides(controls=False)
    sps.tl.correlation_edges(adata)
    with untouched(adata), pytest.raises(ValueError, match=r"No cell of .* is 'non-targeting'.*perturbation_auroc"):
        sps.tl.sensitivity_scan(adata, edges="spearman", **OVERLAPPING, control="complement")
    with untouched(adata), pytest.raises(ValueError, match="'non-targeting' does not occur"):
        sps.tl.sensitivity_scan(adata, edges="spearman", **OVERLAPPING)
    del adata.obsm["perturbation"]
    with untouched(adata), pytest.raises(KeyError, match=r"Call `scepsis\.pp\.assign_perturbations\(adata, guides"):
        sps.tl.sensitivity_scan(adata, edges="spearman", **OVERLAPPING, control="complement")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"edges": "nothing"}, KeyError, "nothing"),
        ({"tests": ["t"]}, ValueError, "`tests`"),
        ({"n_cells": []}, ValueError, "`n_cells`"),
        ({"n_genes": [0]}, ValueError, "`n_genes`"),
        ({"lfc_thresholds": [-1.0]}, ValueError, "`lfc_thresholds`"),
        ({"control": "nobody"}, ValueError, "nobody"),
        ({"control": "complement"}, ValueError, "overlapping=True"),
        ({"groupby": "guide"}, KeyError, "guide"),
        ({"reextract": True}, ValueError, "model"),
        ({"baselines": ["position"]}, ValueError, "`baselines`"),
        ({"min_units": 1}, ValueError, "`min_units`"),
    ],
)
def test_bad_input_raises_before_any_work(
    adata: ad.AnnData, untouched: Callable, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with untouched(adata), pytest.raises(error, match=text):
        sps.tl.sensitivity_scan(adata, **({"edges": "spearman"} | SMALL | arguments))
