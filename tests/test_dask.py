"""A dask array gives what the same counts give in memory: in threads, on a cluster, and when a worker is lost."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from scipy import sparse

import scepsis as sps
from scepsis._core._partitions import sum_parts, threads_here
from scepsis._core._values import Values
from scepsis.edges._shares import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

da = pytest.importorskip("dask.array", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
dask = pytest.importorskip("dask")

#: Cells per chunk: 280 cells are seven chunks, none of them full blocks.
CHUNK = 43


def lazily(adata: ad.AnnData, chunks: tuple[int, int] = (CHUNK, -1)) -> ad.AnnData:
    """The same cells with counts as a dask array of CSR chunks."""
    array = da.from_array(adata.X.toarray(), chunks=chunks).map_blocks(sparse.csr_matrix)
    return ad.AnnData(array, obs=adata.obs.copy(), var=adata.var.copy())


def attention(adata: ad.AnnData, model: Any, **options: Any) -> ad.AnnData:
    sps.tl.attention_edges(adata, model, layers=[0, 2], groupby="batch", show_progress_bar=False, **options)
    return adata


def same(left: ad.AnnData, right: ad.AnnData, *, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    """All that was written, values to rounding; X itself is left alone."""
    for slot in ("varp", "varm", "obsm"):
        assert getattr(left, slot).keys() == getattr(right, slot).keys()
        for key, value in getattr(left, slot).items():
            one, other = (
                item.toarray() if sparse.issparse(item) else item for item in (value, getattr(right, slot)[key])
            )
            np.testing.assert_allclose(one, other, rtol=rtol, atol=atol, err_msg=key)
    pd.testing.assert_frame_equal(left.obs, right.obs)
    pd.testing.assert_frame_equal(left.var, right.var, rtol=rtol)
    assert left.uns.keys() == right.uns.keys()


@pytest.fixture
def tools(small_model: Any) -> dict[str, Callable[[ad.AnnData], Any]]:
    quiet = {"show_progress_bar": False}
    return {
        "attention": partial(attention, model=small_model),
        "value-weighted": partial(sps.tl.value_weighted_edges, model=small_model, layers=1, **quiet),
        "student": partial(sps.tl.perturbation_effects, min_cells=20, n_null_splits=3, **quiet),
        "mannwhitney": partial(sps.tl.perturbation_effects, test="mannwhitney", min_cells=20, n_null_splits=2, **quiet),
        "pearson": partial(sps.tl.correlation_edges, method="pearson"),
        "spearman": partial(sps.tl.correlation_edges, method="spearman"),
        "features": sps.pp.gene_features,
    }


NAMES = ("attention", "value-weighted", "student", "mannwhitney", "pearson", "spearman", "features")


@pytest.mark.parametrize("name", NAMES)
def test_threads_give_what_memory_gives(screen: ad.AnnData, tools: dict[str, Any], name: str) -> None:
    lazy = lazily(screen)
    tools[name](screen)
    with dask.config.set(scheduler="threads", num_workers=2):
        tools[name](lazy)
    same(screen, lazy)
    assert isinstance(lazy.X, da.Array)


def test_chosen_cells_of_a_file_read_lazily(screen: ad.AnnData, small_model: Any, tmp_path: Path) -> None:
    from anndata.experimental import read_elem_lazy

    screen.write_h5ad(tmp_path / "screen.h5ad")
    chosen = np.random.default_rng(0).random(screen.n_obs) < 0.4
    with h5py.File(tmp_path / "screen.h5ad") as file:
        lazy = ad.AnnData(read_elem_lazy(file["X"], chunks=(CHUNK, -1)), obs=screen.obs.copy(), var=screen.var.copy())
        for adata in (screen, lazy):
            attention(adata, small_model, mask_obs=chosen)
            sps.tl.correlation_edges(adata, mask_obs=chosen)
        same(screen, lazy)


@pytest.mark.parametrize("storage", [sparse.csr_matrix, lambda counts: counts.toarray()], ids=["csr", "dense"])
def test_backed_files_are_streamed(
    make_screen: Callable[..., ad.AnnData], tools: dict[str, Any], tmp_path: Path, storage: Callable[..., Any]
) -> None:
    screen = make_screen(storage=storage)
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = ad.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    for adata in (screen, backed):
        tools["attention"](adata)
        tools["student"](adata)
    same(screen, backed)
    backed.file.close()


@pytest.mark.parametrize("name", NAMES)
def test_chunks_that_cut_cells_are_refused(screen: ad.AnnData, tools: dict[str, Any], name: str) -> None:
    lazy = lazily(screen, (CHUNK, 20))
    before = lazy.copy()
    with pytest.raises(ValueError, match=r"`adata\.X`.*cut through the genes.*rechunk\(\(1000, -1\)\)"):
        tools[name](lazy)
    same(before, lazy)


def test_a_file_stored_by_columns_is_refused(screen: ad.AnnData, small_model: Any, tmp_path: Path) -> None:
    ad.AnnData(screen.X.tocsc(), obs=screen.obs, var=screen.var).write_h5ad(tmp_path / "columns.h5ad")
    backed = ad.read_h5ad(tmp_path / "columns.h5ad", backed="r")
    with pytest.raises(ValueError, match=r"`adata\.X`.*by columns.*to_memory"):
        attention(backed, small_model)
    assert not backed.varp
    backed.file.close()


def test_whole_numbers_in_one_chunk_are_no_counts(screen: ad.AnnData) -> None:
    """Whether values are logs is told from all chunks together."""
    values = np.log1p(screen.X.toarray())
    values[:CHUNK] = values[:CHUNK].round()
    screen.X = sparse.csr_matrix(values)
    screen.uns["log1p"] = {}
    lazy = lazily(screen)
    lazy.uns["log1p"] = {}
    for adata in (screen, lazy):
        sps.tl.correlation_edges(adata, method="pearson")
    same(screen, lazy)
    whole = lazily(ad.AnnData(sparse.csr_matrix(values.round()), obs=screen.obs, var=screen.var))
    whole.uns["log1p"] = {}
    with pytest.raises(ValueError, match="whole numbers only"):
        sps.tl.correlation_edges(whole, method="pearson")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two processes of one thread each."""
    folder = tmp_path_factory.mktemp("workers")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "local_directory": str(folder)}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, small_model: Any) -> Any:
    """A model of its own file, which workers load."""
    source = Path(small_model.loaded_from.folder)
    return sps.models.load(shutil.copytree(source, tmp_path_factory.mktemp("shared") / "small"))


