"""Fixtures that every test may use: screens with planted effects, checkpoints, and a guard that nothing was written."""

from __future__ import annotations

import json
import os
import warnings
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import scepsis as sps
from scepsis._core._edge_slots import provenance
from scepsis._core._registry import Evidence, Row, updated_tests
from scepsis._core._resolve import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

CONTROL = "non-targeting"
ALL_SCALES = ("uniform_fold", "centered", "randomized")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests run when asked for, tests on real data where the data is."""
    for item in items:
        if item.get_closest_marker("slow") and os.environ.get("SCEPSIS_SLOW") != "1":
            item.add_marker(pytest.mark.skip(reason="slow; set SCEPSIS_SLOW=1 to run it"))
        if item.get_closest_marker("real_data") and not os.environ.get("SCEPSIS_DATA"):
            item.add_marker(pytest.mark.skip(reason="needs real data; set SCEPSIS_DATA to its folder"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the real data sets, named by ``SCEPSIS_DATA``."""
    folder = os.environ.get("SCEPSIS_DATA")
    if not folder:
        pytest.skip("needs real data; set SCEPSIS_DATA to its folder")
    return Path(folder)


def _make_screen(
    *,
    n_genes: int = 60,
    n_controls: int = 160,
    n_perturbed: int = 40,
    perturbed: tuple[str, ...] = ("G0", "G1", "G2"),
    storage: Callable[[sparse.csr_matrix], Any] = sparse.csr_matrix,
    seed: int = 0,
) -> ad.AnnData:
    """
    Counts of a screen made by numpy alone.

    Perturbing ``G<k>`` halts it and triples genes ``G<10 + 5k>`` to ``G<14 + 5k>``. Genes differ in their mean,
    cells in their depth; every fifth gene shares a latent programme, so that correlations are not all null.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat([CONTROL, *perturbed], [n_controls, *[n_perturbed] * len(perturbed)])
    order = rng.permutation(len(labels))
    labels = labels[order]
    means = np.exp(rng.normal(0.5, 0.8, n_genes))
    means[:20] = np.maximum(means[:20], 2.0)
    depth = np.exp(rng.normal(0, 0.3, len(labels)))
    programme = np.exp(rng.normal(0, 0.6, len(labels)))
    rate = depth[:, None] * means[None, :]
    rate[:, ::5] *= programme[:, None]
    for number, gene in enumerate(perturbed):
        cells = np.flatnonzero(labels == gene)
        rate[np.ix_(cells, range(10 + 5 * number, 15 + 5 * number))] *= 3
        if gene in {f"G{index}" for index in range(n_genes)}:
            rate[cells, int(gene[1:])] = 0
    counts = rng.poisson(rate).astype(np.float32)
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(labels),
            "batch": pd.Categorical(rng.choice(["a", "b"], len(labels))),
            "n_umis_total": counts.sum(axis=1) + 50,
        },
        index=[f"cell{index}" for index in range(len(labels))],
    )
    var = pd.DataFrame(
        {"ensembl_id": [f"ENSG{index:011d}" for index in range(n_genes)]},
        index=[f"G{index}" for index in range(n_genes)],
    )
    return ad.AnnData(X=storage(sparse.csr_matrix(counts)), obs=obs, var=var)


@pytest.fixture
def make_screen() -> Callable[..., ad.AnnData]:
    """Maker of screens: ``make_screen(n_genes=, n_controls=, n_perturbed=, perturbed=, storage=, seed=)``."""
    return _make_screen


@pytest.fixture
def screen() -> ad.AnnData:
    """280 cells x 60 genes of raw counts: 160 controls, 40 cells of each of three perturbed genes."""
    return _make_screen()


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """Maker of stand-ins for a model that know a vocabulary and nothing else."""

    def make(
        genes: Mapping[str, int],
        *,
        kind: str = "ensembl",
        mapping: Mapping[str, str] | None = None,
        name: str = "stand-in",
        digest: str | None = None,
    ) -> Any:
        vocabulary = SimpleNamespace(
            tokens=dict(genes),
            kind=kind,
            mapping=dict(mapping or {}),
            hash=digest or f"hash-of-{len(genes)}-{kind}",
        )
        return SimpleNamespace(vocabulary=vocabulary, name=name)

    return make


def _make_checkpoint(
    folder: Path,
    *,
    generation: int = 1,
    n_genes: int = 60,
    n_layers: int = 3,
    n_heads: int = 4,
    width: int = 32,
    positions: int = 64,
    sigma: float = 0.5,
    seed: int = 0,
    weights: str = "model.safetensors",
) -> Path:
    """A small random model in the published layout: genes ``ENSG00000000000`` and on, weights far from uniform."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    special = ["<pad>", "<mask>", *(["<cls>", "<eos>"] if generation == 2 else [])]
    config = BertConfig(
        vocab_size=len(special) + n_genes,
        hidden_size=width,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
        hidden_act="relu",
        layer_norm_eps=1e-12,
        initializer_range=sigma,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForMaskedLM(config)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    if weights != "model.safetensors":
        torch.save(model.state_dict(), folder / weights)
        (folder / "model.safetensors").unlink()
    _write_dictionaries(folder, special, n_genes, seed)
    return folder


def _make_decoder(
    folder: Path,
    *,
    special: tuple[str, ...] = ("<bos>",),
    n_genes: int = 60,
    n_layers: int = 3,
    n_heads: int = 4,
    n_key_heads: int = 2,
    width: int = 32,
    positions: int = 64,
    sigma: float = 0.5,
    seed: int = 0,
) -> Path:
    """The same as a causal decoder in the layout of Llama, `special` beside ``<pad>`` and ``<mask>``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokens = ["<pad>", "<mask>", *special]
    config = LlamaConfig(
        vocab_size=len(tokens) + n_genes,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=n_key_heads,
        max_position_embeddings=positions,
        initializer_range=sigma,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    _write_dictionaries(folder, tokens, n_genes, seed)
    return folder


def _write_dictionaries(folder: Path, special: list[str], n_genes: int, seed: int) -> None:
    genes = [f"ENSG{index:011d}" for index in range(n_genes)]
    tokens = {name: index for index, name in enumerate([*special, *genes])}
    medians = np.random.default_rng(seed).uniform(0.5, 3.0, n_genes).tolist()
    (folder / "token_dictionary.json").write_text(json.dumps(tokens))
    (folder / "gene_median_dictionary.json").write_text(json.dumps(dict(zip(genes, medians, strict=True))))


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Maker of checkpoint folders: ``make_checkpoint(generation=, n_genes=, n_layers=, n_heads=, ...)``."""

    def make(name: str = "checkpoint", **options: Any) -> Path:
        return _make_checkpoint(tmp_path / name, **options)

    return make


@pytest.fixture(scope="session")
def make_lasting_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The same, for models that several tests share."""

    def make(name: str, **options: Any) -> Path:
        return _make_checkpoint(tmp_path_factory.mktemp(name) / name, **options)

    return make


@pytest.fixture
def make_decoder(tmp_path: Path) -> Callable[..., Path]:
    """Maker of checkpoint folders of a causal model: ``make_decoder(special=, n_genes=, n_key_heads=, ...)``."""

    def make(name: str = "decoder", **options: Any) -> Path:
        return _make_decoder(tmp_path / name, **options)

    return make


def _make_scgpt_checkpoint(
    folder: Path,
    *,
    n_genes: int = 60,
    n_layers: int = 3,
    n_heads: int = 4,
    width: int = 32,
    mlp_width: int = 48,
    n_bins: int = 51,
    max_seq_len: int = 64,
    spelling: str = "Wqkv",
    batch_norm: bool = False,
    heads: bool = True,
    sigma: float = 0.5,
    seed: int = 0,
) -> Path:
    """
    A small random scGPT in the published layout, made of torch's own layers: genes ``G0`` and on.

    `spelling` is that of attention's projections: ``"Wqkv"``, ``"_impl.Wqkv"`` or ``"in_proj_"``.
    """
    import torch

    ids = np.random.default_rng(seed).permutation(n_genes).tolist()
    vocabulary = {f"G{index}": token for index, token in enumerate(ids)}
    vocabulary |= {"<pad>": n_genes, "<eoc>": n_genes + 1, "<cls>": n_genes + 2}
    args = {
        "embsize": width,
        "nheads": n_heads,
        "d_hid": mlp_width,
        "nlayers": n_layers,
        "n_layers_cls": 3,
        "dropout": 0.2,
        "pad_token": "<pad>",
        "pad_value": -2,
        "mask_value": -1,
        "n_bins": n_bins,
        "input_style": "binned",
        "input_emb_style": "continuous",
        "max_seq_len": max_seq_len,
        "fast_transformer": True,
        "MVC": True,
        "USE_GENERATIVE_TRAINING": True,
    }
    state = _scgpt_state(args, len(vocabulary), batch_norm=batch_norm, heads=heads, sigma=sigma, seed=seed)
    if spelling != "in_proj_":
        output = "self_attn._impl.out_proj" if "_impl" in spelling else "self_attn.out_proj"
        state = {
            key.replace("in_proj_", f"{spelling}.").replace("self_attn.out_proj", output): tensor
            for key, tensor in state.items()
        }
    folder.mkdir(parents=True)
    (folder / "args.json").write_text(json.dumps(args))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    torch.save(state, folder / "best_model.pt")
    return folder


def _scgpt_state(
    args: Mapping[str, Any], n_tokens: int, *, batch_norm: bool, heads: bool, sigma: float, seed: int
) -> dict[str, Any]:
    """Weights made by torch's own layers; far from where training starts, so that no attention is uniform."""
    import torch
    from torch import nn

    width = args["embsize"]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="enable_nested_tensor")
        torch.manual_seed(seed)
        parts: dict[str, nn.Module] = {
            "encoder": nn.ModuleDict(
                {
                    "embedding": nn.Embedding(n_tokens, width, padding_idx=n_tokens - 3),
                    "enc_norm": nn.LayerNorm(width),
                }
            ),
            "value_encoder": nn.ModuleDict(
                {"linear1": nn.Linear(1, width), "linear2": nn.Linear(width, width), "norm": nn.LayerNorm(width)}
            ),
            "transformer_encoder": nn.TransformerEncoder(
                nn.TransformerEncoderLayer(width, args["nheads"], args["d_hid"], batch_first=True), args["nlayers"]
            ),
        }
        if batch_norm:
            parts["bn"] = nn.BatchNorm1d(width, eps=6.1e-5)
        if heads:
            parts["decoder"] = nn.ModuleDict({"fc": nn.Sequential(nn.Linear(width, width), nn.Linear(width, 1))})
            parts["mvc_decoder"] = nn.ModuleDict({"gene2query": nn.Linear(width, width)})
            parts["cls_decoder"] = nn.ModuleDict({"out_layer": nn.Linear(width, 3)})
            parts["flag_encoder"] = nn.Embedding(2, width)
        state = nn.ModuleDict(parts).state_dict()
        for key, tensor in state.items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif "norm" in key or key.startswith("bn."):
                if tensor.is_floating_point():
                    tensor.add_(torch.randn_like(tensor) * 0.2)
            elif "self_attn" in key or key.endswith("bias"):
                tensor.normal_(0.0, sigma)
    return state


