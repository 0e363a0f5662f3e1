from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse
from toy_models import planted_cells, planted_model

from scepsis.edges._fidelity import cosine_distance, measure_fidelity
from scepsis.models import Intervention, load
from scepsis.models._language_head import language_head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


def measure(model: Any, counts: sparse.csr_matrix, *interventions: Intervention, split: int = 5, **options: Any) -> Any:
    parts = (slice(0, split), slice(split, None))
    blocks = [(counts[part], np.arange(counts.shape[0], dtype=np.uint64)[part]) for part in parts]
    return measure_fidelity(model, blocks, list(interventions), tokens=gene_tokens(model), **options)


def slow(model: Any, counts: sparse.csr_matrix, chosen: Intervention) -> tuple[np.ndarray, np.ndarray]:
    """Every cell by itself, all layers of both runs."""
    hidden, logits = [], []
    cells = model.tokenize(counts, gene_tokens(model), np.arange(counts.shape[0], dtype=np.uint64))
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
        measure(any_family, sparse.csr_matrix((3, 60)), HIGH)
