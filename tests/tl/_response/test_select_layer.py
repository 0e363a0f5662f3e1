from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis._core._edge_slots import edge_params

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import anndata as ad


@pytest.fixture
def layered(make_audit: Callable[..., ad.AnnData]) -> Callable[..., ad.AnnData]:
    """Maker of a screen whose layers know the responders by as much as `signals` says; fingerprint ``weights``."""

    def make(signals: Sequence[float], *, n_genes: int = 100, labels: bool = True, seed: int = 0) -> ad.AnnData:
        adata = make_audit(n_genes=n_genes, n_units=25, companions=(), seed=seed)
        rng = np.random.default_rng(seed + 50)
        responds = adata.varm["perturbation_target"].T == 1
        keys = []
        for layer, signal in enumerate(signals):
            values = rng.normal(size=(n_genes, n_genes)).astype(np.float32)
            values[:25] += signal * responds
            np.fill_diagonal(values, np.nan)
            keys.append(f"attention_L{layer}")
            adata.varp[keys[-1]] = values
        params = adata.uns["attention"]["params"] | {
            "layers": list(range(len(signals))),
            "model_fingerprint": "weights",
        }
        adata.uns["attention"] = {"params": params, "edges_keys": ["attention", *keys]}
        if not labels:
            del adata.varm["perturbation_target"], adata.uns["perturbation_effects"]
        return adata

    return make


@pytest.fixture
def network(layered: Callable[..., ad.AnnData]) -> pd.DataFrame:
    """The responders of `layered`, as a network."""
    adata = layered([0.0])
    target, source = np.nonzero(adata.varm["perturbation_target"] == 1)
    frame = pd.DataFrame({"source": adata.var_names[source], "target": adata.var_names[target]})
    return frame[frame["source"] != frame["target"]]


def _deltas(adata: ad.AnnData, keys: Sequence[str]) -> np.ndarray:
    """Perturbations x keys, by a loop: AUROC less that of the magnitude of the correlation."""
    labels = adata.varm["perturbation_target"].T == 1
    rows = []
    for g in range(len(labels)):
        others = np.arange(adata.n_vars) != g
        areas = [roc_auc_score(labels[g][others], np.asarray(adata.varp[key])[g][others]) for key in keys]
        rho = np.abs(np.asarray(adata.varp["spearman"])[g][others])
        rows.append(np.array(areas) - roc_auc_score(labels[g][others], rho))
    return np.array(rows)


def test_nested_choice_is_that_of_a_loop(layered: Callable[..., ad.AnnData]) -> None:
    adata = layered([0.0, 0.35, 0.3, 0.0])
    sps.tl.select_layer(adata, n_boot=100)
    result = adata.uns["select_layer"]
    keys = [f"attention_L{layer}" for layer in range(4)]
    deltas = _deltas(adata, keys)
    per = result["per_perturbation"]
    assert per["perturbation"].tolist() == [f"G{g}" for g in range(25)]
    fold, held = per["fold"].to_numpy(), []
    for g in range(25):
        chosen = int(np.argmax(deltas[fold != fold[g]].mean(axis=0)))
        assert per["layer"][g] == chosen
        held.append(deltas[g, chosen])
    np.testing.assert_allclose(per["difference"], held, atol=1e-12)
    summary = result["summary"].iloc[0]
    assert summary["difference"] == pytest.approx(np.mean(held), abs=1e-12)
    p = wilcoxon(held).pvalue
    assert summary["p_value"] == pytest.approx(p, rel=1e-9)
    assert summary["p_bonferroni"] == pytest.approx(min(1, 4 * p), rel=1e-9)
    np.testing.assert_allclose(result["profile"]["difference"], deltas.mean(axis=0), atol=1e-12)
    folds = result["folds"].set_index("fold")
    for number in range(5):
        inside = fold == number
        layer = folds.loc[number, "layer"]
        assert folds.loc[number, "difference_train"] == pytest.approx(deltas[~inside, layer].mean(), abs=1e-12)
        assert folds.loc[number, "difference"] == pytest.approx(deltas[inside, layer].mean(), abs=1e-12)
    assert result["profile"]["n_folds"].sum() == 5
    assert result["profile"]["share_of_resamples"].sum() == pytest.approx(1)


