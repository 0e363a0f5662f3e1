from __future__ import annotations

import logging
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import scepsis as sps
from scepsis._core._edge_slots import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def controls(screen: ad.AnnData) -> ad.AnnData:
    screen.obs["edge_cells"] = (screen.obs["perturbation"] == "non-targeting").to_numpy()
    screen.var["edge_panel"] = np.arange(screen.n_vars) % 2 == 0
    return screen


def run(adata: Any, model: Any, layers: Any = 1, **options: Any) -> Any:
    return sps.tl.value_weighted_edges(adata, model, layers=layers, show_progress_bar=False, **options)


def values(adata: ad.AnnData, key: str) -> np.ndarray:
    return unpack(adata.varp[key], np.flatnonzero(adata.var.get("edge_panel", np.ones(adata.n_vars))))[0]


def by_hand(adata: ad.AnnData, model: Any, layer: int, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over cells of the mean over heads of cosines, each cell by itself through an eager network."""
    import torch
    from transformers import BertModel

    eager = BertModel(deepcopy(model.network.config), add_pooling_layer=False).eval()
    eager.load_state_dict(model.network.state_dict())
    eager.set_attn_implementation("eager")
    sums, n = np.zeros((2, adata.n_vars, adata.n_vars))
    seeds = np.zeros(len(cells), dtype=np.uint64)
    for tokens in model.tokenize(sparse.csr_matrix(adata.X[cells]), np.arange(adata.n_vars) + 2, seeds):
        with torch.no_grad():
            out = eager(torch.tensor([tokens.ids.tolist()]), output_attentions=True, output_hidden_states=True)
            value = eager.encoder.layer[layer].attention.self.value(out.hidden_states[layer][0])
        heads = value.view(len(tokens.ids), model.n_heads, model.head_size).transpose(0, 1)
        contexts = (out.attentions[layer][0] @ heads).double().numpy()
        unit = contexts / np.linalg.norm(contexts, axis=-1, keepdims=True)
        square = np.ix_(tokens.ids - 2, tokens.ids - 2)
        sums[square] += (unit @ unit.swapaxes(1, 2)).mean(0)
        n[square] += 1
    edges = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
    np.fill_diagonal(edges, np.nan)
    return edges, n


def test_slots_hold_what_the_model_computes(controls: ad.AnnData, small_model: Any) -> None:
    assert run(controls, small_model, [2, 0]) is None
    assert set(controls.varp) == {
        "value_weighted",
        "value_weighted_L0",
        "value_weighted_L2",
        "value_weighted_n_cells",
    }
    panel = np.flatnonzero(controls.var["edge_panel"])
    square = np.ix_(panel, panel)
    cells = np.flatnonzero(controls.obs["edge_cells"])
    found = {}
    for layer in (0, 2):
        expected, n = by_hand(controls, small_model, layer, cells)
        matrix, genes = unpack(controls.varp[f"value_weighted_L{layer}"])
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(genes, panel)
        np.testing.assert_allclose(matrix, expected[square], atol=1e-5)
        found[layer] = matrix
    np.testing.assert_allclose(values(controls, "value_weighted"), (found[0] + found[2]) / 2, atol=1e-6)
    counts, _ = unpack(controls.varp["value_weighted_n_cells"], panel)
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(counts, n[square])
    params = controls.uns["value_weighted"]["params"]
    assert params["layers"] == [0, 2]
    assert (params["variant"], params["center"]) == ("cosine", False)
    assert (params["layer_rule"], params["scale"], params["signed"]) == ("unrecorded", "cosine", True)
    assert (params["n_cells"], params["n_genes"], params["n_cells_without_tokens"]) == (160, 30, 0)
    assert (params["cells"], params["genes"]) == ("edge_cells", "edge_panel")
    assert params["model_fingerprint"] == small_model.fingerprint
    assert sps.get.layer_keys(controls, "value_weighted") == {0: "value_weighted_L0", 2: "value_weighted_L2"}


def test_one_layer_has_its_slot_too(controls: ad.AnnData, small_model: Any) -> None:
    run(controls, small_model, None)
    assert controls.uns["value_weighted"]["params"]["layer_rule"] == "single"
    assert {f"value_weighted_L{layer}" for layer in range(3)} <= set(controls.varp)
    run(controls, small_model, 1, layer_rule="frozen")
    assert set(controls.varp) == {"value_weighted_L1", "value_weighted_n_cells"}, "an earlier run leaves nothing"
    assert controls.uns["value_weighted"]["edges_keys"] == ["value_weighted_L1"]
    assert controls.uns["value_weighted"]["params"]["layer_rule"] == "frozen"
    assert sps.get.layer_keys(controls, "value_weighted") == {1: "value_weighted_L1"}
    assert sps.get.edge_matrix(controls, "value_weighted_L1").shape == (30, 30)


def test_cells_and_pairs_are_those_of_attention(controls: ad.AnnData, small_model: Any) -> None:
    sps.tl.attention_edges(controls, small_model, layers=1, show_progress_bar=False)
    run(controls, small_model)
    np.testing.assert_array_equal(values(controls, "value_weighted_n_cells"), values(controls, "attention_n_cells"))
    one, other = (controls.uns[key]["params"] for key in ("attention", "value_weighted"))
    for name in ("cells_hash", "genes_hash", "n_cells_truncated", "mean_tokens", "vocabulary_hash"):
        assert one[name] == other[name]


def test_variants_stand_side_by_side(controls: ad.AnnData, small_model: Any) -> None:
    for variant in ("cosine", "centroid", "dot"):
        for center in (False, True):
            key = f"{variant}_{center}"
            run(controls, small_model, variant=variant, center=center, key_added=key)
            matrix = values(controls, f"{key}_L1")
            np.testing.assert_array_equal(matrix, matrix.T)
            params = controls.uns[key]["params"]
            assert (params["variant"], params["center"], params["signed"]) == (variant, center, True)
            assert params["scale"] == ("dot" if variant == "dot" else "cosine")
    shared, own = (np.nanmean(values(controls, f"cosine_{center}_L1")) for center in (False, True))
    assert shared > own + 0.2, "what contexts share is gone"


def test_genes_with_one_context_are_alike(controls: ad.AnnData, make_checkpoint: Callable[..., Path]) -> None:
    model = sps.models.load(make_checkpoint())
    model.network.embeddings.position_embeddings.weight.zero_()
    words = model.network.embeddings.word_embeddings.weight
    words[2 + 10] = words[2 + 40]
    run(controls, model, 2)
    row = sps.get.edge_matrix(controls, "value_weighted_L2").loc["G10"]
    assert row["G40"] == pytest.approx(1, abs=1e-6)
    assert row.drop("G40").max() < 0.999


@pytest.mark.parametrize("storage", [np.asarray, sparse.csc_matrix])
def test_storage_does_not_matter(
    make_screen: Callable[..., ad.AnnData], small_model: Any, storage: Callable[[Any], Any]
) -> None:
    reference = run(make_screen(), small_model, copy=True)
    other = make_screen(storage=lambda m: m.toarray() if storage is np.asarray else storage(m))
    run(other, small_model)
    np.testing.assert_array_equal(other.varp["value_weighted_L1"], reference.varp["value_weighted_L1"])


def test_backed_counts_views_and_modalities(
    make_screen: Callable[..., ad.AnnData], small_model: Any, tmp_path: Path
) -> None:
    import mudata

    reference = run(make_screen(), small_model, copy=True).varp["value_weighted_L1"]
    make_screen().write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    run(backed, small_model)
    np.testing.assert_array_equal(backed.varp["value_weighted_L1"], reference)
    backed.file.close()
    whole = make_screen()
    view = whole[:100]
    with pytest.warns(UserWarning, match="is a view"):
        run(view, small_model)
    assert "value_weighted_L1" in view.varp
    assert not whole.varp
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": make_screen()})
        run(mdata, small_model, mod="rna")
    np.testing.assert_array_equal(mdata["rna"].varp["value_weighted_L1"], reference)
    with pytest.raises(TypeError, match="needs `mod=`"):
        run(mdata, small_model)


def test_masks_given_as_arrays_are_remembered(controls: ad.AnnData, small_model: Any) -> None:
    few = np.isin(np.arange(controls.n_vars), [3, 8, 20, 40])
    some = np.arange(controls.n_obs) < 50
    run(controls, small_model, mask_obs=some, mask_var=few)
    assert sparse.issparse(controls.varp["value_weighted_L1"])
    np.testing.assert_array_equal(controls.obs["value_weighted_cells"], some)
    np.testing.assert_array_equal(controls.var["value_weighted_genes"], few)
    params = controls.uns["value_weighted"]["params"]
    assert (params["cells"], params["genes"]) == ("value_weighted_cells", "value_weighted_genes")


def test_results_survive_files(
    controls: ad.AnnData, small_model: Any, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    run(controls, small_model, [0, 1], center=True)
    for back in roundtrips(controls):
        assert set(back.varp) == set(controls.varp)
        for key in controls.varp:
            np.testing.assert_array_equal(unpack(back.varp[key])[0], unpack(controls.varp[key])[0])
        params = back.uns["value_weighted"]["params"]
        assert params["cells_hash"] == controls.uns["value_weighted"]["params"]["cells_hash"]
        assert bool(params["center"]) is True
        assert sps.get.edge_matrix(back, "value_weighted").shape == (30, 30)


def test_same_seed_same_bytes_and_batches_change_rounding_only(controls: ad.AnnData, small_model: Any) -> None:
    one, two = (run(controls, small_model, copy=True) for _ in range(2))
    assert values(one, "value_weighted_L1").tobytes() == values(two, "value_weighted_L1").tobytes()
    single = run(controls, small_model, batch_size=1, copy=True)
    np.testing.assert_allclose(values(single, "value_weighted_L1"), values(one, "value_weighted_L1"), atol=1e-6)


def test_other_families_are_read_alike(
    controls: ad.AnnData, make_decoder: Callable[..., Path], make_scgpt_checkpoint: Callable[..., Path]
) -> None:
    for folder in (make_decoder(), make_scgpt_checkpoint()):
        model = sps.models.load(folder)
        run(controls, model, [0, 2], key_added=model.family)
        matrix = values(controls, f"{model.family}_L2")
        assert np.nanmax(np.abs(matrix)) <= 1
        assert np.nanstd(matrix) > 1e-2
        np.testing.assert_array_equal(matrix, matrix.T)


def test_empty_cells_and_genes_in_no_cell(
    controls: ad.AnnData, small_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    counts = controls.X.toarray()
    counts[np.flatnonzero(controls.obs["edge_cells"])[:3]] = 0
    counts[:, 4] = 0
    controls.X = sparse.csr_matrix(counts)
    for variant in ("cosine", "centroid"):
        with caplog.at_level(logging.WARNING):
            run(controls, small_model, variant=variant)
        assert "3 cells have no gene" in caplog.text
        assert controls.uns["value_weighted"]["params"]["n_cells_without_tokens"] == 3
        assert np.isnan(values(controls, "value_weighted_L1")[2]).all()
        assert np.isfinite(values(controls, "value_weighted_L1")[1]).any()


BAD = {
    "layer above the model": ({"layers": [0, 3]}, ValueError, r"layers 0 to 2"),
    "no layer": ({"layers": []}, ValueError, "empty"),
    "layer twice": ({"layers": [1, 1]}, ValueError, "twice"),
    "unknown variant": ({"variant": "cosinus"}, ValueError, "`variant`"),
    "centre of something": ({"center": "median"}, ValueError, "`center`"),
    "unknown rule": ({"layer_rule": "best"}, ValueError, "`layer_rule`"),
    "slash in the key": ({"key_added": "a/b"}, ValueError, "`key_added`"),
    "missing column": ({"mask_obs": "controls"}, KeyError, r"adata.obs\['controls'\]"),
    "nothing chosen": ({"mask_obs": np.zeros(280, dtype=bool)}, ValueError, "chooses nothing"),
    "batch of none": ({"batch_size": 0}, ValueError, "`batch_size`"),
    "bad seed": ({"rng": -1}, TypeError, "`rng`"),
    "too much": ({"memory_limit": 10_000}, MemoryError, r"Value-weighted edges of 1 layers x 60 x 60.*`layers`"),
    "modality": ({"mod": "rna"}, TypeError, "AnnData"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_raise_before_any_work(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any], case: str
) -> None:
    options, kind, message = BAD[case]
    with untouched(screen), pytest.raises(kind, match=message):
        run(screen, small_model, **options)


def test_layers_have_to_be_named(screen: ad.AnnData, small_model: Any) -> None:
    with pytest.raises(TypeError, match="layers"):
        sps.tl.value_weighted_edges(screen, small_model)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (np.log1p, "normalised or log-transformed"),
        (lambda x: x - x.mean(0), "negative"),
        (lambda x: np.where(x > 3, np.nan, x), "NaN"),
        (lambda x: 0 * x, "nothing to attend to"),
    ],
    ids=["log values", "scaled values", "missing values", "no token in any cell"],
)
def test_bad_data_raises_and_leaves_adata_alone(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any], spoil: Any, message: str
) -> None:
    screen.X = spoil(screen.X.toarray())
    with untouched(screen), pytest.raises(ValueError, match=message):
        run(screen, small_model)


def test_names_of_another_kind_are_refused(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any]
) -> None:
    screen.var = screen.var.drop(columns="ensembl_id")
    with untouched(screen), pytest.raises(ValueError, match="gene symbols"):
        run(screen, small_model)
