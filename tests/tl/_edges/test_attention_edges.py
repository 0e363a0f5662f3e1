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


def run(adata: Any, model: Any, **options: Any) -> Any:
    return sps.tl.attention_edges(adata, model, show_progress_bar=False, **options)


def eager_twin(model: Any) -> Any:
    """The same network with attention that is computed eagerly, and so can be asked for."""
    from transformers import BertModel

    twin = BertModel(deepcopy(model.network.config), add_pooling_layer=False).eval()
    twin.load_state_dict(model.network.state_dict())
    twin.set_attn_implementation("eager")
    return twin


def eager_attention(twin: Any, ids: np.ndarray) -> list[np.ndarray]:
    """Attention of one cell by layer: heads x tokens x tokens."""
    import torch

    with torch.no_grad():
        attention = twin(torch.tensor([ids.tolist()]), output_attentions=True).attentions
    return [layer[0].numpy() for layer in attention]


def by_hand(adata: ad.AnnData, model: Any, layers: list[int], cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over layers and cells, from eager attention, one cell at a time."""
    eager = eager_twin(model)
    sums, n = np.zeros((2, adata.n_vars, adata.n_vars))
    seeds = np.zeros(len(cells), dtype=np.uint64)
    for tokens in model.tokenize(sparse.csr_matrix(adata.X[cells]), np.arange(adata.n_vars) + 2, seeds):
        attention = eager_attention(eager, tokens.ids)
        square = np.ix_(tokens.ids - 2, tokens.ids - 2)
        sums[square] += np.mean([attention[layer].mean(0) for layer in layers], axis=0)
        n[square] += 1
    mean = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
    np.fill_diagonal(mean, np.nan)
    return mean, n


def test_slots_hold_what_the_model_computes(controls: ad.AnnData, small_model: Any) -> None:
    assert run(controls, small_model, layers=[2, 0]) is None
    panel = np.flatnonzero(controls.var["edge_panel"])
    cells = np.flatnonzero(controls.obs["edge_cells"])
    square = np.ix_(panel, panel)
    for key, layers in {"attention": [0, 2], "attention_L0": [0], "attention_L2": [2]}.items():
        expected, n = by_hand(controls, small_model, layers, cells)
        values, genes = unpack(controls.varp[key])
        assert values.dtype == np.float32
        np.testing.assert_array_equal(genes, panel)
        np.testing.assert_allclose(values, expected[square], atol=1e-5)
    counts, _ = unpack(controls.varp["attention_n_cells"], panel)
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(counts, n[square])
    position = controls.var["attention_position"]
    assert position.dtype == np.float32
    assert position.notna().to_numpy().nonzero()[0].tolist() == panel.tolist()
    params = controls.uns["attention"]["params"]
    assert params["layers"] == [0, 2]
    assert (params["layer_rule"], params["scale"], params["signed"]) == ("unrecorded", "probability", False)
    assert (params["n_cells"], params["n_genes"]) == (160, 30)
    assert (params["cells"], params["genes"]) == ("edge_cells", "edge_panel")


def test_one_layer_needs_no_slot_of_its_own(controls: ad.AnnData, small_model: Any) -> None:
    run(controls, small_model, layers=1, layer_rule="frozen")
    assert set(controls.varp) == {"attention", "attention_n_cells"}
    assert controls.uns["attention"]["params"]["layer_rule"] == "frozen"
    run(controls, small_model)
    assert controls.uns["attention"]["params"]["layer_rule"] == "single"
    assert {"attention_L0", "attention_L1", "attention_L2"} <= set(controls.varp)
    run(controls, small_model, heads=[(1, 3)])
    assert set(controls.varp) == {"attention", "attention_L1H3", "attention_n_cells"}, "an earlier run leaves nothing"


def test_further_scales_have_keys_and_records_of_their_own(controls: ad.AnnData, small_model: Any) -> None:
    run(controls, small_model, layers=0, scale=("probability", "centered", "uniform_fold"))
    for scale in ("uniform_fold", "centered"):
        alone = run(controls, small_model, layers=0, scale=scale, key_added="alone", copy=True)
        together, _ = unpack(controls.varp[f"attention_{scale}"])
        np.testing.assert_array_equal(together, unpack(alone.varp["alone"])[0])
        assert controls.uns[f"attention_{scale}"]["params"]["scale"] == scale
    fold, _ = unpack(controls.varp["attention_uniform_fold"])
    assert 0.5 < np.nanmean(fold) < 2, "near-uniform weights are near 1 fold"


def test_groups_from_one_pass(controls: ad.AnnData, small_model: Any) -> None:
    controls.obs["state"] = np.where(controls.obs["batch"] == "a", "CD4/CD8 +", "L1")
    run(controls, small_model, layers=1, groupby="state")
    strata = controls.uns["attention"]["strata"].set_index("group")
    assert strata["slug"].to_dict() == {"CD4/CD8 +": "CD4_CD8", "L1": "group_L1"}
    assert strata["n_obs"].sum() == 160
    for group, slug in strata["slug"].items():
        mask = (controls.obs["state"] == group).to_numpy() & controls.obs["edge_cells"].to_numpy()
        alone = run(controls, small_model, layers=1, mask_obs=mask, key_added="alone", copy=True)
        np.testing.assert_allclose(
            unpack(controls.varp[f"attention_{slug}"])[0], unpack(alone.varp["alone"])[0], rtol=1e-6
        )
        assert alone.uns["alone"]["params"]["cells"] == "alone_cells"
        np.testing.assert_array_equal(alone.obs["alone_cells"], mask)
    whole = run(controls, small_model, layers=1, copy=True)
    np.testing.assert_allclose(unpack(controls.varp["attention"])[0], unpack(whole.varp["attention"])[0], rtol=1e-6)
    assert "attention_CD4_CD8" not in whole.varp, "groups of an earlier run are gone"
    assert "attention_CD4_CD8_n_cells" not in whole.varp


def test_cells_without_a_group_count_towards_the_whole(controls: ad.AnnData, small_model: Any) -> None:
    controls.obs["state"] = controls.obs["batch"].where(np.arange(controls.n_obs) % 3 > 0)
    run(controls, small_model, layers=1, groupby="state")
    whole = run(controls, small_model, layers=1, copy=True)
    np.testing.assert_allclose(unpack(controls.varp["attention"])[0], unpack(whole.varp["attention"])[0], rtol=1e-6)
    assert controls.uns["attention"]["strata"]["n_obs"].sum() < 160
    assert len(controls.uns["attention"]["strata"]) == 2


def test_a_sparse_panel_keeps_evaluated_zeros_apart_from_the_rest(controls: ad.AnnData, small_model: Any) -> None:
    few = np.zeros(controls.n_vars, dtype=bool)
    few[[3, 8, 20, 40]] = True
    run(controls, small_model, mask_var=few)
    assert sparse.issparse(controls.varp["attention"])
    assert controls.varp["attention"].nnz <= 12
    assert controls.uns["attention"]["params"]["genes"] == "attention_genes"
    np.testing.assert_array_equal(controls.var["attention_genes"], few)


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_storage_does_not_matter(
    make_screen: Callable[..., ad.AnnData], small_model: Any, storage: Callable[[Any], Any]
) -> None:
    reference = run(make_screen(), small_model, copy=True)
    other = make_screen(storage=lambda m: m.toarray() if storage is np.asarray else storage(m))
    run(other, small_model)
    np.testing.assert_array_equal(other.varp["attention"], reference.varp["attention"])


def test_backed_counts_and_counts_in_a_layer(
    make_screen: Callable[..., ad.AnnData], small_model: Any, tmp_path: Path
) -> None:
    reference = run(make_screen(), small_model, copy=True)
    make_screen().write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    run(backed, small_model)
    np.testing.assert_array_equal(backed.varp["attention"], reference.varp["attention"])
    backed.file.close()
    layered = make_screen()
    layered.layers["counts"] = layered.X.copy()
    layered.X = np.log1p(layered.X.toarray())
    run(layered, small_model)
    np.testing.assert_array_equal(layered.varp["attention"], reference.varp["attention"])


def test_a_view_becomes_an_object_of_its_own_and_says_so(screen: ad.AnnData, small_model: Any) -> None:
    view = screen[:100]
    with pytest.warns(UserWarning, match="is a view"):
        run(view, small_model)
    assert not view.is_view
    assert "attention" in view.varp
    assert "attention" not in screen.varp


def test_mudata_writes_into_the_modality(screen: ad.AnnData, small_model: Any) -> None:
    import mudata

    other = screen[:, :5].copy()
    other.var_names = [f"other-{name}" for name in other.var_names]
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": screen.copy(), "other": other})
        run(mdata, small_model, mod="rna", layers=0)
    assert "attention" in mdata["rna"].varp
    with pytest.raises(TypeError, match="needs `mod=`"):
        run(mdata, small_model)
    with pytest.raises(KeyError, match="'rna', 'other'"):
        run(mdata, small_model, mod="atac")


def test_results_survive_files(
    controls: ad.AnnData, small_model: Any, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    controls.obs["state"] = np.where(controls.obs["batch"] == "a", "a/b", "ü +")
    run(controls, small_model, layers=[0, 1], groupby="state", scale=("probability", "centered"))
    for back in roundtrips(controls):
        assert set(back.varp) == set(controls.varp)
        for key in controls.varp:
            np.testing.assert_array_equal(unpack(back.varp[key])[0], unpack(controls.varp[key])[0])
        assert back.uns["attention"]["strata"]["group"].tolist() == ["a/b", "ü +"]
        assert back.uns["attention"]["params"]["cells_hash"] == controls.uns["attention"]["params"]["cells_hash"]


def test_same_seed_same_bytes(controls: ad.AnnData, small_model: Any) -> None:
    one, two = (run(controls, small_model, copy=True) for _ in range(2))
    assert unpack(one.varp["attention"])[0].tobytes() == unpack(two.varp["attention"])[0].tobytes()


def test_the_randomised_twin_stands_beside(controls: ad.AnnData, small_model: Any) -> None:
    run(controls, small_model)
    run(controls, sps.models.randomize(small_model), key_added="attention_randomized")
    own, twin = (unpack(controls.varp[key])[0] for key in ("attention", "attention_randomized"))
    np.testing.assert_array_equal(np.isnan(own), np.isnan(twin))
    assert not np.allclose(own, twin, equal_nan=True)
    assert controls.uns["attention_randomized"]["params"]["model"].endswith("-randomized")


def test_empty_cells_are_left_out_and_said(
    controls: ad.AnnData, small_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    counts = controls.X.toarray()
    counts[np.flatnonzero(controls.obs["edge_cells"])[:3]] = 0
    counts[:, 4] = 0
    controls.X = sparse.csr_matrix(counts)
    with caplog.at_level(logging.WARNING):
        run(controls, small_model, layers=0)
    assert "3 cells have no gene" in caplog.text
    assert controls.uns["attention"]["params"]["n_cells_without_tokens"] == 3
    values, _ = unpack(controls.varp["attention"], np.arange(controls.n_vars))
    assert np.isnan(values[4]).all(), "a gene that is never a token has no edges"
    assert np.isnan(values[:, 4]).all()
    assert np.isnan(controls.var["attention_position"].iloc[4])


BAD = {
    "layer above the model": ({"layers": [0, 3]}, ValueError, r"layers 0 to 2"),
    "negative layer": ({"layers": -1}, ValueError, r"layers 0 to 2"),
    "no layer": ({"layers": []}, ValueError, "empty"),
    "layer twice": ({"layers": [1, 1]}, ValueError, "twice"),
    "head above the model": ({"heads": [(0, 4)]}, ValueError, r"heads 0 to 3"),
    "head twice": ({"heads": [(0, 1), (0, 1)]}, ValueError, "twice"),
    "layers and heads": ({"layers": 0, "heads": [(0, 1)]}, ValueError, "not both"),
    "unknown scale": ({"scale": "logit"}, ValueError, "`scale`"),
    "scale twice": ({"scale": ("centered", "centered")}, ValueError, "twice"),
    "unknown rule": ({"layer_rule": "best"}, ValueError, "`layer_rule`"),
    "missing column": ({"mask_obs": "controls"}, KeyError, r"adata.obs\['controls'\]"),
    "short mask": ({"mask_var": np.ones(3, dtype=bool)}, ValueError, "shape"),
    "mask of numbers": ({"mask_obs": np.arange(280)}, TypeError, "boolean"),
    "nothing chosen": ({"mask_obs": np.zeros(280, dtype=bool)}, ValueError, "chooses nothing"),
    "groups without layers": ({"groupby": "batch"}, ValueError, "name the `layers`"),
    "missing groups": ({"groupby": "batsch", "layers": 0}, KeyError, "Did you mean 'batch'"),
    "continuous groups": ({"groupby": "n_umis_total", "layers": 0}, TypeError, "continuous"),
    "batch of none": ({"batch_size": 0}, ValueError, "`batch_size`"),
    "bad seed": ({"rng": -1}, TypeError, "`rng`"),
    "too much": ({"heads": [(0, 0), (0, 1)], "memory_limit": 100_000}, MemoryError, r"2 heads x 60 x 60.*`heads`"),
    "modality": ({"mod": "rna"}, TypeError, "AnnData"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_raise_before_any_work(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any], case: str
) -> None:
    options, kind, message = BAD[case]
    with untouched(screen), pytest.raises(kind, match=message):
        run(screen, small_model, **options)


def spoil(adata: ad.AnnData, how: str) -> None:
    values = adata.X.toarray()
    if how == "log values":
        adata.X = np.log1p(values)
    elif how == "scaled values":
        adata.X = values - values.mean(0)
    elif how == "missing values":
        values[5, 5] = np.nan
        adata.X = values
    elif how == "symbols":
        adata.var = adata.var.drop(columns="ensembl_id")
    elif how == "duplicated ids":
        adata.var["ensembl_id"] = adata.var["ensembl_id"].to_numpy()[[0, 0, *range(2, adata.n_vars)]]
    elif how == "duplicated names":
        adata.var_names = ["G1", "G1", *adata.var_names[2:]]
    elif how == "no token in any cell":
        adata.X = sparse.csr_matrix(adata.shape)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("log values", "normalised or log-transformed"),
        ("scaled values", "negative"),
        ("missing values", "NaN"),
        ("symbols", "gene symbols"),
        ("duplicated ids", "more than once"),
        ("duplicated names", "var_names_make_unique"),
        ("no token in any cell", "nothing to attend to"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*[Uu]nique.*:UserWarning")
def test_bad_data_raises_and_leaves_adata_alone(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any], how: str, message: str
) -> None:
    spoil(screen, how)
    with untouched(screen), pytest.raises(ValueError, match=message):
        run(screen, small_model)


def test_a_panel_outside_the_vocabulary_is_refused(
    controls: ad.AnnData, make_checkpoint: Callable[..., Path], untouched: Callable[[ad.AnnData], Any]
) -> None:
    half = sps.models.load(make_checkpoint(n_genes=40))
    controls.var["edge_panel"] = np.arange(controls.n_vars) >= 45
    with untouched(controls), pytest.raises(ValueError, match=r"Only 0 of the 15 panel genes.*select_panel"):
        run(controls, half)


def test_few_of_the_models_genes_are_said(
    make_screen: Callable[..., ad.AnnData], make_checkpoint: Callable[..., Path]
) -> None:
    large = sps.models.load(make_checkpoint(n_genes=400, positions=64))
    with pytest.warns(UserWarning, match="60 of the 400 genes"):
        run(make_screen(), large, layers=0)


def test_tokens_of_another_vocabulary_are_not_used(
    controls: ad.AnnData, small_model: Any, make_checkpoint: Callable[..., Path]
) -> None:
    reference = run(controls, small_model, copy=True)
    sps.pp.match_genes(controls, sps.models.load(make_checkpoint(generation=2)))
    assert controls.var["token_id"].iloc[0] == 4, "a column of the other vocabulary is there"
    run(controls, small_model)
    np.testing.assert_array_equal(unpack(controls.varp["attention"])[0], unpack(reference.varp["attention"])[0])


def test_memory_does_not_grow_with_the_genes_outside_the_panel(controls: ad.AnnData, small_model: Any) -> None:
    """The estimate is of the panel, not of all genes: what fits by the message fits."""
    with pytest.raises(MemoryError, match=r"30 x 30 genes"):
        run(controls, small_model, memory_limit=10_000)
    run(controls, small_model, memory_limit=200_000)


def test_sources_keep_their_rows_alone(controls: ad.AnnData, small_model: Any) -> None:
    heads = [(layer, head) for layer in range(3) for head in range(4)]
    whole = run(controls, small_model, heads=heads, copy=True)
    run(controls, small_model, heads=heads, sources=["G10", "G2"])
    rows = [controls.var_names.get_loc(name) for name in ("G2", "G10")]
    for key in ("attention", "attention_L2H3", "attention_n_cells"):
        found, expected = (unpack(data.varp[key], np.arange(60))[0] for data in (controls, whole))
        np.testing.assert_allclose(found[rows], expected[rows], rtol=1e-6)
        others = np.setdiff1d(np.arange(60), rows)
        assert not np.nan_to_num(found[others]).any()
    assert sparse.issparse(controls.varp["attention"])
    assert controls.uns["attention"]["params"]["sources"] == ["G10", "G2"]
    with pytest.raises(ValueError, match=r"'G1'.*force"):
        run(controls, small_model, heads=heads, sources=["G1", "G2"])
    needed = 12 * 30 * 30 * 8
    with pytest.raises(MemoryError, match="sources"):
        run(controls, small_model, heads=heads, memory_limit=needed)
    run(controls, small_model, heads=heads, sources=["G2"], memory_limit=needed)


class Killed(BaseException):
    """Nothing catches it."""


def test_a_killed_run_goes_on_from_its_checkpoint(
    make_screen: Callable[..., ad.AnnData], small_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scepsis._core._model_runs.CELLS_AT_ONCE", 40)
    monkeypatch.setattr("scepsis.edges._checkpoint._OVERHEAD", 1e9)  # write after every block
    options = {"scale": ("probability", "centered"), "layers": [0, 2], "groupby": "batch"}
    whole = run(make_screen(), small_model, **options, copy=True)
    file, adata = tmp_path / "sums.safetensors", make_screen()
    forward, calls = type(small_model).forward, [0]

    def mortal(self: Any, batch: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise Killed
        return forward(self, batch)

    monkeypatch.setattr(type(small_model), "forward", mortal)
    with pytest.raises(Killed):
        run(adata, small_model, **options, checkpoint=file)
    assert file.is_file()
    assert not list(tmp_path.glob("*.unfinished"))
    assert "attention" not in adata.varp
    calls[0] = 100
    run(adata, small_model, **options, checkpoint=file)
    assert calls[0] - 100 < 8, "cells of the checkpoint are not run again"
    for key in whole.varp:
        np.testing.assert_array_equal(unpack(adata.varp[key])[0], unpack(whole.varp[key])[0])
    np.testing.assert_array_equal(adata.var["attention_position"], whole.var["attention_position"])

    for other in ({"layers": [0, 1]}, {"rng": 1}, {"scale": "centered"}, {"mask_obs": adata.obs["batch"] == "a"}):
        changed = {**options, **{key: np.asarray(v) if key == "mask_obs" else v for key, v in other.items()}}
        with pytest.raises(ValueError, match="belongs to another run"):
            run(adata, small_model, **changed, checkpoint=file)
    with pytest.raises(ValueError, match="belongs to another run"):
        run(adata, sps.models.randomize(small_model), **options, checkpoint=file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        run(adata, small_model, **options, checkpoint=file)
    with pytest.raises(FileNotFoundError, match="folder that does not exist"):
        run(adata, small_model, **options, checkpoint=tmp_path / "nowhere" / "file")


def test_a_run_that_is_killed_while_writing_leaves_the_last_whole_file(
    make_screen: Callable[..., ad.AnnData], small_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    monkeypatch.setattr("scepsis._core._model_runs.CELLS_AT_ONCE", 40)
    monkeypatch.setattr("scepsis.edges._checkpoint._OVERHEAD", 1e9)
    save, calls = safetensors.torch.save_file, [0]

    def torn(tensors: Any, path: Path, metadata: Any) -> None:
        calls[0] += 1
        if calls[0] == 3:
            path.write_bytes(b"half a file")
            raise Killed
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", torn)
    file, adata = tmp_path / "sums", make_screen()
    with pytest.raises(Killed):
        run(adata, small_model, checkpoint=file)
    run(adata, small_model, checkpoint=file)
    whole = run(make_screen(), small_model, copy=True)
    np.testing.assert_array_equal(adata.varp["attention"], whole.varp["attention"])


@pytest.mark.real_data
def test_real_cells_at_full_length(data_dir: Path, make_checkpoint: Callable[..., Path]) -> None:
    """Whole transcriptomes, the published first-generation dictionaries, cells cut at 2,048 tokens."""
    folder = make_checkpoint(n_genes=25_424, n_layers=2, n_heads=2, width=16, positions=2048, sigma=0.2)
    dictionaries = {
        "token_dictionary": data_dir / "geneformer" / "token_dictionary.json",
        "gene_medians": data_dir / "geneformer" / "gene_median_dictionary.json",
    }
    model = sps.models.load(folder, **dictionaries)
    backed = ad.read_h5ad(data_dir / "cells" / "scmixology_lung_lines_5batches.h5ad", backed="r")
    cells = backed[::100].to_memory()
    backed.file.close()
    sps.pp.select_panel(cells, model, n_top_genes=300)
    run(cells, model)
    params = cells.uns["attention"]["params"]
    assert params["n_cells_truncated"] > 0
    assert params["mean_tokens"] <= 2048
    panel = np.flatnonzero(cells.var["edge_panel"])
    found, genes = unpack(cells.varp["attention"], panel)
    place = {model.vocabulary.tokens[name]: index for index, name in enumerate(cells.var_names[panel])}
    tokens = np.array([model.vocabulary.tokens.get(name, -1) for name in cells.var_names])
    seeds = np.zeros(cells.n_obs, dtype=np.uint64)
    sums, n = np.zeros((2, len(genes), len(genes)))
    eager = eager_twin(model)
    for cell in model.tokenize(sparse.csr_matrix(cells.X), tokens, seeds):
        at = np.flatnonzero([token in place for token in cell.ids])
        rows = [place[token] for token in cell.ids[at]]
        square = np.ix_(rows, rows)
        attention = eager_attention(eager, cell.ids)
        sums[square] += np.mean([layer.mean(0)[np.ix_(at, at)] for layer in attention], axis=0)
        n[square] += 1
    expected = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)


def test_masks_of_an_earlier_run_go_with_it_but_for_the_one_that_is_used(
    controls: ad.AnnData, small_model: Any
) -> None:
    cells = controls.obs["batch"].to_numpy() == "a"
    run(controls, small_model, layers=0, mask_obs=cells, mask_var=controls.var["edge_panel"].to_numpy())
    run(controls, small_model, layers=0, mask_obs="attention_cells")
    np.testing.assert_array_equal(controls.obs["attention_cells"], cells)
    assert controls.uns["attention"]["params"]["cells"] == "attention_cells"
    assert "attention_genes" not in controls.var
    run(controls, small_model, layers=0)
    assert "attention_cells" not in controls.obs


def test_a_key_that_cannot_be_read_back_is_refused(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any]
) -> None:
    with untouched(screen), pytest.raises(ValueError, match="key_added"):
        run(screen, small_model, key_added="a/b")
