from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

from scepsis.edges._value_weighted import ContextExtraction, ContextPlan, likeness
from scepsis.models import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scepsis.edges._value_weighted import ContextSums

N_GENES, N_HEADS, SIZE = 60, 4, 8
PANEL = np.arange(5, N_GENES, 2)
SQUARE = np.ix_(PANEL, PANEL)
VARIANTS = ["cosine", "centroid", "dot"]


def make_counts(n_cells: int = 24) -> np.ndarray:
    """Cells of very different depth: one empty, one with a single gene, one with panel-foreign genes only."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(0.4, 2, (n_cells, N_GENES)) * rng.gamma(1, 1, (n_cells, 1)))
    counts[3] = 0
    counts[4] = np.eye(N_GENES, dtype=int)[7]
    counts[5, PANEL] = 0
    counts[6] = 1
    counts[:, 9] = 0
    return counts


def plan(*layers: int, **options: Any) -> ContextPlan:
    return ContextPlan(len(PANEL), layers, n_heads=N_HEADS, head_size=SIZE, **options)


def gene_tokens(model: Any) -> np.ndarray:
    return np.array([model.vocabulary.tokens[f"ENSG{index:011d}"] for index in range(N_GENES)])


def extract(model: Any, counts: np.ndarray, what: ContextPlan, batch_size: int | None = None) -> ContextSums:
    tokens = gene_tokens(model)
    extraction = ContextExtraction(model, tokens=tokens, panel=tokens[PANEL], plan=what, batch_size=batch_size)
    n = len(counts)
    extraction.add(sparse.csr_matrix(counts), np.zeros(n, dtype=int), np.zeros(n, dtype=np.uint64))
    return extraction.sums


def softmax_contexts(query: np.ndarray, key: np.ndarray, value: np.ndarray, *, causal: bool = False) -> np.ndarray:
    """Tokens x heads x size of each, as the formulas have them."""
    scores = np.einsum("ihd,jhd->hij", query, key) / np.sqrt(query.shape[-1])
    if causal:
        scores[:, ~np.tri(len(query), dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hij,jhd->ihd", weights / weights.sum(-1, keepdims=True), value)


def cell_contexts(
    folder: Path, generation: int, model: Any, counts: np.ndarray, layer: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Genes of every cell and their contexts, from the published layout's hidden states, unpadded, one by one."""
    from transformers import BertForMaskedLM

    bert = BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval().bert
    weights = {
        name: tensor.double().numpy() for name, tensor in bert.encoder.layer[layer].attention.self.state_dict().items()
    }
    result = []
    for cell in model.tokenize(sparse.csr_matrix(counts), gene_tokens(model), np.zeros(len(counts), np.uint64)):
        if not len(cell.ids):
            continue
        ids = cell.ids.tolist() if generation == 1 else [2, *cell.ids.tolist(), 3]
        with torch.no_grad():
            hidden = bert(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0].double().numpy()
        query, key, value = (
            (hidden @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]).reshape(len(ids), N_HEADS, SIZE)
            for name in ("query", "key", "value")
        )
        contexts = softmax_contexts(query, key, value)
        result.append((cell.ids - 2 * generation, contexts if generation == 1 else contexts[1:-1]))
    return result


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over heads; heads x size."""
    parts = [a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in zip(one, other, strict=True)]
    return float(np.mean(parts))


def by_hand(cells: list[tuple[np.ndarray, np.ndarray]], variant: str, *, center: bool) -> tuple[np.ndarray, np.ndarray]:
    """Edges and pair counts of the panel, pair by pair."""
    if center:
        cells = [(genes, contexts - contexts.mean(0)) for genes, contexts in cells]
    seen: dict[int, list[np.ndarray]] = {}
    pairs: dict[tuple[int, int], list[float]] = {}
    for genes, contexts in cells:
        of = {int(gene): context for gene, context in zip(genes, contexts, strict=True) if gene in PANEL}
        for gene, context in of.items():
            seen.setdefault(gene, []).append(context)
            for other, their in of.items():
                found = cosine(context, their) if variant != "dot" else float((context * their).sum() / N_HEADS)
                pairs.setdefault((gene, other), []).append(found)
    n, edges = np.zeros((N_GENES, N_GENES)), np.full((N_GENES, N_GENES), np.nan)
    for (one, other), values in pairs.items():
        n[one, other], edges[one, other] = len(values), np.mean(values)
    if variant == "centroid":
        for one, mine in seen.items():
            for other, theirs in seen.items():
                edges[one, other] = cosine(np.mean(mine, axis=0), np.mean(theirs, axis=0))
    np.fill_diagonal(edges, np.nan)
    return edges[SQUARE], n[SQUARE]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("generation", [1, 2])
def test_edges_equal_those_of_contexts_computed_cell_by_cell(
    make_checkpoint: Callable[..., Path], generation: int, variant: Any, center: bool
) -> None:
    folder = make_checkpoint(generation=generation)
    model = load(folder)
    counts = make_counts()
    # The one gene of a cell is its own mean: centred, it has no direction that rounding does not give it.
    counts[4, 8] = 2
    sums = extract(model, counts, plan(0, 2, variant=variant, center=center))
    for index, layer in enumerate((0, 2)):
        expected, n = by_hand(cell_contexts(folder, generation, model, counts, layer), variant, center=center)
        found = sums.mean(index)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=2e-5)
        np.testing.assert_array_equal(sums.pair_counts(), n)
    assert np.nanstd(found) > 1e-2, "the comparison is not one of constants"
    assert np.isnan(found[2]).all(), "a gene that is in no cell has no edges"
    mean = (sums.mean(0).astype(float) + sums.mean(1)) / 2
    np.testing.assert_allclose(sums.mean(None), mean, atol=1e-6, rtol=1e-5)
    assert sums.totals[0] == (counts.sum(1) == 0).sum()


def test_every_pair_of_a_causal_cell_counts(make_decoder: Callable[..., Path]) -> None:
    """A mask hides tokens from contexts, not contexts from each other; and values are shared between heads."""
    from transformers import LlamaModel

    folder = make_decoder()
    model = load(folder)
    counts = make_counts()
    llama = LlamaModel.from_pretrained(folder, attn_implementation="eager").eval()
    cells = []
    for cell in model.tokenize(sparse.csr_matrix(counts), gene_tokens(model), np.zeros(len(counts), np.uint64)):
        if not len(cell.ids):
            continue
        before, after = list(model.before), list(model.after)
        ids = [*before, *cell.ids.tolist(), *after]
        with torch.no_grad():
            out = llama(torch.tensor([ids]), output_attentions=True, output_hidden_states=True, use_cache=False)
            value = llama.layers[1].self_attn.v_proj(llama.layers[1].input_layernorm(out.hidden_states[1][0]))
        attention = out.attentions[1][0].double().numpy()
        value = value.double().numpy().reshape(len(ids), -1, model.head_size)
        value = np.repeat(value, model.n_heads // value.shape[1], axis=1)
        contexts = np.einsum("hij,jhd->ihd", attention, value)
        inner = slice(len(before), len(ids) - len(after))
        cells.append((cell.ids - gene_tokens(model)[0], contexts[inner]))
    expected, n = by_hand(cells, "cosine", center=False)
    sums = extract(model, counts, plan(1))
    np.testing.assert_allclose(sums.mean(0), expected, atol=2e-5)
    np.testing.assert_array_equal(sums.pair_counts(), n)
    np.testing.assert_array_equal(n, n.T)


def test_genes_that_the_model_cannot_tell_apart_are_alike(make_checkpoint: Callable[..., Path]) -> None:
    model = load(make_checkpoint())
    embeddings = model.network.embeddings
    embeddings.position_embeddings.weight.zero_()
    tokens = gene_tokens(model)
    embeddings.word_embeddings.weight[tokens[PANEL[4]]] = embeddings.word_embeddings.weight[tokens[PANEL[11]]]
    counts = make_counts()
    counts[:, PANEL[[4, 11]]] += 1
    for variant in ("cosine", "centroid"):
        found = extract(model, counts, plan(2, variant=variant)).mean(0)
        assert found[4, 11] == pytest.approx(1, abs=1e-6)
        others = np.delete(found[4], [4, 11])
        assert np.nanmax(others) < 0.999


def test_contexts_without_length_are_nan_and_never_zero(make_checkpoint: Callable[..., Path]) -> None:
    model = load(make_checkpoint())
    value = model.seams(1).value
    value.weight[:SIZE], value.bias[:SIZE] = 0, 0
    counts = make_counts()
    for variant in ("cosine", "centroid"):
        sums = extract(model, counts, plan(1, 2, variant=variant))
        assert np.isnan(sums.mean(0)).all()
        assert np.isfinite(sums.mean(1)).any(), "the other layer is not touched"
    assert np.isfinite(extract(model, counts, plan(1, variant="dot")).mean(0)).any()


def test_likeness_of_very_short_and_long_contexts() -> None:
    contexts = torch.tensor([[[1e-30, 2e-30]], [[3e18, 6e18]], [[2.0, -1.0]]])
    np.testing.assert_allclose(likeness(contexts, "cosine"), [[1, 1, 0], [1, 1, 0], [0, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sums_of_parts_add_up(small_model: Any, variant: Any) -> None:
    counts = make_counts()
    what = plan(0, 1, variant=variant, center=True)
    counts[4] = 0
    whole = extract(small_model, counts, what)
    part = extract(small_model, counts[12:], what, batch_size=1)
    part.merge(extract(small_model, counts[:12], what, batch_size=5))
    for index in (0, 1, None):
        np.testing.assert_allclose(part.mean(index), whole.mean(index), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(part.pair_counts(), whole.pair_counts())
    again = extract(small_model, counts, what)
    np.testing.assert_array_equal(again.mean(None), whole.mean(None))
    with pytest.raises(ValueError, match="do not add up"):
        part.merge(extract(small_model, counts[:3], plan(0, 1, variant=variant)))


def test_centroids_need_no_sums_over_pairs() -> None:
    large = {"n_genes": 2000, "layers": (0, 1), "n_heads": 4, "head_size": 64}
    assert ContextPlan(**large, variant="centroid").n_bytes == 2000 * (8 * 2 * 256 + 4 * 2000)
    assert ContextPlan(**large).n_bytes == 2000 * (8 * 2 * 2000 + 4 * 2000)
    small = plan(0, 1, variant="centroid")
    assert small.new_sums().sums.numel() == 2 * len(PANEL) * N_HEADS * SIZE


def test_running_out_of_memory_halves_the_batch(small_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = make_counts()
    reference = extract(small_model, counts, plan(0, 1))
    forward, sizes = type(small_model).forward, []

    def hungry(self: Any, batch: Any) -> Any:
        sizes.append(len(batch.n_tokens))
        if len(batch.n_tokens) <= 3:
            return forward(self, batch)
        # The first layer is read before memory runs out: nothing may be added twice.
        handle = self.seams(1).query.register_forward_pre_hook(_out_of_memory)
        try:
            return forward(self, batch)
        finally:
            handle.remove()

    monkeypatch.setattr(type(small_model), "forward", hungry)
    halved = extract(small_model, counts, plan(0, 1), batch_size=len(counts))
    assert max(sizes) > 3
    np.testing.assert_allclose(halved.mean(None), reference.mean(None), rtol=1e-5, atol=1e-6)


def _out_of_memory(*_: Any) -> None:
    raise torch.OutOfMemoryError


def test_layers_above_the_last_one_are_not_run_and_hooks_go(small_model: Any) -> None:
    ran: list[int] = []
    handles = [
        small_model.seams(layer).mlp.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer in range(3)
    ]
    counts = make_counts()
    try:
        extract(small_model, counts, plan(1), batch_size=len(counts))
    finally:
        for handle in handles:
            handle.remove()
    assert ran == [0, 0], "once for the check of the reading, which ends in layer 1"
    for layer in range(3):
        assert not small_model.seams(layer).output._forward_pre_hooks


def test_half_precision_that_overflows_is_named(make_checkpoint: Callable[..., Path]) -> None:
    counts = make_counts(12)
    folder = make_checkpoint()
    full = extract(load(folder), counts, plan(0)).mean(0)
    half = extract(load(folder, dtype="bfloat16"), counts, plan(0)).mean(0)
    assert 0 < np.nanmax(np.abs(full - half)) < 0.05
    model = load(folder, dtype="float16")
    # The check of the reading sees the first layer alone.
    model.seams(2).value.weight.mul_(1e5)
    with pytest.raises(FloatingPointError, match=r"context of layer 2.*'bfloat16'"):
        extract(model, counts, plan(0, 2))
