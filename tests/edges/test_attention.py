from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

from scepsis.edges._accumulate import AttentionSums, Plan
from scepsis.edges._attention import accumulate_attention, check_seams
from scepsis.edges._readers import _Listener, from_kernel
from scepsis.edges._scales import scaled
from scepsis.models import Tokens, load
from scepsis.models._protocol import split_heads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_GENES = 60
PANEL = np.arange(5, N_GENES, 2)


def make_counts(n_cells: int = 30) -> np.ndarray:
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


def extract(model: Any, counts: np.ndarray, plan: Plan, *, split: int | None = None, **options: Any) -> AttentionSums:
    groups = options.pop("groups", np.zeros(len(counts), int))
    cut = [(0, split), (split, None)] if split else [(0, None)]
    seeds = np.zeros(len(counts), dtype=np.uint64)
    blocks = [(sparse.csr_matrix(counts[a:b]), groups[a:b], seeds[a:b]) for a, b in cut]
    tokens = gene_tokens(model)
    return accumulate_attention(model, blocks, tokens=tokens, panel=tokens[PANEL], plan=plan, **options)


def encoded(model: Any, counts: np.ndarray) -> list[np.ndarray]:
    seeds = np.zeros(len(counts), dtype=np.uint64)
    return [cell.ids for cell in model.tokenize(sparse.csr_matrix(counts), gene_tokens(model), seeds)]


def as_tokens(*cells: list[int]) -> tuple[list[Tokens], list[np.ndarray]]:
    return [Tokens(np.array(cell, dtype=np.int32)) for cell in cells], [np.arange(len(cell)) for cell in cells]


