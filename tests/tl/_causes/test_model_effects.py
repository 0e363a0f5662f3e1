from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

import scepsis as sps
from scepsis._core._progress import progress_bar
from scepsis._core._screen_pairs import read_pairs
from scepsis.tl._causes._effect_tables import Effects, correlations

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def make(make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]) -> Callable[..., ad.AnnData]:
    """
    Maker of screens with fold changes and edges ``insilico`` of every kind of relation.

    Edges and fold changes share `pair` of a signal of the pair, `known` of the target's expression, and each have
    `own` of a property of the target that nothing tells and that the other does not have.
    """

    def made(
        *,
        n_units: int = 12,
        n_genes: int = 60,
        pair: float = 0.0,
        known: float = 0.0,
        own: float = 0.0,
        signed: bool = False,
        cells: str = "edge_cells",
        seed: int = 0,
    ) -> ad.AnnData:
        adata = make_audit(n_genes=n_genes, n_units=n_units, companions=(), seed=seed)
        rng = np.random.default_rng(seed + 1000)
        shared = rng.normal(size=(n_genes, n_genes))
        height = np.log(adata.var["mean"].to_numpy())
        values = [
            pair * shared + known * height + own * rng.normal(size=n_genes) + rng.normal(size=shared.shape)
            for _ in range(2)
        ]
        if not signed:
            values = [np.exp(one) for one in values]
        store_edges(adata, "insilico", values[0], signed=signed, cells=cells)
        adata.varm["perturbation_lfc"] = values[1][:n_units].T.astype(np.float32)
        return adata

    return made


def _found(adata: ad.AnnData, key: str = "model_effects") -> pd.DataFrame:
    return adata.uns[key]["correlations"].set_index(["edges", "compared", "adjustment"])


def _run(adata: ad.AnnData, **options: Any) -> pd.DataFrame:
    sps.tl.model_effects(adata, **({"n_boot": 50, "show_progress_bar": False} | options))
    return _found(adata, options.get("key_added", "model_effects"))


def _quickly(adata: ad.AnnData) -> pd.DataFrame:
    """The same numbers without the registry, which takes most of the time."""
    pairs = read_pairs(adata, "insilico")
    effects = Effects.of(pairs, np.asarray(adata.varm["perturbation_lfc"], dtype=float).T, np.full(12, 60.0), 10)
    with progress_bar(total=1, desc="", unit="", show=False) as bar:
        frame = correlations(effects, pairs.sets, min_units=6, n_boot=1, seed=0, bar=bar)
    return frame.set_index("adjustment")


