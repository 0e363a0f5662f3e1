from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

import scepsis as sps
from scepsis.tl._confounds import _null_draws

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad

pytestmark = pytest.mark.filterwarnings("ignore:There is no record of the cells", "ignore:.*looks truncated")


def run(adata: ad.AnnData, frame: pd.DataFrame, **more: Any) -> dict[str, Any]:
    options = {"edges": "edges", "n_null": 100, "n_label": 100, "min_targets": 1, "show_progress_bar": False}
    assert sps.tl.degree_null(adata, frame, **(options | more)) is None
    return adata.uns[more.get("key_added", "degree_null")]


def row(result: dict[str, Any], null: str = "degree", statistic: str = "pooled", edges: str = "edges") -> pd.Series:
    frame = result["summary"]
    chosen = (frame["edges"] == edges) & (frame["null"] == null) & (frame["statistic"] == statistic)
    return frame[chosen].iloc[0]


def labels(adata: ad.AnnData, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regulators, and labels and candidates of regulators x genes, by a loop."""
    sources = sorted({adata.var_names.get_loc(name) for name in frame["source"]})
    listed = np.zeros((len(sources), adata.n_vars), dtype=bool)
    for source, target in frame[["source", "target"]].itertuples(index=False):
        listed[sources.index(adata.var_names.get_loc(source)), adata.var_names.get_loc(target)] = True
    candidate = np.array(sources)[:, None] != np.arange(adata.n_vars)
    return np.array(sources), listed, candidate


def test_a_pure_key_effect_is_explained_by_degrees(make_network: Callable[..., Any]) -> None:
    """Popular targets have stronger edges, whoever the source: far above shuffled labels, not above the degrees."""
    z, labelled = [], []
    for seed in range(8):
        result = run(*make_network(key=1.0, seed=seed))
        z.append(row(result)["z"])
        labelled.append(row(result, "label_shuffle")["z"])
    assert np.mean(labelled) > 5
    assert abs(np.mean(z)) < 3 / np.sqrt(8)
    assert max(np.abs(z)) < 3.5


def test_a_planted_pair_signal_is_beyond_degrees(make_network: Callable[..., Any]) -> None:
    result = run(*make_network(key=1.0, signal=1.0, n_regulators=16))
    pooled, by_source = row(result), row(result, statistic="per_regulator")
    assert pooled["z"] > 3
    assert by_source["z"] > 3
    assert pooled["p_value"] == pytest.approx(1 / 101)
    assert pooled["status"] == "ok"


def test_a_row_effect_is_kept_by_the_null_that_keeps_rows(make_network: Callable[..., Any]) -> None:
    """Regulators with many targets have stronger edges: shuffled labels alone call that a finding."""
    adata, frame = make_network(n_edges=200)
    _, listed, _ = labels(adata, frame)
    degree = listed.sum(axis=1)
    adata.varp["edges"][: len(degree)] *= ((1 + degree) ** 2)[:, None]
    result = run(adata, frame)
    assert row(result, "label_shuffle")["z"] > 5
    assert abs(row(result, "row_only")["z"]) < 3.5
    assert abs(row(result)["z"]) < 3.5


def test_numbers_are_those_of_scikit_learn_and_of_the_stored_draws(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=0.5)
    result = run(adata, frame)
    sources, listed, candidate = labels(adata, frame)
    scores = adata.varp["edges"][sources]
    areas = [
        roc_auc_score(one[some], score[some])
        for one, some, score in zip(listed, candidate, scores, strict=True)
        if one.sum() >= 2
    ]
    observed = roc_auc_score(listed[candidate], scores[candidate])
    assert row(result)["observed"] == pytest.approx(observed, abs=1e-12)
    assert row(result, statistic="per_regulator")["observed"] == pytest.approx(np.mean(areas), abs=1e-12)
    for (edges, null), drawn in result["draws"].groupby(["edges", "null"]):
        for statistic in ("pooled", "per_regulator"):
            found, values = row(result, null, statistic, edges), drawn[statistic].to_numpy()
            assert found["null_mean"] == pytest.approx(values.mean())
            assert found["z"] == pytest.approx((found["observed"] - values.mean()) / values.std(ddof=1))
            assert found["p_value"] == pytest.approx((1 + (values >= found["observed"]).sum()) / 101)
            assert found["chance"] + found["degree"] + found["residual"] == pytest.approx(found["observed"])


def test_model_free_scores_are_scored_on_the_same_networks(
    make_network: Callable[..., Any], store_edges: Callable[..., None]
) -> None:
    adata, frame = make_network(signal=0.5)
    rng = np.random.default_rng(1)
    adata.varp["spearman"] = rng.normal(size=(adata.n_vars, adata.n_vars)).astype(np.float32)
    result = run(adata, frame)
    assert set(result["summary"]["edges"]) == {"edges", "spearman", "proximity", "codetection"}
    sources, listed, candidate = labels(adata, frame)
    mean = adata.var["mean"].to_numpy(dtype=np.float64)
    found = adata.X[adata.obs["edge_cells"].to_numpy()] > 0
    both = np.array([[(found[:, i] & found[:, j]).sum() for j in range(adata.n_vars)] for i in sources])
    lift = 50 * both / np.outer(found[:, sources].sum(axis=0), found.sum(axis=0))
    for name, scores in (
        ("proximity", -np.abs(mean[sources][:, None] - mean)),
        ("codetection", lift),
        ("spearman", np.abs(adata.varp["spearman"][sources])),
    ):
        expected = roc_auc_score(listed[candidate], scores[candidate])
        assert row(result, edges=name)["observed"] == pytest.approx(expected, abs=1e-9)
    z = (
        result["summary"]
        .query("null == 'degree' and statistic == 'pooled' and kind == 'model_free'")
        .set_index("edges")["z"]
    )
    assert row(result)["baseline_name"] == z.idxmax()
    assert row(result)["baseline_z"] == z.max()
    own = run(adata, frame, edges="spearman", key_added="own")
    assert row(own, edges="spearman")["kind"] == "edges"
    assert row(own, edges="spearman")["baseline_name"] in {"proximity", "codetection"}
    del adata.var["mean"]
    assert row(run(adata, frame), edges="proximity")["status"] == "not_run"


def test_several_sets_share_networks_and_pairs(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network()
    other = adata.varp["edges"].copy()
    adata.varp["other"] = np.random.default_rng(5).random(other.shape)
    adata.varp["ranks"] = rankdata(other, nan_policy="omit").reshape(other.shape).astype(np.float32)
    result = run(adata, frame, edges=["edges", "other", "ranks"])
    pd.testing.assert_series_equal(
        row(result).drop("edges"), row(result, edges="ranks").drop("edges"), check_names=False
    )
    gaps = adata.varp["other"].copy()
    gaps[:, 5] = np.nan
    adata.varp["other"] = gaps
    narrowed = run(adata, frame, edges=["edges", "other"])
    assert row(narrowed)["n"] < row(result)["n"]
    drawn = narrowed["draws"].query("null == 'degree'")
    assert len(drawn[drawn["edges"] == "edges"]) == 100


def test_registry_has_four_rows_and_one_is_primary(make_network: Callable[..., Any]) -> None:
    adata, frame = make_network(signal=0.8)
    result = run(adata, frame, reference_name="net")
    tests = adata.uns["tests"]
    assert tests["name"].tolist() == [
        "degree/pooled",
        "degree/per_regulator",
        "label_shuffle/pooled",
        "row_only/pooled",
    ]
    assert tests["is_primary"].tolist() == [True, False, False, False]
    assert set(tests["role"]) == {"confirmatory"}
    assert set(tests["direction"]) == {"greater"}
    assert set(tests["reference"]) == {"net"}
    first, found = tests.iloc[0], row(result)
    assert first["statistic"] == found["z"]
    assert first["p_raw"] == found["p_value"]
    assert first["effect_size"] == found["residual"]
    assert first["baseline_value"] == found["baseline_z"]
    assert first["labels_hash"] == result["params"]["labels_hash"] != ""
    assert first["minimum_detectable"] == pytest.approx(2.4865 * found["null_sd"], rel=1e-3)
    run(adata, frame, reference_name="net")
    assert adata.uns["tests"]["n_runs"].tolist() == [2, 2, 2, 2]


def test_a_planted_signal_is_detected_when_it_is_strong(make_network: Callable[..., Any]) -> None:
    result = run(*make_network())
    found = result["detection"]
    assert found["delta"].tolist() == [0.25, 0.5, 1.0, 2.0]
    assert np.all(np.diff([row(result)["z"], *found["statistic"]]) > 0)
    assert row(result)["p_value"] > 0.05
    assert bool(found["detected"].iloc[-1])


def test_a_chain_that_is_too_short_gives_no_p(
    make_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_null_draws, "SWAPS_PER_EDGE", 0.05)
    adata, frame = make_network(signal=1.0)
    result = run(adata, frame, max_doublings=2)
    assert row(result)["status"] == "null_not_mixed"
    assert np.isnan(row(result)["p_value"])
    assert not result["params"]["mixed"]
    assert row(result, "label_shuffle")["p_value"] < 0.05
    assert not result["detection"]["detected"].any()


def test_mixing_is_reported(make_network: Callable[..., Any]) -> None:
    result = run(*make_network())
    mixing, params = result["mixing"], result["params"]
    assert mixing["n_steps"].tolist()[:3] == [0, 1500, 3000]
    assert mixing["overlap"].iloc[0] == 1
    assert params["mixed"]
    assert params["n_unchanged"] == 0
    assert params["n_steps"] == mixing["n_steps"].iloc[-1]
    assert 0 < params["overlap"] < params["max_overlap"] < 1


@pytest.mark.parametrize(
    ("change", "options", "statuses"),
    [
        (lambda a, f: f[f["source"] == "G0"], {}, ("single_stratum", "too_few_units")),
        (lambda a, f: f[f["source"].isin(["G0", "G1", "G2"])], {}, ("too_few_units", "too_few_units")),
        (lambda a, f: f.groupby("source").head(2).iloc[:16], {}, ("underpowered", "underpowered")),
        (lambda a, f: a.varp["edges"].fill(1.0) or f, {}, ("constant_score", "constant_score")),
        (lambda a, f: a.varp["edges"].fill(np.nan) or f, {}, ("no_positives", "no_positives")),
        (lambda a, f: f, {"min_targets": 99}, ("no_positives", "no_positives")),
    ],
    ids=["one regulator", "three regulators", "16 pairs", "constant", "all missing", "no regulator"],
)
def test_degenerate_data_have_a_status(
    make_network: Callable[..., Any], change: Any, options: dict[str, Any], statuses: tuple[str, str]
) -> None:
    adata, frame = make_network()
    if statuses[0] == "no_positives" and not options:
        adata.var["edge_panel"] = True
        adata.varp["whole"] = np.ones((adata.n_vars, adata.n_vars), dtype=np.float32)
        options = {"edges": ["whole", "edges"]}
    frame = change(adata, frame)
    if statuses[0] == "no_positives" and "edges" in options:
        adata.varp["edges"][50:, 60] = 1.0  # some pair, no regulator's
    result = run(adata, frame, **options)
    for null, status in zip(("degree", "label_shuffle"), statuses, strict=True):
        found = row(result, null)
        assert found["status"] == status
        if status != "underpowered":
            assert np.isnan(found["p_value"])
        if status in {"single_stratum", "constant_score", "no_positives"}:
            assert np.isnan(found["z"])
        if status == "constant_score":
            assert found["observed"] == 0.5


def test_result_does_not_depend_on_threads_and_survives_a_file(
    make_network: Callable[..., Any], roundtrips: Callable[..., Any]
) -> None:
    adata, frame = make_network()
    one = run(adata, frame)
    two = run(adata, frame.sample(frac=1, random_state=0), n_jobs=2, key_added="again")
    for name in ("summary", "draws", "per_regulator", "mixing", "network", "detection"):
        pd.testing.assert_frame_equal(one[name], two[name])
    other = run(adata, frame, rng=1, key_added="other")
    assert not one["draws"]["pooled"].equals(other["draws"]["pooled"])
    for back in roundtrips(adata):
        for name in ("summary", "draws", "per_regulator", "mixing", "network", "detection"):
            pd.testing.assert_frame_equal(back.uns["degree_null"][name], one[name], check_dtype=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"edges": "nothing"}, KeyError, "nothing"),
        ({"universe": "unordered"}, ValueError, "`universe` takes one of 'regulators', 'all_pairs'"),
        ({"n_null": 1}, ValueError, "`n_null` must be at least 2"),
        ({"max_doublings": 0}, ValueError, "max_doublings"),
        ({"n_jobs": 0}, ValueError, "n_jobs"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
        ({"reference_name": ""}, ValueError, "reference_name"),
        ({"edges": {"proximity": "edges"}}, ValueError, "model-free score"),
    ],
)
def test_wrong_arguments_are_refused(
    make_network: Callable[..., Any], untouched: Callable[..., Any], options: Any, error: Any, message: str
) -> None:
    adata, frame = make_network()
    with untouched(adata), pytest.raises(error, match=message):
        run(adata, frame, **options)


def test_copy_leaves_the_data_alone(make_network: Callable[..., Any], untouched: Callable[..., Any]) -> None:
    adata, frame = make_network()
    with untouched(adata):
        changed = sps.tl.degree_null(
            adata, frame, edges="edges", n_null=50, n_label=50, copy=True, show_progress_bar=False
        )
    assert "degree_null" in changed.uns


def test_all_pairs_keep_their_degrees_too(make_network: Callable[..., Any]) -> None:
    result = run(*make_network(signal=1.5), universe="all_pairs")
    assert row(result)["n"] == 120 * 119
    assert row(result)["z"] > 3
