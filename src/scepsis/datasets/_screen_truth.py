"""A simulated screen as AnnData: counts, labels, and all that is known about both."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scepsis._core._keys import ENSEMBL_ID
from scepsis._core._store import record, write
from scepsis.datasets._screen_cells import CONTROL, N_CONTROL_GUIDES

if TYPE_CHECKING:
    from scepsis._core._types import FloatArray, IntArray
    from scepsis.datasets._knobs import Knobs
    from scepsis.datasets._screen_cells import Arm
    from scepsis.datasets._world import World


def assemble(knobs: Knobs, world: World, arms: list[Arm], *, seed: int, cells_seed: int) -> AnnData:
    """Put the arms together, and the truth beside them."""
    adata = AnnData(
        sparse.vstack([arm.counts for arm in arms], format="csr"),
        obs=pd.concat([_obs(arm, knobs, world) for arm in arms]),
        var=_var(world),
    )
    for column, levels in _levels(knobs, world).items():
        adata.obs[column] = pd.Categorical(adata.obs[column], categories=levels)
    adata.obs["guide"] = pd.Categorical(adata.obs["guide"], categories=list(dict.fromkeys(adata.obs["guide"])))
    states = _names("state", knobs.n_states)
    keys = [f"regulation_{state}" for state in states]
    direct = _square(world.network.direct)
    strongest = _strongest(world.network.direct)
    total = np.einsum("s,srg->rg", knobs.state_shares, world.network.total)
    np.fill_diagonal(total, 0.0)
    write(
        adata,
        varm={"responsiveness": world.programs.loadings.T.astype(np.float32)},
        varp={
            "regulation": _square(strongest),
            **dict(zip(keys, direct, strict=True)),
            "total_effect": _square(total),
        },
        uns={
            "simulate_screen": {
                "params": record(**asdict(knobs), seed=seed, cells_seed=cells_seed),
                "states": pd.DataFrame({"state": states, "share": knobs.state_shares, "edges_key": keys}),
                "network": _edge_frame(world, strongest, states),
                "perturbations": _perturbation_frame(world, arms),
                "guides": _guide_frame(world),
            }
        },
    )
    return adata


def _names(stem: str, n: int) -> list[str]:
    return [f"{stem}{number}" for number in range(1, n + 1)]


def _levels(knobs: Knobs, world: World) -> dict[str, list[str]]:
    return {
        "perturbation": [CONTROL, *world.panel.names[: knobs.n_perturbed]],
        "cell_state": _names("state", knobs.n_states),
        "donor": _names("donor", knobs.n_donors),
        "batch": _names("batch", knobs.n_batches),
    }


def _obs(arm: Arm, knobs: Knobs, world: World) -> pd.DataFrame:
    levels = _levels(knobs, world)
    n, n_guides = len(arm.state), N_CONTROL_GUIDES if arm.target < 0 else knobs.guides
    guides = _guides(arm.label, n_guides)
    return pd.DataFrame(
        {
            "perturbation": np.full(n, arm.label, dtype=object),
            "guide": _pick(guides, arm.guide),
            "cell_state": _pick(levels["cell_state"], arm.state),
            "donor": _pick(levels["donor"], arm.donor),
            "batch": _pick(levels["batch"], arm.batch),
            "knockdown": arm.knockdown,
            "log_depth": arm.log_depth,
            "quality": arm.quality,
        },
        index=[f"{arm.label}_{number:05d}" for number in range(1, n + 1)],
    )


def _pick(names: list[str], index: IntArray) -> Any:
    return np.array(names, dtype=object)[index]


def _guides(label: str, n: int) -> list[str]:
    return _names(f"{label}_g", n)


def _var(world: World) -> pd.DataFrame:
    panel = world.panel
    return pd.DataFrame(
        {
            ENSEMBL_ID: [f"ENSG9{number:010d}" for number in range(1, panel.n_genes + 1)],
            "is_regulator": np.arange(panel.n_genes) < panel.n_regulators,
            "is_perturbed": panel.perturbed,
            "is_housekeeping": panel.housekeeping,
            "is_responder": world.programs.responder,
            "log_mean": panel.log_mean,
            "dispersion": panel.dispersion,
        },
        index=panel.names,
    )


def _strongest(direct: FloatArray) -> FloatArray:
    """Weight of every edge in the state where it is largest; an edge has one sign in all states."""
    strongest: FloatArray = np.take_along_axis(direct, np.abs(direct).argmax(axis=0)[None], axis=0)[0]
    return strongest


def _square(by_regulator: FloatArray) -> FloatArray:
    """Genes x genes, with nothing out of genes that do not regulate."""
    *lead, n_regulators, n_genes = by_regulator.shape
    result = np.zeros((*lead, n_genes, n_genes), dtype=np.float32)
    result[..., :n_regulators, :] = by_regulator
    return result


def _edge_frame(world: World, strongest: FloatArray, states: list[str]) -> pd.DataFrame:
    names = np.array(world.panel.names, dtype=object)
    source, target = np.nonzero(world.network.edge)
    return pd.DataFrame(
        {
            "source": names[source],
            "target": names[target],
            "weight": strongest[source, target],
            # -1 is an edge of all states
            "state": np.array([*states, "all"], dtype=object)[world.network.state[source, target]],
        }
    )


def _perturbation_frame(world: World, arms: list[Arm]) -> pd.DataFrame:
    panel, responses = world.panel, world.responses
    frame = pd.DataFrame(
        {
            "perturbation": panel.names[: panel.n_perturbed],
            "is_regulator": np.arange(panel.n_perturbed) < panel.n_regulators,
            "n_cells": [len(arm.state) for arm in arms if arm.target >= 0],
            "amplitude": responses.amplitude,
        }
    )
    for number, column in enumerate(responses.direction.T, start=1):
        frame[f"program{number}"] = column
    return frame


def _guide_frame(world: World) -> pd.DataFrame:
    n, n_guides = world.reached.shape
    names = world.panel.names[:n]
    return pd.DataFrame(
        {
            "guide": [guide for name in names for guide in _guides(name, n_guides)],
            "perturbation": [name for name in names for _ in range(n_guides)],
            "knockdown": world.reached.ravel(),
        }
    )