def _pairs(adata: ad.AnnData, n_units: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    edges, lfc = np.asarray(adata.varp["insilico"]), np.asarray(adata.varm["perturbation_lfc"]).T
    source, target = np.nonzero(~np.isnan(edges[:n_units]))
    return source, target, edges[source, target].astype(float), lfc[source, target].astype(float)


def test_numbers_are_those_of_scipy_and_of_residuals(make: Callable[..., ad.AnnData]) -> None:
    adata = make(pair=0.7, known=0.7)
    found = _run(adata).loc["insilico", "magnitude"]
    source, target, model, measured = _pairs(adata)
    assert found.loc["raw", "n_pairs"] == len(model)
    assert found.loc["raw", "rho"] == pytest.approx(spearmanr(model, measured).statistic, abs=1e-6)
    known = adata.var[["variance", "mean", "detection_rate"]].to_numpy()[target]
    design = np.column_stack([np.ones(len(model)), *(rankdata(column) for column in known.T)])
    left = [rankdata(one) - design @ np.linalg.lstsq(design, rankdata(one), rcond=None)[0] for one in (model, measured)]
    assert found.loc["adjusted", "rho"] == pytest.approx(np.corrcoef(left)[0, 1], abs=1e-6)
    within = [spearmanr(model[source == one], measured[source == one]).statistic for one in range(12)]
    assert found.loc["within", "rho"] == pytest.approx(np.mean(within), abs=1e-6)
    by_source = adata.uns["model_effects"]["per_source"]
    np.testing.assert_allclose(by_source["rho"], within, atol=1e-6)
    trivial = adata.uns["model_effects"]["baselines"].set_index("feature")["rho"]
    expected = spearmanr(adata.var["mean"].to_numpy()[target], measured).statistic
    assert trivial["mean"] == pytest.approx(expected, abs=1e-6)


def test_a_signal_of_pairs_passes_and_one_of_targets_does_not(make: Callable[..., ad.AnnData]) -> None:
    pair = _run(make(pair=0.8)).loc["insilico", "magnitude"]
    for adjustment in ("raw", "adjusted"):
        assert pair.loc[adjustment, "p_value"] < 1e-3
        assert pair.loc[adjustment, "boot_low"] > 0.2
    rejected = 0
    for seed in range(20):
        target = _quickly(make(known=1.0, seed=seed))
        assert target.loc["raw", "rho"] > 0.25
        assert abs(target.loc["adjusted", "rho"]) < 0.2
        rejected += target.loc["adjusted", "p_value"] < 0.05
    assert rejected <= 4  # above that in 1 run of 400, at 5 %


def test_what_targets_have_alone_is_no_evidence(make: Callable[..., ad.AnnData]) -> None:
    """Neither knows of the other: clustered by source alone, one accident of targets counts once for every source."""
    frames = [_quickly(make(own=2.0, seed=seed)) for seed in range(40)]
    for adjustment in ("raw", "within"):
        rows = [frame.loc[adjustment] for frame in frames]
        assert sum(row["p_value"] < 0.05 for row in rows) <= 6
        assert sum(row["p_value_source"] < 0.05 for row in rows) >= 15


def test_a_signal_of_pairs_is_seen_within_sources(make: Callable[..., ad.AnnData]) -> None:
    """Clustered by targets too, where they have nothing of their own: as by sources alone, but for few degrees."""
    for seed in range(5):
        row = _quickly(make(pair=0.8, seed=seed)).loc["within"]
        assert row["p_value"] < 1e-3
        assert row["ci_low"] <= row["ci_low_source"] + 0.02
        assert row["ci_low"] > 0.5 * row["ci_low_source"]


def test_interval_holds_the_truth(make: Callable[..., ad.AnnData]) -> None:
    """The correlation of independent pairs of normals, half of whose variance is shared, is 6/pi asin(1/4)."""
    truth = 6 / np.pi * np.arcsin(0.25)
    rows = [_quickly(make(pair=1.0, seed=seed)).loc["raw"] for seed in range(40)]
    assert sum(row["ci_low"] < truth < row["ci_high"] for row in rows) >= 34


def test_signed_edges_are_compared_by_sign_and_by_magnitude(make: Callable[..., ad.AnnData]) -> None:
    adata = make(pair=1.0, signed=True)
    turned = _run(adata, key_added="turned").loc[("insilico", "signed", "raw")]
    found = _run(adata, loss_of_function=False)
    _, _, model, measured = _pairs(adata)
    signed, size = (found.loc[("insilico", how, "raw")] for how in ("signed", "magnitude"))
    assert signed["rho"] == pytest.approx(spearmanr(model, measured).statistic, abs=1e-6)
    assert size["rho"] == pytest.approx(spearmanr(abs(model), abs(measured)).statistic, abs=1e-6)
    assert signed["sign_agreement"] == pytest.approx(np.mean((model > 0) == (measured > 0)))
    assert signed["sign_agreement"] > signed["sign_expected"] + 0.1
    assert turned["rho"] == pytest.approx(-signed["rho"])
    assert turned["sign_agreement"] == pytest.approx(1 - signed["sign_agreement"])
    tests = adata.uns["tests"].query("key == 'model_effects'").set_index("name")
    assert list(tests.index) == ["spearman/raw", "spearman/adjusted"]
    assert tests.loc["spearman/raw", "effect_size"] == signed["rho"]
    assert tests["is_primary"].tolist() == [False, True]
    assert (tests["analysis"] == "A20").all()


def test_several_sets_share_pairs_and_are_compared_with_each_other(
    make: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make(pair=0.5)
    other = np.array(adata.varp["insilico"], dtype=float) ** 2
    other[:, 5] = np.nan
    store_edges(adata, "seed1", other)
    found = _run(adata, edges=["insilico", "seed1"])
    assert found["n_pairs"].eq(found["n_pairs"].iloc[0]).all()
    agreement = adata.uns["model_effects"]["agreement"]
    assert agreement[["edges", "other"]].to_numpy().tolist() == [["insilico", "seed1"]]
    assert agreement["rho"].iloc[0] == pytest.approx(1)
    raw = found.xs("raw", level="adjustment")
    assert raw["boot_low"].iloc[0] == raw["boot_low"].iloc[1]  # the same ranks under the same draws
    assert raw["rho"].iloc[0] == raw["rho"].iloc[1]


def test_guides_of_one_gene_are_one_source(make: Callable[..., ad.AnnData]) -> None:
    adata = make(pair=0.5)
    table = adata.uns["perturbation_effects"]["perturbations"]
    table["gene"] = [f"G{index // 2}" for index in range(12)]
    found = _run(adata).loc[("insilico", "magnitude", "raw")]
    assert found["n_sources"] == 6
    assert "G0;G1" in adata.uns["model_effects"]["per_source"]["perturbation"].tolist()


def test_what_cannot_be_said_has_a_status(make: Callable[..., ad.AnnData]) -> None:
    few = _run(make(pair=0.5, n_units=4)).loc["insilico", "magnitude"]
    assert (few["status"] == "too_few_units").all()
    assert few["p_value"].isna().all()
    assert few["rho"].notna().all()
    adata = make(pair=0.5)
    adata.varm["perturbation_lfc"][:] = 1.0
    assert (_run(adata).loc["insilico", "magnitude"].loc[["raw", "adjusted"], "status"] == "constant_score").all()
    adata = make(pair=0.5)
    adata.varm["perturbation_lfc"][:, :] = np.nan
    nothing = _run(adata)
    assert (nothing["status"] == "too_few_units").all()
    leaked = make(pair=0.5, cells="all_cells")
    found = _run(leaked, allow_different_cells=True)
    assert (found["status"] == "label_leak").all()
    assert found["rho"].notna().all()
    assert set(leaked.uns["tests"]["status"]) == {"label_leak"}


def test_result_survives_the_disk_and_repeats(make: Callable[..., ad.AnnData], roundtrips: Callable[..., Any]) -> None:
    adata = make(pair=0.5)
    _run(adata)
    _run(adata, key_added="again")
    pd.testing.assert_frame_equal(_found(adata), _found(adata, "again"))
    for back in roundtrips(ad.AnnData(uns={"model_effects": adata.uns["model_effects"]})):
        for name in ("correlations", "per_source", "baselines", "agreement"):
            pd.testing.assert_frame_equal(
                back.uns["model_effects"][name], adata.uns["model_effects"][name], check_dtype=False
            )


def test_wrong_input_raises_before_any_work(
    make: Callable[..., ad.AnnData], untouched: Callable[[ad.AnnData], Any]
) -> None:
    adata = make()
    with untouched(adata):
        for wrong in ({"direction": "sideways"}, {"min_candidates": 1}, {"min_units": 1}, {"n_boot": 0}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                sps.tl.model_effects(adata, **wrong)
        with pytest.raises(KeyError, match="nowhere"):
            sps.tl.model_effects(adata, edges="nowhere")
        changed = sps.tl.model_effects(adata, n_boot=5, copy=True)
    assert "model_effects" in changed.uns
    del adata.varm["perturbation_lfc"]
    with untouched(adata), pytest.raises(KeyError, match=r"scepsis\.tl\.perturbation_effects"):
        sps.tl.model_effects(adata)
