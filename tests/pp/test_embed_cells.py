from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
import torch
from scipy import sparse

import scepsis as sps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def run(adata: Any, model: Any, **options: Any) -> Any:
    return sps.pp.embed_cells(adata, model, show_progress_bar=False, **options)


def tokens_of(adata: ad.AnnData, model: Any, ids: str = "ensembl_id") -> list[Any]:
    """Cells as the model reads them, each with the seed that its name gives."""
    from scepsis._core._rng import cell_seeds

    names = adata.var.get(ids, adata.var_names)
    tokens = np.array([model.vocabulary.tokens.get(name, -1) for name in names])
    return model.tokenize(sparse.csr_matrix(adata.X), tokens, cell_seeds(0, adata.obs_names))


@pytest.fixture
def uneven(screen: ad.AnnData) -> ad.AnnData:
    """Cells of very different length, two of them empty."""
    counts = screen.X.toarray()
    rng = np.random.default_rng(0)
    counts[rng.random(counts.shape) < rng.random((len(counts), 1))] = 0
    counts[[5, 130]] = 0
    screen.X = sparse.csr_matrix(counts)
    return screen


@pytest.mark.parametrize("generation", [1, 2])
def test_means_over_gene_tokens_of_each_cell_by_itself(
    uneven: ad.AnnData, make_checkpoint: Callable[..., Path], generation: int
) -> None:
    from transformers import BertForMaskedLM

    folder = make_checkpoint(generation=generation)
    model = sps.models.load(folder)
    assert run(uneven, model) is None
    found = uneven.obsm["X_geneformer"]
    assert (found.dtype, found.shape) == (np.float32, (280, 32))
    bert = BertForMaskedLM.from_pretrained(folder).eval().bert
    lengths = set()
    for row, cell in zip(found, tokens_of(uneven, model), strict=True):
        ids = cell.ids.tolist()
        lengths.add(len(ids))
        if not ids:
            assert np.isnan(row).all()
            continue
        with torch.no_grad():
            hidden = bert(torch.tensor([ids if generation == 1 else [2, *ids, 3]])).last_hidden_state[0]
        genes = hidden if generation == 1 else hidden[1:-1]
        np.testing.assert_allclose(row, genes.mean(0), atol=2e-5)
    assert len(lengths) > 20, "padding is among what is compared"


def test_decoders_are_pooled_over_genes(uneven: ad.AnnData, make_decoder: Callable[..., Path]) -> None:
    from transformers import LlamaModel

    folder = make_decoder()
    model = sps.models.load(folder)
    run(uneven, model)
    llama = LlamaModel.from_pretrained(folder).eval()
    before, after = list(model.before), list(model.after)
    for row, cell in zip(uneven.obsm["X_decoder"][:40], tokens_of(uneven, model), strict=False):
        if len(cell.ids):
            with torch.no_grad():
                hidden = llama(torch.tensor([[*before, *cell.ids.tolist(), *after]])).last_hidden_state[0]
            np.testing.assert_allclose(row, hidden[len(before) : len(before) + len(cell.ids)].mean(0), atol=2e-5)


def test_scgpt_cells_are_their_cls_token(uneven: ad.AnnData, make_scgpt_checkpoint: Callable[..., Path]) -> None:
    model = sps.models.load(make_scgpt_checkpoint())
    run(uneven, model)
    assert uneven.uns["X_scgpt"]["params"]["pooling"] == "cls"
    cls = model.vocabulary.special["<cls>"]
    for row, cell in zip(uneven.obsm["X_scgpt"], tokens_of(uneven, model, "var_names"), strict=True):
        if not len(cell.ids):
            assert np.isnan(row).all()
            continue
        batch = model.batch([cell], [np.random.default_rng(3).permutation(len(cell.ids))])
        (at,) = torch.nonzero(batch.ids[0] == cls).flatten().tolist()
        np.testing.assert_allclose(row, model.forward(batch)[0, at], atol=2e-5)


def test_all_cells_are_embedded_and_all_genes_read(screen: ad.AnnData, small_model: Any) -> None:
    reference = run(screen, small_model, copy=True)
    screen.obs["edge_cells"] = np.arange(280) < 10
    screen.var["edge_panel"] = np.arange(60) < 10
    run(screen, small_model)
    assert not np.isnan(screen.obsm["X_geneformer"]).any()
    np.testing.assert_array_equal(screen.obsm["X_geneformer"], reference.obsm["X_geneformer"])


