from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

from scepsis.edges._accumulate import Plan
from scepsis.edges._attention import accumulate_attention
from scepsis.models import Intervention, Tokens
from scepsis.models._prefix import cached_prefix, only_reads

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepsis.models import AttentionModel, Batch

HIGH = Intervention.zero_heads([(1, 0), (2, 1)]) | Intervention.zero_mlps([2])


def make_batch(model: AttentionModel, *sizes: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    ids = np.array(list(model.vocabulary.tokens.values()), dtype=np.int32)
    cells = [Tokens(rng.permutation(ids)[:n], rng.integers(1, 9, n).astype(np.float32)) for n in sizes]
    return model.batch(cells, [np.arange(n) for n in sizes])


class Count:
    """How often each layer computes."""

    def __init__(self, model: AttentionModel) -> None:
        # A layer that is passed over has no hooks on its modules, so the modules themselves are counted.
        self.n = [0] * model.n_layers
        for layer in range(model.n_layers):
            module = model.seams(layer).value
            plain = module.forward

            def forward(hidden: torch.Tensor, layer: int = layer, plain: Callable[..., Any] = plain) -> torch.Tensor:
                self.n[layer] += 1
                return plain(hidden)

            module.forward = forward


def test_a_batch_is_run_again_from_the_layer_with_the_same_result(any_family: AttentionModel) -> None:
    batches = [make_batch(any_family, 12, 5), make_batch(any_family, 9, 9, seed=1)]
    plain = [any_family.forward(batch) for batch in batches]
    with any_family.intervene(HIGH):
        changed = [any_family.forward(batch) for batch in batches]
    count = Count(any_family)
    with cached_prefix(any_family, 1) as prefix:
        for _ in range(2):
            for batch, expected in zip(batches, plain, strict=True):
                assert torch.equal(any_family.forward(batch), expected)
        assert count.n == [2, 4, 4]
        with any_family.intervene(HIGH):
            assert all(
                torch.equal(any_family.forward(batch), expected)
                for batch, expected in zip(batches, changed, strict=True)
            )
        assert count.n == [2, 6, 6]
        assert (prefix.n_whole, prefix.n_resumed) == (2, 4)
        assert prefix.n_bytes == sum(4 * batch.ids.numel() * plain[0].shape[-1] for batch in batches)
    assert "forward" not in vars(any_family)
    assert torch.equal(any_family.forward(batches[0]), plain[0])


def test_a_batch_is_run_again_from_the_highest_layer_that_serves(any_family: AttentionModel) -> None:
    batch = make_batch(any_family, 12, 5)
    plain = any_family.forward(batch)
    chosen = [Intervention.zero_mlps([2]), Intervention.zero_heads([(1, 0)]), Intervention.zero_heads([(0, 1)])]
    expected = []
    for one in chosen:
        with any_family.intervene(one):
            expected.append(any_family.forward(batch))
    count = Count(any_family)
    with cached_prefix(any_family, 0, 2, 1) as prefix:
        assert torch.equal(any_family.forward(batch), plain)
        for number, one in enumerate(chosen):
            with any_family.intervene(one):
                assert torch.equal(any_family.forward(batch), expected[number])
            assert count.n == [[1, 1, 2], [1, 2, 3], [2, 3, 4]][number]
        assert torch.equal(any_family.forward(batch), plain)
        assert count.n == [2, 3, 5]
    assert prefix.layers == (1, 2)
    assert (prefix.n_whole, prefix.n_resumed) == (2, 3)
    assert prefix.n_bytes == 2 * 4 * batch.ids.numel() * plain.shape[-1]


def test_what_only_reads_lets_states_above_be_kept(any_family: AttentionModel) -> None:
    batch = make_batch(any_family, 12, 5)
    any_family.forward(batch)
    query = any_family.seams(1).query
    for read, n_resumed in ((only_reads(lambda *_: None), 1), (lambda *_: None, 0)):
        with cached_prefix(any_family, 2) as prefix:
            hook = query.register_forward_hook(read)
            any_family.forward(batch)
            hook.remove()
            any_family.forward(batch)
            assert prefix.n_resumed == n_resumed


def test_what_was_kept_under_an_intervention_above_serves_any(any_family: AttentionModel) -> None:
    batch = make_batch(any_family, 12, 5)
    plain = any_family.forward(batch)
    with cached_prefix(any_family, 2) as prefix:
        with any_family.intervene(Intervention.zero_mlps([2])):
            any_family.forward(batch)
        assert torch.equal(any_family.forward(batch), plain)
        assert prefix.n_resumed == 1


def test_an_intervention_below_is_neither_lost_nor_kept(any_family: AttentionModel) -> None:
    batch, low = make_batch(any_family, 12, 5), Intervention.zero_heads([(0, 1)])
    plain = any_family.forward(batch)
    with any_family.intervene(low):
        changed = any_family.forward(batch)
    assert not torch.equal(plain, changed)
    with cached_prefix(any_family, 1) as prefix:
        with any_family.intervene(low):
            assert torch.equal(any_family.forward(batch), changed)
        assert torch.equal(any_family.forward(batch), plain)
        with any_family.intervene(low):
            assert torch.equal(any_family.forward(batch), changed)
        assert prefix.n_resumed == 0
        assert torch.equal(any_family.forward(batch), plain)
        assert prefix.n_resumed == 1


@pytest.mark.parametrize("kernel", [True, False])
def test_extraction_needs_nothing_else(any_family: AttentionModel, kernel: bool) -> None:
    """Layers above come from what was kept; a layer below that is read again is computed."""
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(0.6, (12, 60)))
    tokens = np.array(list(any_family.vocabulary.tokens.values()))

    def extract(*layers: int) -> np.ndarray:
        sums = accumulate_attention(
            any_family,
            [(counts, np.zeros(12, int), np.zeros(12, np.uint64))],
            tokens=tokens,
            panel=tokens[:30],
            plan=Plan(30, layers),
            kernel=kernel,
        )
        return sums.sums.numpy()

    plain, low = extract(1, 2), extract(0, 2)
    with any_family.intervene(HIGH):
        changed = extract(1, 2)
    assert not np.array_equal(plain, changed)
    with cached_prefix(any_family, 1) as prefix:
        np.testing.assert_array_equal(extract(1, 2), plain)
        n_whole = prefix.n_whole
        np.testing.assert_array_equal(extract(1, 2), plain)
        with any_family.intervene(HIGH):
            np.testing.assert_array_equal(extract(1, 2), changed)
        assert prefix.n_whole == n_whole
        np.testing.assert_array_equal(extract(0, 2), low)
        assert prefix.n_whole > n_whole


