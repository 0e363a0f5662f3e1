from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis.models import Intervention
from scepsis.tl._causes import _mediation

if TYPE_CHECKING:
    from collections.abc import Callable


FRAMES = ("components", "additivity", "certificates", "interactions")


@pytest.fixture
def model(make_any_family: Callable[..., Any]) -> Any:
    """Three layers of four heads, weights far from uniform."""
    return make_any_family("first")


@pytest.fixture
def chosen(screen: ad.AnnData) -> ad.AnnData:
    sps.pp.select_cells(screen, groupby="perturbation", control="non-targeting")
    return screen


def _run(adata: ad.AnnData, model: Any, **options: Any) -> dict[str, Any]:
    given = {"n_cells": 12, "show_progress_bar": False} | options
    sps.tl.mediation(adata, model, **given)
    return adata.uns[given.get("key_added", "mediation")]


def _embedded(adata: ad.AnnData, model: Any, rows: list[int], absent: list[int]) -> np.ndarray:
    """Cells as another tool embeds them, in a model without the heads of some layers."""
    cells = adata[rows].copy()
    heads = [(layer, head) for layer in absent for head in range(model.n_heads)]
    if heads:
        with model.intervene(Intervention.zero_heads(heads)):
            sps.pp.embed_cells(cells, model, show_progress_bar=False)
    else:
        sps.pp.embed_cells(cells, model, show_progress_bar=False)
    return cells.obsm[f"X_{model.family}"].astype(float)


def test_numbers_are_those_of_whole_models_by_hand(chosen: ad.AnnData, model: Any) -> None:
    """All cells of a group of 160 play, so that it is known which: every coalition embeds them by another tool."""
    rows = np.flatnonzero(chosen.obs["edge_cells"].to_numpy()).tolist()[:20]
    few = chosen[rows].copy()
    found = _run(few, model, n_cells=20)
    worth = {}
    for code in range(8):
        worth[code] = _embedded(few, model, list(range(20)), [layer for layer in range(3) if not code >> layer & 1])
    way = worth[7] - worth[0]
    size = np.linalg.norm(way, axis=1) * np.linalg.norm(worth[7], axis=1)
    value = {code: ((one - worth[0]) * way).sum(axis=1) / size for code, one in worth.items()}
    parts = found["components"].set_index("component")
    for layer in range(3):
        bit = 1 << layer
        assert parts.loc[f"L{layer}", "denoise"] == pytest.approx(value[bit].mean(), abs=1e-5)
        assert parts.loc[f"L{layer}", "ablate"] == pytest.approx((value[7] - value[7 - bit]).mean(), abs=1e-5)
        first, second = (1 << other for other in range(3) if other != layer)
        share = (
            2 * value[bit]
            + (value[bit | first] - value[first])
            + (value[bit | second] - value[second])
            + 2 * (value[7] - value[7 - bit])
        ) / 6
        assert parts.loc[f"L{layer}", "shapley"] == pytest.approx(share.mean(), abs=1e-5)
        assert parts.loc[f"L{layer}", "shapley_error"] == pytest.approx(share.std(ddof=1) / 20**0.5, abs=1e-5)
    left = found["additivity"].set_index("direction")
    residual = value[7] - value[1] - value[2] - value[4]
    assert left.loc["denoise", "total"] == pytest.approx(value[7].mean(), abs=1e-5)
    assert left.loc["denoise", "residual"] == pytest.approx(residual.mean(), abs=1e-5)
    assert left.loc["denoise", "residual_error"] == pytest.approx(residual.std(ddof=1) / 20**0.5, abs=1e-5)
    assert parts["shapley"].sum() == pytest.approx(left.loc["denoise", "total"], abs=1e-12)
    larger = found["interactions"].set_index("size")["interaction"]
    assert larger.loc[2:].sum() == pytest.approx(left.loc["denoise", "residual"], abs=1e-9)


def _isolate(model: Any, layer: int, head: int) -> None:
    """Edit weights so that no head but one changes anything."""
    import torch

    size = model.head_size
    with torch.no_grad():
        for at in range(model.n_layers):
            weight = model.seams(at).output.weight
            kept = slice(head * size, (head + 1) * size)
            own = weight[:, kept].clone()
            weight.zero_()
            if at == layer:
                weight[:, kept] = own


@pytest.mark.parametrize("deletion", [None, "G3"])
def test_the_one_head_that_works_gets_everything(chosen: ad.AnnData, model: Any, deletion: str | None) -> None:
    _isolate(model, 1, 2)
    heads = [(0, 0), (0, 2), (1, 1), (1, 2), (2, 2), (2, 3)]
    found = _run(chosen, model, components=heads, deletion=deletion)
    parts = found["components"].set_index("component")
    others = parts.drop(index="L1H2")
    total = found["additivity"]["total"].iloc[0]
    assert total > 0
    for column in ("denoise", "ablate", "shapley"):
        assert parts.loc["L1H2", column] == pytest.approx(total, rel=1e-5)
        assert others[column].abs().max() < 1e-5 * total
    assert parts.loc["L1H2", "share"] == pytest.approx(1, rel=1e-5)
    assert (found["additivity"]["first"] == "L1H2").all()
    if deletion is None:  # the effect of a deletion differs much between cells
        assert (found["certificates"].query("factor == 1")["first_by_bias"] == 1).all()
    assert parts["head"].tolist() == [0, 2, 1, 2, 2, 3]