def eager_cells(folder: Path, generation: int, model: Any, counts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every cell by itself, unpadded, in the published layout: its genes and its eager attention, by layer and head."""
    from transformers import BertForMaskedLM

    reference = BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    offset = 2 * generation
    result = []
    for cell in encoded(model, counts):
        if not len(cell):
            continue
        ids = cell.tolist() if generation == 1 else [2, *cell.tolist(), 3]
        with torch.no_grad():
            attention = reference(torch.tensor([ids]), output_attentions=True).attentions
        stacked = torch.stack(attention)[:, 0].numpy().astype(float)
        inner = slice(None) if generation == 1 else slice(1, -1)
        result.append((cell - offset, stacked[:, :, inner, inner]))
    return result


def conditional_mean(cells: list[tuple[np.ndarray, np.ndarray]], pick: Callable[[np.ndarray], np.ndarray]) -> Any:
    sums, n = np.zeros((N_GENES, N_GENES)), np.zeros((N_GENES, N_GENES))
    for genes, attention in cells:
        sums[np.ix_(genes, genes)] += pick(attention)
        n[np.ix_(genes, genes)] += 1
    mean = np.where(n > 0, sums / np.maximum(n, 1), np.nan)
    np.fill_diagonal(mean, np.nan)
    square = np.ix_(PANEL, PANEL)
    return mean[square], n[square]


@pytest.mark.parametrize("generation", [1, 2])
def test_streamed_edges_equal_eager_attention(make_checkpoint: Callable[..., Path], generation: int) -> None:
    folder = make_checkpoint(generation=generation)
    model = load(folder)
    assert not model.causal
    counts = make_counts()
    cells = eager_cells(folder, generation, model, counts)
    assert {len(genes) for genes, _ in cells} >= {1, N_GENES}, "single-token cells and full ones are among them"
    sums = extract(model, counts, Plan(len(PANEL), (0, 1, 2)), split=17)
    for layer in range(3):
        expected, n = conditional_mean(cells, lambda attention, layer=layer: attention[layer].mean(0))
        found = sums.mean(layer, 0)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_array_equal(sums.pair_counts(), n)
    assert np.nanstd(found) > 1e-3, "the comparison is not one of constants"
    assert sums.totals[0] == 1


def test_truncated_cells_keep_their_first_tokens(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint(positions=20)
    model = load(folder)
    counts = make_counts()
    expected, n = conditional_mean(eager_cells(folder, 1, model, counts), lambda attention: attention[2].mean(0))
    sums = extract(model, counts, Plan(len(PANEL), (2,)))
    np.testing.assert_allclose(sums.mean(0, 0), expected, atol=1e-5)
    np.testing.assert_array_equal(sums.pair_counts(), n)
    assert sums.totals[1] > 0


def test_heads_are_single_heads(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    model = load(folder)
    counts = make_counts()
    cells = eager_cells(folder, 1, model, counts)
    heads = ((0, 3), (2, 0), (2, 1))
    sums = extract(model, counts, Plan(len(PANEL), (0, 2), heads))
    for index, (layer, head) in enumerate(heads):
        expected, _ = conditional_mean(cells, lambda attention, at=(layer, head): attention[at])
        np.testing.assert_allclose(sums.mean(index, 0), expected, atol=1e-5)
    mean = np.mean([sums.mean(index, 0) for index in range(3)], axis=0)
    np.testing.assert_allclose(sums.mean(None, 0), mean, rtol=1e-5)


def test_scales_come_from_the_same_cells(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint(generation=2)
    model = load(folder)
    counts = make_counts()
    cells = eager_cells(folder, 2, model, counts)
    sums = extract(model, counts, Plan(len(PANEL), (1,), (), ("probability", "uniform_fold", "centered")))
    fold, _ = conditional_mean(cells, lambda attention: attention[1].mean(0) * (attention.shape[-1] + 2))
    np.testing.assert_allclose(sums.mean(0, 1), fold, rtol=1e-4)

    centered, n = np.zeros((2, N_GENES, N_GENES))
    for genes, attention in cells:
        here = np.flatnonzero(np.isin(genes, PANEL))
        log = np.log(attention[1].mean(0)[np.ix_(here, here)])
        k = len(here)
        if k > 2:
            rows, columns = np.nonzero(~np.eye(k, dtype=bool))
            design = np.c_[np.eye(k)[rows], np.eye(k)[columns]]
            fit = np.linalg.lstsq(design, log[rows, columns], rcond=None)[0]
            log[rows, columns] -= design @ fit
        else:
            log[:] = 0
        centered[np.ix_(genes[here], genes[here])] += log
        n[np.ix_(genes[here], genes[here])] += 1
    square = np.ix_(PANEL, PANEL)
    expected = np.where(n > 0, centered / np.maximum(n, 1), np.nan)[square]
    off = ~np.eye(len(PANEL), dtype=bool)
    np.testing.assert_allclose(sums.mean(0, 2)[off], expected[off], atol=1e-4)


@pytest.mark.parametrize(("batch_size", "sigma", "tolerance"), [(1, 0.02, 1e-6), (7, 0.02, 1e-6), (100, 0.5, 1e-5)])
def test_batches_and_order_change_nothing(
    make_checkpoint: Callable[..., Path], batch_size: int, sigma: float, tolerance: float
) -> None:
    """Only the rounding of the forward pass is left; weights 25 times a usual start amplify it."""
    model = load(make_checkpoint(sigma=sigma))
    plan = Plan(len(PANEL), (0, 1, 2))
    counts = make_counts()
    reference = extract(model, counts, plan)
    order = np.random.default_rng(2).permutation(len(counts))
    other = extract(model, counts[order], plan, split=11, batch_size=batch_size)
    np.testing.assert_array_equal(reference.pair_counts(), other.pair_counts())
    np.testing.assert_allclose(other.mean(None, 0), reference.mean(None, 0), rtol=tolerance)
    again = extract(model, counts, plan)
    np.testing.assert_array_equal(again.mean(None, 0), reference.mean(None, 0))


@pytest.mark.parametrize("generation", [1, 2])
def test_the_kernels_log_sums_change_rounding_only(make_checkpoint: Callable[..., Path], generation: int) -> None:
    model = load(make_checkpoint(generation=generation))
    by_head = Plan(len(PANEL), (0, 2), ((0, 1), (2, 3)), ("probability", "centered"))
    counts = make_counts()
    for plan in (by_head, Plan(len(PANEL), (0, 2))):
        with_kernel, without = (extract(model, counts, plan, kernel=kernel) for kernel in (True, False))
        np.testing.assert_array_equal(with_kernel.pair_counts(), without.pair_counts())
        for index in range(2):
            np.testing.assert_allclose(with_kernel.mean(index, 0), without.mean(index, 0), atol=1e-5)


def test_the_kernel_is_what_is_read_here(small_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this platform the attention kernel tells its log sums, so the other way must not have been taken."""
    monkeypatch.setattr("scepsis.edges._attention.from_projections", None)
    extract(small_model, make_counts(), Plan(len(PANEL), (1,)))


def test_sources_are_rows_of_the_whole(small_model: Any) -> None:
    counts = make_counts()
    heads = tuple((layer, head) for layer in range(3) for head in range(4))
    sources = (1, 4, 20)
    scales = ("probability", "uniform_fold", "centered")
    whole = extract(small_model, counts, Plan(len(PANEL), (0, 1, 2), heads, scales))
    few = extract(small_model, counts, Plan(len(PANEL), (0, 1, 2), heads, scales, sources=sources))
    assert few.sums.shape[-1] == 3 * len(PANEL)
    others = np.setdiff1d(np.arange(len(PANEL)), sources)
    for scale in range(3):
        found, expected = few.mean(7, scale), whole.mean(7, scale)
        np.testing.assert_allclose(found[list(sources)], expected[list(sources)], rtol=1e-6, atol=1e-9)
        assert np.isnan(found[others]).all()
    np.testing.assert_array_equal(few.pair_counts()[list(sources)], whole.pair_counts()[list(sources)])
    assert not few.pair_counts()[others].any()


def test_running_out_of_memory_halves_the_batch(small_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = make_counts()
    plan = Plan(len(PANEL), (0, 1, 2))
    reference = extract(small_model, counts, plan)
    forward, sizes = type(small_model).forward, []

    def hungry(self: Any, batch: Any) -> Any:
        sizes.append(len(batch.n_tokens))
        if len(batch.n_tokens) > 3:
            # The first layers are read before memory runs out: nothing may be added twice.
            seams = self.seams(2)
            handle = seams.query.register_forward_pre_hook(_out_of_memory)
            try:
                return forward(self, batch)
            finally:
                handle.remove()
        return forward(self, batch)

    monkeypatch.setattr(type(small_model), "forward", hungry)
    halved = extract(small_model, counts, plan, batch_size=len(counts))
    assert max(sizes) > 3
    assert sizes[-1] <= 3, "what did not fit is not tried again"
    np.testing.assert_allclose(halved.mean(None, 0), reference.mean(None, 0), rtol=1e-6)
    np.testing.assert_array_equal(halved.pair_counts(), reference.pair_counts())


def _out_of_memory(*_: Any) -> None:
    raise torch.OutOfMemoryError


def test_memory_that_runs_out_between_two_scales_adds_nothing_twice(
    small_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = make_counts()
    plan = Plan(len(PANEL), (0, 1), scales=("probability", "uniform_fold"))
    reference = extract(small_model, counts, plan)
    failures = iter([True])

    def hungry(block: Any, scale: Any, n_tokens: Any) -> Any:
        if scale == "uniform_fold" and next(failures, False):
            raise torch.OutOfMemoryError
        return scaled(block, scale, n_tokens)

    monkeypatch.setattr("scepsis.edges._attention.scaled", hungry)
    found = extract(small_model, counts, plan)
    for scale in range(2):
        np.testing.assert_allclose(found.mean(None, scale), reference.mean(None, scale), rtol=1e-6)


def test_pieces_and_products_of_other_devices_change_rounding_only(
    small_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where log sums are not part of the product, and where scores are computed a few rows at a time."""
    counts = make_counts()
    for heads in ((), ((0, 1), (2, 3))):
        plan = Plan(len(PANEL), (0, 2), heads)
        reference = extract(small_model, counts, plan)
        for attribute, value in (("_FOLDED_ON", set()), ("_SCORES_AT_ONCE", {"cpu": 200, "cuda": 0})):
            with monkeypatch.context() as other:
                other.setattr(f"scepsis.edges._panel.{attribute}", value)
                for kernel in (True, False):
                    found = extract(small_model, counts, plan, kernel=kernel)
                    for index in range(2):
                        np.testing.assert_allclose(found.mean(index, 0), reference.mean(index, 0), atol=1e-6)


@pytest.mark.parametrize("sources", [(), (1, 4, 20)])
def test_additions_of_one_call_never_meet(
    small_model: Any, monkeypatch: pytest.MonkeyPatch, sources: tuple[int, ...]
) -> None:
    """Additions in parallel are then the same in every run; with torch's own switch nothing else is refused either."""
    counts = make_counts()
    plan = Plan(len(PANEL), (0, 2), scales=("probability", "centered"), sources=sources)
    reference = extract(small_model, counts, plan)
    add, seen = AttentionSums.add, []

    def spy(self: AttentionSums, group: int, scale: int, maps: Any, pairs: Any, blocks: Any) -> None:
        if pairs is not None:
            seen.append(len(pairs))
            assert len(pairs.unique()) == len(pairs)
        add(self, group, scale, maps, pairs, blocks)

    monkeypatch.setattr(AttentionSums, "add", spy)
    torch.use_deterministic_algorithms(mode=True)
    try:
        again = extract(small_model, counts, plan)
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert seen
    assert torch.equal(again.sums, reference.sums)


def test_log_sums_that_are_none_are_not_used(small_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of another release may give something else there; the rows are then normalised here."""
    plan = Plan(len(PANEL), (0, 2))
    counts = make_counts()

    def unlike(model: Any, batch: Any, layers: Any, on_layer: Any, on_end: Any) -> bool:
        return from_kernel(model, batch, layers, lambda *read: on_layer(*read[:3], read[3] * 1.4427), on_end)

    expected = extract(small_model, counts, plan, kernel=False)
    monkeypatch.setattr("scepsis.edges._attention.from_kernel", unlike)
    assert torch.equal(extract(small_model, counts, plan).sums, expected.sums)


@pytest.mark.parametrize("shape", [(2, 3, 32), (2, 3, 5, 1), (2, 3, 5)])
def test_kernels_of_a_gpu_are_asked_for_their_log_sums(shape: tuple[int, ...]) -> None:
    """Two of them tell only when an argument asks; one rounds tokens up, another adds a dimension."""
    query, log_sum = torch.zeros(2, 3, 5, 4), torch.arange(float(np.prod(shape))).view(shape)
    heard: list[torch.Tensor] = []
    asked: list[tuple[Any, ...]] = []

    def kernel(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(args)
        return query, log_sum

    for name, given, wanted in (
        ("efficient", (query, query, query, None, False, 0.0), (None, True, 0.0)),
        ("flash", (query, query, query, 0.0, False), (0.0, False)),
    ):
        kernel.name = lambda name=name: f"aten::_scaled_dot_product_{name}_attention"  # type: ignore[attr-defined]
        _Listener(lambda *read: heard.append(read[2])).__torch_dispatch__(kernel, (), given)
        assert asked[-1][3:] == wanted
        assert torch.equal(heard[-1], log_sum.view(2, 3, -1)[..., :5])


@pytest.mark.parametrize("kernel", [True, False])
def test_half_precision_that_overflows_is_named(make_checkpoint: Callable[..., Path], kernel: bool) -> None:
    model = load(make_checkpoint(), dtype="float16")
    counts = make_counts(12)
    extract(model, counts, Plan(len(PANEL), (0, 1)), kernel=kernel)
    model.network.encoder.layer[1].attention.self.key.weight.mul_(6e4)
    extract(model, counts, Plan(len(PANEL), (0,)), kernel=kernel)
    with pytest.raises(FloatingPointError, match=r"attention of layer 1 .* half precision"):
        extract(model, counts, Plan(len(PANEL), (0, 1)), kernel=kernel)


def test_sums_of_parts_add_up(small_model: Any) -> None:
    plan = Plan(len(PANEL), (1,))
    counts = make_counts()
    whole = extract(small_model, counts, plan)
    part = extract(small_model, counts[:12], plan)
    part.merge(extract(small_model, counts[12:], plan))
    np.testing.assert_allclose(part.mean(0, 0), whole.mean(0, 0), rtol=1e-6)
    np.testing.assert_array_equal(part.pair_counts(), whole.pair_counts())
    np.testing.assert_allclose(part.mean_rank(), whole.mean_rank())
    with pytest.raises(ValueError, match="do not add up"):
        part.merge(extract(small_model, counts[:3], Plan(len(PANEL), (0,))))


def test_groups_are_what_each_group_gives_alone(small_model: Any) -> None:
    counts = make_counts()
    groups = np.arange(len(counts)) % 3
    together = extract(small_model, counts, Plan(len(PANEL), (0, 2), n_groups=3), groups=groups)
    for group in range(3):
        alone = extract(small_model, counts[groups == group], Plan(len(PANEL), (0, 2)))
        np.testing.assert_allclose(together.mean(1, 0, group), alone.mean(1, 0), rtol=1e-6)
        np.testing.assert_array_equal(together.pair_counts(group), alone.pair_counts())
    whole = extract(small_model, counts, Plan(len(PANEL), (0, 2)))
    np.testing.assert_allclose(together.mean(None, 0), whole.mean(None, 0), rtol=1e-6)


def test_mean_rank_is_that_of_the_encoding(small_model: Any) -> None:
    counts = make_counts()
    ranks: list[list[int]] = [[] for _ in range(N_GENES)]
    for cell in encoded(small_model, counts):
        for rank, token in enumerate(cell):
            ranks[token - 2].append(rank)
    expected = [np.mean(ranks[gene]) for gene in PANEL]
    np.testing.assert_allclose(extract(small_model, counts, Plan(len(PANEL), (0,))).mean_rank(), expected, rtol=1e-6)


def test_layers_above_the_last_one_are_not_run_and_hooks_go(small_model: Any) -> None:
    ran: list[int] = []
    handles = [
        small_model.seams(layer).value.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer in range(3)
    ]
    counts = make_counts()
    try:
        check = small_model.batch(*as_tokens([5, 6]))
        before = small_model.forward(check)
        ran.clear()
        extract(small_model, counts, Plan(len(PANEL), (1,)), batch_size=len(counts))
        assert ran
        assert 2 not in ran
        assert torch.equal(small_model.forward(check), before)
    finally:
        for handle in handles:
            handle.remove()
    for layer in range(3):
        seams = small_model.seams(layer)
        for module in (seams.query, seams.key, seams.value, seams.output):
            assert not module._forward_hooks
            assert not module._forward_pre_hooks


def test_hooks_go_when_a_batch_fails(small_model: Any) -> None:
    counts = make_counts()
    with pytest.raises(RuntimeError, match="stop here"):
        extract(small_model, counts, Plan(len(PANEL), (0, 1)), on_cells=_fail)
    assert not small_model.seams(0).query._forward_hooks


def _fail(_: int) -> None:
    msg = "stop here"
    raise RuntimeError(msg)


class Lying:
    """A model whose seams or head count are not those it computes with."""

    def __init__(self, model: Any, **lies: Any) -> None:
        self._model, self._lies = model, lies

    def __getattr__(self, name: str) -> Any:
        return self._lies.get(name, getattr(self._model, name))


def two_heads(_layer: int, query: Any, key: Any, _batch: Any) -> tuple[Any, Any]:
    return split_heads(query, 2), split_heads(key, 2)


def test_a_reading_that_is_not_the_models_own_is_refused(make_checkpoint: Callable[..., Path]) -> None:
    model = load(make_checkpoint())
    batch = model.batch(*as_tokens([5, 9, 30, 11]))
    check_seams(model, batch, 1)
    with pytest.raises(RuntimeError, match="not what the model computes with"):
        check_seams(Lying(model, n_heads=2, head_size=16, heads=two_heads), batch, 1)
    seams = model.seams(1)
    swapped = SimpleNamespace(query=seams.key, key=seams.query, value=seams.value, output=seams.output)
    with pytest.raises(RuntimeError, match="not what the model computes with"):
        check_seams(Lying(model, seams=lambda _: swapped), batch, 1)
    # Padding that attention is told nothing about.
    padded = model.batch(*as_tokens([5, 9, 30, 11], [7]))
    longer = type(padded)(padded.ids, padded.positions, [4, 4])
    blind = Lying(model, forward=lambda _: model.forward(padded))
    with pytest.raises(RuntimeError, match="not what the model computes with"):
        check_seams(blind, longer, 1)


def test_half_precision_is_read_in_single_precision(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint()
    counts = make_counts(12)
    plan = Plan(len(PANEL), (0,))
    full = extract(load(folder), counts, plan).mean(0, 0)
    half = extract(load(folder, dtype="bfloat16"), counts, plan).mean(0, 0)
    assert np.nanmax(np.abs(full - half)) < 0.05
    assert np.nanmax(np.abs(full - half)) > 0
