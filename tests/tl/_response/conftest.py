"""A screen whose slots are written by numpy alone, with a known answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scepsis as sps
from scepsis._core._edge_slots import provenance
from scepsis._core._resolve import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

CONTROL = "non-targeting"
ALL_SCALES = ("uniform_fold", "centered", "randomized")


def _record(adata: ad.AnnData, cells: str, **more: Any) -> dict[str, Any]:
    mask = adata.obs[cells].to_numpy(dtype=bool)
    genes = Choice(adata.var["edge_panel"].to_numpy(dtype=bool), "edge_panel")
    return more | provenance(adata, Choice(mask, cells), genes, cells_name="", genes_name="")


def _store_edges(adata: ad.AnnData, key: str, values: NDArray, *, cells: str = "edge_cells", **more: Any) -> None:
    values = values.astype(np.float32)
    np.fill_diagonal(values, np.nan)
    adata.varp[key] = values
    params = {"signed": False, "layer_rule": "single"} | _record(adata, cells) | more
    adata.uns[key] = {"params": params, "edges_keys": [key]}


def _make_audit(
    *,
    n_genes: int = 200,
    n_units: int = 30,
    signal: float = 0.0,
    confound: float = 0.0,
    shared: float = 0.0,
    rate: float = 0.15,
    companions: Sequence[str] = ALL_SCALES,
    outside: int = 0,
    seed: int = 0,
) -> ad.AnnData:
    """
    Screen of `n_units` perturbed genes, ``G0`` on, among `n_genes`.

    Attention of g to t is noise plus `signal` where t responds to g, plus `confound` times a property of t alone
    that is also its mean, variance and detection rate. Genes respond the more often the higher that property,
    by `shared`. The last `outside` genes are no tokens: NaN in attention. Spearman edges are noise, signed.
    """
    rng = np.random.default_rng(seed)
    names = [f"G{index}" for index in range(n_genes)]
    cells = [CONTROL] * 40 + [name for name in names[:4] for _ in range(3)]
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(cells),
            "edge_cells": np.arange(len(cells)) < 40,
            "other_cells": (np.arange(len(cells)) < 40) & (np.arange(len(cells)) > 4),
            "all_cells": np.ones(len(cells), dtype=bool),
        },
        index=[f"c{index}" for index in range(len(cells))],
    )
    height = rng.normal(size=n_genes)
    var = pd.DataFrame({"edge_panel": True, "mean": np.exp(height), "variance": np.exp(height) + 0.1}, index=names)
    var["detection_rate"] = 1 / (1 + np.exp(-height))
    var["attention_position"] = (n_genes - np.argsort(np.argsort(height))).astype(np.float32)
    adata = ad.AnnData(X=rng.poisson(1.0, (len(cells), n_genes)).astype(np.float32), obs=obs, var=var)
    adata.uns["gene_features"] = {"params": _record(adata, "edge_cells")}

    odds = np.exp(shared * height)
    chance = np.clip(rate * odds / odds.mean(), 0.01, 0.9)
    responds = rng.random((n_units, n_genes)) < chance
    edges = rng.normal(size=(n_genes, n_genes)) + confound * height
    edges[:n_units] += signal * responds
    token = np.arange(n_genes) < n_genes - outside
    edges[~token], edges[:, ~token] = np.nan, np.nan
    _store_edges(adata, "attention", np.exp(edges), method="attention", scale="probability")
    for name in companions:
        noise = np.where(np.isnan(edges), np.nan, rng.normal(size=edges.shape))
        scale = "probability" if name == "randomized" else name
        _store_edges(adata, f"attention_{name}", noise, method="attention", scale=scale)
    adata.varp["attention_n_cells"] = np.outer(token, token).astype(np.int32) * rng.integers(1, 40, edges.shape)
    both = rng.normal(size=edges.shape)
    _store_edges(adata, "spearman", np.tanh(both + both.T), method="spearman", signed=True)
    _store_effects(adata, responds)
    return adata


def _store_effects(adata: ad.AnnData, responds: NDArray) -> None:
    n_units = len(responds)
    genes = list(adata.var_names[:n_units])
    target = responds.T.astype(np.float32)
    target[np.arange(n_units), np.arange(n_units)] = 1  # the perturbed gene responds, and must not count
    adata.varm["perturbation_target"] = target
    adata.uns["perturbation_effects"] = {
        "params": {"groupby": "perturbation", "control": CONTROL, "labels_hash": "labels"},
        "perturbations": pd.DataFrame(
            {
                "perturbation": genes,
                "gene": genes,
                "n_cells": 60,
                "n_testable": (~np.isnan(target)).sum(axis=0),
                "n_targets": (target == 1).sum(axis=0),
                "status": "ok",
            }
        ).astype({"perturbation": object, "gene": object, "status": object}),
    }


@pytest.fixture
def make_audit() -> Callable[..., ad.AnnData]:
    """Maker of screens ready to be scored."""
    return _make_audit


@pytest.fixture
def store_edges() -> Callable[..., None]:
    """Write a matrix of edges with its record: ``store_edges(adata, key, values, cells="edge_cells", **params)``."""
    return _store_edges


class Result(dict[str, Any]):
    """Frames of a result, and rows of them by name."""

    def of(self, predictor: str) -> pd.DataFrame:
        frame = self["per_perturbation"]
        return frame[frame["predictor"] == predictor].set_index("perturbation")

    def contrast(self, edges: str, versus: str) -> pd.Series:
        frame = self["contrasts"]
        return frame[(frame["edges"] == edges) & (frame["versus"] == versus)].iloc[0]


@pytest.fixture
def score() -> Callable[..., Result]:
    """Score edges in place and give the result: ``score(adata, **arguments)``."""

    def run(adata: ad.AnnData, *, n_boot: int = 200, key_added: str = "perturbation_auroc", **more: Any) -> Result:
        assert sps.tl.perturbation_auroc(adata, n_boot=n_boot, key_added=key_added, **more) is None
        return Result(adata.uns[key_added])

    return run
