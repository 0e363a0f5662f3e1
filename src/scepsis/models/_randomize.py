from __future__ import annotations

import copy
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from scepsis._core._rng import resolve_seed

if TYPE_CHECKING:
    from scepsis._core._types import Seed

ModelT = TypeVar("ModelT")


def randomize(model: ModelT, rng: Seed = 0) -> ModelT:
    r"""
    Draw all weights of a model anew: the negative control of every table of edges.

    An untrained model of the same architecture sees the same tokens, in the same order and number, so whatever its
    attention "finds" comes from the encoding, from cell depth or from co-detection, and not from training.
    Linear and embedding weights are drawn from :math:`N(0, \sigma^2)` with the configuration's
    ``initializer_range`` as :math:`\sigma` (0.02 without one), biases are 0 and normalisation layers the identity,
    which is how BERT models start.

    Parameters
    ----------
    model
        A model from :func:`scepsis.models.load`. It is not changed.
    rng
        Seed of the draw.

    Returns
    -------
    A copy of the model with new weights, named ``<name>-randomized``.

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.models.randomize(sps.models.load("demo")).name
    'demo-randomized'
    """
    import torch

    seed = resolve_seed(rng)
    twin = copy.deepcopy(model)
    network = twin.network  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(seed)
    sigma = float(getattr(network.config, "initializer_range", 0.02))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                drawn = torch.empty(module.weight.shape).normal_(0.0, sigma, generator=generator)
                module.weight.copy_(drawn)
            if isinstance(module, torch.nn.Linear) and module.bias is not None:
                module.bias.zero_()
            if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
    twin.name = f"{model.name}-randomized"  # type: ignore[attr-defined]
    twin.fingerprint = blake2b(  # type: ignore[attr-defined]
        f"{model.fingerprint}\x1frandomized\x1f{seed}".encode(),  # type: ignore[attr-defined]
        digest_size=16,
    ).hexdigest()
    return twin