def test_a_cluster_gives_what_memory_gives(screen: ad.AnnData, tools: dict[str, Any], client: Any, model: Any) -> None:
    lazy = lazily(screen)
    names = ("student", "pearson", "spearman")
    for adata in (screen, lazy):
        attention(adata, model)
        for name in names:
            tools[name](adata)
    same(screen, lazy)


def test_a_lost_worker_changes_nothing(screen: ad.AnnData, client: Any, model: Any, tmp_path: Path) -> None:
    flag = tmp_path / "a worker was killed"

    def deadly(block: Any, block_info: Any = None) -> Any:
        if block_info[0]["chunk-location"][0] == 3 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    whole, lossy = lazily(screen), lazily(screen)
    lossy.X = lossy.X.map_blocks(deadly, meta=lossy.X._meta)
    attention(whole, model)
    attention(lossy, model)
    assert flag.exists()
    same(whole, lossy)


def test_what_was_never_saved_travels_whole(screen: ad.AnnData, client: Any, model: Any) -> None:
    twin = sps.models.randomize(model, 3)
    same(attention(screen.copy(), twin), attention(lazily(screen), twin))


def test_a_worker_without_the_model_is_named(screen: ad.AnnData, client: Any, model: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(model.loaded_from.folder, tmp_path / "gone")
    lost = sps.models.load(folder)
    shutil.rmtree(folder)
    lazy = lazily(screen)
    with pytest.raises(
        FileNotFoundError, match=r"worker on .* cannot load the model 'gone'.*same path on every worker"
    ):
        attention(lazy, lost)
    same(lazily(screen), lazy)


def test_a_model_changed_after_loading_is_told_from_its_file(screen: ad.AnnData, client: Any, model: Any) -> None:
    changed = sps.models.load(Path(model.loaded_from.folder))
    with torch.no_grad():
        next(changed.network.parameters()).add_(1)
    with pytest.raises(ValueError, match=r"is not the model 'small' of this run.*save it"):
        attention(lazily(screen), changed)


def test_a_run_stopped_on_a_cluster_goes_on_in_memory(
    screen: ad.AnnData, client: Any, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scepsis._core._partitions._CHUNKS_PER_TREE", 2)
    file, seen = tmp_path / "sums", tmp_path / "chunk was read for the fingerprint"

    def fails(block: Any, block_info: Any = None) -> Any:
        if block_info[0]["chunk-location"][0] == 5:
            if seen.exists():
                raise OSError("the disk is gone")
            seen.touch()
        return block

    lazy = lazily(screen)
    lazy.X = lazy.X.map_blocks(fails, meta=lazy.X._meta)
    with pytest.raises(OSError, match="the disk is gone"):
        attention(lazy, model, checkpoint=file)
    with safe_open(file, framework="np") as sums:
        assert int(sums.metadata()["n_done"]) in (2 * CHUNK, 4 * CHUNK)
    same(attention(screen.copy(), model), attention(screen, model, checkpoint=file))


def test_workers_hold_to_their_threads(client: Any) -> None:
    assert client.submit(threads_here, pure=False).result() == 1
    assert threads_here() is None
    before = torch.get_num_threads()

    def reading(_model: Any) -> Any:
        assert torch.get_num_threads() == before + 1
        return SimpleNamespace(sums=SimpleNamespace(sums=torch.zeros(1)))

    Share(lambda: None, reading).read([], before + 1)
    assert torch.get_num_threads() == before


def test_sums_of_cells_do_not_depend_on_the_order_of_workers() -> None:
    """The tree is that of the chunks: the same to the last bit, whatever runs it."""
    numbers = np.random.default_rng(0).normal(size=(900, 3)) * np.logspace(0, 12, 900)[:, None]
    values = Values(da.from_array(numbers, chunks=(9, -1)), "adata.X")
    rows = np.flatnonzero(np.arange(900) % 7)

    def total(values: Values, rows: Any, factor: float, weights: Any) -> Any:
        return sum((weights[:, None] * block.toarray() * factor).sum(0) for _, block in values.blocks(rows))

    def run(**options: Any) -> Any:
        weights = {"arguments": lambda chosen: (np.sqrt(chosen),)}
        with dask.config.set(**options):
            parts = list(sum_parts(values, rows, total, np.add, shared=(2.0,), **weights))
        assert sum(n for n, _ in parts) == len(rows)
        return sum(part for _, part in parts)

    found = run(scheduler="sync")
    np.testing.assert_array_equal(found, run(scheduler="threads", num_workers=5))
    np.testing.assert_allclose(found, 2 * (numbers[rows] * np.sqrt(rows)[:, None]).sum(0), rtol=1e-12)
