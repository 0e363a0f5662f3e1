from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

from scepsis.models import AttentionModel, Tokens, load, randomize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPECIALS = [(), ("<bos>",), ("<cls>", "<eos>")]


def as_cells(*cells: list[int]) -> tuple[list[Tokens], list[np.ndarray]]:
    return [Tokens(np.array(cell, dtype=np.int32)) for cell in cells], [np.arange(len(cell)) for cell in cells]


def rotated(heads: np.ndarray, positions: np.ndarray, base: float = 10_000.0) -> np.ndarray:
    """Tokens x heads x size, each pair (i, i + size / 2) turned as a complex number by position times its frequency."""
    half = heads.shape[-1] // 2
    angle = positions[:, None] * base ** (-np.arange(half) / half)
    turned = (heads[..., :half] + 1j * heads[..., half:]) * np.exp(1j * angle)[:, None]
    return np.concatenate([turned.real, turned.imag], axis=-1)


@pytest.mark.parametrize("special", SPECIALS)
def test_llama_checkpoints_are_decoders(make_decoder: Callable[..., Path], special: tuple[str, ...]) -> None:
    folder = make_decoder(special=special)
    model = load(folder)
    assert isinstance(model, AttentionModel)
    assert (model.family, model.name, model.causal) == ("decoder", "decoder", True)
    assert (model.n_layers, model.n_heads, model.head_size) == (3, 4, 8)
    assert model.max_genes == 64 - len(special)
    assert len(model.vocabulary.tokens) == 60
    assert set(model.vocabulary.special) == {"<pad>", "<mask>", *special}


@pytest.mark.parametrize("special", SPECIALS)
def test_specials_stand_where_they_were_in_training(
    make_decoder: Callable[..., Path], special: tuple[str, ...]
) -> None:
    model = load(make_decoder(special=special))
    batch = model.batch(*as_cells([30, 9, 40], [12]))
    first, second = {0: ([30, 9, 40], [12]), 1: ([2, 30, 9, 40], [2, 12]), 2: ([2, 30, 9, 40, 3], [2, 12, 3])}[
        len(special)
    ]
    assert batch.ids.tolist() == [first, second + [0] * (len(first) - len(second))]
    assert batch.n_tokens == [len(first), len(second)]
    assert batch.positions[0].tolist() == list(range(len(first)))
    assert batch.mask.sum(1).tolist() == batch.n_tokens
    assert batch.offset == min(len(special), 1)


def test_genes_of_a_causal_model_keep_their_order(make_decoder: Callable[..., Path]) -> None:
    model = load(make_decoder())
    with pytest.raises(ValueError, match="in its own order"):
        model.batch([Tokens(np.array([5, 9, 30], dtype=np.int32))], [np.array([1, 0, 2])])


@pytest.mark.parametrize("special", SPECIALS)
def test_hidden_states_equal_those_of_each_cell_alone(
    make_decoder: Callable[..., Path], special: tuple[str, ...]
) -> None:
    from transformers import LlamaModel

    folder = make_decoder(special=special)
    model = load(folder)
    reference = LlamaModel.from_pretrained(folder, attn_implementation="eager").eval()
    batch = model.batch(*as_cells([40, 9, 30, 12], [7], [55, 6, 61]))
    found = model.forward(batch)
    for row, n in enumerate(batch.n_tokens):
        with torch.no_grad():
            expected = reference(batch.ids[row : row + 1, :n]).last_hidden_state[0]
        torch.testing.assert_close(found[row, :n], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_key_heads", [1, 2, 4])
def test_heads_are_rotated_and_shared_by_the_formula(make_decoder: Callable[..., Path], n_key_heads: int) -> None:
    model = load(make_decoder(n_key_heads=n_key_heads))
    batch = model.batch(*as_cells([40, 9, 30, 12], [7, 50]))
    rng = np.random.default_rng(0)
    query = rng.normal(size=(2, 5, 4, 8)).astype(np.float32)
    key = rng.normal(size=(2, 5, n_key_heads, 8)).astype(np.float32)
    found = model.heads(0, *(torch.from_numpy(item.reshape(2, 5, -1)) for item in (query, key)), batch)
    for row in range(2):
        positions = batch.positions[row].numpy()
        expected = rotated(query[row], positions), rotated(key[row], positions)
        for head in range(4):
            np.testing.assert_allclose(found[0][row, head], expected[0][:, head], atol=1e-5)
            np.testing.assert_allclose(found[1][row, head], expected[1][:, head * n_key_heads // 4], atol=1e-5)


def test_half_precision_leaves_the_angles_alone(make_decoder: Callable[..., Path]) -> None:
    folder = make_decoder()
    half, full = load(folder, dtype="bfloat16"), load(folder)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half.network.rotary_emb.inv_freq, full.network.rotary_emb.inv_freq)


def test_cells_are_ranked_as_for_the_encoders(
    make_decoder: Callable[..., Path], make_checkpoint: Callable[..., Path]
) -> None:
    decoder, encoder = load(make_decoder(special=())), load(make_checkpoint())
    tokens = np.array([decoder.vocabulary.tokens[f"ENSG{index:011d}"] for index in range(60)])
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (5, 60)))
    seeds = np.zeros(5, dtype=np.uint64)
    for one, other in zip(
        decoder.tokenize(counts, tokens, seeds), encoder.tokenize(counts, tokens, seeds), strict=True
    ):
        np.testing.assert_array_equal(one.ids, other.ids)


def test_a_random_twin_is_one_in_every_weight(make_decoder: Callable[..., Path]) -> None:
    model = load(make_decoder())
    with torch.no_grad():
        model.network.layers[0].input_layernorm.weight.mul_(3)
    twin = randomize(model, rng=1)
    fresh = dict(twin.network.named_parameters())
    for name, tensor in model.network.named_parameters():
        assert not torch.equal(tensor, fresh[name]) or "norm" in name, name
        assert "norm" not in name or bool((fresh[name] == 1).all()), name


def test_dictionaries_are_checked(make_decoder: Callable[..., Path]) -> None:
    folder = make_decoder()
    tokens = json.loads((folder / "token_dictionary.json").read_text())
    with pytest.raises(ValueError, match="no `<pad>`"):
        load(folder, token_dictionary={name: token for name, token in tokens.items() if name != "<pad>"})
    with pytest.raises(ValueError, match=r"64 entries .* vocabulary of 63"):
        load(folder, token_dictionary=tokens | {"ENSG99999999999": 63})
    twice: dict[str, Any] = tokens | {"ENSG00000000000": tokens["ENSG00000000001"]}
    with pytest.raises(ValueError, match="one token id to several genes"):
        load(folder, token_dictionary=twice)


def test_weights_of_an_encoder_are_refused(
    make_decoder: Callable[..., Path], make_checkpoint: Callable[..., Path]
) -> None:
    folder = make_decoder(special=())
    (folder / "model.safetensors").write_bytes((make_checkpoint() / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"tensors are missing .* 'embed_tokens.weight'"):
        load(folder)
