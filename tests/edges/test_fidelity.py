from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse
from toy_models import planted_cells, planted_model

from scepsis.edges._ablation import Ablation
from scepsis.edges._fidelity import cosine_distance
from scepsis.models import Intervention, load
from scepsis.models._language_head import language_head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTS = slice(0, 5), slice(5, None)
HIGH, LOW = Intervention.zero_mlps([2]), Intervention.zero_heads([(0, 1)]) | Intervention.uniform_heads([(1, 0)])


def make_counts(n_cells: int = 9) -> sparse.csr_matrix:
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(0.4, 2, (n_cells, 60)) * rng.gamma(2, 1, (n_cells, 1)))
    counts[4] = 0
    counts[5] = np.eye(60, dtype=int)[7]
    return sparse.csr_matrix(counts)


def gene_tokens(model: Any) -> np.ndarray:
    known = list(model.vocabulary.tokens.values())
    return np.array(known)


def reading_of(model: Any, *interventions: Intervention, layers: tuple[int, ...] = (2,), **options: Any) -> Ablation:
    tokens = gene_tokens(model)
    sources = range(5)
    return Ablation(
        model, tokens=tokens, panel=tokens, layers=layers, sources=sources, interventions=interventions, **options
    )


def measure(model: Any, counts: sparse.csr_matrix, *interventions: Intervention, **options: Any) -> Any:
    reading = reading_of(model, *interventions, **options)
    for part in PARTS:
        reading.compare(counts[part], np.arange(counts.shape[0], dtype=np.uint64)[part])
    return reading.fidelity


def slow(model: Any, counts: sparse.csr_matrix, chosen: Intervention) -> tuple[np.ndarray, np.ndarray]:
    """Every cell by itself, all layers of both runs, logits of all tokens; in the order in which cells are run."""
    hidden, logits = [], []
    cells = model.tokenize(counts, gene_tokens(model), np.arange(counts.shape[0], dtype=np.uint64))
    cells = [cell for part in PARTS for cell in sorted(cells[part], key=lambda cell: -len(cell.ids))]
    for cell in (cell for cell in cells if len(cell.ids)):
        batch = model.batch([cell], [np.arange(len(cell.ids))])
        runs = []
        for changed in (False, True):
            states: list[torch.Tensor] = []
            hooks = [
                model.seams(layer).block.register_forward_pre_hook(
                    lambda _m, args, kwargs, states=states: states.append([*args, *kwargs.values()][0][0].clone()),
                    with_kwargs=True,
                )
                for layer in range(model.n_layers)
            ]
            if changed:
                with model.intervene(chosen):
                    states.append(model.forward(batch)[0])
            else:
                states.append(model.forward(batch)[0])
            for hook in hooks:
                hook.remove()
            runs.append(states)
        pooled = [[state.double().numpy().mean(0) for state in states] for states in runs]
        hidden.append([1 - a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(*pooled, strict=True)])
        head = language_head(model)
        if head is None:
            logits.append(np.nan)
        else:
            with torch.no_grad():
                a, b = (head(states[-1]).double().numpy().ravel() for states in runs)
            logits.append(1 - a @ b / np.sqrt((a @ a) * (b @ b)))
    return np.array(hidden), np.array(logits)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_distances_are_those_of_cells_one_by_one(any_family: Any, batch_size: int | None) -> None:
    counts = make_counts()
    for chosen, found in zip((HIGH, LOW), measure(any_family, counts, HIGH, LOW, batch_size=batch_size), strict=True):
        hidden, logits = slow(any_family, counts, chosen)
        np.testing.assert_allclose(found.hidden, hidden, atol=2e-6)
        np.testing.assert_allclose(found.logits, logits, atol=2e-6)
        assert np.isnan(found.logit) == (any_family.family in {"scgpt", "set_transformer"})
        assert (found.by_layer[: chosen.lowest + 1] == 0).all(), "nothing below what is touched moves"
        assert (found.by_layer[chosen.lowest + 1 :] > 1e-5).all()
        assert found.maximum == pytest.approx(hidden.mean(0).max(), abs=1e-6)
        assert found.maximum_at == hidden.mean(0).argmax()
        assert found.applied
        assert found.above_floor(3)
        assert not found.above_floor(chosen.lowest)


def test_one_intervention_alone_is_run_from_its_own_layer(any_family: Any) -> None:
    counts = make_counts()
    alone, both = measure(any_family, counts, HIGH)[0], measure(any_family, counts, HIGH, LOW)[0]
    np.testing.assert_allclose(alone.hidden, both.hidden, atol=1e-9)