@pytest.fixture
def make_scgpt_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Maker of scGPT folders: ``make_scgpt_checkpoint(n_genes=, n_layers=, spelling=, batch_norm=, ...)``."""

    def make(name: str = "scgpt", **options: Any) -> Path:
        return _make_scgpt_checkpoint(tmp_path / name, **options)

    return make


#: Every kind of model: both generations of Geneformer, causal, with values, and the one of the documentation.
ANY_FAMILY = ("first", "second", "decoder", "scgpt", "registered")


def _make_registered(folder: Path, *, n_genes: int = 60, sigma: float = 0.5, seed: int = 0) -> Path:
    """A checkpoint of the family that the documentation adds, which is registered from here on."""
    import torch

    page = Path(__file__).parents[1] / "docs" / "add_a_model_family.md"
    names: dict[str, Any] = {}
    exec(compile(page.read_text().split("```python\n")[1].split("\n```")[0], str(page), "exec"), names)
    genes = [f"ENSG{index:011d}" for index in range(n_genes)]
    settings = {"genes": genes, "width": 16, "n_layers": 3, "n_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = names["Network"](n_genes, 16, 3, 2)
        for name, parameter in network.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(parameter, std=sigma)
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    torch.save(network.state_dict(), folder / "weights.pt")
    return folder


@pytest.fixture
def make_any_family(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Maker of a small random model of three layers of one of `ANY_FAMILY`, as it is loaded."""
    from scepsis.models import load
    from scepsis.models._families import FAMILIES

    known = dict(FAMILIES)
    makers: dict[str, Callable[..., Path]] = {
        "first": _make_checkpoint,
        "second": lambda folder, **options: _make_checkpoint(folder, generation=2, **options),
        "decoder": _make_decoder,
        "scgpt": _make_scgpt_checkpoint,
        "registered": _make_registered,
    }

    def make(kind: str, **options: Any) -> Any:
        number = len(list(tmp_path.iterdir()))
        return load(makers[kind](tmp_path / f"{kind}_{number}", **options))

    yield make
    FAMILIES.clear()
    FAMILIES.update(known)