def test_what_does_not_fit_is_run_from_the_start(any_family: AttentionModel) -> None:
    small, large = make_batch(any_family, 3), make_batch(any_family, 30, 30)
    plain = any_family.forward(large)
    limit = 4 * 8 * plain.shape[-1]
    with cached_prefix(any_family, 1, limit=limit) as prefix:
        for _ in range(2):
            any_family.forward(small)
            assert torch.equal(any_family.forward(large), plain)
        assert (prefix.n_resumed, prefix.n_whole) == (1, 3)
        assert prefix.n_bytes <= limit


def test_a_family_without_blocks_is_run_from_the_start(any_family: AttentionModel, monkeypatch: Any) -> None:
    known = type(any_family).seams

    def seams(self: Any, layer: int) -> Any:
        found = copy.copy(known(self, layer))
        object.__setattr__(found, "block", None)
        return found

    batch = make_batch(any_family, 7, 3)
    plain = any_family.forward(batch)
    monkeypatch.setattr(type(any_family), "seams", seams)
    with cached_prefix(any_family, 2) as prefix:
        assert all(torch.equal(any_family.forward(batch), plain) for _ in range(2))
    assert (prefix.n_resumed, prefix.n_bytes) == (0, 0)


def test_the_model_is_as_it_was_after_an_exception(small_model: AttentionModel) -> None:
    batch = make_batch(small_model, 7, 3)
    plain = small_model.forward(batch)

    def fail() -> None:
        with cached_prefix(small_model, 2):
            small_model.forward(batch)
            hook = small_model.seams(2).value.register_forward_hook(lambda *_: 1 / 0)
            try:
                small_model.forward(batch)
            finally:
                hook.remove()

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(small_model.forward(batch), plain)
    assert not any("forward" in vars(module) for module in small_model.network.modules())


def test_layers_that_do_not_exist(small_model: AttentionModel) -> None:
    for layer in (-1, 3):
        with pytest.raises(ValueError, match=r"no layer -?\d to begin from"), cached_prefix(small_model, layer):
            pass
