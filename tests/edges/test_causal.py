"""Extraction from a causal model: what the mask hides never counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

from scepsis.edges._accumulate import Plan
from scepsis.edges._attention import accumulate_attention, check_seams
from scepsis.models import Tokens, load
from scepsis.models._protocol import split_heads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scepsis.edges._accumulate import AttentionSums

N_GENES = 60
#: In an order of its own: neither that of the vocabulary nor that of any cell.
PANEL = np.random.default_rng(7).permutation(np.arange(5, N_GENES, 2))
SPECIALS = [(), ("<bos>",), ("<cls>", "<eos>")]


def make_counts(n_cells: int = 24) -> np.ndarray:
    """Cells of very different depth: one empty, one with a single gene, one with panel-foreign genes only."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(0.4, 2, (n_cells, N_GENES)) * rng.gamma(1, 1, (n_cells, 1)))
    counts[3] = 0
    counts[4] = np.eye(N_GENES, dtype=int)[7]
    counts[5, PANEL] = 0
    counts[6] = 1
    return counts


def gene_tokens(model: Any) -> np.ndarray:
    return np.array([model.vocabulary.tokens[f"ENSG{index:011d}"] for index in range(N_GENES)])


def extract(
    model: Any, counts: np.ndarray, plan: Plan, *, panel: np.ndarray = PANEL, split: int = 11, **options: Any
) -> AttentionSums:
    tokens, n = gene_tokens(model), len(counts)
    groups = options.pop("groups", np.zeros(n, int))
    blocks = [
        (sparse.csr_matrix(counts[part]), groups[part], np.zeros(n, dtype=np.uint64)[part])
        for part in (slice(0, split), slice(split, None))
    ]
    return accumulate_attention(model, blocks, tokens=tokens, panel=tokens[panel], plan=plan, **options)


