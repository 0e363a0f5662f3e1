from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from scepsis._core._edge_slots import provenance
from scepsis._core._groups import Strata
from scepsis._core._keys import EdgeKeys
from scepsis._core._progress import progress_bar
from scepsis._core._registry import Evidence, Row, updated_tests
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._states._leiden import Clustering, as_groups, choose_embedding
from scepsis.tl._states._recovery import Recovery
from scepsis.tl._states._request import make_measure, require_pass, require_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._network import Universe
    from scepsis._core._types import BoolArray, Data, FloatArray, IntArray, Mask, Seed
    from scepsis.edges._cssi import Aggregation
    from scepsis.models import AttentionModel
    from scepsis.tl._states._measures import Measure


def cssi_scan(  # noqa: PLR0913 - clusters, networks and references each have their own
    adata: Data,
    reference: pd.DataFrame,
    *,
    n_states: Sequence[int] = tuple(range(2, 21)),
    score: Literal["spearman", "pearson", "attention"] = "spearman",
    model: AttentionModel | None = None,
    layers: int | Sequence[int] | None = None,
    aggregation: Aggregation = "max",
    min_cells: int = 20,
    min_detected: int = 1,
    use_rep: str | None = None,
    n_neighbors: int = 15,
    n_null: int = 20,
    layer: str | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    reference_name: str = "reference",
    universe: Universe = "regulators",
    min_targets: int = 3,
    gene_symbols: str | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = "cssi_scan",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Make networks per state for every number of states, beside labels that say nothing :cite:p:`kendiukhov2026`.

    States are Leiden clusters of one neighbour graph; for each number K the resolution is bisected until K clusters
    appear, in at most 30 steps. For each, the aggregate of :func:`scepsis.tl.cssi` is scored against a reference, and
    so are aggregates of the same labels shuffled among the cells. A method that gains from cell state is above its
    nulls; one that gains from the number of cells, or from nothing, is not.

    Parameters
    ----------
    adata
        Cells x genes.
    reference
        Known edges: a frame ``source, target``, with ``weight`` and ``mode`` if it has them.
    n_states
        Numbers of clusters.
    score
        As for :func:`scepsis.tl.cssi`; attention takes one pass of the model for each K and each null draw.
    model
        Reads attention; its embedding is the default of `use_rep`.
    layers
        Layers whose mean is taken, with `model`.
    aggregation
        As for :func:`scepsis.tl.cssi`.
    min_cells
        Clusters with fewer cells are left out.
    min_detected
        Cells of a cluster in which a gene must be seen to have edges there, as for :func:`scepsis.tl.cssi`.
    use_rep
        Slot of ``obsm`` to cluster; the model's embedding when not given.
    n_neighbors
        Neighbours of each cell in the graph.
    n_null
        Draws of shuffled labels for each K; 0 for none.
    layer
        Log-normalised values, as for :func:`scepsis.tl.cssi`.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``.
    reference_name
        Name of the reference in the registry.
    universe
        Candidate pairs, as for :func:`scepsis.tl.cssi_null`.
    min_targets
        Targets that a regulator must have in the panel.
    gene_symbols
        Column of ``var`` that the reference is written in; ``var_names`` when not given.
    memory_limit
        Bytes that the computation may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets ``uns[key_added]`` with

    ``scan``
        one row per number of states: ``n_states``, ``resolution``, ``n_strata`` (of at least `min_cells` cells),
        ``smallest`` and ``n_cells`` of those, ``auroc`` and ``f1`` (of as many pairs as are listed), ``pooled`` and
        ``pooled_f1`` (all chosen cells together), ``gain`` (of AUROC), ``null_mean``, ``null_sd``, ``null_high`` (95 %
        quantile), ``status``, ``reason`` (``K_unreachable``: no resolution gave so many clusters).
    ``params``

    and a row ``scan/trend`` of ``uns["tests"]`` (Spearman's correlation of K and gain, descriptive), analysis A24.

    Raises
    ------
    ValueError
        There is no embedding, `reference` has no pairs of these genes, or `n_states` holds numbers below 2.
    MemoryError
        The networks would not fit; nothing is computed.

    Notes
    -----
    The best K of a scan was chosen by the reference. Take K from elsewhere, or see :func:`scepsis.tl.cssi_split_half`.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, n_cells=300)
    >>> sps.pp.embed_cells(adata, sps.models.load("demo"), show_progress_bar=False)
    >>> network = adata.uns["simulate_screen"]["network"]
    >>> sps.tl.cssi_scan(adata, network, n_states=[2, 4], n_null=2)
    >>> adata.uns["cssi_scan"]["scan"]["n_states"].tolist()
    [2, 4]
    """
    from scepsis.edges._cssi import AGGREGATIONS

    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    require_choice(aggregation, AGGREGATIONS, argument="aggregation")
    require_positive(min_cells, argument="min_cells")
    require_positive(n_null, argument="n_null", minimum=0)
    require_score(score, model, layers, min_detected)
    wanted = [int(k) for k in n_states]
    for k in wanted or [0]:
        require_positive(k, argument="n_states", minimum=2)
    seed = resolve_seed(rng)
    cells, genes = choose_cells(target, mask_obs), choose_genes(target, mask_var)
    name = choose_embedding(target, use_rep, model, cells.mask)
    n_held = 1 + (max(wanted) if aggregation == "median" else 0)
    require_pass(score, cells, genes, n_held=n_held, memory_limit=memory_limit)
    start = time.perf_counter()
    measure = make_measure(
        target, score, cells, genes, None, model=model, layers=layers, layer=layer, min_detected=min_detected,
        seed=seed, memory_limit=memory_limit, n_sets=max(wanted),
    )  # fmt: skip
    recovery = Recovery.of(
        target, reference, measure.genes, signed=measure.signed, universe=universe, min_targets=min_targets,
        gene_symbols=gene_symbols,
    )  # fmt: skip
    clustering = Clustering(np.asarray(target.obsm[name])[cells.mask], n_neighbors=n_neighbors, seed=seed)
    scan = _Scan(measure, recovery, clustering, cells.mask, aggregation, min_cells, seed)
    with progress_bar(total=len(wanted), desc="scan", unit="K", show=show_progress_bar) as bar:
        rows = []
        for k in wanted:
            rows.append(scan.row(k, n_null))
            bar.update()
    table = pd.DataFrame(rows)
    keys = EdgeKeys(key_added)
    params = record(
        n_states=wanted, score=score, aggregation=aggregation, min_cells=min_cells, use_rep=name,
        n_neighbors=n_neighbors, n_null=n_null,
        **measure.record() | {"seed": seed} | recovery.record(reference_name, universe, min_targets),
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )  # fmt: skip
    evidence = Evidence(
        key=key_added, params=params, edges={score: params}, reference=reference_name,
        labels_hash=recovery.network.hash, seed=seed, wall_s=time.perf_counter() - start,
    )  # fmt: skip
    write(
        target,
        uns={key_added: {"params": params, "scan": table}} | updated_tests(target, [_trend(score, table)], evidence),
    )
    return data if copy else None


class _Scan:
    """One number of states after the other."""

    def __init__(
        self,
        measure: Measure,
        recovery: Recovery,
        clustering: Clustering,
        cells: BoolArray,
        aggregation: Aggregation,
        min_cells: int,
        seed: int,
    ) -> None:
        self.measure, self.recovery, self.clustering, self.cells = measure, recovery, clustering, cells
        self.aggregation, self.min_cells, self.seed = aggregation, min_cells, seed
        self.pooled = measure.within([np.flatnonzero(cells)]).pooled()
        self.pooled_scores = recovery.scores(self.pooled)

    def row(self, k: int, n_null: int) -> dict[str, Any]:
        found = self.clustering.with_clusters(k)
        empty: dict[str, Any] = {"n_states": k, "resolution": np.nan, "n_strata": 0, "smallest": 0, "n_cells": 0}
        empty |= dict.fromkeys(("auroc", "f1", "pooled", "pooled_f1", "gain"), np.nan)
        empty |= dict.fromkeys(("null_mean", "null_sd", "null_high"), np.nan)
        if found is None:
            return empty | {"status": "not_run", "reason": "K_unreachable"}
        resolution, codes = found
        groups = as_groups(codes, self.cells)
        if np.bincount(codes).max() < self.min_cells:
            reason = f"no cluster of {self.min_cells} cells"
            return empty | {"resolution": resolution, "status": "too_few_units", "reason": reason}
        strata = Strata.of(groups, self.cells, self.min_cells, where="the clusters")
        scores = self._scores(strata.members)
        valid = ~np.isnan(scores) & ~np.isnan(self.pooled_scores)
        area, pooled = (self.recovery.auroc(one, valid) for one in (scores, self.pooled_scores))
        f1, pooled_f1 = (self._f1(one) for one in (scores, self.pooled_scores))
        nulls = [self.recovery.auroc(self._scores(self._shuffled(strata, k, draw)), valid) for draw in range(n_null)]
        single = len(strata.members) < 2
        status = self.recovery.status if self.recovery.status != "ok" else "single_stratum" if single else "ok"
        return {
            "n_states": k,
            "resolution": resolution,
            "n_strata": len(strata.members),
            "smallest": min(strata.sizes),
            "n_cells": sum(strata.sizes),
            "auroc": area,
            "f1": f1,
            "pooled": pooled,
            "pooled_f1": pooled_f1,
            "gain": area - pooled,
            "null_mean": float(np.mean(nulls)) if nulls else np.nan,
            "null_sd": float(np.std(nulls, ddof=1)) if len(nulls) > 1 else np.nan,
            "null_high": float(np.quantile(nulls, 0.95)) if nulls else np.nan,
            "status": status,
            "reason": "",
        }

    def _scores(self, members: Sequence[IntArray]) -> FloatArray:
        from scepsis.edges._cssi import aggregate

        networks = zip([len(rows) for rows in members], self.measure.within(members).each(), strict=True)
        found = aggregate(networks, self.aggregation, signed=self.measure.signed, pooled=self.pooled)
        return self.recovery.scores(self.pooled if found is None else found)

    def _f1(self, scores: FloatArray) -> float:
        n = self.recovery.n_listed
        return float(self.recovery.top(scores, [n]).f1[0]) if n else np.nan

    def _shuffled(self, strata: Strata, k: int, draw: int) -> list[IntArray]:
        order = child(self.seed, "cssi_scan", k, draw).permutation(strata.rows)
        return [np.sort(rows) for rows in np.split(order, np.cumsum(strata.sizes)[:-1])]


def _trend(score: str, table: pd.DataFrame) -> Row:
    from scipy.stats import spearmanr

    reached = table[table["status"] == "ok"]
    enough = len(reached) >= 3 and float(np.ptp(reached["gain"])) > 0
    rho = float(spearmanr(reached["n_states"], reached["gain"]).statistic) if enough else np.nan
    return Row(
        analysis="A24",
        name="scan/trend",
        hypothesis="The gain of the aggregate over all cells together changes with the number of states",
        test_type="Spearman correlation",
        role="descriptive",
        edges=score,
        statistic=rho,
        effect_size=float(reached["gain"].mean()) if len(reached) else np.nan,
        effect_type="mean difference of AUROC over numbers of states",
        unit="number of states",
        n=len(reached),
        n_units=len(reached),
        null_mean=float(reached["null_mean"].mean()) if len(reached) else np.nan,
        null_family="shuffled",
        baseline_name="pooled",
        baseline_value=float(reached["pooled"].mean()) if len(reached) else np.nan,
        status="ok" if enough else "too_few_units",
    )
