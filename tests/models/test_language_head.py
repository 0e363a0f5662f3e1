from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from scepsis.models import Tokens, load, randomize
from scepsis.models._language_head import LanguageHead, MaskedHead, condensed, language_head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    batch = model.batch([Tokens(np.array(ids, dtype=np.int32))], [np.arange(len(ids))])
    hidden = model.forward(batch)[0]
    head = language_head(model)
    assert head is not None
    with torch.no_grad():
        return head(hidden)


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_logits_are_those_of_the_whole_model(make_checkpoint: Callable[..., Path], weights: str) -> None:
    from transformers import BertForMaskedLM

    folder = make_checkpoint()
    reference = BertForMaskedLM.from_pretrained(make_checkpoint("other")).eval()
    for parameter in (reference.cls.predictions.bias, reference.cls.predictions.transform.LayerNorm.weight):
        with torch.no_grad():
            parameter.add_(torch.linspace(-1, 1, len(parameter)))
    reference.save_pretrained(folder)
    if weights != "model.safetensors":
        torch.save(reference.state_dict(), folder / weights)
        (folder / "model.safetensors").unlink()
    with torch.no_grad():
        expected = reference(torch.tensor([[5, 30, 9, 12]])).logits[0]
    model = load(folder)
    torch.testing.assert_close(logits(model, [5, 30, 9, 12]), expected, atol=1e-5, rtol=1e-5)
    assert language_head(randomize(model)) is None


@pytest.mark.parametrize("tied", [True, False])
def test_logits_of_a_decoder(make_decoder: Callable[..., Path], tied: bool) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = make_decoder(special=())
    config = LlamaConfig.from_pretrained(folder, tie_word_embeddings=tied)
    reference = LlamaForCausalLM(config).eval()
    reference.save_pretrained(folder)
    with torch.no_grad():
        expected = reference(torch.tensor([[5, 30, 9, 12]])).logits[0]
    torch.testing.assert_close(logits(load(folder), [5, 30, 9, 12]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("n_tokens", "width"), [(40, 12), (5, 12), (12, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_condensed_logits_have_the_inner_products_of_all(n_tokens: int, width: int, bias: bool) -> None:
    """Of a plain map, one of which most rows are 0, and one that normalises first; for any number of tokens."""
    rng = torch.Generator().manual_seed(0)
    plain = nn.Linear(width, n_tokens, bias=bias)
    sparse = nn.Linear(width, n_tokens, bias=bias)
    with torch.no_grad():
        sparse.weight[n_tokens // 3 :] = 0
        weight = nn.Parameter(torch.randn(n_tokens, width, generator=rng))
    heads: list[Any] = [plain, sparse, LanguageHead(weight)]
    heads.append(MaskedHead(width, nn.functional.gelu, 1e-12, weight, torch.randn(n_tokens, generator=rng)))
    hidden = torch.randn(7, width, generator=rng)
    for head in heads:
        with torch.no_grad():
            few, states = condensed(head)(hidden), getattr(head, "states", lambda given: given)(hidden)
        full = states.double().numpy() @ head.weight.detach().double().numpy().T
        full += 0 if head.bias is None else head.bias.detach().double().numpy()
        assert few.dtype == torch.float64
        assert few.shape[-1] <= width + 1
        np.testing.assert_allclose(few.numpy() @ few.numpy().T, full @ full.T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(full, head(hidden).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_head_of_another_kind_is_read_as_it_is() -> None:
    head = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    assert condensed(head) is head


def test_a_checkpoint_without_a_head(make_checkpoint: Callable[..., Path], make_scgpt_checkpoint: Any) -> None:
    from transformers import BertModel

    folder = make_checkpoint()
    BertModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(folder)
    assert language_head(load(folder)) is None
    assert language_head(load(make_scgpt_checkpoint())) is None