def test_nothing_that_works_has_no_effect(chosen: ad.AnnData, model: Any) -> None:
    """Heads that write nothing: no total effect, no share of it, and no claim."""
    _isolate(model, 1, 2)
    found = _run(chosen, model, components=[(0, 0), (2, 3)])
    assert (found["additivity"]["status"] == "constant_score").all()
    assert found["additivity"]["ratio"].isna().all()
    assert found["components"]["share"].isna().all()
    rows = chosen.uns["tests"].set_index("name")
    assert rows.loc["residual/denoise", "status"] == "constant_score"
    assert rows.loc["non_additive/denoise", "n_units"] == 0


def test_mlps_and_uniform_attention_can_play(chosen: ad.AnnData, model: Any) -> None:
    mlps = _run(chosen, model, components="mlps", direction="ablate")
    assert mlps["components"]["component"].tolist() == ["L0", "L1", "L2"]
    uniform = _run(chosen, model, ablation="uniform", key_added="uniform")
    zero = _run(chosen, model, key_added="zero")
    assert not np.allclose(uniform["components"]["shapley"], zero["components"]["shapley"])
    one = _run(chosen, model, layers=[2, 1], key_added="two")
    assert one["components"]["component"].tolist() == ["L1", "L2"]
    assert chosen.uns["tests"]["test_id"].str.startswith("A30/").all()


def test_permutations_come_near_all_coalitions(chosen: ad.AnnData, model: Any) -> None:
    heads = [(layer, head) for layer in range(2) for head in range(3)]
    exact = _run(chosen, model, components=heads)
    drawn = _run(chosen, model, components=heads, n_permutations=24, key_added="drawn")
    assert exact["additivity"]["exact"].all()
    assert not drawn["additivity"]["exact"].any()
    assert (drawn["additivity"]["n_coalitions"] < 64).all()
    gap = (exact["components"]["shapley"] - drawn["components"]["shapley"]).abs()
    assert (gap <= 4 * drawn["components"]["sampling_error"] + 1e-12).all()
    assert (drawn["components"]["sampling_error"] > 0).any()
    assert drawn["components"]["shapley"].sum() == pytest.approx(drawn["additivity"]["total"].iloc[0], abs=1e-12)
    for column in ("denoise", "ablate"):
        np.testing.assert_allclose(exact["components"][column], drawn["components"][column], atol=1e-6)
    assert drawn["interactions"].empty


def test_six_runs_make_a_test_and_one_makes_none(chosen: ad.AnnData, model: Any) -> None:
    chosen.obs["part"] = pd.Categorical([f"p{index % 6}" for index in range(chosen.n_obs)])
    found = _run(chosen, model, groupby="part")
    left = found["additivity"].query("direction == 'denoise'")
    assert left["run"].tolist() == [f"p{index}" for index in range(6)]
    rows = chosen.uns["tests"].set_index("name")
    test = rows.loc["non_additive/denoise"]
    assert test["n_pos"] == (left["lower_bound"] > 0).sum()
    from scipy.stats import binom

    assert test["p_raw"] == pytest.approx(binom.sf(test["n_pos"] - 1, 6, 0.05))
    assert test["is_primary"]
    assert rows.loc["residual/denoise/p3", "statistic"] == left.set_index("run").loc["p3", "residual"]
    _run(chosen, model, key_added="alone")
    alone = chosen.uns["tests"].query("key == 'alone'").set_index("name")
    assert alone.loc["non_additive/denoise", "status"] == "too_few_units"
    assert alone.loc["non_additive/denoise", "reason"].startswith("1 run can be read, and 6 are needed")
    assert np.isnan(alone.loc["non_additive/denoise", "p_raw"])


def test_result_repeats_survives_the_disk_and_ignores_batches(
    chosen: ad.AnnData, model: Any, roundtrips: Callable[..., Any]
) -> None:
    first = _run(chosen, model, deletion={"G3": ["G10", "G11", "G12"]})
    again = _run(chosen, model, deletion={"G3": ["G10", "G11", "G12"]}, key_added="again")
    batched = _run(chosen, model, deletion={"G3": ["G10", "G11", "G12"]}, batch_size=5, key_added="batched")
    for name in FRAMES:
        pd.testing.assert_frame_equal(first[name], again[name])
        pd.testing.assert_frame_equal(first[name], batched[name], atol=1e-5)
    for back in roundtrips(ad.AnnData(uns={"mediation": chosen.uns["mediation"]})):
        for name in FRAMES:
            pd.testing.assert_frame_equal(back.uns["mediation"][name], first[name], check_dtype=False)


