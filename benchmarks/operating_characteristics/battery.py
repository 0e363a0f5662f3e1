"""One screen and all its edges through the tools that the verdict rests on."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import scepsis as sps

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from worlds import World

CRITERIA = ["a", "b", "c", "d", "overall"]
N_NULL, N_BOOT = 200, 200


def judge(world: World) -> pd.DataFrame:
    """
    Judge every set of edges of a world: one row each, with what passed and what it took.

    All sets go through each tool together, so that folds, gene-only models and rewired networks are shared. Seconds
    are of the processor, in this process, and those that all sets share are dealt out evenly; simulating the screen
    and making its edges is not counted.
    """
    adata, keys = world.adata, list(world.edges)
    started = time.process_time()
    with warnings.catch_warnings():
        # edge tables come without a record of their cells, as those of a user do
        warnings.simplefilter("ignore", UserWarning)
        prepare(adata, world.edges)
        audit(adata, keys, world.truth)
    seconds = (time.process_time() - started) / len(keys)
    table = adata.uns["verdict"]["criteria"]
    passed = table.set_index(["edges", "criterion"])["passed"].unstack().loc[keys, CRITERIA]  # noqa: PD010
    passed["abc"] = passed[["a", "b", "c"]].fillna(value=False).all(axis=1)
    summary = adata.uns["perturbation_auroc"]["summary"].set_index("predictor")
    gains = adata.uns["incremental_value"]["gains"]
    n_pairs = gains["n_pairs"].max()
    n_pos = gains.loc[gains["n_pairs"] == n_pairs, "n_pos"].max()
    return passed.reset_index().assign(
        auroc=summary.loc[keys, "auroc"].to_numpy(),
        auroc_variance=summary.loc["variance", "auroc"],
        n_perturbations=int(summary.loc[keys[0], "n_units"]),
        positive_rate=n_pos / n_pairs,
        kept=world.kept,
        cpu_seconds=seconds,
    )


def prepare(adata: AnnData, edges: dict[str, pd.DataFrame]) -> None:
    """What comes before any audit: cells, features, responders, and the tables as edges."""
    sps.pp.select_cells(adata)
    sps.pp.gene_features(adata)
    sps.tl.perturbation_effects(adata, show_progress_bar=False)
    for key, frame in edges.items():
        sps.pp.add_edges(adata, frame, key_added=key, signed=False)


def audit(adata: AnnData, keys: list[str], truth: pd.DataFrame) -> None:
    """Run the tools whose rows the verdict reads, on all sets at once."""
    options: dict[str, Any] = {"edges": keys}
    sps.tl.perturbation_auroc(adata, n_boot=N_BOOT, **options)
    sps.tl.incremental_value(adata, n_boot=N_BOOT, joint_mode="diagonal", **options)
    sps.tl.residualize_edges(adata, reference=truth, n_boot=N_BOOT, n_seeds=1, pair_folds=False, **options)
    sps.tl.degree_null(adata, truth, n_null=N_NULL, n_label=N_NULL, show_progress_bar=False, **options)
    sps.tl.verdict(adata, **options)


def reasons(adata: AnnData) -> dict[tuple[str, str], str]:
    """Why each criterion passed or not, by edges and criterion."""
    table = adata.uns["verdict"]["criteria"]
    return dict(zip(zip(table["edges"], table["criterion"], strict=True), table["reason"], strict=True))


def is_finite(rows: pd.DataFrame) -> bool:
    """Whether all numbers that a study averages are there."""
    return bool(np.isfinite(rows[["auroc", "auroc_variance", "cpu_seconds"]].to_numpy(dtype=float)).all())
