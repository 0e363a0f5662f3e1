from __future__ import annotations

import json
import os
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

import scepsis as sps
from scepsis.edges._accumulate import Plan
from scepsis.edges._attention import accumulate_attention
from scepsis.models import AttentionModel, Tokens, load, randomize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import anndata as ad

N_GENES = 60
PANEL = np.arange(5, N_GENES, 2)
SPELLINGS = ("Wqkv", "_impl.Wqkv", "in_proj_")


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of a folder with attention in torch's own spelling."""
    state = torch.load(folder / "best_model.pt", weights_only=True)
    return {key.replace("_impl.", "").replace("Wqkv.", "in_proj_"): tensor for key, tensor in state.items()}


def change(folder: Path, edit: Callable[[dict[str, Any]], object], file: str = "best_model.pt") -> Path:
    """Edit one of the files of a checkpoint."""
    if file.endswith(".json"):
        content = json.loads((folder / file).read_text())
        edit(content)
        (folder / file).write_text(json.dumps(content))
    else:
        content = torch.load(folder / file, weights_only=True)
        edit(content)
        torch.save(content, folder / file)
    return folder


def make_counts(n_cells: int = 30) -> np.ndarray:
    """Cells of very different depth: one empty, one with a single gene, one with panel-foreign genes only."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(0.4, 2, (n_cells, N_GENES)) * rng.gamma(1, 1, (n_cells, 1)))
    counts[3] = 0
    counts[4] = 3 * np.eye(N_GENES, dtype=int)[7]
    counts[5, PANEL] = 0
    counts[6] = 1
    return counts


def gene_tokens(model: Any) -> np.ndarray:
    """Tokens of the columns of `make_counts`; the last two are no genes of the vocabulary."""
    tokens = [model.vocabulary.tokens[f"G{index}"] for index in range(N_GENES - 2)]
    return np.array([*tokens, -1, -1])


def encoded(model: Any, counts: np.ndarray, seeds: np.ndarray | None = None) -> list[Tokens]:
    seeds = np.arange(len(counts), dtype=np.uint64) if seeds is None else seeds
    return model.tokenize(sparse.csr_matrix(counts), gene_tokens(model), seeds)


def hidden_states(model: Any, cells: list[Tokens]) -> torch.Tensor:
    return model.forward(model.batch(cells, [np.arange(len(cell.ids)) for cell in cells]))


def as_cells(*lengths: int, seed: int = 0) -> list[Tokens]:
    rng = np.random.default_rng(seed)
    return [
        Tokens(
            rng.permutation(N_GENES)[:length].astype(np.int32),
            # One value beyond the cut of the value encoder.
            np.r_[600, rng.integers(0, 51, length)][:length].astype(np.float32),
        )
        for length in lengths
    ]


def by_torch(folder: Path, batch: Any, dtype: torch.dtype) -> torch.Tensor:
    """Hidden states by ``torch.nn.TransformerEncoder``, its fast path off."""
    args = json.loads((folder / "args.json").read_text())
    state = {key: tensor.to(dtype) for key, tensor in state_of(folder).items()}
    functional, width = torch.nn.functional, (args["embsize"],)

    def norm(hidden: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(hidden, width, state[f"{name}.weight"], state[f"{name}.bias"])

    layer = torch.nn.TransformerEncoderLayer(
        args["embsize"], args["nheads"], args["d_hid"], args["dropout"], batch_first=True
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="enable_nested_tensor")
        encoder = torch.nn.TransformerEncoder(layer, args["nlayers"]).to(dtype).eval()
    prefix = "transformer_encoder."
    encoder.load_state_dict({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
    values = batch.values.to(dtype).clamp(max=512)[..., None]
    inner = functional.relu(
        functional.linear(values, state["value_encoder.linear1.weight"], state["value_encoder.linear1.bias"])
    )
    inner = functional.linear(inner, state["value_encoder.linear2.weight"], state["value_encoder.linear2.bias"])
    hidden = norm(state["encoder.embedding.weight"][batch.ids], "encoder.enc_norm") + norm(inner, "value_encoder.norm")
    if "bn.weight" in state:
        names = ("running_mean", "running_var", "weight", "bias")
        per_gene = hidden.permute(0, 2, 1)
        hidden = functional.batch_norm(per_gene, *(state[f"bn.{name}"] for name in names), eps=6.1e-5).permute(0, 2, 1)
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return encoder(hidden, src_key_padding_mask=batch.mask == 0)
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def by_formulas(folder: Path, ids: list[int], values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states and attention (layers x heads x tokens x tokens) of one cell in numpy, head by head."""
    args = json.loads((folder / "args.json").read_text())
    w = {key: tensor.double().numpy() for key, tensor in state_of(folder).items()}
    d = args["embsize"] // args["nheads"]

    def normed(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def affine(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    v = np.minimum(np.array(values, dtype=float), 512)[:, None]
    h = normed(w["encoder.embedding.weight"][ids], "encoder.enc_norm")
    h = h + normed(
        affine(np.maximum(affine(v, "value_encoder.linear1"), 0), "value_encoder.linear2"), "value_encoder.norm"
    )
    if "bn.weight" in w:
        h = (h - w["bn.running_mean"]) / np.sqrt(w["bn.running_var"] + 6.1e-5) * w["bn.weight"] + w["bn.bias"]
    attention = []
    for layer in range(args["nlayers"]):
        at = f"transformer_encoder.layers.{layer}"
        q, k, values_ = np.split(
            h @ w[f"{at}.self_attn.in_proj_weight"].T + w[f"{at}.self_attn.in_proj_bias"], 3, axis=1
        )
        contexts = []
        for head in range(args["nheads"]):
            of = slice(head * d, (head + 1) * d)
            scores = q[:, of] @ k[:, of].T / np.sqrt(d)
            p = np.exp(scores - scores.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            attention.append(p)
            contexts.append(p @ values_[:, of])
        h = normed(h + affine(np.concatenate(contexts, 1), f"{at}.self_attn.out_proj"), f"{at}.norm1")
        h = normed(h + affine(np.maximum(affine(h, f"{at}.linear1"), 0), f"{at}.linear2"), f"{at}.norm2")
    return h, np.reshape(attention, (args["nlayers"], args["nheads"], len(ids), len(ids)))


# The network


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_hidden_states_equal_torchs_own_encoder(
    make_scgpt_checkpoint: Callable[..., Path], spelling: str, batch_norm: bool
) -> None:
    folder = make_scgpt_checkpoint(spelling=spelling, batch_norm=batch_norm)
    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-12)):
        model = load(folder, dtype=dtype)
        cells = as_cells(1, 12, N_GENES, 30)
        batch = model.batch(cells, [np.arange(len(cell.ids)) for cell in cells])
        expected, found = by_torch(folder, batch, dtype), model.forward(batch)
        valid = batch.mask.bool()
        torch.testing.assert_close(found[valid], expected[valid], atol=tolerance, rtol=0)
        assert expected[valid].std() > 0.1


def test_hidden_states_equal_torchs_to_1e6_at_the_scale_of_training(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    folder = make_scgpt_checkpoint(width=64, n_layers=6, sigma=0.1)
    model = load(folder)
    cells = as_cells(40, 40)
    batch = model.batch(cells, [np.arange(40)] * 2)
    torch.testing.assert_close(model.forward(batch), by_torch(folder, batch, torch.float32), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_hidden_states_equal_the_formulas(make_scgpt_checkpoint: Callable[..., Path], batch_norm: bool) -> None:
    folder = make_scgpt_checkpoint(batch_norm=batch_norm)
    model = load(folder, dtype="float64", cls_value=-2)
    cells = as_cells(12, 1, 25)
    found = hidden_states(model, cells)
    cls = model.vocabulary.special["<cls>"]
    for row, cell in enumerate(cells):
        expected, _ = by_formulas(folder, [*cell.ids.tolist(), cls], [*cell.values.tolist(), -2.0])
        np.testing.assert_allclose(found[row, : len(expected)], expected, atol=1e-10)


def test_order_of_genes_does_not_matter(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    model = load(make_scgpt_checkpoint(), dtype="float64")
    (cell,) = as_cells(20)
    order = np.random.default_rng(0).permutation(20)
    plain, shuffled = (model.forward(model.batch([cell], [one]))[0] for one in (np.arange(20), order))
    torch.testing.assert_close(shuffled[:20], plain[order])
    torch.testing.assert_close(shuffled[20], plain[20])


def test_a_loaded_model_is_behind_the_protocol(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    before = torch.random.get_rng_state()
    model = load(make_scgpt_checkpoint())
    assert torch.equal(before, torch.random.get_rng_state())
    assert isinstance(model, AttentionModel)
    assert (model.family, model.causal, model.n_layers, model.n_heads, model.head_size) == ("scgpt", False, 3, 4, 8)
    assert model.max_genes == 63
    assert model.vocabulary.kind == "symbol"
    assert model.vocabulary.special == {"<pad>": 60, "<eoc>": 61, "<cls>": 62}
    assert len(model.vocabulary.tokens) == 60
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    batch = model.batch(as_cells(2, 1), [np.array([1, 0]), np.array([0])])
    assert batch.ids[1].tolist()[1:] == [62, 60], "<cls> last, then padding"
    assert batch.n_tokens == [3, 2]
    with pytest.raises(ValueError, match="make cells by `tokenize`"):
        model.batch([Tokens(np.array([1], dtype=np.int32))], [np.array([0])])


def test_reading_cells_in_another_way_is_another_model(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    folder = make_scgpt_checkpoint()
    models = [
        load(folder),
        *(load(folder, **one) for one in ({"include_zero_genes": True}, {"cls_value": -2.0}, {"max_seq_len": 9})),
    ]
    assert len({model.fingerprint for model in models}) == 4
    assert load(folder, cls_value=0).fingerprint == models[0].fingerprint
    assert models[3].encoding == {"n_bins": 51, "max_seq_len": 9, "include_zero_genes": False, "cls_value": 0.0}
    assert load(folder, dtype="bfloat16").dtype == torch.bfloat16


def test_weights_can_be_drawn_anew(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    model = load(make_scgpt_checkpoint(batch_norm=True, width=64))
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    twin = randomize(model, rng=3)
    same = randomize(model, rng=3)
    for name, tensor in twin.network.state_dict().items():
        assert torch.equal(tensor, same.network.state_dict()[name]), name
        assert torch.equal(model.network.state_dict()[name], before[name]), name
        if "norm" in name or name.startswith("bn."):
            assert torch.equal(tensor, torch.full_like(tensor, float(name.endswith(("weight", "running_var"))))), name
        elif "linear1" in name or "self_attn" in name:
            bound = 1.0 if "value_encoder" in name else 64**-0.5
            assert 0.85 * bound < tensor.abs().max() <= bound, name
    # What a gene's value is can still be told, as in training's first step.
    one, other = (
        hidden_states(twin, [Tokens(np.array([5], dtype=np.int32), np.array([v], dtype=np.float32))]) for v in (5, 45)
    )
    assert (one - other)[0, 0].abs().max() > 0.1


# Values


def bin_bounds(values: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest bin of each value: written out with loops, interpolating between order statistics."""
    ordered = np.sort(values)
    edges = []
    for k in range(n_bins - 1):
        at = k * (len(values) - 1) / (n_bins - 2)
        low = int(np.floor(at + 1e-9))
        share = max(at - low, 0.0)
        high = min(low + 1, len(values) - 1)
        edges.append(ordered[low] if share < 1e-9 else ordered[low] + share * (ordered[high] - ordered[low]))
    edges = np.array(edges)
    # Bin k lies between edges k - 1 and k; a value on an edge may go either way.
    below = np.array([np.sum(edges < value - 1e-9) for value in values])
    at_most = np.array([np.sum(edges <= value + 1e-9) for value in values])
    return np.minimum(below + 1, at_most), at_most


def test_bins_are_those_of_the_formulas(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    from scepsis.models._binning import bin_values

    rng = np.random.default_rng(5)
    for n_bins in (51, 11):
        for _ in range(20):
            values = rng.poisson(rng.gamma(0.5, 6, rng.integers(1, 300))).astype(float)
            values = values[values > 0]
            bins = bin_values(values, n_bins, np.random.default_rng(0))
            if not len(values):
                assert not len(bins)
                continue
            low, high = bin_bounds(values, n_bins)
            assert (bins >= low).all()
            assert (bins <= high).all()
            assert bins.min() >= 1
            assert bins.max() <= n_bins - 1
            untied = low == high
            np.testing.assert_array_equal(bins[untied], low[untied])


def test_ties_go_to_every_bin_between_with_equal_chance() -> None:
    from scipy.stats import chisquare

    from scepsis.models._binning import bin_values

    values = np.r_[np.ones(6000), np.full(4000, 2.0)]
    low, high = bin_bounds(values, 51)
    assert (low[0], high[0]) == (1, 30)
    bins = bin_values(values, 51, np.random.default_rng(0))
    for of_value in (1.0, 2.0):
        _, times = np.unique(bins[values == of_value], return_counts=True)
        assert len(times) == high[values == of_value][0] - low[values == of_value][0] + 1
        assert chisquare(times).pvalue > 1e-3


def test_totals_and_logarithms_change_no_bin() -> None:
    from scepsis.models._binning import bin_values

    rng = np.random.default_rng(2)
    counts = rng.poisson(rng.gamma(0.5, 6, 400)) + 1.0
    plain, scaled, logged = (
        bin_values(values, 51, np.random.default_rng(9)) for values in (counts, counts * 3.7, np.log1p(counts / 12))
    )
    np.testing.assert_array_equal(scaled, plain)
    np.testing.assert_array_equal(logged, plain)


def same_cells(one: list[Tokens], other: list[Tokens]) -> bool:
    return all(
        np.array_equal(a.ids, b.ids) and np.array_equal(a.values, b.values) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("options", [{}, {"include_zero_genes": True}, {"max_seq_len": 12}])
def test_a_cell_is_read_alike_wherever_it_stands(
    make_scgpt_checkpoint: Callable[..., Path], options: dict[str, Any]
) -> None:
    model = load(make_scgpt_checkpoint(), **options)
    counts = make_counts()
    seeds = np.random.default_rng(0).integers(0, 2**64, len(counts), dtype=np.uint64)
    together = encoded(model, counts, seeds)
    assert same_cells(together, encoded(model, counts, seeds))
    alone = [encoded(model, counts[index : index + 1], seeds[index : index + 1])[0] for index in range(len(counts))]
    assert same_cells(together, alone)
    order = np.random.default_rng(1).permutation(N_GENES)
    moved = model.tokenize(sparse.csr_matrix(counts[:, order]), gene_tokens(model)[order], seeds)
    assert same_cells(together, moved)
    assert not same_cells(together, encoded(model, counts, seeds + np.uint64(1))), "ties are drawn"


def test_detected_genes_with_their_bins_are_the_tokens(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    model = load(make_scgpt_checkpoint(n_bins=21))
    counts, tokens = make_counts(), gene_tokens(model)
    for cell, row in zip(encoded(model, counts), counts, strict=True):
        genes = np.flatnonzero((row > 0) & (tokens >= 0))
        assert set(cell.ids.tolist()) == set(tokens[genes].tolist()), "genes without a token are gone before binning"
        assert not cell.cut
        by_token = dict(zip(cell.ids.tolist(), cell.values.tolist(), strict=True))
        if len(genes):
            low, high = bin_bounds(row[genes].astype(float), 21)
            found = np.array([by_token[token] for token in tokens[genes].tolist()])
            assert ((low <= found) & (found <= high)).all()
            ranks = {token: rank for rank, token in enumerate(cell.ids.tolist())}
            ordered = sorted(genes, key=lambda gene: ranks[tokens[gene]])
            assert (np.diff(row[ordered]) <= 0).all(), "highest first"


def test_genes_that_share_a_token_are_summed(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    model = load(make_scgpt_checkpoint())
    counts, tokens = make_counts(), gene_tokens(model)
    seeds = np.arange(len(counts), dtype=np.uint64)
    tokens[9] = tokens[3]
    merged = counts.copy()
    merged[:, 3] += merged[:, 9]
    merged[:, 9] = 0
    collapsed = model.tokenize(sparse.csr_matrix(counts), tokens, seeds)
    assert same_cells(collapsed, model.tokenize(sparse.csr_matrix(merged), tokens, seeds))


def test_zero_genes_are_tokens_of_every_cell(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    folder = make_scgpt_checkpoint()
    without, with_zeros = load(folder), load(folder, include_zero_genes=True)
    counts = make_counts()
    known = set(gene_tokens(without).tolist()) - {-1}
    for plain, full in zip(encoded(without, counts), encoded(with_zeros, counts), strict=True):
        assert set(full.ids.tolist()) == known
        values = dict(zip(full.ids.tolist(), full.values.tolist(), strict=True))
        assert [values.pop(token) for token in plain.ids.tolist()] == plain.values.tolist(), "the same bins"
        assert not any(values.values())
    batch = with_zeros.batch(
        encoded(with_zeros, counts)[:5], [np.argsort(cell.ids) for cell in encoded(with_zeros, counts)[:5]]
    )
    assert (batch.ids == batch.ids[0]).all(), "one fixed order for all cells is possible"


def test_long_cells_are_sampled_after_binning(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    folder = make_scgpt_checkpoint()
    counts = np.tile(np.random.default_rng(3).poisson(5, N_GENES) + 1, (2000, 1))
    whole, short = load(folder), load(folder, max_seq_len=11)
    assert short.max_genes == 10
    seen = np.zeros(63)
    for full, cell in zip(encoded(whole, counts), encoded(short, counts), strict=True):
        assert (len(full.ids), full.cut, len(cell.ids), cell.cut) == (58, False, 10, True)
        values = dict(zip(full.ids.tolist(), full.values.tolist(), strict=True))
        assert cell.values.tolist() == [values[token] for token in cell.ids.tolist()]
        seen[cell.ids] += 1
    seen = seen[seen > 0]
    # Every gene with the same chance, 10 of 58, whatever its expression.
    assert len(seen) == 58
    expected, spread = 2000 * 10 / 58, np.sqrt(2000 * 10 / 58 * 48 / 58)
    assert np.abs(seen - expected).max() < 4.5 * spread
    assert short.batch(encoded(short, counts[:1]), [np.arange(10)]).ids[0, -1] == 62, "<cls> is kept"
    exact = load(folder, max_seq_len=59)
    assert not any(cell.cut for cell in encoded(exact, counts[:3])), "a cell that just fits is not cut"


# Attention


def edges_by_formulas(folder: Path, model: Any, counts: np.ndarray, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over cells of the mean over heads, every cell by itself and unpadded; number of cells of every pair."""
    column = {token: gene for gene, token in enumerate(gene_tokens(model).tolist()) if token >= 0}
    cls = model.vocabulary.special["<cls>"]
    sums, n = np.zeros((N_GENES, N_GENES)), np.zeros((N_GENES, N_GENES))
    for cell in encoded(model, counts):
        if not len(cell.ids):
            continue
        _, attention = by_formulas(folder, [cls, *cell.ids.tolist()], [model.cls_value, *cell.values.tolist()])
        genes = [column[token] for token in cell.ids.tolist()]
        sums[np.ix_(genes, genes)] += attention[layer].mean(0)[1:, 1:]
        n[np.ix_(genes, genes)] += 1
    mean = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
    np.fill_diagonal(mean, np.nan)
    square = np.ix_(PANEL[:-2], PANEL[:-2])
    return mean[square], n[square]


def extract(model: Any, counts: np.ndarray, plan: Plan, **options: Any) -> Any:
    tokens = gene_tokens(model)
    seeds = np.arange(len(counts), dtype=np.uint64)
    blocks = [
        (sparse.csr_matrix(counts[a:b]), np.zeros(len(counts[a:b]), int), seeds[a:b]) for a, b in ((0, 17), (17, None))
    ]
    return accumulate_attention(model, blocks, tokens=tokens, panel=tokens[PANEL[:-2]], plan=plan, **options)


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"include_zero_genes": True}, {"max_seq_len": 12}, {"cls_value": -2.0}],
    ids=",".join,
)
def test_streamed_edges_equal_the_formulas(
    make_scgpt_checkpoint: Callable[..., Path], options: dict[str, Any], kernel: bool
) -> None:
    folder = make_scgpt_checkpoint(batch_norm=bool(options))
    model = load(folder, **options)
    counts = make_counts()
    sums = extract(model, counts, Plan(len(PANEL) - 2, (0, 2)), kernel=kernel)
    for index, layer in enumerate((0, 2)):
        expected, n = edges_by_formulas(folder, model, counts, layer)
        np.testing.assert_array_equal(sums.pair_counts(), n)
        np.testing.assert_allclose(sums.mean(index, 0), expected, atol=1e-5)
    assert np.nanstd(expected) > 1e-3, "the comparison is not one of constants"
    assert sums.totals[0] == (0 if "include_zero_genes" in options else 1)
    assert (sums.totals[1] > 0) == ("max_seq_len" in options)


@pytest.mark.parametrize("include_zero_genes", [False, True])
def test_the_kernel_is_what_is_read_here(
    make_scgpt_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, include_zero_genes: bool
) -> None:
    """On this platform the attention kernel tells its log sums, with padding and without."""
    monkeypatch.setattr("scepsis.edges._attention.from_projections", None)
    extract(load(make_scgpt_checkpoint(), include_zero_genes=include_zero_genes), make_counts(), Plan(26, (1,)))


def test_attention_edges_end_to_end(
    make_scgpt_checkpoint: Callable[..., Path], screen: ad.AnnData, roundtrips: Callable[..., Any]
) -> None:
    folder = make_scgpt_checkpoint(n_genes=50)  # ten genes of the screen are outside the vocabulary
    model = load(folder, max_seq_len=41)
    panel = np.arange(screen.n_vars) % 2 == 0
    cells = np.arange(screen.n_obs) < 60
    sps.tl.attention_edges(screen, model, layers=[0, 2], mask_obs=cells, mask_var=panel, rng=7, show_progress_bar=False)
    params = screen.uns["attention"]["params"]
    assert (params["family"], params["seed"], params["causal"]) == ("scgpt", 7, False)
    assert params["encoding"] == {"n_bins": 51, "max_seq_len": 41, "include_zero_genes": False, "cls_value": 0.0}
    assert params["n_cells_truncated"] > 0

    from scepsis._core._rng import cell_seeds

    tokens = np.array([model.vocabulary.tokens.get(name, -1) for name in screen.var_names])
    drawn = model.tokenize(sparse.csr_matrix(screen.X[:60]), tokens, cell_seeds(7, screen.obs_names[:60]))
    assert sum(cell.cut for cell in drawn) == params["n_cells_truncated"]
    column = {token: gene for gene, token in enumerate(tokens.tolist()) if token >= 0}
    sums, n = np.zeros((60, 60)), np.zeros((60, 60))
    for cell in drawn:
        _, attention = by_formulas(folder, [*cell.ids.tolist(), 52], [*cell.values.tolist(), 0.0])
        genes = [column[token] for token in cell.ids.tolist()]
        sums[np.ix_(genes, genes)] += attention[2].mean(0)[:-1, :-1]
        n[np.ix_(genes, genes)] += 1
    evaluated = (n > 0) & panel[:, None] & panel[None] & ~np.eye(60, dtype=bool)
    for back in (screen, *roundtrips(screen)):
        found = (
            sps.get.edge_matrix(back, "attention_L2").reindex(index=back.var_names, columns=back.var_names).to_numpy()
        )
        np.testing.assert_array_equal(np.isnan(found), ~evaluated)
        np.testing.assert_allclose(found[evaluated], (sums / np.maximum(n, 1))[evaluated], atol=1e-5)
        assert dict(back.uns["attention"]["params"]["encoding"]) == params["encoding"]
    again = sps.tl.attention_edges(
        screen,
        model,
        layers=[0, 2],
        mask_obs=cells,
        mask_var=panel,
        rng=7,
        show_progress_bar=False,
        copy=True,
        batch_size=3,
    )
    np.testing.assert_allclose(
        sps.get.edge_matrix(again, "attention"), sps.get.edge_matrix(screen, "attention"), rtol=1e-4
    )
    assert screen.var["attention_position"][~panel].isna().all()


def test_symbols_in_another_column_are_found_by_name(
    make_scgpt_checkpoint: Callable[..., Path], screen: ad.AnnData, untouched: Callable[..., Any]
) -> None:
    model = load(make_scgpt_checkpoint())
    screen.var["gene_name"] = screen.var_names
    screen.var_names = screen.var["ensembl_id"].to_list()
    with untouched(screen), pytest.raises(ValueError, match=r"reads gene symbols.*gene_ids='gene_name'"):
        sps.tl.attention_edges(screen, model)
    sps.pp.match_genes(screen, model, gene_ids="gene_name")
    assert screen.var["in_vocabulary"].all()
    del screen.var["gene_name"], screen.var["token_id"], screen.uns["match_genes"]
    with untouched(screen), pytest.raises(ValueError, match=r"put gene symbols into one, .*'gene_symbol'"):
        sps.tl.attention_edges(screen, model)
    screen.var["gene_symbol"] = ["G1", "G1", *[f"G{index}" for index in range(2, 60)]]
    with untouched(screen), pytest.raises(ValueError, match=r"more than once: 'G1', 'G1'. Sum or drop .* first\.$"):
        sps.pp.match_genes(screen, model, gene_ids="gene_symbol")


# Files


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("dsbn.bns.0.weight", "normalises every batch"),
        ("batch_encoder.embedding.weight", "label of the batch"),
        ("pert_encoder.weight", "perturbed genes"),
    ],
)
def test_parts_that_change_the_input_are_refused_by_name(
    make_scgpt_checkpoint: Callable[..., Path], part: str, reason: str
) -> None:
    folder = change(make_scgpt_checkpoint(), lambda state: state.update({part: torch.ones(3)}))
    with pytest.raises(ValueError, match=rf"have `{part.split('.', maxsplit=1)[0]}`, which .*{reason}"):
        load(folder)


@pytest.mark.parametrize(
    "key", ["mystery.weight", "decoders.fc.0.weight", "transformer_encoder.layers.3.norm1.weight", "bn"]
)
def test_unknown_tensors_are_named(make_scgpt_checkpoint: Callable[..., Path], key: str) -> None:
    folder = change(make_scgpt_checkpoint(), lambda state: state.update({key: torch.ones(3)}))
    with pytest.raises(ValueError, match=rf"1 tensors have no place in the architecture: '{key}'"):
        load(folder)


def test_missing_misshapen_and_doubled_tensors_are_named(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    at = "transformer_encoder.layers.1.self_attn."
    folder = change(make_scgpt_checkpoint("a"), lambda state: state.pop(f"{at}Wqkv.bias"))
    with pytest.raises(
        ValueError, match=r"3 tensors are missing: 'transformer_encoder\.layers\.1\.self_attn\.key\.bias'"
    ):
        load(folder)
    folder = change(make_scgpt_checkpoint("b"), lambda state: state.update({f"{at}Wqkv.weight": torch.ones(95, 32)}))
    with pytest.raises(ValueError, match=r"self_attn\.value\.weight` is 31 x 32, not 32 x 32"):
        load(folder)
    folder = change(make_scgpt_checkpoint("c"), lambda state: state.update({f"{at}in_proj_bias": torch.ones(96)}))
    with pytest.raises(ValueError, match=r"self_attn\.in_proj_bias' twice, in two spellings"):
        load(folder)
    folder = change(make_scgpt_checkpoint("d"), lambda state: state.update({"value_encoder.norm.bias": torch.ones(31)}))
    with pytest.raises(ValueError, match=r"`value_encoder\.norm\.bias` is 31, not 32"):
        load(folder)
    folder = change(make_scgpt_checkpoint("e", batch_norm=True), lambda state: state.pop("bn.running_var"))
    with pytest.raises(ValueError, match=r"1 tensors are missing: 'bn\.running_var'"):
        load(folder)
    folder = change(make_scgpt_checkpoint("f", batch_norm=True), lambda state: state.pop("bn.num_batches_tracked"))
    assert load(folder).network.bn.eps == 6.1e-5, "how often statistics were updated changes nothing"


def test_only_what_attention_does_not_need_is_dropped(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    cells = as_cells(8, 4)
    found = [hidden_states(load(make_scgpt_checkpoint(f"{heads}", heads=heads)), cells) for heads in (True, False)]
    names = {name.split(".")[0] for name in load(make_scgpt_checkpoint("x")).network.state_dict()}
    assert names == {"encoder", "value_encoder", "transformer_encoder"}
    assert found[0].shape == found[1].shape


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        ({"pre_norm": True}, "pre_norm: true"),
        ({"input_emb_style": "category"}, "input_emb_style: 'category'"),
        ({"input_style": "log1p"}, "input_style: 'log1p'"),
        ({"nheads": 5}, "`embsize` 32 is not a multiple of `nheads` 5"),
        ({"nheads": None}, "`nheads` is None"),
        ({"d_hid": "48"}, "`d_hid` is '48'"),
        ({"nlayers": 2}, r"tensors have no place .*layers\.2\."),
        ({"nlayers": 4}, r"tensors are missing: .*layers\.3\."),
        ({"embsize": 64}, r"is 63 x 32, not 63 x 64"),
        ({"max_seq_len": 1}, "given to `scepsis.models.load` by `max_seq_len=`"),
    ],
)
def test_args_that_do_not_fit_are_named(
    make_scgpt_checkpoint: Callable[..., Path], edit: dict[str, Any], match: str
) -> None:
    folder = change(make_scgpt_checkpoint(), lambda args: args.update(edit), "args.json")
    with pytest.raises(ValueError, match=match):
        load(folder)


def test_missing_args_are_named(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    folder = make_scgpt_checkpoint()
    change(folder, lambda args: args.pop("max_seq_len"), "args.json")
    with pytest.raises(ValueError, match="`max_seq_len` is missing"):
        load(folder)
    assert load(folder, max_seq_len=20).max_genes == 19
    change(folder, lambda args: args.pop("embsize"), "args.json")
    with pytest.raises(ValueError, match="`embsize` is missing"):
        load(folder, max_seq_len=20)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda vocabulary: vocabulary.pop("<cls>"), r"lacks the special tokens '<cls>' among its 62 entries"),
        (lambda vocabulary: [vocabulary.pop(one) for one in ("<pad>", "<cls>", "<eoc>")], "'<pad>', '<cls>'"),
        (lambda vocabulary: vocabulary.pop("<eoc>"), "number its 62 entries from 0 on"),
        (lambda vocabulary: vocabulary.update(G1=vocabulary["G0"]), "each id once"),
        (lambda vocabulary: vocabulary.update(G1="7"), "'G1' no whole number"),
        (lambda vocabulary: vocabulary.update(new=63), "has 64 entries, but the checkpoint embeds 63 tokens"),
    ],
)
def test_vocabularies_that_do_not_fit_are_named(
    make_scgpt_checkpoint: Callable[..., Path], edit: Callable[[dict[str, Any]], object], match: str
) -> None:
    folder = change(make_scgpt_checkpoint(), edit, "vocab.json")
    with pytest.raises(ValueError, match=match):
        load(folder)


def test_specials_stand_where_the_file_says(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    """A tissue's vocabulary is another one: other size, and here the specials first and under another name."""
    folder = make_scgpt_checkpoint(n_genes=40)

    def shift(vocabulary: dict[str, int]) -> None:
        for name, token in list(vocabulary.items()):
            vocabulary[name] = (token + 3) % 43
        vocabulary["[PAD]"] = vocabulary.pop("<pad>")

    change(folder, shift, "vocab.json")
    change(folder, lambda args: args.update(pad_token="[PAD]"), "args.json")
    model = load(folder)
    assert model.vocabulary.special == {"[PAD]": 0, "<eoc>": 1, "<cls>": 2}
    assert len(model.vocabulary.tokens) == 40
    batch = model.batch(as_cells(3, 1), [np.arange(3), np.arange(1)])
    assert batch.ids[1, 1:].tolist() == [2, 0, 0]


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo run > ran",)


def test_weights_that_want_to_run_code_are_refused(
    make_scgpt_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_scgpt_checkpoint()
    state = torch.load(folder / "best_model.pt", weights_only=True)
    torch.save(state | {"decoder.extra": Boom()}, folder / "best_model.pt")
    with pytest.raises(ValueError, match=r"asks for `\w+\.system` and is not read"):
        load(folder)
    (folder / "best_model.pt").write_bytes(pickle.dumps({"encoder": Boom()}, protocol=2))
    with pytest.raises(ValueError, match=r"asks for `\w+\.system` and is not read"):
        load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_truncated_weights_are_named(make_scgpt_checkpoint: Callable[..., Path], share: float) -> None:
    folder = make_scgpt_checkpoint()
    content = (folder / "best_model.pt").read_bytes()
    (folder / "best_model.pt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"best_model\.pt' cannot be read; it is truncated"):
        load(folder)


def test_other_contents_and_missing_files_are_named(make_scgpt_checkpoint: Callable[..., Path]) -> None:
    folder = make_scgpt_checkpoint()
    weights = folder / "best_model.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({"model_state_dict": state, "epoch": 3}, weights)
    with pytest.raises(ValueError, match=r"no `state_dict\(\)`.*'model_state_dict', 'epoch'"):
        load(folder)
    torch.save([1, 2], weights)
    with pytest.raises(ValueError, match="it holds list"):
        load(folder)
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        load(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no 'best_model\.pt'"):
        load(folder)
    (folder / "vocab.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"an `args\.json` but no `vocab\.json`"):
        load(folder)


def test_arguments_of_another_family_are_refused(
    make_scgpt_checkpoint: Callable[..., Path], make_checkpoint: Callable[..., Path]
) -> None:
    folder = make_scgpt_checkpoint()
    with pytest.raises(ValueError, match=r"'scgpt' does not take `gene_medians`"):
        load(folder, gene_medians={})
    with pytest.raises(ValueError, match=r"'geneformer' does not take `include_zero_genes`, `cls_value`"):
        load(make_checkpoint(), include_zero_genes=False, cls_value=0)
    with pytest.raises(ValueError, match="`cls_value` must be a number"):
        load(folder, cls_value=float("nan"))
    with pytest.raises(ValueError, match="`max_seq_len` must be at least 2"):
        load(folder, max_seq_len=1)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no usable GPU"):
            load(folder, device="cuda")


@pytest.mark.real_data
def test_published_symbols_meet_those_of_a_screen(make_scgpt_checkpoint: Callable[..., Path], data_dir: Path) -> None:
    """The published list of genes has no specials; with them it is a vocabulary, and it knows a screen's symbols."""
    import anndata as ad

    genes = json.loads((data_dir / "scgpt" / "default_gene_vocab.json").read_text())
    folder = make_scgpt_checkpoint(n_genes=len(genes), width=8, n_layers=1, mlp_width=8)
    (folder / "vocab.json").write_text(json.dumps(genes))
    with pytest.raises(ValueError, match=r"lacks the special tokens '<pad>', '<cls>' among its 48,292 entries"):
        load(folder)
    specials = {name: len(genes) + index for index, name in enumerate(("<pad>", "<cls>", "<eoc>"))}
    (folder / "vocab.json").write_text(json.dumps(genes | specials))
    model = load(folder)
    assert len(model.vocabulary.tokens) == 48_292
    screen = ad.read_h5ad(data_dir / "screens" / "papalexi_eccite_thp1_299genes.h5ad")
    sps.pp.match_genes(screen, model)
    assert (screen.var["token_id"] == [genes.get(name, -1) for name in screen.var_names]).all()
    assert screen.var["in_vocabulary"].mean() > 0.8
