from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats import false_discovery_control
from sklearn.metrics import average_precision_score, roc_auc_score

import scepsis as sps
from scepsis._core._rng import child
from scepsis.stats._planted import planted

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

KEY = "perturbation_auroc"
BASELINES = ["variance", "mean", "detection_rate", "de_frequency", "position", "coverage"]


def test_planted_signal_beats_every_baseline(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    result = score(make_audit(signal=1.0, shared=0.5))
    for versus in [*BASELINES, "spearman", "attention_randomized"]:
        row = result.contrast("attention", versus)
        assert row["difference"] > 0.05, versus
        assert row["twoway_low"] > 0, versus
        assert row["q_value"] < 0.001, versus
        assert row["equivalence"] == "different", versus
    assert result["summary"].set_index("predictor").loc["attention", "ci_low"] > 0.6


def test_planted_property_of_the_target_alone_beats_no_feature(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    result = score(make_audit(confound=2.0, shared=1.0))
    summary = result["summary"].set_index("predictor")
    assert summary.loc["attention", "ci_low"] > 0.6  # far above chance ...
    for versus in ("variance", "mean", "detection_rate", "position"):
        row = result.contrast("attention", versus)  # ... and no better than the gene's own variance
        assert row["difference"] < 0.005
        assert not row["twoway_low"] > 0
    assert result.contrast("attention", "coverage")["twoway_low"] > 0


def test_noise_is_not_called_different_more_often_than_it_may(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    different, p_values, covered = 0, [], 0
    runs = 40
    for seed in range(runs):
        adata = make_audit(seed=seed, n_genes=80, n_units=15, companions=(), rate=0.2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = score(adata, baselines=(), n_boot=50)
        row = result.contrast("attention", "spearman")
        different += row["equivalence"] == "different"
        p_values.append(row["p_value"])
        covered += row["ci_low"] <= 0 <= row["ci_high"]
    assert different <= 6
    assert sum(p < 0.05 for p in p_values) <= 6
    assert covered >= 34


def test_equivalence_is_found_where_edges_are_a_feature(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]
) -> None:
    adata = make_audit(shared=1.0)
    rng = np.random.default_rng(0)
    noise = 1e-3 * rng.normal(size=(adata.n_vars, adata.n_vars))
    store_edges(adata, "spearman", adata.var["mean"].to_numpy() + noise, signed=False)
    row = score(adata).contrast("spearman", "variance")
    assert row["equivalence"] == "equivalent"
    assert row["minimum_detectable"] < 0.02


def _scores(adata: ad.AnnData, predictor: str, direction: str) -> np.ndarray:
    """Scores of every gene for every perturbation, by loops over names."""
    units = adata.uns["perturbation_effects"]["perturbations"]["gene"]
    n = adata.n_vars
    if predictor in {"variance", "mean", "detection_rate"}:
        return np.tile(adata.var[predictor].to_numpy(), (len(units), 1))
    if predictor == "position":
        return np.tile(-adata.var["attention_position"].to_numpy(), (len(units), 1))
    if predictor == "de_frequency":
        target = np.array(adata.varm["perturbation_target"])
        for column, gene in enumerate(units):
            target[adata.var_names.get_loc(gene), column] = np.nan
        return np.array([np.nanmean(np.delete(target, g, axis=1), axis=1) for g in range(len(units))])
    key = {"coverage": "attention_n_cells", "spearman_signed": "spearman"}.get(predictor, predictor)
    matrix = np.asarray(adata.varp[key], dtype=float)
    matrix = np.abs(matrix) if predictor == "spearman" else matrix
    rows = np.empty((len(units), n))
    for g, gene in enumerate(units):
        index = adata.var_names.get_loc(gene)
        out, back = matrix[index], matrix[:, index]
        rows[g] = {"source": out, "target": back, "mean": (out + back) / 2, "max": np.maximum(out, back)}[direction]
    return rows


@pytest.mark.parametrize("direction", ["source", "target", "mean", "max"])
def test_every_auroc_is_that_of_sklearn(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], direction: str
) -> None:
    adata = make_audit(n_genes=90, n_units=12, outside=11, signal=0.5)
    adata.varm["perturbation_target"][40:50, 3] = np.nan
    adata.varp["attention"][:] = np.round(adata.varp["attention"], 1)  # ties
    result = score(adata, direction=direction)
    labels = adata.varm["perturbation_target"].T.astype(float)
    labels[np.arange(12), np.arange(12)] = np.nan
    complete = ~np.isnan(labels)
    for key in ("attention", "spearman"):
        complete &= ~np.isnan(_scores(adata, key, direction))
    for predictor in result["summary"]["predictor"]:
        scores, found = _scores(adata, predictor, direction), result.of(predictor)
        assert (found["status"] == "ok").all()
        for g in range(12):
            use = complete[g] & ~np.isnan(scores[g])
            own = ~np.isnan(labels[g]) & ~np.isnan(scores[g])
            every = ~np.isnan(labels[g])
            row = found.iloc[g]
            score = scores[g]
            assert row["auroc"] == pytest.approx(roc_auc_score(labels[g, use], score[use]), abs=1e-12)
            assert row["auroc_own"] == pytest.approx(roc_auc_score(labels[g, own], score[own]), abs=1e-12)
            filled = np.nan_to_num(score)
            assert row["auroc_filled"] == pytest.approx(roc_auc_score(labels[g, every], filled[every]), abs=1e-12)
            assert row["auprc"] == pytest.approx(average_precision_score(labels[g, use], score[use]), abs=1e-12)
            assert row["lift"] == pytest.approx(row["auprc"] / labels[g, use].mean(), abs=1e-12)
            partial = roc_auc_score(labels[g, use], score[use], max_fpr=0.05)
            assert row["partial_auroc"] == pytest.approx(partial, abs=1e-12)
            assert (row["n_pos"], row["n_neg"]) == (labels[g, use].sum(), (labels[g, use] == 0).sum())
            assert row["n_filled"] == (every & np.isnan(score)).sum()


def test_summary_and_contrasts_are_those_of_scipy(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit(signal=0.3)
    result = score(adata)
    summary = result["summary"].set_index("predictor")
    for predictor in ("attention", "variance"):
        values = result.of(predictor)["auroc"].to_numpy()
        test = stats.ttest_1samp(values, 0.5)
        interval = test.confidence_interval()
        row = summary.loc[predictor]
        np.testing.assert_allclose(
            [row["auroc"], row["auroc_sd"], row["ci_low"], row["ci_high"], row["p_value"]],
            [values.mean(), values.std(ddof=1), interval.low, interval.high, test.pvalue],
            rtol=1e-9,
        )
        counts = result.of(predictor)[["n_pos", "n_neg"]]
        assert row["prevalence"] == pytest.approx((counts["n_pos"] / counts.sum(axis=1)).mean())
    difference = (result.of("attention")["auroc"] - result.of("mean")["auroc"]).to_numpy()
    row = result.contrast("attention", "mean")
    wilcoxon = stats.wilcoxon(difference, correction=True, method="asymptotic")  # 30 perturbations
    interval = stats.ttest_1samp(difference, 0).confidence_interval()
    np.testing.assert_allclose(
        [row["difference"], row["p_value"], row["cohen_d"], row["ci_low"], row["ci_high"]],
        [difference.mean(), wilcoxon.pvalue, difference.mean() / difference.std(ddof=1), interval.low, interval.high],
        rtol=1e-9,
    )
    assert row["twoway_high"] - row["twoway_low"] >= 0.999 * (row["ci_high"] - row["ci_low"])
    assert row["boot_low"] < row["difference"] < row["boot_high"]


def test_q_values_are_over_distinct_comparisons(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    contrasts = score(make_audit())["contrasts"]
    forth = contrasts[(contrasts["edges"] == "attention") & (contrasts["versus"] == "spearman")].iloc[0]
    back = contrasts[(contrasts["edges"] == "spearman") & (contrasts["versus"] == "attention")].iloc[0]
    assert forth["difference"] == -back["difference"]
    assert (forth["p_value"], forth["q_value"]) == (back["p_value"], back["q_value"])
    distinct = contrasts.drop(index=back.name)
    np.testing.assert_allclose(distinct["q_value"], false_discovery_control(distinct["p_value"]), rtol=1e-12)


def test_the_perturbed_gene_is_never_a_candidate(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    adata = make_audit()  # labels say that every perturbed gene responds
    result = score(adata, edges="spearman", baselines=())
    target = adata.varm["perturbation_target"]
    expected = (target == 1).sum(axis=0) - 1
    np.testing.assert_array_equal(result.of("spearman")["n_pos"], expected)


def test_deciles_are_of_the_mean(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit()
    result = score(adata)
    deciles = result["by_mean_decile"]
    assert list(deciles.columns) == ["predictor", "kind", "decile", "auroc", "n_units"]
    order = np.argsort(adata.var["mean"].to_numpy())
    lowest = np.zeros(adata.n_vars, dtype=bool)
    lowest[order[:20]] = True
    scores, labels = _scores(adata, "attention", "source"), adata.varm["perturbation_target"].T.copy()
    labels[np.arange(30), np.arange(30)] = np.nan
    values = []
    for g in range(30):
        use = lowest & ~np.isnan(labels[g])
        if 0 < labels[g, use].sum() < use.sum():
            values.append(roc_auc_score(labels[g, use], scores[g, use]))
    row = deciles[(deciles["predictor"] == "attention") & (deciles["decile"] == 1)].iloc[0]
    assert row["auroc"] == pytest.approx(np.mean(values), abs=1e-12)
    assert row["n_units"] == len(values)


def test_planted_signals_are_scored_as_edges_that_have_them(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    """Edges that are changed by hand, scikit-learn and scipy; the others stay as they are."""
    adata = make_audit(n_genes=90, n_units=30)
    result = score(adata, edges=["attention", "spearman"], rng=5)
    labels = adata.varm["perturbation_target"].T.astype(float)
    labels[np.arange(30), np.arange(30)] = np.nan
    complete = ~np.isnan(labels)
    for key in ("attention", "spearman"):
        complete &= ~np.isnan(_scores(adata, key, "source"))
    frame = result["detection"].set_index(["edges", "versus", "delta"])
    assert set(result["detection"]["versus"]) == {"chance", *result["summary"]["predictor"]} - {"spearman_signed"}
    areas = result["per_perturbation"].pivot_table(
        index="perturbation", columns="predictor", values="auroc", sort=False
    )
    for key in ("attention", "spearman"):
        masked = np.where(complete, _scores(adata, key, "source"), np.nan)
        for delta in (0.25, 0.5, 1.0, 2.0):
            changed = planted(masked, labels == 1, delta, child(5, "perturbation_auroc", "planted", key))
            own = np.array([
                roc_auc_score(labels[g, complete[g]], changed[g, complete[g]]) for g in range(30)
            ])  # fmt: skip
            row, test = frame.loc[key, "chance", delta], stats.ttest_1samp(own, 0.5)
            interval = test.confidence_interval()
            expected = [own.mean(), interval.low, interval.high, test.pvalue]
            np.testing.assert_allclose(row[["statistic", "ci_low", "ci_high", "p_value"]].astype(float), expected)
            assert row["detected"] == (test.pvalue < 0.05 and own.mean() > 0.5)
            differences = own - areas["variance"].to_numpy()
            row, interval = frame.loc[key, "variance", delta], stats.ttest_1samp(differences, 0).confidence_interval()
            test = stats.wilcoxon(np.round(differences, 12), correction=True, method="asymptotic")  # equal ones tie
            expected = [differences.mean(), interval.low, interval.high, test.pvalue]
            np.testing.assert_allclose(row[["statistic", "ci_low", "ci_high", "p_value"]].astype(float), expected)
            assert row["detected"] == (test.pvalue < 0.05 and differences.mean() > 0)


def test_a_planted_signal_is_seen_where_units_are_enough_and_not_where_edges_are_noise_alone(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]
) -> None:
    result = score(make_audit(n_genes=90), edges="attention", baselines=("variance",))
    seen = result["detection"].pivot_table(index="delta", columns="versus", values="detected", aggfunc="all")
    assert seen.loc[2.0].all()
    assert (result["detection"].groupby("versus")["statistic"].diff().dropna() > 0).all()
    few = score(make_audit(n_genes=90, n_units=5), edges="attention", baselines=("variance",))["detection"]
    assert few["statistic"].notna().all()
    assert few[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
    assert not few["detected"].any()
    constant = make_audit(n_genes=90)
    constant.varp["attention"][:] = 1.0
    none = score(constant, edges="attention", baselines=())["detection"]
    assert none["statistic"].isna().all()
    assert not none["detected"].any()


def test_everything_survives_writing_and_reading(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], roundtrips: Callable[..., Any]
) -> None:
    adata = make_audit(n_genes=60, n_units=8)
    table = adata.uns["perturbation_effects"]["perturbations"]
    table["perturbation"] = [f"{gene}/a + b {n}" for n, gene in enumerate(table["gene"])]
    adata.var = adata.var.drop(columns="mean")  # an empty frame and rows that were not run
    result = score(adata)
    for back in roundtrips(adata):
        for name, frame in result.items():
            stored = back.uns[KEY][name]
            if name != "params":
                pd.testing.assert_frame_equal(frame, stored.astype(frame.dtypes.to_dict()))
                continue
            assert set(stored) == set(frame)
            for key, value in frame.items():
                np.testing.assert_array_equal(np.asarray(stored[key]), np.asarray(value), err_msg=key)
        again = back.copy()
        for name, frame in score(again).items():
            if name != "params":
                pd.testing.assert_frame_equal(frame, result[name])


def test_same_seed_same_bytes(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_units=12)
    one, two, three = (score(adata.copy(), rng=seed) for seed in (3, 3, 4))
    for name in ("per_perturbation", "summary", "contrasts", "by_mean_decile"):
        pd.testing.assert_frame_equal(one[name], two[name], check_exact=True)
    assert (one["contrasts"]["boot_low"] != three["contrasts"]["boot_low"]).any()
    pd.testing.assert_frame_equal(one["summary"], three["summary"], check_exact=True)
    assert one["params"]["seed"] == 3


def test_results_stand_side_by_side_and_copies_are_copies(
    score: Callable[..., Any], make_audit: Callable[..., ad.AnnData], untouched: Callable[..., Any]
) -> None:
    adata = make_audit(n_units=8)
    with untouched(adata):
        copied = sps.tl.perturbation_auroc(adata, copy=True, n_boot=50)
    assert KEY in copied.uns
    score(adata, edges="spearman", key_added="correlation")
    score(adata, edges="attention")
    assert set(adata.uns["correlation"]["summary"].query("kind == 'edges'")["predictor"]) == {"spearman"}
    assert set(adata.uns[KEY]["summary"].query("kind == 'edges'")["predictor"]) == {"attention"}


def test_two_label_sets_live_together(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(signal=1.0)
    adata.uns["guide_effects"] = adata.uns["perturbation_effects"]
    adata.varm["guide_target"] = np.random.default_rng(0).permutation(adata.varm["perturbation_target"])
    first, second = score(adata), score(adata, effects="guide", key_added="guide_auroc")
    assert first["summary"]["auroc"][0] > 0.7
    assert second["summary"]["auroc"][0] < 0.6
    assert second["params"]["effects"] == "guide"


def test_views_and_subsets_of_genes(make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit()
    view = adata[:, :150]
    with pytest.warns(UserWarning, match="is a view"), pytest.warns(UserWarning, match="made from other genes"):
        sps.tl.perturbation_auroc(view, n_boot=50)
    assert KEY in view.uns
    assert KEY not in adata.uns
    found = view.uns[KEY]["per_perturbation"].query("predictor == 'attention'")
    assert (found[["n_pos", "n_neg"]].sum(axis=1) == 149).all()


def test_mudata(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    adata = make_audit(n_units=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdata = mudata.MuData({"rna": adata.copy()})
    sps.tl.perturbation_auroc(mdata, mod="rna", n_boot=200)
    pd.testing.assert_frame_equal(mdata["rna"].uns[KEY]["contrasts"], score(adata)["contrasts"])
    with pytest.raises(TypeError, match="MuData needs `mod=`"):
        sps.tl.perturbation_auroc(mdata)


def test_columns(score: Callable[..., Any], make_audit: Callable[..., ad.AnnData]) -> None:
    result = score(make_audit(n_units=8))
    columns = {
        "per_perturbation": "perturbation predictor kind auroc auroc_own auroc_filled auprc lift partial_auroc bedroc "
        "n_pos n_neg n_filled status",
        "summary": "predictor kind n_units auroc auroc_sd ci_low ci_high p_value auroc_pooled auprc prevalence lift "
        "status",
        "contrasts": "edges versus versus_kind difference ci_low ci_high ci_method twoway_low twoway_high boot_low "
        "boot_high p_value q_value cohen_d equivalence margin minimum_detectable n_units status",
        "by_mean_decile": "predictor kind decile auroc n_units",
        "detection": "edges versus delta statistic ci_low ci_high p_value detected",
    }
    for name, expected in columns.items():
        assert set(result[name].columns) == set(expected.split()), name
        assert result[name].select_dtypes(object).notna().all(axis=None)
