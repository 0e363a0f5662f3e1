"""What is said to be out of reach is bit for bit the same; what is said to be in reach is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from scepsis.edges._readers import from_projections
from scepsis.models import Intervention, Tokens
from scepsis.models._reach import reach

if TYPE_CHECKING:
    from scepsis.models import AttentionModel, Batch

LAYERS = range(3)


def make_batch(model: AttentionModel, *sizes: int) -> Batch:
    rng = np.random.default_rng(0)
    ids = np.array(list(model.vocabulary.tokens.values()), dtype=np.int32)
    cells = [Tokens(rng.permutation(ids)[:n], rng.integers(1, 9, n).astype(np.float32)) for n in sizes]
    return model.batch(cells, [np.arange(n) for n in sizes])


def read(model: AttentionModel, batch: Batch) -> dict[Any, torch.Tensor]:
    """Queries and keys of every head, contexts of every head, hidden states after every layer, by (kind, layer)."""
    seen: dict[Any, torch.Tensor] = {}
    hooks = []
    d = model.head_size
    for layer in LAYERS:
        seams = model.seams(layer)

        def contexts(_module: Any, args: Any, layer: int = layer) -> None:
            for head in range(model.n_heads):
                seen["contexts", layer, head] = args[0][..., head * d : (head + 1) * d].clone()

        def hidden(_module: Any, _args: Any, output: Any, layer: int = layer) -> None:
            seen["hidden", layer, None] = (output[0] if isinstance(output, tuple) else output).clone()

        hooks += [seams.output.register_forward_pre_hook(contexts), seams.block.register_forward_hook(hidden)]

    def attention(layer: int, query: torch.Tensor, key: torch.Tensor, _sums: Any) -> None:
        for head in range(model.n_heads):
            seen["attention", layer, head] = torch.stack([query[:, head], key[:, head]])

    seen["output", None, None] = model.forward(batch)
    # A second pass, which ends at the last layer's attention.
    from_projections(model, batch, list(LAYERS), attention)
    for hook in hooks:
        hook.remove()
    return seen


def some(kind: str, layer: int, model: AttentionModel, batch: Batch) -> Intervention:
    return {
        "zero heads": lambda: Intervention.zero_heads([(layer, 1)]),
        "uniform heads": lambda: Intervention.uniform_heads([(layer, 1)]),
        "mean heads": lambda: Intervention.mean_heads([(layer, 1)], reference=batch),
        "zero MLPs": lambda: Intervention.zero_mlps([layer]),
        "zero attention": lambda: Intervention.zero_attention([layer]),
    }[kind]()


@pytest.mark.parametrize("kind", ["zero heads", "uniform heads", "mean heads", "zero MLPs", "zero attention"])
def test_reach_is_what_changes(any_family: AttentionModel, kind: str) -> None:
    batch = make_batch(any_family, 11, 6)
    before = read(any_family, batch)
    answers = set()
    for layer in LAYERS:
        chosen = some(kind, layer, any_family, batch)
        with any_family.intervene(chosen):
            after = read(any_family, batch)
        for readout in ("attention", "contexts", "hidden", "output"):
            for at in LAYERS if readout != "output" else (None,):
                own = {key: not torch.equal(after[key], before[key]) for key in before if key[:2] == (readout, at)}
                changed = {key[2] for key, differs in own.items() if differs}
                answer = reach(chosen, at, readout)
                answers.add(answer)
                if answer == "no":
                    assert not changed, (kind, layer, readout, at)
                elif answer == "direct_only":
                    assert changed == {1}, (kind, layer, readout, at)
                    assert reach(chosen, at, readout, heads=[(at, 0)]) == "no"
                    assert reach(chosen, at, readout, heads=[(at, 0), (at, 1)]) == "direct_only"
                else:
                    assert changed == {key[2] for key in own}, (kind, layer, readout, at)
    assert answers >= {"yes", "no"}


def test_heads_that_are_all_uniform_feel_nothing_from_below(any_family: AttentionModel) -> None:
    """Their weights stay those of the intervention alone, so that a difference tells of it and not of the model."""
    batch, layer = make_batch(any_family, 11, 6), 2
    read_there = [(layer, head) for head in range(any_family.n_heads)]
    flat = Intervention.uniform_heads(read_there)
    both = flat | Intervention.zero_mlps([0])

    def weights(chosen: Intervention) -> list[torch.Tensor]:
        with any_family.intervene(chosen):
            found = read(any_family, batch)
        parts = [found["attention", layer, head] for head in range(any_family.n_heads)]
        return [(query @ key.transpose(-1, -2)).softmax(-1) for query, key in parts]

    assert all(map(torch.equal, weights(flat), weights(both)))
    assert reach(both, layer, heads=read_there) == "direct_only"
    assert reach(both, layer, heads=[*read_there, (layer, any_family.n_heads)]) == "yes"
    some_flat = Intervention.uniform_heads(read_there[1:]) | Intervention.zero_mlps([0])
    assert reach(some_flat, layer, heads=read_there) == "yes"


def test_a_union_reaches_as_far_as_its_lowest() -> None:
    high, low = Intervention.zero_mlps([5]), Intervention.zero_heads([(2, 0)])
    assert (reach(high, 4), reach(low, 4), reach(high | low, 4)) == ("no", "yes", "yes")
    assert reach(Intervention.uniform_heads([(4, 0)]) | high, 4) == "direct_only"
    with pytest.raises(ValueError, match="`readout_layer` is needed"):
        reach(high, None, "hidden")