def test_planted_layer_is_found_and_becomes_usable(layered: Callable[..., ad.AnnData]) -> None:
    adata = layered([0.0, 1.0, 0.0])
    assert edge_params(adata, "attention_L1")["layer_rule"] == "unrecorded"
    sps.tl.select_layer(adata)
    params = adata.uns["select_layer"]["params"]
    assert (params["layer"], params["edges_key"]) == (1, "attention_L1")
    summary = adata.uns["select_layer"]["summary"].iloc[0]
    assert summary["p_bonferroni"] < 0.001
    assert summary["twoway_low"] > 0.1
    assert adata.uns["select_layer"]["profile"]["share_of_resamples"].tolist() == [0, 1, 0]
    rules = [edge_params(adata, f"attention_L{layer}")["layer_rule"] for layer in range(3)]
    assert rules == ["unrecorded", "nested", "unrecorded"]
    with pytest.warns(UserWarning, match="scored without"):
        sps.tl.perturbation_auroc(adata, edges=["attention_L0", "attention_L1", "spearman"], n_boot=50)
    tests = adata.uns["tests"].set_index(["edges", "name"])
    assert tests.loc[("attention_L1", "above_chance"), "role"] == "confirmatory"
    assert tests.loc[("attention_L0", "above_chance"), "role"] == "exploratory"


def test_row_of_the_registry_is_confirmatory(layered: Callable[..., ad.AnnData]) -> None:
    adata = layered([0.0, 0.3])
    sps.tl.select_layer(adata, n_boot=50)
    (row,) = [one for _, one in adata.uns["tests"].iterrows()]
    assert (row["analysis"], row["name"], row["edges"], row["effects"]) == (
        "A03",
        "nested",
        "attention",
        "perturbation",
    )
    assert (row["role"], row["layer_rule"], bool(row["is_primary"]), row["status"]) == (
        "confirmatory", "nested", True, "ok",
    )  # fmt: skip
    summary = adata.uns["select_layer"]["summary"].iloc[0]
    assert row["p_raw"] == summary["p_bonferroni"]
    assert row["effect_size"] == summary["difference"]
    assert row["labels_hash"] == "labels"
    assert row["baseline_name"] == "spearman"


def test_noise_layers_are_not_significant_and_the_profile_hides_nothing(layered: Callable[..., ad.AnnData]) -> None:
    """Eight layers of noise, twelve screens: the best layer by itself looks good, the nested choice does not."""
    smallest, nested = [], []
    for seed in range(12):
        adata = layered([0.0] * 8, n_genes=60, seed=seed)
        sps.tl.select_layer(adata, n_boot=20, rng=seed)
        smallest.append(adata.uns["select_layer"]["profile"]["p_value"].min())
        nested.append(adata.uns["select_layer"]["summary"]["p_bonferroni"].iloc[0])
        assert len(adata.uns["select_layer"]["profile"]) == 8
    assert min(smallest) < 0.05
    assert sum(p < 0.05 for p in nested) <= 1


def test_folds_that_disagree_name_no_layer(layered: Callable[..., ad.AnnData]) -> None:
    for seed in range(20):
        adata = layered([0.3, 0.3, 0.3], seed=seed)
        sps.tl.select_layer(adata, n_boot=20)
        if adata.uns["select_layer"]["summary"]["n_chosen"].iloc[0] > 1:
            break
    else:
        pytest.fail("all folds agree in every screen")
    assert "layer" not in adata.uns["select_layer"]["params"]
    assert {edge_params(adata, f"attention_L{layer}")["layer_rule"] for layer in range(3)} == {"unrecorded"}


def test_nested_record_holds_for_its_labels_and_cells_only(layered: Callable[..., ad.AnnData]) -> None:
    adata = layered([0.0, 1.0])
    sps.tl.select_layer(adata, n_boot=20)
    adata.uns["perturbation_effects"]["params"]["labels_hash"] = "other"
    assert edge_params(adata, "attention_L1")["layer_rule"] == "unrecorded"
    adata.uns["perturbation_effects"]["params"]["labels_hash"] = "labels"
    assert edge_params(adata, "attention_L1")["layer_rule"] == "nested"
    adata.uns["attention"]["params"]["cells_hash"] = "other"
    assert edge_params(adata, "attention_L1")["layer_rule"] == "unrecorded"


