from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from scepsis.models import randomize


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def test_the_model_itself_is_not_changed(small_model: Any) -> None:
    before = weights(small_model)
    twin = randomize(small_model, rng=1)
    for name, tensor in small_model.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert twin.name == f"{small_model.name}-randomized"
    assert twin.fingerprint != small_model.fingerprint
    assert twin.vocabulary is not None
    assert twin.n_layers == small_model.n_layers


def test_weights_are_drawn_as_an_untrained_bert_starts(small_model: Any) -> None:
    twin = randomize(small_model, rng=1)
    sigma = small_model.network.config.initializer_range
    drawn = []
    for name, tensor in weights(twin).items():
        if "LayerNorm" in name:
            assert torch.equal(tensor, torch.full_like(tensor, float(name.endswith("weight")))), name
        elif name.endswith("bias"):
            assert not tensor.any(), name
        elif tensor.dtype.is_floating_point and "word_embeddings" not in name:
            drawn.append(tensor.flatten())
    values = torch.cat(drawn).numpy()
    assert values.std() == pytest.approx(sigma, rel=0.02)
    assert abs(values.mean()) < 4 * sigma / np.sqrt(len(values))
    assert not twin.network.embeddings.word_embeddings.weight[0].any(), "padding stays at zero"


def test_same_seed_same_bytes(small_model: Any) -> None:
    one, same, other = (weights(randomize(small_model, rng=seed)) for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(
        one["encoder.layer.0.attention.self.query.weight"], other["encoder.layer.0.attention.self.query.weight"]
    )
    assert randomize(small_model, rng=3).fingerprint == randomize(small_model, rng=3).fingerprint
    assert randomize(small_model, rng=3).fingerprint != randomize(small_model, rng=4).fingerprint


def test_global_random_state_is_left_alone(small_model: Any) -> None:
    before = torch.random.get_rng_state()
    randomize(small_model)
    assert torch.equal(before, torch.random.get_rng_state())
