"""Games among components against every coalition run alone, from the first layer, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from scepsis.edges._coalitions import (
    Ablated,
    Example,
    first_differing,
    heads_of,
    layers_of,
    play,
    share_of_layers,
)
from scepsis.edges._embedding import pool
from scepsis.edges._resume import Resumable
from scepsis.models import Batch, Intervention, Tokens
from scepsis.stats._shapley import Coalitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis.models import AttentionModel


def _cells(model: AttentionModel, *sizes: int, delete: bool = False) -> list[Example]:
    rng = np.random.default_rng(0)
    ids = np.array(list(model.vocabulary.tokens.values()), dtype=np.int32)
    cells = []
    for row, n in enumerate(sizes):
        tokens = Tokens(rng.permutation(ids)[:n], rng.integers(1, 9, n).astype(np.float32))
        if not delete:
            cells.append(Example(row, tokens))
            continue
        gone = 1  # a causal model has effects on later genes only
        cells.append(Example(row, tokens, gone, np.delete(tokens.ids, gone)[n // 2 :]))
    return cells


def _hidden(
    model: AttentionModel, tokens: Tokens, intervention: Intervention | None, gone: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """States of the genes of one cell, without one of them, and its vector; run alone."""
    batch = model.batch([tokens], [np.arange(len(tokens.ids))])
    if gone is not None:  # the row of the cell as it is, less one column
        kept = np.delete(np.arange(batch.ids.shape[1]), gone + batch.offset)
        values = None if batch.values is None else batch.values[:, kept]
        tokens = Tokens(np.delete(tokens.ids, gone))
        n_tokens = [batch.n_tokens[0] - 1]
        batch = Batch(batch.ids[:, kept], batch.positions[:, kept], n_tokens, values, batch.offset)
    if intervention is None:
        hidden = model.forward(batch)
    else:
        with model.intervene(intervention):
            hidden = model.forward(batch)
    genes = hidden[0, batch.offset : batch.offset + len(tokens.ids)]
    return genes.double().numpy(), pool(model, hidden, batch)[0].double().numpy()


def _takes_out(kind: str, absent: list[int], n_heads: int) -> Intervention | None:
    if not absent:
        return None
    if kind == "mlps":
        return Intervention.zero_mlps(absent)
    heads = [(layer, head) for layer in absent for head in range(n_heads)]
    return Intervention.zero_heads(heads) if kind == "zero" else Intervention.uniform_heads(heads)


def _expected(model: AttentionModel, cell: Example, members: np.ndarray, kind: str) -> np.ndarray:
    vectors, shifts = [], []
    for row in members:
        made = _takes_out(kind, np.flatnonzero(~row).tolist(), model.n_heads)
        states, vector = _hidden(model, cell.tokens, made)
        vectors.append(vector)
        if cell.gone is not None:
            other, _ = _hidden(model, cell.tokens, made, cell.gone)
            left = np.delete(cell.tokens.ids, cell.gone).tolist()
            cosines = []
            for gene in cell.targets:
                one = states[list(cell.tokens.ids).index(gene)]
                two = other[left.index(gene)]
                cosines.append(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
            shifts.append(1 - np.mean(cosines))
    if shifts:
        return np.array(shifts) - shifts[0]
    way = vectors[-1] - vectors[0]
    along = [(vector - vectors[0]) @ way / np.linalg.norm(way) for vector in vectors]
    return np.array(along) / np.linalg.norm(vectors[-1])


@pytest.mark.parametrize("delete", [False, True])
def test_values_are_those_of_whole_runs_of_one_cell(any_family: Any, delete: bool) -> None:
    """Every family: padding, batches and layers that are not run anew change rounding only."""
    model = any_family
    cells = _cells(model, 9, 14, 6, delete=delete)
    game = Coalitions.every(3)
    for kind in ("zero", "uniform", "mlps"):
        parts = layers_of(model, "mlps" if kind == "mlps" else "heads", range(3))
        ablated = Ablated(parts, "uniform" if kind == "uniform" else "zero")
        found = play(model, cells, game.members, ablated)
        for cell in cells:
            expected = _expected(model, cell, game.members, kind)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found[:, cell.row], expected, rtol=0, atol=2e-5 * max(scale, 1e-2))
        assert not found[game.nobody].any()
        one_by_one = play(model, cells, game.members, ablated, batch_size=1)
        tolerance = 2e-5 * max(np.abs(found).max(), 1e-2)  # of states of order one, in single precision
        np.testing.assert_allclose(one_by_one, found, rtol=0, atol=tolerance)
        assert np.abs(found).max() > 1e-4


def test_single_heads_of_one_layer_play_while_others_work(make_any_family: Callable[..., Any]) -> None:
    model = make_any_family("first")
    cells = _cells(model, 10, 12)
    heads = [(1, 0), (1, 2), (2, 1)]
    game = Coalitions.every(3)
    found = play(model, cells, game.members, Ablated(heads_of(heads)))
    for cell in cells:
        vectors = []
        for row in game.members:
            gone = [head for head, here in zip(heads, row, strict=True) if not here]
            vectors.append(_hidden(model, cell.tokens, Intervention.zero_heads(gone) if gone else None)[1])
        way = vectors[-1] - vectors[0]
        expected = [(one - vectors[0]) @ way / np.linalg.norm(way) / np.linalg.norm(vectors[-1]) for one in vectors]
        np.testing.assert_allclose(found[:, cell.row], expected, atol=1e-5)


def test_order_of_coalitions_and_cells_changes_nothing(make_any_family: Callable[..., Any]) -> None:
    model = make_any_family("scgpt")
    cells = _cells(model, 10, 12, 5)
    game = Coalitions.every(3)
    ablated = Ablated(layers_of(model, "heads", range(3)))
    found = play(model, cells, game.members, ablated)
    shuffled = np.random.default_rng(0).permutation(8)
    np.testing.assert_array_equal(play(model, cells, game.members[shuffled], ablated), found[shuffled])


def test_layers_that_are_shared_are_run_once(make_any_family: Callable[..., Any]) -> None:
    """All coalitions of one component per layer: 2 + 4 + 8 layers, and not 3 times 8."""
    model = make_any_family("first")
    ablated = Ablated(layers_of(model, "heads", range(3)))
    game = Coalitions.every(3)
    ran = [0, 0, 0]
    hooks = []
    for layer in range(3):

        def count(*_: object, layer: int = layer) -> None:
            ran[layer] += 1

        hooks.append(model.seams(layer).query.register_forward_hook(count))
    with model.intervene(Intervention.zero_heads([(0, 0)])):  # proves the modules, once
        pass
    ran[:] = [0, 0, 0]
    play(model, _cells(model, 8), game.members, ablated)
    for hook in hooks:
        hook.remove()
    assert ran == [2 + 2, 4 + 2, 8 + 2]  # and twice to begin with: all of them, and nobody
    assert share_of_layers(game.members, ablated, 3) == pytest.approx(14 / 24)
    order = np.lexsort(game.members.T[::-1])
    assert first_differing(game.members[order], ablated).tolist() == [0, 2, 1, 2, 0, 2, 1, 2]


def test_model_is_as_before_and_what_is_resumed_is_bit_identical(any_family: Any) -> None:
    model = any_family
    batch = model.batch([_cells(model, 12)[0].tokens], [np.arange(12)])
    before = model.forward(batch)
    runs = Resumable(model, batch, [0, 1, 2])
    head = Intervention.zero_heads([(2, 0)])
    assert torch.equal(runs.run(lambda _: None, 0), before)
    resumed = runs.run(lambda lowest: head if lowest == 2 else None, 2)
    with model.intervene(head):
        assert torch.equal(resumed, model.forward(batch))
    assert not torch.equal(resumed, before)

    def fails(_lowest: int) -> Intervention:
        return Intervention.zero_heads([(2, 99)])

    with pytest.raises(ValueError, match="99"):
        runs.run(fails, 1)
    assert torch.equal(model.forward(batch), before)
    assert torch.equal(runs.run(lambda _: None, 1), before)


def test_a_family_without_blocks_is_run_from_its_first_layer(
    make_any_family: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    model = make_any_family("first")
    cells = _cells(model, 8, 11)
    game = Coalitions.every(3)
    ablated = Ablated(layers_of(model, "heads", range(3)))
    found = play(model, cells, game.members, ablated)
    seams = type(model).seams
    monkeypatch.setattr(type(model), "seams", lambda self, layer: replace(seams(self, layer), block=None))
    np.testing.assert_allclose(play(model, cells, game.members, ablated), found, atol=1e-7)
