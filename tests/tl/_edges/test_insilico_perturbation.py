from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse
from toy_models import planted_cells, planted_model

import scepsis as sps
from scepsis._core._edge_slots import unpack
from scepsis.models import Intervention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import anndata as ad

SOURCES = ["G4", "G0", "G20"]


@pytest.fixture
def controls(screen: ad.AnnData) -> ad.AnnData:
    chosen = np.flatnonzero(screen.obs["perturbation"] == "non-targeting")[:12]
    screen.obs["edge_cells"] = np.isin(np.arange(screen.n_obs), chosen)
    screen.var["edge_panel"] = np.arange(screen.n_vars) % 2 == 0
    return screen


def run(adata: Any, model: Any, **options: Any) -> Any:
    return sps.tl.insilico_perturbation(adata, model, **({"sources": SOURCES, "show_progress_bar": False} | options))


def by_hand(adata: ad.AnnData, model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Cells one by one through a plain network: with the token of each source, and without."""
    sums, n = np.zeros((2, adata.n_vars, adata.n_vars))

    def states(ids: list[int]) -> dict[int, np.ndarray]:
        with torch.no_grad():
            hidden = model.network(torch.tensor([ids])).last_hidden_state[0].double().numpy()
        return dict(zip(ids, hidden, strict=True))

    cells = np.flatnonzero(adata.obs["edge_cells"])
    for cell in model.tokenize(
        sparse.csr_matrix(adata.X[cells]), np.arange(adata.n_vars) + 2, np.zeros(len(cells), dtype=np.uint64)
    ):
        ids = cell.ids.tolist()
        before = states(ids)
        for source in (int(name[1:]) for name in SOURCES):
            if source + 2 not in ids:
                continue
            for token, b in states([one for one in ids if one != source + 2]).items():
                a = before[token]
                sums[source, token - 2] += 1 - a @ b / np.sqrt((a @ a) * (b @ b))
                n[source, token - 2] += 1
    with np.errstate(invalid="ignore"):
        return sums / n, n


def test_slots_hold_the_shift_of_every_target(controls: ad.AnnData, small_model: Any) -> None:
    assert run(controls, small_model) is None
    assert set(controls.varp) == {"insilico", "insilico_n_cells"}
    expected, n = by_hand(controls, small_model)
    panel = np.flatnonzero(controls.var["edge_panel"])
    outside = ~controls.var["edge_panel"].to_numpy()
    expected[:, outside], n[:, outside] = np.nan, 0
    matrix = unpack(controls.varp["insilico"], np.arange(controls.n_vars))[0]
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, expected, atol=2e-6)
    assert np.isfinite(matrix[[0, 4, 20]]).sum() > 3 * 20
    counts = unpack(controls.varp["insilico_n_cells"], np.arange(controls.n_vars))[0]
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(counts, n)
    position = controls.var["insilico_position"].to_numpy()
    assert np.isfinite(position[panel]).all()
    assert np.isnan(position[outside]).all()


def test_the_record_is_that_of_edges(
    controls: ad.AnnData, small_model: Any, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    run(controls, small_model)
    sps.tl.attention_edges(controls, small_model, show_progress_bar=False)
    params, attention = (controls.uns[key]["params"] for key in ("insilico", "attention"))
    same = ("cells", "genes", "cells_hash", "genes_hash", "n_cells", "n_genes", "model", "family", "model_fingerprint")
    assert {name: params[name] for name in same} == {name: attention[name] for name in same}
    assert set(attention) - set(params) == {"layers"}
    assert (params["method"], params["kind"], params["readout"]) == ("insilico", "delete", "embedding")
    assert (params["signed"], params["scale"], params["layer_rule"]) == (False, "cosine_distance", "single")
    assert params["sources"] == sorted(SOURCES)
    X = controls.X[np.flatnonzero(controls.obs["edge_cells"])].toarray()
    assert params["n_passes"] == (X[:, [0, 4, 20]] > 0).sum() + 12
    np.testing.assert_array_equal(controls.var["insilico_position"], controls.var["attention_position"])
    for back in roundtrips(controls):
        edges = sps.get.edge_matrix(back, "insilico")
        np.testing.assert_array_equal(edges, sps.get.edge_matrix(controls, "insilico"))
        assert dict(back.uns["insilico"]["params"])["n_passes"] == params["n_passes"]


def test_a_source_that_no_cell_has_is_told(
    controls: ad.AnnData, small_model: Any, caplog: Any, roundtrips: Callable[[Any], Any]
) -> None:
    counts = np.asarray(controls.X.toarray() if sparse.issparse(controls.X) else controls.X).copy()
    counts[:, controls.var_names.get_loc("G0")] = 0
    controls.X = sparse.csr_matrix(counts)
    with caplog.at_level(logging.WARNING):
        run(controls, small_model)
    assert "no cell could be run with and without 'G0'" in caplog.text
    assert np.isnan(sps.get.edge_matrix(controls, "insilico").reindex(["G0"])).all(axis=None)
    has = (counts[controls.obs["edge_cells"]] > 0).sum(axis=0)
    for adata in (controls, *roundtrips(controls)):
        told = adata.uns["insilico"]["sources"].set_index("gene")
        assert told["status"].to_dict() == {"G0": "not_applied", "G4": "ok", "G20": "ok"}
        for gene in SOURCES:
            assert told.loc[gene, "n_cells"] == has[adata.var_names.get_loc(gene)]
    run(controls, small_model, kind="overexpress")
    assert (controls.uns["insilico"]["sources"]["n_cells"] == controls.obs["edge_cells"].sum()).all()


def test_a_sample_of_cells_is_on_record(controls: ad.AnnData, small_model: Any, caplog: Any) -> None:
    one, two = (run(controls, small_model, n_cells=5, rng=seed, copy=True) for seed in (0, 1))
    again = run(controls, small_model, n_cells=5, rng=0, copy=True, batch_size=2)
    chosen = one.obs["insilico_cells"].to_numpy()
    assert chosen.sum() == one.uns["insilico"]["params"]["n_cells"] == 5
    assert not (chosen & ~controls.obs["edge_cells"].to_numpy()).any()
    assert not np.array_equal(chosen, two.obs["insilico_cells"])
    np.testing.assert_array_equal(chosen, again.obs["insilico_cells"])
    np.testing.assert_allclose(sps.get.edge_matrix(one, "insilico"), sps.get.edge_matrix(again, "insilico"), atol=1e-6)
    assert one.uns["insilico"]["params"]["cells"] == "insilico_cells"
    with caplog.at_level(logging.WARNING):
        run(controls, small_model, n_cells=50)
    assert "50 cells were asked for, and there are 12" in caplog.text
    assert controls.uns["insilico"]["params"]["cells"] == "edge_cells"
    assert "insilico_cells" not in controls.obs


@pytest.mark.filterwarnings("ignore:Attention is scored without")
def test_a_sample_stands_beside_what_all_of_its_cells_give(
    controls: ad.AnnData, small_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Edges of five of the cells beside features and attention of all twelve; not beside those of other cells."""
    del controls.var["edge_panel"]
    controls.obs["edge_cells"] = (controls.obs["perturbation"] == "non-targeting").to_numpy()
    sps.pp.gene_features(controls)
    sps.tl.attention_edges(controls, small_model, show_progress_bar=False)
    sps.tl.perturbation_effects(controls, min_cells=30, n_null_splits=1, show_progress_bar=False)
    run(controls, small_model, sources=["G0", "G1", "G2"], n_cells=40)
    n_cells = int(controls.obs["edge_cells"].sum())
    edges = ["insilico", "attention"]
    with caplog.at_level(logging.WARNING):
        sps.tl.perturbation_auroc(controls, edges=edges, n_boot=20)
    assert f"`adata.varp['insilico']` is from a random sample of 40 of the {n_cells} cells" in caplog.text
    result = controls.uns["perturbation_auroc"]
    assert not result["params"]["same_cells"]
    assert np.isfinite(result["summary"].set_index("predictor").loc["insilico", "auroc"])
    rows = controls.uns["tests"].query("analysis == 'A01' and edges == 'insilico'")
    assert (rows["cells_hash"] == controls.uns["insilico"]["params"]["cells_hash"]).all()

    controls.obs["edge_cells"] &= np.arange(controls.n_obs) % 2 == 0
    sps.pp.gene_features(controls)
    sps.tl.attention_edges(controls, small_model, show_progress_bar=False)
    with pytest.raises(ValueError, match=r"are from different cells: 40 cells of `adata.obs\['insilico_cells'\]`"):
        sps.tl.perturbation_auroc(controls, edges=edges, n_boot=20)


@pytest.mark.parametrize("readout", ["embedding", "masked_logits"])
def test_the_planted_edges_are_found_and_go_with_their_head(readout: str) -> None:
    model = planted_model(n_layers=8)
    adata = planted_cells(model, 60)
    genes = list(adata.var_names)
    options = {"sources": genes[:6], "readout": readout, "show_progress_bar": False}
    sps.tl.insilico_perturbation(adata, model, **options)
    truth = model.regulates[:6]
    with model.intervene(Intervention.zero_heads([model.carrier])):
        sps.tl.insilico_perturbation(adata, model, key_added="without", **options)
    found, without = (sps.get.edge_matrix(adata, key).to_numpy()[:6] for key in ("insilico", "without"))
    off = ~np.eye(24, dtype=bool)[:6] & np.isfinite(found) & np.isfinite(without)
    assert np.median(found[off & truth]) > 5 * np.median(abs(found[off & ~truth]))
    assert np.median(without[off & truth]) < 3 * np.median(abs(without[off & ~truth])) + 1e-3
    assert adata.uns["without"]["params"]["model"] == "planted (zero heads L5H7)"
    assert adata.uns["insilico"]["params"]["signed"] is (readout == "masked_logits")


def test_edges_are_scored_beside_their_random_twin_and_their_ranks(controls: ad.AnnData, small_model: Any) -> None:
    del controls.var["edge_panel"]
    controls.obs["edge_cells"] = (controls.obs["perturbation"] == "non-targeting").to_numpy()
    genes = ["G0", "G1", "G2"]
    run(controls, small_model, sources=genes)
    run(controls, sps.models.randomize(small_model), sources=genes, key_added="insilico_randomized")
    sps.tl.perturbation_effects(controls, groupby="perturbation", control="non-targeting", min_cells=30)
    sps.tl.perturbation_auroc(controls, edges="insilico")
    rows = controls.uns["tests"].query("analysis == 'A01' and edges == 'insilico'")
    assert (rows["cells_hash"] == controls.uns["insilico"]["params"]["cells_hash"]).all()
    scored = controls.uns["perturbation_auroc"]["summary"].set_index("predictor")
    assert scored.loc["insilico_randomized", "kind"] == "control"
    for name in ("insilico", "insilico_randomized", "position", "coverage"):
        assert np.isfinite(scored.loc[name, "auroc"]), name


@pytest.mark.filterwarnings("ignore:There is no record of the cells")
def test_what_edges_add_is_asked_of_them_as_of_any(make_screen: Callable[..., ad.AnnData], small_model: Any) -> None:
    """The same AUROCs and gains as those of a table with the same numbers."""
    genes = tuple(f"G{number}" for number in range(8))
    adata = make_screen(perturbed=genes, n_controls=60, n_perturbed=30)
    sps.pp.select_cells(adata)
    sps.pp.gene_features(adata)
    sps.tl.perturbation_effects(adata, min_cells=20, n_null_splits=1, show_progress_bar=False)
    run(adata, small_model, sources=list(genes))
    matrix = sps.get.edge_matrix(adata, "insilico")
    table = matrix.loc[list(genes)].stack().rename_axis(["source", "target"]).rename("weight").reset_index()
    edges = {"insilico": "insilico", "table": table}
    sps.tl.perturbation_auroc(adata, edges=edges, n_boot=20, baselines=())
    told = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")["auroc"]
    assert np.isfinite(told["insilico"])
    assert told["insilico"] == pytest.approx(told["table"], abs=1e-12)
    asked = {"splits": ["perturbation"], "metrics": ["auroc"], "n_boot": 20, "n_placebo": 1}
    sps.tl.incremental_value(adata, edges=edges, allow_different_cells=True, **asked)
    gains = adata.uns["incremental_value"]["gains"].set_index(["edges", "learner"])["gain"].unstack("learner")
    assert gains.notna().all(axis=None)
    np.testing.assert_allclose(gains.loc["insilico"], gains.loc["table"], atol=1e-9)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"sources": ["G1"]}, ValueError, r"`sources` names genes that are not in the panel.*'G1'"),
        ({"kind": "mutate"}, ValueError, r"`kind` takes one of"),
        ({"readout": "logits"}, ValueError, r"`readout` takes one of"),
        ({"mask_share": 1.0}, ValueError, r"`mask_share` must be between 0 and 1"),
        ({"n_cells": 0}, ValueError, r"`n_cells` must be at least 1"),
        ({"max_passes": 20}, ValueError, r"3 sources in 12 cells take \d+ forward passes.*Name fewer genes"),
        ({"kind": "overexpress", "max_passes": 47}, ValueError, r"take 48 forward passes"),
        ({"memory_limit": 1000}, MemoryError, r"3 sources x 30 genes.*fewer `sources=`"),
        ({"key_added": "a/b"}, ValueError, r"`key_added`"),
        ({"mask_obs": "nope"}, KeyError, r"nope"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    controls: ad.AnnData,
    small_model: Any,
    untouched: Callable[[ad.AnnData], Any],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    error: type[Exception],
    match: str,
) -> None:
    monkeypatch.setattr(type(small_model), "forward", lambda *_: pytest.fail("the model was run"))
    with untouched(controls), pytest.raises(error, match=match):
        run(controls, small_model, **options)


def test_a_model_in_training_is_refused(
    controls: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any]
) -> None:
    with untouched(controls):
        small_model.network.train()
        try:
            for tool in (run, sps.tl.attention_edges, sps.pp.embed_cells):
                with pytest.raises(ValueError, match=r"training mode.*network\.eval"):
                    tool(controls, small_model)
        finally:
            small_model.network.eval()
        with pytest.raises(TypeError, match=r"what `scepsis.models.load` gives, not 'demo'"):
            run(controls, "demo")


def test_a_model_without_a_head_has_no_masked_logits(
    controls: ad.AnnData, make_decoder: Callable[..., Path], small_model: Any, untouched: Callable[[ad.AnnData], Any]
) -> None:
    for model, match in (
        (sps.models.load(make_decoder()), "is causal"),
        (sps.models.randomize(small_model), "without a language-model head"),
    ):
        with untouched(controls), pytest.raises(ValueError, match=match):
            run(controls, model, readout="masked_logits")


def test_no_cell_with_a_token(controls: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any]) -> None:
    controls.X = sparse.csr_matrix(controls.shape, dtype=np.float32)
    with untouched(controls), pytest.raises(ValueError, match="No cell has a gene of the model's vocabulary"):
        run(controls, small_model)