def test_passes_are_told_and_limited(
    chosen: ad.AnnData,
    model: Any,
    untouched: Callable[[Any], Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level(logging.INFO, logger="scepsis"):
        _run(chosen, model)
    assert "8 passes over 12 cells" in caplog.text
    seen = []
    bar = _mediation.progress_bar
    monkeypatch.setattr(_mediation, "progress_bar", lambda **given: seen.append(given["desc"]) or bar(**given))
    _run(chosen, model)
    assert seen == [f"8 passes of {model.name}"]
    assert chosen.uns["mediation"]["params"]["n_passes"] == 8
    heads = [(layer, head) for layer in range(3) for head in range(4)]
    with untouched(chosen), pytest.raises(ValueError, match=r"8,192 passes .* `max_passes=5,000`"):
        _run(chosen, model, components=heads, deletion="G3")
    with untouched(chosen), pytest.raises(ValueError, match="max_passes=7"):
        _run(chosen, model, max_passes=7)


def test_fewer_cells_than_asked_are_used_and_said(chosen: ad.AnnData, model: Any) -> None:
    few = chosen[:5].copy()
    few.obs["edge_cells"] = True
    with pytest.warns(UserWarning, match="5 cells .* 12 were asked for"):
        found = _run(few, model)
    assert (found["additivity"]["n_cells"] == 5).all()


def test_wrong_input_raises_before_any_work(chosen: ad.AnnData, model: Any, untouched: Callable[[Any], Any]) -> None:
    wrong = [
        ({"components": "tails"}, ValueError, "components"),
        ({"components": []}, ValueError, "components"),
        ({"components": [(0, 1), (0, 1)]}, ValueError, "twice"),
        ({"components": [(0, 1), (9, 1)]}, ValueError, "no layer 9"),
        ({"components": [(0, 1), (1, 99)]}, ValueError, r"no head .*99"),
        ({"components": [(-1, 1)]}, ValueError, "counted from 0 up, not -1"),
        ({"components": [(0.5, 1)]}, TypeError, r"\(layer, head\) pairs"),
        ({"components": [0, 1]}, TypeError, r"\(layer, head\) pairs"),
        ({"components": 3}, TypeError, r"\(layer, head\) pairs"),
        ({"components": [(0, 1)], "layers": 1}, ValueError, "layers"),
        ({"layers": -1}, ValueError, "layers 0 to 2"),
        ({"layers": 1.5}, TypeError, "`layers` takes whole numbers"),
        ({"layers": "01"}, TypeError, "`layers` takes whole numbers"),
        ({"layers": [7]}, ValueError, "layers 0 to 2"),
        ({"layers": []}, ValueError, "is empty"),
        ({"direction": "both"}, ValueError, "direction"),
        ({"ablation": "noise"}, ValueError, "ablation"),
        ({"n_cells": 1}, ValueError, "n_cells"),
        ({"n_permutations": 1}, ValueError, "n_permutations"),
        ({"n_permutations": 10**12}, MemoryError, "fewer `n_permutations=`"),
        ({"deletion": "nobody"}, KeyError, "nobody"),
        ({"deletion": {"G1": []}}, ValueError, "no target"),
        ({"deletion": {"G1": "G2"}}, TypeError, r"`\{gene: \[target, ...\]\}`"),
        ({"deletion": 3}, TypeError, "`deletion` takes a gene"),
        ({"deletion": {"G1": ["G1"]}}, ValueError, "no other gene"),
        ({"deletion": {"G1": ["G2"], "G3": ["G4"]}}, ValueError, "one gene"),
        ({"groupby": "nowhere"}, KeyError, "nowhere"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
    ]
    with untouched(chosen):
        for options, error, message in wrong:
            with pytest.raises(error, match=message):
                _run(chosen, model, **options)
        model.network.train()
        with pytest.raises(ValueError, match="training mode"):
            _run(chosen, model)
        model.network.eval()
        with pytest.raises(TypeError, match=r"what `scepsis.models.load` gives, not 'demo'"):
            _run(chosen, "demo")
        changed = sps.tl.mediation(chosen, model, layers=np.int64(1), n_cells=4, show_progress_bar=False, copy=True)
    assert "mediation" in changed.uns


def test_a_gene_that_no_cell_has_is_named(chosen: ad.AnnData, model: Any) -> None:
    from scipy import sparse

    counts = chosen.X.toarray()
    counts[:, 3] = 0
    chosen.X = sparse.csr_matrix(counts)
    with pytest.raises(ValueError, match="No cell"):
        _run(chosen, model, deletion="G3")
