"""
Screens whose network is known, and edges of which it is known what they say.

Two worlds: in ``along`` responses travel along network edges (`wiring=1`), in ``apart`` they do not (`wiring=0`, all
of a response runs through programmes that perturbations share). A world and a seed give one screen of 200 genes and
its edge sets:

``true_<d>``
    the network plus noise: an edge of mean weight stands ``d`` standard deviations above pairs without one;
``key_var``
    variance of the target in control cells (normal scores), gene noise of 0.3 and pair noise of 0.35 standard
    deviations: no information on pairs;
``key_resp``
    how strongly the target truly responds (normal scores of the largest loading) and pair noise of 0.35: none either;
``coexpression``
    absolute Spearman correlation in control cells of the same world without regulator activities (``u_sd=0``), where
    co-expression comes from programmes and quality alone, which are independent of the network;
``rewired``
    a random network with all degrees of the true one, plus the noise of the strongest true edges;
``random``
    noise.

Scores are moved above zero, which leaves their order: a negative weight would make them signed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata

import scepsis as sps
from scepsis.stats._rewire import rewire

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

WIRING = {"along": 1.0, "apart": 0.0}
STRENGTHS = (0.5, 1.0, 2.0, 4.0)
SCREEN: dict[str, Any] = {"n_controls": 1500, "cells_per_perturbation": 90}
#: Of the perturbations, in either world about 40, 80 and 120 have enough responders.
SIZES: dict[str, dict[str, int]] = {
    "40 x 200": {"n_genes": 200, "n_regulators": 44, "n_other": 20},
    "80 x 400": {"n_genes": 400, "n_regulators": 88, "n_other": 40},
    "120 x 600": {"n_genes": 600, "n_regulators": 132, "n_other": 60},
}
BASE = "40 x 200"
GENE_NOISE, PAIR_NOISE = 0.3, 0.35


@dataclass
class World:
    """One screen, its truth, and the edges to be audited."""

    adata: AnnData
    #: The network, as a reference.
    truth: pd.DataFrame
    edges: dict[str, pd.DataFrame] = field(default_factory=dict)
    #: Share of the true edges that is left in the rewired network.
    kept: float = np.nan


def make_world(
    name: str, seed: int, *, size: str = BASE, strengths: tuple[float, ...] = STRENGTHS, others: bool = True
) -> World:
    """Simulate a screen and make its edges, without `others` only the true ones; every set has its own generator."""
    knobs = SCREEN | SIZES[size] | {"wiring": WIRING[name], "rng": seed}
    adata = sps.datasets.simulate_screen(**knobs)
    network = np.abs(adata.varp["regulation"])
    world = World(adata, adata.uns["simulate_screen"]["network"][["source", "target"]].drop_duplicates())
    noise = {key: _normal(network.shape, seed, key) for key in ("true", "key_var", "key_resp", "rewired", "random")}
    scores = {f"true_{strength:g}": strength * relative(network) + noise["true"] for strength in strengths}
    if others:
        responsiveness = np.abs(adata.varm["responsiveness"]).max(axis=1)
        gene_noise = _normal((adata.n_vars,), seed, "gene")
        listed, world.kept = rewired(network > 0, seed)
        scores |= {
            "key_var": key_effect(control_variance(adata), noise["key_var"], gene_noise),
            "key_resp": key_effect(responsiveness, noise["key_resp"]),
            "coexpression": coexpression(knobs),
            "rewired": max(strengths, default=1.0) * listed + noise["rewired"],
            "random": noise["random"],
        }
    world.edges = {key: edge_frame(values, adata.var_names) for key, values in scores.items()}
    return world


def relative(network: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 without an edge, else 0.7 + 0.3 of the weight relative to the largest, scaled to a mean of 1 over edges."""
    edge = network > 0
    height = edge * (0.7 + 0.3 * network / network.max())
    scaled: NDArray[np.float64] = height / height[edge].mean()
    return scaled


def key_effect(
    values: NDArray[np.float64], noise: NDArray[np.float64], gene_noise: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Scores that say the same of a target whatever its source, but for noise."""
    normal = ndtri((rankdata(values) - 0.5) / len(values))
    scores: NDArray[np.float64] = normal + GENE_NOISE * gene_noise + PAIR_NOISE * noise
    return scores


def control_variance(adata: AnnData) -> NDArray[np.float64]:
    """Variance of log-normalised values over control cells."""
    counts = adata[adata.obs["perturbation"] == "non-targeting"].X.toarray().astype(np.float64)
    values = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    variance: NDArray[np.float64] = values.var(axis=0)
    return variance


def coexpression(knobs: dict[str, Any]) -> NDArray[np.float64]:
    """Absolute rank correlation in control cells of the same world whose regulators are all at rest."""
    twin = sps.datasets.simulate_screen(**(knobs | {"u_sd": 0.0, "cells_per_perturbation": 0}))
    counts = twin.X.toarray().astype(np.float64)
    ranks = rankdata(np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)), axis=0)
    correlation: NDArray[np.float64] = np.abs(np.corrcoef(ranks.T))
    return np.nan_to_num(correlation)


def rewired(listed: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.bool_], float]:
    """Draw a network with the degrees of `listed`, and say what share of its edges is left."""
    sources = np.flatnonzero(listed.any(axis=1))
    allowed = np.ones_like(listed)
    np.fill_diagonal(allowed, val=False)
    drawn = rewire(listed[sources], allowed[sources], 1, seed=seed)
    result = np.zeros_like(listed)
    rows = np.zeros(listed[sources].size, dtype=bool)
    rows[drawn.cells[0]] = True
    result[sources] = rows.reshape(len(sources), -1)
    return result, float(drawn.overlap[0])


def edge_frame(scores: NDArray[np.float64], names: pd.Index) -> pd.DataFrame:
    """All pairs of two genes, weights moved above zero."""
    source, target = np.nonzero(~np.eye(len(names), dtype=bool))
    weight = scores[source, target] - scores.min() + 1.0
    return pd.DataFrame({"source": names[source], "target": names[target], "weight": weight})


def _normal(shape: tuple[int, ...], seed: int, name: str) -> NDArray[np.float64]:
    # crc32, since Python's hash of a string differs between processes
    return np.random.default_rng([seed, zlib.crc32(name.encode())]).normal(size=shape)