@pytest.fixture(params=ANY_FAMILY)
def any_family(request: pytest.FixtureRequest, make_any_family: Callable[..., Any]) -> Any:
    """A small random model of three layers, of every family in turn."""
    return make_any_family(request.param)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A loaded model of three layers that knows the genes of `screen` by their Ensembl ids."""
    from scepsis.models import load

    return load(_make_checkpoint(tmp_path_factory.mktemp("models") / "small", sigma=0.05))


@pytest.fixture
def untouched() -> Callable[[ad.AnnData], Any]:
    """Context manager: what is inside, failing or not, must leave every slot as it was."""

    @contextmanager
    def guard(adata: ad.AnnData) -> Iterator[None]:
        before = _snapshot(adata)
        yield
        _same(before, _snapshot(adata), "adata")

    return guard


@pytest.fixture
def roundtrips(tmp_path: Path) -> Callable[[ad.AnnData], Iterator[ad.AnnData]]:
    """Write and read back: ``for back in roundtrips(adata)`` gives the h5ad and the zarr reading."""

    def both(adata: ad.AnnData) -> Iterator[ad.AnnData]:
        adata.write_h5ad(tmp_path / "roundtrip.h5ad")
        yield ad.read_h5ad(tmp_path / "roundtrip.h5ad")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Writing zarr v2 data", category=UserWarning)
            adata.write_zarr(tmp_path / "roundtrip.zarr")
        yield ad.read_zarr(tmp_path / "roundtrip.zarr")

    return both


def _snapshot(adata: ad.AnnData) -> dict[str, Any]:
    """Deep copy of every slot; the matrix of a backed object is left on disk."""
    content: dict[str, Any] = {
        "is_view": adata.is_view,
        "obs": adata.obs.copy(),
        "var": adata.var.copy(),
        "uns": deepcopy(dict(adata.uns)),
        "X": None if adata.isbacked else deepcopy(adata.X),
    }
    for slot in ("layers", "obsm", "varm", "obsp", "varp"):
        content[slot] = {key: deepcopy(value) for key, value in getattr(adata, slot).items()}
    return content


def _same(left: Any, right: Any, where: str) -> None:
    assert type(left) is type(right), where
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            _same(left[key], right[key], f"{where}[{key!r}]")
    elif isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, obj=where)
    elif sparse.issparse(left):
        assert left.format == right.format, where
        assert left.dtype == right.dtype, where
        np.testing.assert_array_equal(left.toarray(), right.toarray(), err_msg=where)
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, where
        np.testing.assert_array_equal(left, right, err_msg=where)
    else:
        assert left == right, where


def _record(adata: ad.AnnData, cells: str, **more: Any) -> dict[str, Any]:
    mask = adata.obs[cells].to_numpy(dtype=bool)
    genes = Choice(adata.var["edge_panel"].to_numpy(dtype=bool), "edge_panel")
    return more | provenance(adata, Choice(mask, cells), genes, cells_name="", genes_name="")


def _store_edges(adata: ad.AnnData, key: str, values: NDArray, *, cells: str = "edge_cells", **more: Any) -> None:
    values = values.astype(np.float32)
    np.fill_diagonal(values, np.nan)
    adata.varp[key] = values
    params = {"signed": False, "layer_rule": "single"} | _record(adata, cells) | more
    adata.uns[key] = {"params": params, "edges_keys": [key]}


def _make_audit(
    *,
    n_genes: int = 200,
    n_units: int = 30,
    signal: float = 0.0,
    confound: float = 0.0,
    shared: float = 0.0,
    rate: float = 0.15,
    companions: Sequence[str] = ALL_SCALES,
    outside: int = 0,
    seed: int = 0,
) -> ad.AnnData:
    """
    Screen of `n_units` perturbed genes, ``G0`` on, among `n_genes`.

    Attention of g to t is noise plus `signal` where t responds to g, plus `confound` times a property of t alone
    that is also its mean, variance and detection rate. Genes respond the more often the higher that property,
    by `shared`. The last `outside` genes are no tokens: NaN in attention. Spearman edges are noise, signed.
    """
    rng = np.random.default_rng(seed)
    names = [f"G{index}" for index in range(n_genes)]
    cells = [CONTROL] * 40 + [name for name in names[:4] for _ in range(3)]
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(cells),
            "edge_cells": np.arange(len(cells)) < 40,
            "other_cells": (np.arange(len(cells)) < 40) & (np.arange(len(cells)) > 4),
            "all_cells": np.ones(len(cells), dtype=bool),
        },
        index=[f"c{index}" for index in range(len(cells))],
    )
    height = rng.normal(size=n_genes)
    var = pd.DataFrame({"edge_panel": True, "mean": np.exp(height), "variance": np.exp(height) + 0.1}, index=names)
    var["detection_rate"] = 1 / (1 + np.exp(-height))
    var["attention_position"] = (n_genes - np.argsort(np.argsort(height))).astype(np.float32)
    adata = ad.AnnData(X=rng.poisson(1.0, (len(cells), n_genes)).astype(np.float32), obs=obs, var=var)
    adata.uns["gene_features"] = {"params": _record(adata, "edge_cells")}

    odds = np.exp(shared * height)
    chance = np.clip(rate * odds / odds.mean(), 0.01, 0.9)
    responds = rng.random((n_units, n_genes)) < chance
    edges = rng.normal(size=(n_genes, n_genes)) + confound * height
    edges[:n_units] += signal * responds
    token = np.arange(n_genes) < n_genes - outside
    edges[~token], edges[:, ~token] = np.nan, np.nan
    _store_edges(adata, "attention", np.exp(edges), method="attention", scale="probability")
    for name in companions:
        noise = np.where(np.isnan(edges), np.nan, rng.normal(size=edges.shape))
        scale = "probability" if name == "randomized" else name
        _store_edges(adata, f"attention_{name}", noise, method="attention", scale=scale)
    adata.varp["attention_n_cells"] = np.outer(token, token).astype(np.int32) * rng.integers(1, 40, edges.shape)
    both = rng.normal(size=edges.shape)
    _store_edges(adata, "spearman", np.tanh(both + both.T), method="spearman", signed=True)
    _store_effects(adata, responds)
    return adata


def _store_effects(adata: ad.AnnData, responds: NDArray) -> None:
    n_units = len(responds)
    genes = list(adata.var_names[:n_units])
    target = responds.T.astype(np.float32)
    target[np.arange(n_units), np.arange(n_units)] = 1  # the perturbed gene responds, and must not count
    adata.varm["perturbation_target"] = target
    adata.uns["perturbation_effects"] = {
        "params": {"groupby": "perturbation", "control": CONTROL, "labels_hash": "labels"},
        "perturbations": pd.DataFrame(
            {
                "perturbation": genes,
                "gene": genes,
                "n_cells": 60,
                "n_testable": (~np.isnan(target)).sum(axis=0),
                "n_targets": (target == 1).sum(axis=0),
                "status": "ok",
            }
        ).astype({"perturbation": object, "gene": object, "status": object}),
    }


@pytest.fixture
def make_audit() -> Callable[..., ad.AnnData]:
    """Maker of screens ready to be scored."""
    return _make_audit


@pytest.fixture
def store_edges() -> Callable[..., None]:
    """Write a matrix of edges with its record: ``store_edges(adata, key, values, cells="edge_cells", **params)``."""
    return _store_edges


class Result(dict[str, Any]):
    """Frames of a result, and rows of them by name."""

    def of(self, predictor: str) -> pd.DataFrame:
        frame = self["per_perturbation"]
        return frame[frame["predictor"] == predictor].set_index("perturbation")

    def contrast(self, edges: str, versus: str) -> pd.Series:
        frame = self["contrasts"]
        return frame[(frame["edges"] == edges) & (frame["versus"] == versus)].iloc[0]


@pytest.fixture
def score() -> Callable[..., Result]:
    """Score edges in place and give the result: ``score(adata, **arguments)``."""

    def run(adata: ad.AnnData, *, n_boot: int = 200, key_added: str = "perturbation_auroc", **more: Any) -> Result:
        assert sps.tl.perturbation_auroc(adata, n_boot=n_boot, key_added=key_added, **more) is None
        return Result(adata.uns[key_added])

    return run


ROW_RECORD = {"layer_rule": "single", "cells_hash": "c", "genes_hash": "g"}


def _enter(adata: ad.AnnData, *rows: dict[str, Any], **rest: Any) -> None:
    """Enter rows, each a dict; what they rest on by keyword (`record` is that of all edges)."""
    record = ROW_RECORD | rest.pop("record", {})
    given: dict[str, Any] = {
        "hypothesis": "as by chance",
        "test_type": "t",
        "role": "confirmatory",
        "edges": "attention",
    }
    made = [Row(**given | {"p_raw": np.nan} | row) for row in rows]
    evidence: dict[str, Any] = {
        "key": "tool",
        "params": {"margin": 0.02},
        "edges": {row.edges: record for row in made},
        "effects": "" if rest.get("reference") else "perturbation",
        "labels_hash": "l",
    }
    adata.uns.update(updated_tests(adata, made, Evidence(**evidence | rest)))


@pytest.fixture
def enter() -> Callable[..., None]:
    """Enter rows of the registry: ``enter(adata, {"analysis": ..., "name": ...}, ..., key=, effects=, record=)``."""
    return _enter


@pytest.fixture
def empty() -> ad.AnnData:
    """Data in which nothing was tested."""
    return ad.AnnData(np.zeros((2, 3), dtype=np.float32))


def _all_rows(changes: dict[str, dict[str, Any]] | None = None, *, edges: str = "attention") -> list[dict[str, Any]]:
    """
    Every row that the criteria read, of edges that meet all of them.

    `changes` maps names of rows, or beginnings that end in ``*``, to other values; None leaves the row out.
    """
    rows: list[dict[str, Any]] = [
        {"analysis": "A01", "name": "above_chance", "p_raw": 1e-9, "effect_size": 0.9, "effect_type": "AUROC"}
        | {"equivalence": "different", "ci_low": 0.88, "ci_high": 0.92},
        {"analysis": "A01", "name": "vs_spearman", "p_raw": 0.001, "effect_size": 0.05, "equivalence": "different"}
        | {"ci_low": 0.01, "ci_high": 0.09},
    ]
    rows += [
        {"analysis": "A04", "name": f"vs_{name}", "p_raw": 0.01, "effect_size": 0.1, "minimum_detectable": 0.03}
        | {"equivalence": "different", "ci_low": 0.05, "ci_high": 0.15}
        for name in ("variance", "mean", "detection_rate", "de_frequency")
    ]
    for split in ("perturbation", "gene", "joint"):
        for learner in ("logistic", "gbdt"):
            for kind in ("gain", "gain_placebo"):
                for metric in ("auroc", "auprc", "recall@10", "recall@50", "recall@100"):
                    first = split == "perturbation" and metric == "auroc"
                    row = {"analysis": "A05" if first else "A06", "name": f"{kind}/{split}/{learner}/{metric}"}
                    row |= {"role": "confirmatory" if first else "descriptive", "p_raw": 0.01, "effect_size": 0.02}
                    rows.append(row | {"ci_low": 0.01, "ci_high": 0.03, "baseline_value": 0.8})
    reference = {"reference": "reference"}
    for name in ("ols", "gbdt", "node"):
        rows += [
            {"analysis": "A08", "name": f"retention/{name}", "role": "descriptive", "effect_size": 0.9}
            | {"ci_low": 0.7, "ci_high": 1.1}
            | reference,
            {"analysis": "A08", "name": f"residual/{name}", "role": "descriptive", "effect_size": 0.7}
            | {"ci_low": 0.6, "ci_high": 0.8, "equivalence": "different"}
            | reference,
        ]
    rows += [
        {"analysis": "A09", "name": "degree/pooled", "p_raw": 0.005, "statistic": 4.0, "baseline_value": 2.0}
        | {"baseline_name": "coexpression", "direction": "greater"}
        | reference,
        {"analysis": "A10", "name": "known_mode/pooled", "role": "descriptive", "effect_size": -0.01}
        | {"ci_low": -0.02, "ci_high": 0.01}
        | reference,
        {"analysis": "A11", "name": "gain/matched", "p_raw": 0.01, "effect_size": 0.02, "equivalence": "different"}
        | {"ci_low": 0.01, "ci_high": 0.03},
    ]
    for name, values in (changes or {}).items():
        meant = [row for row in rows if row["name"] == name or (name[-1] == "*" and row["name"].startswith(name[:-1]))]
        assert meant, name
        for row in meant:
            if values is None:
                rows.remove(row)
            else:
                row.update(values)
    return [row | {"edges": edges} for row in rows]


def _enter_all(
    adata: ad.AnnData, changes: dict[str, Any] | None = None, *, edges: str = "attention", **rest: Any
) -> None:
    rows = _all_rows(changes, edges=edges)
    against = {"reference": "reference", "labels_hash": "r", "effects": ""}
    _enter(adata, *[row for row in rows if "reference" not in row], **rest)
    if known := [{k: v for k, v in row.items() if k != "reference"} for row in rows if "reference" in row]:
        _enter(adata, *known, **against | {k: v for k, v in rest.items() if k != "labels_hash"})


@pytest.fixture
def enter_all() -> Callable[..., None]:
    """Enter every row that criteria and claims read: ``enter_all(adata, changes, edges=, record=, key=)``."""
    return _enter_all


#: Where interventions are read.
READOUT = "attention_L3"
#: Rows of interventions that confirm everything.
CAUSAL: dict[str, dict[str, Any]] = {
    f"dose/top/{READOUT}": {"analysis": "A13", "p_raw": 0.001, "effect_size": -0.01},
    f"top_5/{READOUT}": {"analysis": "A12", "p_raw": 0.001, "effect_size": -0.03},
    f"top_5/{READOUT}/vs_random": {"analysis": "A12", "p_raw": 0.01, "effect_size": -0.03, "null_mean": -0.001},
    f"uniform_top_5/{READOUT}": {"analysis": "A14", "p_raw": 0.01, "effect_size": -0.02},
    f"uniform_random_10/{READOUT}": {"analysis": "A14", "p_raw": 0.9, "effect_size": 0.0},
    f"mlp_2/{READOUT}": {"analysis": "A14", "p_raw": 0.02, "effect_size": -0.02},
    f"mlp_3/{READOUT}": {"analysis": "A14", "status": "structurally_null"},
    f"uniform_top_10/{READOUT}": {"analysis": "A14", "status": "not_applicable"},
} | {
    f"fidelity/{name}": {"analysis": "A15", "effect_size": 0.05, "statistic": 0.04, "baseline_value": 1e-9}
    for name in ("top_5", "uniform_top_5", "mlp_2", "mlp_3")
}


def _enter_causal(adata: ad.AnnData, changes: dict[str, Any] | None = None) -> None:
    rows = {name: {"name": name} | row | ((changes or {}).get(name) or {}) for name, row in CAUSAL.items()}
    kept = [row for name, row in rows.items() if name not in (changes or {}) or (changes or {})[name] is not None]
    _enter(adata, *kept, key="head_ablation")


@pytest.fixture
def enter_causal() -> Callable[..., None]:
    """Enter every row of interventions that criteria and claims read: ``enter_causal(adata, changes)``."""
    return _enter_causal