def test_detection_curve_finds_a_planted_signal(layered: Callable[..., ad.AnnData]) -> None:
    adata = layered([0.0, 0.0, 0.0])
    sps.tl.select_layer(adata, n_boot=20)
    curve = adata.uns["select_layer"]["detection"].set_index("delta")
    assert curve["statistic"].is_monotonic_increasing
    assert curve.loc[2.0, "detected"]
    assert not adata.uns["select_layer"]["summary"]["p_bonferroni"].iloc[0] < 0.05


@pytest.mark.parametrize("metric", ["auroc", "f1@200"])
def test_frozen_choice_is_the_best_recovery(
    layered: Callable[..., ad.AnnData], network: pd.DataFrame, metric: str
) -> None:
    adata = layered([0.0, 0.4, 1.0, 0.2], labels=False)
    sps.tl.select_layer(adata, network, how="frozen", metric=metric, n_boot=100, date="2026-01-31")
    result = adata.uns["select_layer"]
    listed = np.zeros((100, 100), dtype=bool)
    listed[tuple(adata.var_names.get_indexer(network[side]) for side in ("source", "target"))] = True
    rows = np.flatnonzero(listed.sum(axis=1) >= 3)
    inside = ~np.eye(100, dtype=bool)[rows]
    expected = []
    for layer in range(4):
        scores, positive = np.asarray(adata.varp[f"attention_L{layer}"])[rows][inside], listed[rows][inside]
        if metric == "auroc":
            expected.append(roc_auc_score(positive, scores))
        else:
            hits = positive[np.argsort(-scores)[:200]].sum()
            expected.append(2 * hits / (200 + positive.sum()))
    np.testing.assert_allclose(result["profile"]["value"], expected, atol=1e-12)
    assert result["profile"]["is_chosen"].tolist() == [False, False, True, False]
    assert result["profile"]["share_of_resamples"].tolist() == [0, 0, 1, 0]
    params = result["params"]
    assert (params["layer"], params["edges_key"], params["date"]) == (2, "attention_L2", "2026-01-31")
    assert params["reference_hash"]
    assert params["cells_hash"] == adata.uns["attention"]["params"]["cells_hash"]
    assert "tests" not in adata.uns


def test_frozen_record_is_carried_over(layered: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    """With the same weights in another data set the layer of the record is frozen, and no other."""
    atlas, screen = layered([0.0, 1.0, 0.0], labels=False), layered([1.0, 0.0, 0.0], seed=9)
    sps.tl.select_layer(atlas, network, how="frozen", n_boot=20)
    screen.uns["select_layer"] = atlas.uns["select_layer"]
    assert [edge_params(screen, f"attention_L{layer}")["layer_rule"] for layer in range(3)] == [
        "unrecorded", "frozen", "unrecorded",
    ]  # fmt: skip
    assert edge_params(screen, "attention")["layer_rule"] == "single"  # the mean over all layers chose nothing
    alone = {"params": screen.uns["attention"]["params"] | {"layers": [0], "layer_rule": "frozen"}}
    screen.varp["mine"], screen.uns["mine"] = screen.varp["attention_L0"], alone | {"edges_keys": ["mine"]}
    assert edge_params(screen, "mine")["layer_rule"] == "unrecorded"  # its word against the record
    screen.uns["mine"]["params"] |= {"layers": [1], "layer_rule": "unrecorded"}
    assert edge_params(screen, "mine")["layer_rule"] == "frozen"
    screen.uns["attention"]["params"]["model_fingerprint"] = "other weights"
    assert edge_params(screen, "attention_L1")["layer_rule"] == "unrecorded"


def test_freeze_record_holds_extraction_to_its_layer(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any]
) -> None:
    frozen = {"how": "frozen", "layer": 1, "model_fingerprint": small_model.fingerprint}
    screen.uns["select_layer"] = {"params": frozen}
    options = {"layer_rule": "frozen", "mask_obs": np.arange(screen.n_obs) < 20}
    with untouched(screen), pytest.raises(ValueError, match="froze layer 1"):
        sps.tl.attention_edges(screen, small_model, layers=[2], **options)
    sps.tl.attention_edges(screen, small_model, layers=[1], **options)
    assert edge_params(screen, "attention")["layer_rule"] == "frozen"
    frozen["model_fingerprint"] = "other weights"
    sps.tl.attention_edges(screen, small_model, layers=[2], **options)  # the record is not about these