def eager_cells(folder: Path, model: Any, counts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every cell by itself, unpadded: its genes in rank order and their eager attention, by layer and head."""
    from transformers import LlamaForCausalLM

    reference = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    special = model.vocabulary.special
    before = [special[name] for name in ("<bos>", "<cls>") if name in special]
    after = [special["<eos>"]] if "<eos>" in special else []
    result = []
    for cell in model.tokenize(sparse.csr_matrix(counts), gene_tokens(model), np.zeros(len(counts), dtype=np.uint64)):
        if len(cell.ids):
            ids = torch.tensor([[*before, *cell.ids.tolist(), *after]])
            with torch.no_grad():
                attention = reference(ids, output_attentions=True, use_cache=False).attentions
            inner = slice(len(before), len(before) + len(cell.ids))
            stacked = torch.stack(attention)[:, 0, :, inner, inner].double().numpy()
            result.append((cell.ids - min(gene_tokens(model)), stacked))
    return result


def visible_mean(
    cells: list[tuple[np.ndarray, np.ndarray]], pick: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Pair by pair: the mean over the cells in which the source comes after the target, and how many they are."""
    values: dict[tuple[int, int], list[float]] = {}
    for genes, attention in cells:
        chosen = pick(attention)
        for i, source in enumerate(genes):
            for j in range(i + 1):
                values.setdefault((source, genes[j]), []).append(chosen[i, j])
    mean, n = np.full((2, N_GENES, N_GENES), np.nan)
    n[:] = 0
    for pair, found in values.items():
        mean[pair], n[pair] = np.mean(found), len(found)
    np.fill_diagonal(mean, np.nan)
    square = np.ix_(PANEL, PANEL)
    return mean[square], n[square]


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(("special", "n_key_heads"), [((), 2), (("<bos>",), 1), (("<cls>", "<eos>"), 4)])
def test_streamed_edges_equal_eager_attention(
    make_decoder: Callable[..., Path], special: tuple[str, ...], n_key_heads: int, kernel: bool
) -> None:
    folder = make_decoder(special=special, n_key_heads=n_key_heads)
    model = load(folder)
    counts = make_counts()
    cells = eager_cells(folder, model, counts)
    assert {len(genes) for genes, _ in cells} >= {1, N_GENES}, "single-token cells and full ones are among them"
    sums = extract(model, counts, Plan(len(PANEL), (0, 1, 2), (), ("probability", "uniform_fold")), kernel=kernel)
    for layer in range(3):
        expected, n = visible_mean(cells, lambda attention, layer=layer: attention[layer].mean(0))
        found = sums.mean(layer, 0)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_array_equal(sums.pair_counts(), n)
        fold, _ = visible_mean(
            cells,
            lambda attention, layer=layer: (
                attention[layer].mean(0) * (np.arange(attention.shape[-1])[:, None] + 1 + bool(special))
            ),
        )
        np.testing.assert_allclose(sums.mean(layer, 1), fold, rtol=1e-4, atol=1e-5)
    assert np.nanstd(found) > 1e-3, "the comparison is not one of constants"
    assert 0 < np.isnan(found).sum() - len(PANEL) < len(PANEL) ** 2 / 2
    assert sums.totals[0] == (counts.sum(1) == 0).sum() > 0


@pytest.mark.parametrize("lengths", [(20, 20, 20), (20, 3, 9)])
@pytest.mark.parametrize("special", SPECIALS)
def test_the_kernel_is_what_is_read_here(
    make_decoder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    special: tuple[str, ...],
    lengths: tuple[int, ...],
) -> None:
    """Without padding the kernel masks by itself and shares keys by itself; with padding it is given both."""
    model = load(make_decoder(special=special))
    rng = np.random.default_rng(0)
    counts = np.zeros((3, N_GENES), dtype=int)
    for row, length in zip(counts, lengths, strict=True):
        row[rng.choice(PANEL, length, replace=False)] = rng.integers(1, 9, length)
    plan = Plan(len(PANEL), (0, 2), ((0, 1), (2, 3)))
    without = extract(model, counts, plan, kernel=False)
    monkeypatch.setattr("scepsis.edges._attention.from_projections", None)
    with_kernel = extract(model, counts, plan)
    for index in range(2):
        np.testing.assert_allclose(with_kernel.mean(index, 0), without.mean(index, 0), atol=1e-5)


def test_every_pair_of_genes_is_hidden_one_way(make_decoder: Callable[..., Path]) -> None:
    """In a single cell, of any two genes one sees the other, and that one comes later."""
    model = load(make_decoder())
    counts = make_counts()[6:7]
    sums = extract(model, counts, Plan(len(PANEL), (1,)), split=1)
    found, rank = sums.mean(0, 0), sums.mean_rank()
    later = rank[:, None] > rank[None]
    off = ~np.eye(len(PANEL), dtype=bool)
    np.testing.assert_array_equal(~np.isnan(found)[off], later[off])
    assert (found[later] > 0).all()


def test_counts_are_those_of_the_visible_pairs_by_group(make_decoder: Callable[..., Path]) -> None:
    folder = make_decoder()
    model = load(folder)
    counts = make_counts()
    groups = np.arange(len(counts)) % 3
    sources = (1, 4, 20)
    whole = extract(model, counts, Plan(len(PANEL), (0,), n_groups=3), groups=groups)
    few = extract(model, counts, Plan(len(PANEL), (0,), n_groups=3, sources=sources), groups=groups)
    for group in range(3):
        cells = eager_cells(folder, model, counts[groups == group])
        expected, n = visible_mean(cells, lambda attention: attention[0].mean(0))
        np.testing.assert_array_equal(whole.pair_counts(group), n)
        np.testing.assert_allclose(whole.mean(0, 0, group), expected, atol=1e-5)
        np.testing.assert_array_equal(few.pair_counts(group)[list(sources)], n[list(sources)])
        np.testing.assert_allclose(few.mean(0, 0, group)[list(sources)], expected[list(sources)], atol=1e-5)


def test_the_order_of_the_panel_orders_the_result_and_nothing_else(make_decoder: Callable[..., Path]) -> None:
    model = load(make_decoder())
    counts = make_counts()
    plan = Plan(len(PANEL), (0, 2))
    reference, ascending = extract(model, counts, plan), extract(model, counts, plan, panel=np.sort(PANEL))
    order = np.argsort(PANEL)
    square = np.ix_(order, order)
    np.testing.assert_array_equal(ascending.pair_counts(), reference.pair_counts()[square])
    np.testing.assert_allclose(ascending.mean(None, 0), reference.mean(None, 0)[square], rtol=1e-5)
    np.testing.assert_allclose(ascending.mean_rank(), reference.mean_rank()[order])


def test_truncated_cells_keep_their_first_genes(make_decoder: Callable[..., Path]) -> None:
    folder = make_decoder(positions=20)
    model = load(folder)
    counts = make_counts()
    expected, n = visible_mean(eager_cells(folder, model, counts), lambda attention: attention[2].mean(0))
    sums = extract(model, counts, Plan(len(PANEL), (2,)))
    np.testing.assert_allclose(sums.mean(0, 0), expected, atol=1e-5)
    np.testing.assert_array_equal(sums.pair_counts(), n)
    assert sums.totals[1] > 0


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_batches_and_order_change_nothing(make_decoder: Callable[..., Path], batch_size: int) -> None:
    model = load(make_decoder(sigma=0.02))
    plan = Plan(len(PANEL), (0, 1, 2))
    counts = make_counts()
    reference = extract(model, counts, plan)
    order = np.random.default_rng(2).permutation(len(counts))
    other = extract(model, counts[order], plan, split=5, batch_size=batch_size)
    np.testing.assert_array_equal(reference.pair_counts(), other.pair_counts())
    np.testing.assert_allclose(other.mean(None, 0), reference.mean(None, 0), rtol=1e-6)


class Lying:
    """A model that says something else about itself than it computes with."""

    def __init__(self, model: Any, **lies: Any) -> None:
        self._model, self._lies = model, lies

    def __getattr__(self, name: str) -> Any:
        return self._lies.get(name, getattr(self._model, name))


def test_a_reading_that_is_not_the_models_own_is_refused(make_decoder: Callable[..., Path]) -> None:
    model = load(make_decoder())
    cells = [Tokens(np.array(cell, dtype=np.int32)) for cell in ([5, 9, 30, 11, 40], [7, 12], [33])]
    batch = model.batch(cells, [np.arange(len(cell.ids)) for cell in cells])
    for layer in range(3):
        check_seams(model, batch, layer)

    def unrotated(_layer: int, query: Any, key: Any, _batch: Any) -> tuple[Any, Any]:
        return split_heads(query, 4), split_heads(key, 2).repeat_interleave(2, dim=1)

    def shared_wrongly(layer: int, query: Any, key: Any, batch: Any) -> tuple[Any, Any]:
        queries, keys = model.heads(layer, query, key, batch)
        return queries, keys[:, [0, 2, 0, 2]]

    seams = model.seams(1)
    elsewhere = SimpleNamespace(
        query=model.seams(2).query, key=seams.key, value=seams.value, output=seams.output, mlp=seams.mlp
    )
    for lie in (
        {"causal": False},
        {"heads": unrotated},
        {"heads": shared_wrongly},
        {"seams": lambda _layer: elsewhere},
    ):
        with pytest.raises(RuntimeError, match=r"not what the model computes with|never ran its query"):
            check_seams(Lying(model, **lie), batch, 1)
