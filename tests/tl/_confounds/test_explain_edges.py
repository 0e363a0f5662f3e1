from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

import scepsis as sps
from scepsis.stats._residual import gene_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    import anndata as ad


@pytest.fixture
def made(make_audit: Callable[..., ad.AnnData], store_edges: Callable[..., None]) -> ad.AnnData:
    """Edges ``half``: 80 % a line in features; ``own``: 80 % an effect of the target that no feature knows."""
    adata = make_audit(n_genes=100, n_units=10, companions=())
    rng = np.random.default_rng(5)
    features = np.log(adata.var["mean"].to_numpy())
    adata.var["mean"], adata.var["variance"] = features, rng.normal(size=100)
    signal = adata.var["variance"].to_numpy()[:, None] + features
    noise = rng.normal(size=(100, 100))
    store_edges(adata, "half", 2 * signal / signal.std() + noise)
    unknown = rng.normal(size=100)
    store_edges(adata, "own", 2 * unknown / unknown.std() + noise)
    return adata


def _r2(adata: ad.AnnData, key: str = "explain_edges") -> pd.DataFrame:
    return adata.uns[key]["r2"].set_index(["edges", "target", "learner", "split"])


def test_planted_shares_are_found(made: ad.AnnData) -> None:
    """Var(2 s) = 4 beside a noise of 1: the truth is 0.8, from features or from genes that no feature knows."""
    sps.tl.explain_edges(made, edges=["half", "own"])
    r2 = _r2(made)["r2"]
    for learner, split in (("ols", "gene"), ("ols", "pair"), ("node", "own_pair")):
        assert r2["half", "value", learner, split] == pytest.approx(0.8, abs=0.03)
    assert 0.7 < r2["half", "value", "gbdt", "gene"] < 0.81
    for learner in ("ols", "gbdt"):
        assert r2["own", "value", learner, "gene"] < 0.05
    assert r2["own", "value", "node", "own_pair"] == pytest.approx(0.8, abs=0.03)
    assert r2["own", "value", "gbdt", "pair"] > 0.4  # trees recognise genes that they have seen
    trained = _r2(made)["r2_train"]
    assert trained["own", "value", "gbdt", "gene"] > 0.4
    assert (trained - r2 > -0.05).all()


def test_share_is_that_of_a_loop_over_blocks(made: ad.AnnData) -> None:
    from scepsis._core._rng import child

    sps.tl.explain_edges(made, edges="half", learners="ols", pair_folds=False, rng=3)
    values = np.asarray(made.varp["half"], dtype=float)
    features = made.var[["variance", "mean", "detection_rate"]].to_numpy()
    split = gene_blocks(100, child(3, "explain_edges", "gene"))
    for what, goal in (("value", values), ("rank", np.full_like(values, np.nan))):
        known = ~np.isnan(values)
        if what == "rank":
            goal[known] = rankdata(values[known])
        squares = 0.0
        for number in range(split.n_models):
            seen = known & np.outer(split.learns_from[number], split.learns_from[number])
            held = known & (split.model == number)
            rows = [
                np.column_stack([np.ones(len(i)), features[i, :2], features[j]])
                for i, j in (np.nonzero(seen), np.nonzero(held))
            ]
            slopes, *_ = np.linalg.lstsq(rows[0], goal[seen], rcond=None)
            squares += ((goal[held] - rows[1] @ slopes) ** 2).sum()
        expected = 1 - squares / ((goal[known] - goal[known].mean()) ** 2).sum()
        assert _r2(made).loc[("half", what, "ols", "gene"), "r2"] == pytest.approx(expected, abs=1e-9)


def test_signed_edges_are_explained_by_magnitude_and_by_value(
    made: ad.AnnData, store_edges: Callable[..., None]
) -> None:
    values = np.asarray(made.varp["half"], dtype=float)
    signs = np.random.default_rng(0).choice([-1, 1], size=values.shape)
    store_edges(made, "signed", np.abs(values) * signs, signed=True)
    store_edges(made, "magnitude", np.abs(values))
    sps.tl.explain_edges(made, edges=["signed", "magnitude"], learners=["ols"], pair_folds=False)
    r2 = _r2(made)["r2"]
    for what in ("value", "rank"):
        assert r2["signed", what, "ols", "gene"] == r2["magnitude", what, "ols", "gene"]
    assert r2["signed", "signed", "ols", "gene"] < 0.05
    assert set(made.uns["explain_edges"]["r2"].query("edges == 'signed'")["target"]) == {
        "value", "rank", "signed", "signed_rank",
    }  # fmt: skip


def test_rows_are_descriptive_and_never_have_a_p(made: ad.AnnData) -> None:
    sps.tl.explain_edges(made, edges="half", learners=["ols", "node"])
    tests = made.uns["tests"].set_index("name")
    assert set(tests.index) == {f"r2/{learner}/{what}" for learner in ("ols", "node") for what in ("value", "rank")}
    assert (tests["role"] == "descriptive").all()
    assert tests["p_raw"].isna().all()
    assert tests.loc["r2/ols/value", "effect_size"] == _r2(made).loc[("half", "value", "ols", "gene"), "r2"]


def test_constant_and_scarce_edges_have_no_share(made: ad.AnnData, store_edges: Callable[..., None]) -> None:
    store_edges(made, "flat", np.full((100, 100), 0.1))
    sps.tl.explain_edges(made, edges="flat")
    frame = made.uns["explain_edges"]["r2"]
    assert (frame["status"] == "constant_score").all()
    assert frame["r2"].isna().all()
    scarce = np.full((100, 100), np.nan)
    scarce[0, 1:4] = 1, 2, 3
    store_edges(made, "scarce", scarce)
    sps.tl.explain_edges(made, edges="scarce")
    assert (made.uns["explain_edges"]["r2"]["status"] == "too_few_units").all()


def test_pairs_beyond_the_limit_are_drawn(made: ad.AnnData) -> None:
    sps.tl.explain_edges(made, edges="half", learners=["ols", "node"], max_pairs=2000)
    frame = made.uns["explain_edges"]["r2"]
    assert (frame["n_pairs"] == 2000).all()
    assert (frame.query("target == 'value'")["r2"] - 0.8).abs().max() < 0.05
    assert made.uns["tests"]["n_distinct_params"].eq(1).all()


def test_result_does_not_depend_on_threads(made: ad.AnnData, roundtrips: Callable[..., Any]) -> None:
    sps.tl.explain_edges(made, edges="half", max_train=500)
    sps.tl.explain_edges(made, edges="half", max_train=500, n_jobs=2, key_added="again")
    pd.testing.assert_frame_equal(made.uns["explain_edges"]["r2"], made.uns["again"]["r2"])
    for back in roundtrips(made):
        pd.testing.assert_frame_equal(back.uns["again"]["r2"], made.uns["again"]["r2"], check_dtype=False)


def test_wrong_input_raises_before_any_work(made: ad.AnnData, untouched: Callable[[ad.AnnData], Any]) -> None:
    with untouched(made):
        for wrong in ({"learners": "lasso"}, {"learners": []}, {"max_train": 1}, {"max_pairs": 10}, {"n_jobs": 0}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                sps.tl.explain_edges(made, edges="half", **wrong)
        with pytest.raises(KeyError, match="nowhere"):
            sps.tl.explain_edges(made, edges="nowhere")
        changed = sps.tl.explain_edges(made, edges="half", learners="node", copy=True)
    assert "explain_edges" in changed.uns