def test_the_record_says_what_was_done(
    uneven: ad.AnnData, small_model: Any, make_checkpoint: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    short = sps.models.load(make_checkpoint(positions=20))
    with caplog.at_level(logging.WARNING):
        run(uneven, short, key_added="X_short", batch_size=3, rng=7)
    n_detected = np.diff(uneven.X.indptr)
    n_empty = int((n_detected == 0).sum())
    assert f"{n_empty} cells have no gene of the vocabulary and are NaN" in caplog.text
    params = uneven.uns["X_short"]["params"]
    assert params["n_cells_truncated"] == (n_detected > 20).sum() > 0
    assert (params["n_cells_without_tokens"], params["n_cells"], params["n_genes"]) == (n_empty, 280, 60)
    assert (params["pooling"], params["batch_size"], params["seed"]) == ("mean", 3, 7)
    assert params["model_fingerprint"] == short.fingerprint
    assert params["family"] == "geneformer"
    run(uneven, small_model)
    assert {"X_short", "X_geneformer"} == set(uneven.obsm), "two models side by side"


def test_order_and_batches_change_rounding_only(uneven: ad.AnnData, small_model: Any) -> None:
    reference = run(uneven, small_model, copy=True).obsm["X_geneformer"]
    again = run(uneven, small_model, copy=True).obsm["X_geneformer"]
    assert again.tobytes() == reference.tobytes()
    order = np.random.default_rng(0).permutation(280)
    other = uneven[order].copy()
    run(other, small_model, batch_size=7)
    np.testing.assert_allclose(other.obsm["X_geneformer"], reference[order], atol=2e-6)


def test_running_out_of_memory_halves_the_batch(
    uneven: ad.AnnData, small_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = run(uneven, small_model, copy=True).obsm["X_geneformer"]
    forward = type(small_model).forward

    def hungry(self: Any, batch: Any) -> Any:
        if len(batch.n_tokens) > 3:
            raise torch.OutOfMemoryError
        return forward(self, batch)

    monkeypatch.setattr(type(small_model), "forward", hungry)
    run(uneven, small_model)
    np.testing.assert_allclose(uneven.obsm["X_geneformer"], reference, atol=2e-6)


@pytest.mark.parametrize("storage", [np.asarray, sparse.csc_matrix])
def test_storage_does_not_matter(
    make_screen: Callable[..., ad.AnnData], small_model: Any, storage: Callable[[Any], Any]
) -> None:
    reference = run(make_screen(), small_model, copy=True)
    other = make_screen(storage=lambda m: m.toarray() if storage is np.asarray else storage(m))
    run(other, small_model)
    np.testing.assert_array_equal(other.obsm["X_geneformer"], reference.obsm["X_geneformer"])


def test_backed_counts_layers_views_and_modalities(
    make_screen: Callable[..., ad.AnnData], small_model: Any, tmp_path: Path
) -> None:
    import mudata

    reference = run(make_screen(), small_model, copy=True).obsm["X_geneformer"]
    make_screen().write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    run(backed, small_model)
    np.testing.assert_array_equal(backed.obsm["X_geneformer"], reference)
    backed.file.close()
    layered = make_screen()
    layered.layers["counts"] = layered.X.copy()
    layered.X = np.log1p(layered.X.toarray())
    run(layered, small_model)
    np.testing.assert_array_equal(layered.obsm["X_geneformer"], reference)
    whole = make_screen()
    view = whole[:100]
    with pytest.warns(UserWarning, match="is a view"):
        run(view, small_model)
    assert not view.is_view
    np.testing.assert_allclose(view.obsm["X_geneformer"], reference[:100], atol=2e-6)
    assert not whole.obsm
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": make_screen()})
        run(mdata, small_model, mod="rna")
    np.testing.assert_array_equal(mdata["rna"].obsm["X_geneformer"], reference)
    with pytest.raises(TypeError, match="needs `mod=`"):
        run(mdata, small_model)


def test_results_survive_files(
    uneven: ad.AnnData, small_model: Any, roundtrips: Callable[[ad.AnnData], Iterator[ad.AnnData]]
) -> None:
    run(uneven, small_model)
    for back in roundtrips(uneven):
        np.testing.assert_array_equal(back.obsm["X_geneformer"], uneven.obsm["X_geneformer"])
        assert back.uns["X_geneformer"]["params"]["pooling"] == "mean"


def test_few_of_the_models_genes_are_said(screen: ad.AnnData, make_checkpoint: Callable[..., Path]) -> None:
    large = sps.models.load(make_checkpoint(n_genes=400))
    with pytest.warns(UserWarning, match="60 of the 400 genes") as caught:
        run(screen, large)
    assert caught[0].filename == __file__, "the warning points at the caller"


def test_overflow_of_half_precision_is_named(
    screen: ad.AnnData, make_checkpoint: Callable[..., Path], untouched: Callable[[ad.AnnData], Any]
) -> None:
    model = sps.models.load(make_checkpoint(), dtype="float16")
    model.seams(2).mlp.weight.mul_(1e5)
    with untouched(screen), pytest.raises(FloatingPointError, match=r"embedding of .*'bfloat16'"):
        run(screen, model)


BAD = {
    "slash in the key": ({"key_added": "X/geneformer"}, ValueError, "`key_added`"),
    "batch of none": ({"batch_size": 0}, ValueError, "`batch_size`"),
    "bad seed": ({"rng": "one"}, TypeError, "`rng`"),
    "too much": ({"memory_limit": 1000}, MemoryError, "Embeddings of 280 cells"),
    "modality": ({"mod": "rna"}, TypeError, "AnnData"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_raise_before_any_work(
    screen: ad.AnnData, small_model: Any, untouched: Callable[[ad.AnnData], Any], case: str
) -> None:
    options, kind, message = BAD[case]
    with untouched(screen), pytest.raises(kind, match=message):
        run(screen, small_model, **options)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (np.log1p, "normalised or log-transformed"),
        (lambda x: x - x.mean(0), "negative"),
        (lambda x: np.where(x > 3, np.nan, x), "NaN"),
        (lambda x: 0 * x, "No cell has a gene"),
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
