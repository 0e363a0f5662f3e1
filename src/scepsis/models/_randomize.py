from __future__ import annotations

import copy
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from scepsis._core._rng import resolve_seed

if TYPE_CHECKING:
    import torch

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

    Raises
    ------
    NotImplementedError
        The network holds parameters other than those of linear maps, embeddings and normalisation.

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
    sigma = float(getattr(getattr(network, "config", None), "initializer_range", 0.02))
    with torch.no_grad():
        for module in network.modules():
            _draw(module, sigma, generator)
    twin.name = f"{model.name}-randomized"  # type: ignore[attr-defined]
    twin.fingerprint = blake2b(  # type: ignore[attr-defined]
        f"{model.fingerprint}\x1frandomized\x1f{seed}".encode(),  # type: ignore[attr-defined]
        digest_size=16,
    ).hexdigest()
    return twin


def _draw(module: torch.nn.Module, sigma: float, generator: torch.Generator) -> None:
    """Draw what a module itself holds, its children left out."""
    import torch

    own = dict(module.named_parameters(recurse=False))
    weight, bias = own.get("weight"), own.get("bias")
    if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
        module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, sigma, generator=generator))
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()
    elif set(own) <= {"weight", "bias"} and (weight is None or weight.ndim == 1):
        # Normalisation, under whatever name: every family has classes of its own for it.
        if weight is not None:
            weight.fill_(1.0)
        if isinstance(module, torch.nn.modules.batchnorm._NormBase):
            module.reset_running_stats()
    else:
        msg = f"Weights cannot be drawn anew: a {type(module).__name__} of this model holds {', '.join(own)}."
        raise NotImplementedError(msg)
    if bias is not None:
        bias.zero_()