def test_freezing_after_labels_were_read_is_refused(
    layered: Callable[..., ad.AnnData], network: pd.DataFrame, untouched: Callable[[ad.AnnData], Any]
) -> None:
    adata = layered([0.0, 1.0])
    with untouched(adata), pytest.raises(ValueError, match="after they were read"):
        sps.tl.select_layer(adata, network, how="frozen")
    sps.tl.select_layer(adata, network, how="frozen", effects="other", n_boot=10)  # labels that are not there yet


def test_one_layer_is_no_choice(layered: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = layered([0.5])
    adata.uns["attention"]["edges_keys"] = ["attention"]
    sps.tl.select_layer(adata, n_boot=20)
    row = adata.uns["tests"].iloc[0]
    assert (row["status"], row["layer_rule"]) == ("single_stratum", "single")
    assert np.isnan(row["p_raw"])
    assert len(adata.uns["select_layer"]["profile"]) == 1
    assert len(adata.uns["select_layer"]["folds"]) == 0
    fresh = layered([0.5], labels=False)
    sps.tl.select_layer(fresh, network, how="frozen", n_boot=20)
    assert fresh.uns["select_layer"]["params"]["status"] == "single_stratum"
    assert edge_params(fresh, "attention")["layer_rule"] == "single"


def test_degenerate_data_give_statuses(layered: Callable[..., ad.AnnData], network: pd.DataFrame) -> None:
    adata = layered([0.0, 1.0])
    adata.varm["perturbation_target"][:, 4:] = np.nan
    sps.tl.select_layer(adata, n_boot=20)
    row = adata.uns["tests"].iloc[0]
    assert row["status"] == "too_few_units"
    assert np.isnan(row["p_raw"])
    assert len(adata.uns["select_layer"]["folds"]) == 0
    assert adata.uns["select_layer"]["profile"]["difference"].notna().all()
    fresh = layered([0.0, 1.0], labels=False)
    sps.tl.select_layer(fresh, network, how="frozen", min_targets=90, n_boot=20)
    params = fresh.uns["select_layer"]["params"]
    assert params["status"] == "no_positives"
    assert "layer" not in params


def test_wrong_input_raises_before_any_work(
    layered: Callable[..., ad.AnnData], network: pd.DataFrame, untouched: Callable[[ad.AnnData], Any]
) -> None:
    adata, fresh = layered([0.0, 1.0]), layered([0.0, 1.0], labels=False)
    with untouched(adata), untouched(fresh):
        for wrong in ({"how": "best"}, {"metric": "f1"}, {"n_splits": 1}, {"n_boot": 0}, {"direction": "up"}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                sps.tl.select_layer(adata, **wrong)
        with pytest.raises(ValueError, match="no edges of single layers"):
            sps.tl.select_layer(adata, edges="spearman")
        with pytest.raises(KeyError, match="nowhere"):
            sps.tl.select_layer(adata, versus="nowhere")
        with pytest.raises(KeyError, match="perturbation_effects"):
            sps.tl.select_layer(fresh)
        with pytest.raises(TypeError, match="needs a network"):
            sps.tl.select_layer(fresh, how="frozen")
        with pytest.raises(KeyError, match="target"):
            sps.tl.select_layer(fresh, network.rename(columns={"target": "gene"}), how="frozen")


def test_results_survive_writing_and_are_the_same_again(
    layered: Callable[..., ad.AnnData], network: pd.DataFrame, roundtrips: Callable[..., Any]
) -> None:
    adata, again = layered([0.0, 1.0]), layered([0.0, 1.0])
    for one in (adata, again):
        sps.tl.select_layer(one, n_boot=30)
    for name in ("profile", "summary", "folds", "per_perturbation", "detection"):
        pd.testing.assert_frame_equal(adata.uns["select_layer"][name], again.uns["select_layer"][name])
    for back in roundtrips(adata):
        assert edge_params(back, "attention_L1")["layer_rule"] == "nested"
        pd.testing.assert_frame_equal(
            back.uns["select_layer"]["profile"], adata.uns["select_layer"]["profile"], check_dtype=False
        )
    fresh = layered([0.0, 1.0], labels=False)
    sps.tl.select_layer(fresh, network, how="frozen", n_boot=30)
    for back in roundtrips(fresh):
        assert edge_params(back, "attention_L1")["layer_rule"] == "frozen"
