from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scepsis.datasets._simulate_screen import simulate_screen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

#: What makes a simulated screen the demo. At this depth no cell has more genes than the shipped checkpoints have
#: positions (256), so nothing is cut off.
DEMO: Mapping[str, Any] = MappingProxyType(
    {
        "n_genes": 300,
        "n_regulators": 30,
        "n_other": 10,
        "n_controls": 1500,
        "cells_per_perturbation": 70,
        "wiring": 0.2,
        "depth": 0.6,
        "rng": 0,
    }
)


def demo() -> AnnData:
    """
    Simulate the small screen that the examples use, with a known network :cite:p:`kendiukhov2026`.

    It is :func:`scepsis.datasets.simulate_screen` at a fixed seed, in the world where genes that respond to one
    perturbation respond to most and the network carries a fifth of a response (``wiring=0.2``): 300 genes, exactly
    those of the shipped checkpoints (:func:`scepsis.models.load`, ``"demo"``), 30 regulators and 10 other genes
    perturbed in about 70 cells each, and 1,500 control cells. No cell has more than 256 detected genes.

    Returns
    -------
    Annotated data as :func:`scepsis.datasets.simulate_screen` describes it, made anew on every call, in less than a
    second.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> adata.n_vars
    300
    """
    return simulate_screen(**DEMO)