@pytest.mark.parametrize("layers", [(0,), (0, 2), (2,)])
def test_attention_read_beside_is_that_read_alone(any_family: Any, layers: tuple[int, ...]) -> None:
    """And both are that of a model in which nothing else is going on."""
    counts = make_counts()
    seeds = np.arange(9, dtype=np.uint64)
    beside, alone = (reading_of(any_family, HIGH, LOW, layers=layers) for _ in range(2))
    beside.compare(counts, seeds)
    alone.add(counts, np.zeros(9, dtype=np.int64), seeds)
    assert alone.fidelity == []
    for number, chosen in enumerate((HIGH, LOW)):
        with any_family.intervene(chosen):
            changed = reading_of(any_family, layers=layers)
            changed.add(counts, np.zeros(9, dtype=np.int64), seeds)
        for layer in layers:
            np.testing.assert_array_equal(beside.untouched(layer, chosen), alone.untouched(layer, chosen))
            np.testing.assert_array_equal(beside.under(number, layer), alone.under(number, layer))
            if (layer, chosen) != (1, LOW):
                np.testing.assert_allclose(alone.under(number, layer), changed.untouched(layer, chosen), rtol=1e-5)


def test_what_cannot_be_reached_is_not_run(any_family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers run: two without, of two each where there is a readout above, none for an intervention at it."""
    counts, seeds = make_counts(), np.arange(9, dtype=np.uint64)
    reading = reading_of(any_family, HIGH, Intervention.zero_heads([(1, 1)]), batch_size=20)
    reading.add(counts, np.zeros(9, dtype=np.int64), seeds)  # proves the seams
    ran = [0, 0, 0]
    for layer in range(3):
        module = any_family.seams(layer).query
        plain = module.forward

        def forward(hidden: torch.Tensor, layer: int = layer, plain: Any = plain) -> torch.Tensor:
            ran[layer] += 1
            return plain(hidden)

        monkeypatch.setattr(module, "forward", forward)
    reading.add(counts, np.zeros(9, dtype=np.int64), seeds)
    assert ran == [1, 2, 2], "once intact, and once from layer 1"
    reading.compare(counts, seeds)
    alone, again = 8, 1
    extra = alone + again
    assert ran == [1 + 1 + extra, 2 + 2 + extra, 2 + 3 + extra], "to the end, and for the floor"


def test_the_floor_is_that_of_rounding(make_checkpoint: Callable[..., Path]) -> None:
    counts, folder = make_counts(), make_checkpoint()
    single = measure(load(folder), counts, HIGH)[0]
    double = measure(load(folder, dtype="float64"), counts, HIGH)[0]
    half = measure(load(folder, dtype="bfloat16"), counts, HIGH)[0]
    assert single.floor_hidden[-1] < 1e-9
    assert double.floor_hidden[-1] < 1e-20
    assert 1e-8 < half.floor_hidden[-1] < 1e-2
    assert half.floor_logits > single.floor_logits
    np.testing.assert_allclose(half.by_layer, double.by_layer, atol=0.02)


def test_half_precision_can_hide_an_effect(make_checkpoint: Callable[..., Path]) -> None:
    """A head whose weights are next to nothing moves less than rounding does."""
    model = load(make_checkpoint(), dtype="bfloat16")
    with torch.no_grad():
        model.seams(0).output.weight[:, :8] *= 1e-4
    (found,) = measure(model, make_counts(), Intervention.zero_heads([(0, 0)]))
    assert not found.material
    assert not found.above_floor(3)


def test_a_head_that_writes_nothing_is_not_applied(make_checkpoint: Callable[..., Path]) -> None:
    model = load(make_checkpoint())
    with torch.no_grad():
        model.seams(1).output.weight[:, :8] = 0
    (found,) = measure(model, make_counts(), Intervention.zero_heads([(1, 0)]))
    assert (found.maximum, found.logit, found.applied, found.material) == (0, 0, False, False)


def test_the_planted_head_is_material_and_noise_is_not() -> None:
    model = planted_model()
    counts = sparse.csr_matrix(planted_cells(model, 12).X)
    carrier, noise = measure(model, counts, Intervention.zero_heads([model.carrier]), Intervention.zero_heads([(9, 3)]))
    assert carrier.material
    assert not noise.material
    assert noise.applied
    assert carrier.at(5) == 0
    assert carrier.at(6) > 0.02


def test_cosine_distance_loses_nothing() -> None:
    one = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)).double()
    assert (cosine_distance(one, one) == 0).all()
    turned = one + 1e-9 * one.roll(1, 1)
    exact = 1e-18 * ((one.roll(1, 1) ** 2).sum(1) / (one**2).sum(1)) / 2
    close = cosine_distance(one, turned)
    assert (close > exact * 0.5).all()
    assert (close <= exact * 1.01).all()
    torch.testing.assert_close(cosine_distance(one, -one), torch.full((4,), 2.0).double())
    torch.testing.assert_close(
        cosine_distance(one, one.roll(1, 0)), 1 - torch.cosine_similarity(one, one.roll(1, 0), dim=-1)
    )


def test_no_cell_to_compare(any_family: Any) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        measure(any_family, sparse.csr_matrix((9, 60)), HIGH)
