"""Attention of a model as edges, for tools that compare rather than store it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._core._edge_slots import EdgeArray, provenance
from scepsis._core._groups import Groups
from scepsis._core._match import tokens_for
from scepsis._core._store import record
from scepsis.tl._shared._request import Maps, resolve_layer_rule, resolve_scales
from scepsis.tl._shared._run import Run, owned_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._resolve import Choice
    from scepsis._core._types import Scale
    from scepsis.edges._accumulate import AttentionSums
    from scepsis.models import AttentionModel


def attention_run(
    adata: AnnData,
    model: AttentionModel,
    cells: Choice,
    genes: Choice,
    *,
    layers: int | Sequence[int] | None,
    scale: Scale,
    seed: int,
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> Run:
    """Check what `mean_attention` is asked for, and that it fits, before any work."""
    from scepsis.edges._accumulate import Plan

    scales = resolve_scales(model, scale)
    maps = Maps.of(model, layers, None)
    match = tokens_for(adata, model)
    panel = owned_panel(match, genes)
    groups = Groups.none(adata.n_obs)
    plan = Plan(len(panel), maps.layers, maps.heads, scales, groups.n_with_rest, ())
    run = Run(adata, model, cells, groups, match, panel, plan, seed, batch_size)
    run.require_fit(memory_limit)
    return run


def mean_attention(run: Run, genes: Choice, *, cells_name: str, genes_name: str, show: bool) -> EdgeArray:
    """Read the cells of a run; see `attention_edge_array`."""
    return attention_edge_array(run, run.extract(show=show), genes, cells_name=cells_name, genes_name=genes_name)


def attention_edge_array(
    run: Run, sums: AttentionSums, genes: Choice, *, cells_name: str, genes_name: str
) -> EdgeArray:
    """Mean over the layers of a run, with the record that `scepsis.tl.attention_edges` would make of it."""
    maps = Maps(run.plan.layers, ())
    params = record(
        method="attention",
        signed=False,
        scale=run.plan.scales[0],
        layer_rule=resolve_layer_rule(run.adata, run.model, maps, None),
        **run.record(sums),
        **provenance(run.adata, run.cells, genes, cells_name=cells_name, genes_name=genes_name),
    )
    return EdgeArray(sums.mean(None, 0, None), run.panel, params)
