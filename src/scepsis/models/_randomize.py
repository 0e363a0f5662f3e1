from __future__ import annotations

import copy
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from scepsis._core._rng import resolve_seed
from scepsis.models._intervene import active_interventions

if TYPE_CHECKING:
    import torch

    from scepsis._core._types import Seed

ModelT = TypeVar("ModelT")


def randomize(model: ModelT, rng: Seed = 0) -> ModelT:
    r"""
    Draw all weights of a model anew: the negative control of every table of edges.

    An untrained model of the same architecture sees the same tokens, in the same order and number, so whatever its
    attention "finds" comes from the encoding, from cell depth or from co-detection, and not from training.
    Weights are drawn as the family's training started. For networks of transformers, linear and embedding weights
    come from :math:`N(0, \sigma^2)` with the configuration's ``initializer_range`` as :math:`\sigma` (0.02 without
    one), and biases are 0. Networks without a configuration, such as scGPT's, start as torch starts them: linear
    weights and biases uniform within :math:`1 / \sqrt{n}` for `n` inputs, embeddings from :math:`N(0, 1)`. (Without
    biases, the value encoder's normalisation would take out what it is given.) Normalisation layers are the identity
    in either case.

    Parameters
    ----------
    model
        A model from :func:`scepsis.models.load`. It is not changed.
    rng
        Seed of the draw.

    Returns
    -------
    A copy of the model with new weights, named ``<name>-randomized``, and without a language-model head.

    Raises
    ------
    ValueError
        The model is under an intervention.
    NotImplementedError
        The network holds parameters other than those of linear maps, embeddings and normalisation.

    Examples
    --------
    >>> import scepsis as sps
    >>> sps.models.randomize(sps.models.load("demo")).name
    'demo-randomized'
    """
    import torch

    if active_interventions(model):  # type: ignore[arg-type]
        msg = "The model is under an intervention, which its copy would keep for good. Randomize it outside the block."
        raise ValueError(msg)
    seed = resolve_seed(rng)
    twin = copy.deepcopy(model)
    network = twin.network  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(seed)
    config = getattr(network, "config", None)
    sigma = None if config is None else float(getattr(config, "initializer_range", 0.02))
    with torch.no_grad():
        for module in network.modules():
            _draw(module, sigma, generator)
    if getattr(twin, "head", None) is not None:
        twin.head = None  # type: ignore[attr-defined]
    twin.name = f"{model.name}-randomized"  # type: ignore[attr-defined]
    twin.fingerprint = blake2b(  # type: ignore[attr-defined]
        f"{model.fingerprint}\x1frandomized\x1f{seed}".encode(),  # type: ignore[attr-defined]
        digest_size=16,
    ).hexdigest()
    return twin


def _draw(module: torch.nn.Module, sigma: float | None, generator: torch.Generator) -> None:
    """Draw what a module itself holds, its children left out."""
    import torch

    own = dict(module.named_parameters(recurse=False))
    weight, bias = own.get("weight"), own.get("bias")
    if isinstance(module, torch.nn.Linear) and sigma is None:
        bound = module.in_features**-0.5
        for parameter in own.values():
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
        return
    if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
        deviation = 1.0 if sigma is None else sigma
        module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, deviation, generator=generator))
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
