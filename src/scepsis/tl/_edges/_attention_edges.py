from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scepsis._core._edge_slots import own_masks, pack, provenance, superseded
from scepsis._core._keys import EdgeKeys
from scepsis._core._match import tokens_for
from scepsis._core._model_runs import warn_of_few_genes
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_key, require_positive
from scepsis.tl._shared._request import Maps, resolve_groups, resolve_layer_rule, resolve_scales
from scepsis.tl._shared._run import Run, owned_panel, source_positions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData

    from scepsis._core._groups import Groups
    from scepsis._core._resolve import Choice
    from scepsis._core._types import Data, Head, IntArray, LayerRule, Mask, Scale, Seed
    from scepsis.edges._accumulate import AttentionSums
    from scepsis.models import AttentionModel


def attention_edges(
    adata: Data,
    model: AttentionModel,
    *,
    layers: int | Sequence[int] | None = None,
    heads: Sequence[Head] | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    groupby: str | None = None,
    scale: Scale | tuple[Scale, ...] = "probability",
    key_added: str = "attention",
    layer_rule: LayerRule | None = None,
    mod: str | None = None,
    sources: Sequence[str] | None = None,
    batch_size: int | None = None,
    checkpoint: str | Path | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Read attention between genes out of a model, averaged over cells :cite:p:`kendiukhov2026`.

    For the cells :math:`C_{ij}` in which both genes are tokens,

    .. math:: A_{ij} = \frac{1}{|C_{ij}|} \sum_{c \in C_{ij}} \frac{1}{H} \sum_h a^{(c,h)}_{ij}, \qquad
        a^{(c,h)}_{ij} = \frac{\exp(q_i \cdot k_j / \sqrt d)}{\sum_{m \in c} \exp(q_i \cdot k_m / \sqrt d)},

    where the sum in the denominator runs over **all** tokens of the cell, special ones included. Row `i` is the
    gene that attends (query, **source**), column `j` the gene attended to (key, **target**). In a causal model a gene
    sees itself and the genes ranked before it: :math:`C_{ij}` are then the cells in which `i` comes after `j`, and
    the sum runs over what `i` sees.

    Cells are streamed: hooks on the query and key projections see one layer at a time, the panel's block of one cell
    is added to a running sum, and layers above the last one asked for are not run. Memory does not grow with cells.
    On the first batch the reading is checked against what the model itself computes with.

    Parameters
    ----------
    adata
        Cells x genes with raw counts in ``layers["counts"]`` or ``X``. All genes are tokenised, whatever the panel.
    model
        From :func:`scepsis.models.load`.
    layers
        0-based layers to read; all of them when not given. Several are stored each, beside their mean.
    heads
        ``(layer, head)`` pairs to store each, beside their mean, in place of the mean over all heads of a layer.
        Excludes `layers`.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``; required above 5,000 genes.
    groupby
        Column of ``obs``: one network per group beside the one over all cells, from the same pass. Needs `layers` or
        `heads` to be named.
    scale
        ``"probability"`` is :math:`a_{ij}`. It mostly measures depth and co-detection: with few tokens every weight
        is larger, and an *untrained* model reaches a rank correlation above .5 with co-expression by it.
        ``"uniform_fold"`` multiplies by the number of tokens that the gene sees, so that 1 is indifference.
        ``"centered"`` is :math:`\log a_{ij}` less the cell's own row and column effects (least squares without the
        diagonal), which no depth and no popularity of a key survives; a causal model has none. In a tuple the first
        goes to `key_added`, each further one, from the same pass, to ``<key_added>_<scale>``.
    key_added
        Name of the result.
    layer_rule
        How the layers were chosen, recorded with the edges: ``"frozen"`` before labels were seen, ``"nested"`` in
        cross-validation, ``"single"`` when there was nothing to choose. Without it, all layers of a model count as
        ``"single"`` and a subset as ``"unrecorded"``. A record of `scepsis.tl.select_layer` in ``uns["select_layer"]``
        speaks for itself: the layer that it names needs no word, and no other passes as frozen.
    mod
        Modality, for MuData.
    sources
        Genes of the panel whose rows alone are read and stored. With `heads` it makes scores of hundreds of heads
        affordable: memory is heads x sources x panel.
    batch_size
        Cells per forward pass; without it as many as make about 8,192 tokens (131,072 on a GPU), halved where
        memory runs out. Changes results by rounding only, about 1e-6 of their size.
    checkpoint
        File that the sums are written to every so often, whole or not at all. A run that was stopped goes on from
        there when called again in the same way; a file of another run is refused. Delete it once results are safe.
    memory_limit
        Bytes that sums and results may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar.
    rng
        Seed for families that sample genes or values; rank-value encoding draws nothing.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp[key_added]``
        genes x genes, float32: mean over layers (or heads). NaN on the diagonal and where no cell holds both genes.
    ``varp["<key_added>_L<layer>"]``, ``varp["<key_added>_L<layer>H<head>"]``
        one layer, when several were asked for; one head, with `heads`.
    ``varp["<key_added>_n_cells"]``
        int32, cells behind each pair (on the diagonal, cells with the gene).
    ``var["<key_added>_position"]``
        float32, mean 0-based rank of the gene's token over the cells that have it.
    ``varp["<key_added>_<slug>"]``, ``varp["<key_added>_<slug>_n_cells"]``, ...
        the same per group; ``uns[key_added]["strata"]`` maps group to slug and number of cells.
    ``uns[key_added]``
        ``params`` and ``edges_keys``. A further scale has slots and a record of its own.

    Raises
    ------
    ValueError
        Values that are no counts, genes of another namespace, layers or heads that do not exist, a panel without
        genes of the vocabulary, a scale that a causal model does not have.
    MemoryError
        What was asked for would not fit; nothing is computed.
    RuntimeError
        The check on the first batch failed: the model does not compute what its modules suggest.
    FileNotFoundError
        A worker of a cluster lacks the files that the model was loaded from.

    Notes
    -----
    Time is that of the encoder up to the last layer plus, per layer and cell, the scores of panel tokens against all
    tokens. Sums take ``8 * maps * scales * groups * panel**2`` bytes, `maps` being layers or heads.

    Of a dask array, chunks are read by dask's workers and their sums added: see :doc:`/scale`.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, groupby="perturbation", control="non-targeting")
    >>> sps.tl.attention_edges(adata, sps.models.load("demo"), show_progress_bar=False)
    >>> adata.varp["attention"].shape
    (300, 300)
    """
    from scepsis.edges._accumulate import Plan

    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    scales = resolve_scales(model, scale)
    maps = Maps.of(model, layers, heads)
    rule = resolve_layer_rule(target, model, maps, layer_rule)
    seed = resolve_seed(rng)
    if batch_size is not None:
        require_positive(batch_size, argument="batch_size")
    groups = resolve_groups(target, groupby, named=layers is not None or heads is not None)
    cells = choose_cells(target, mask_obs)
    genes = choose_genes(target, mask_var)
    match = tokens_for(target, model)
    panel = owned_panel(match, genes)
    rows = source_positions(target, panel, sources)
    plan = Plan(len(panel), maps.layers, maps.heads, scales, groups.n_with_rest, rows)
    run = Run(target, model, cells, groups, match, panel, plan, seed, batch_size)
    run.require_fit(memory_limit)
    warn_of_few_genes(match, model)

    sums = run.extract(checkpoint=checkpoint, show=show_progress_bar)

    keys = EdgeKeys(key_added)
    params = record(
        method="attention",
        heads=[list(head) for head in maps.heads] or None,
        groupby=groupby,
        signed=False,
        layer_rule=rule,
        sources=None if sources is None else sorted(target.var_names[panel[list(rows)]]),
        **run.record(sums),
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )
    _write(target, keys, sums, panel, maps, groups, scales, params, cells, genes)
    return data if copy else None


def _write(
    adata: AnnData,
    keys: EdgeKeys,
    sums: AttentionSums,
    panel: IntArray,
    maps: Maps,
    groups: Groups,
    scales: tuple[Scale, ...],
    params: dict[str, Any],
    cells: Choice,
    genes: Choice,
) -> None:
    strata = groups.strata(cells.mask)
    varp: dict[str, Any] = {}
    uns: dict[str, Any] = {}
    for position, scale in enumerate(scales):
        own = keys if position == 0 else keys.scale(scale)
        matrices = _networks(own, sums, maps, position, None)
        for code, slug in enumerate(strata["slug"]):
            matrices |= _networks(own.group(slug), sums, maps, position, code)
        varp |= {key: pack(values, panel, adata.n_vars) for key, values in matrices.items()}
        uns[own.key] = {"params": params | {"scale": scale}, "edges_keys": list(matrices)}
        if groups.labels:
            uns[own.key]["strata"] = strata
    varp[keys.n_cells] = pack(sums.pair_counts(), panel, adata.n_vars)
    for code, slug in enumerate(strata["slug"]):
        varp[keys.group(slug).n_cells] = pack(sums.pair_counts(code), panel, adata.n_vars)
    rank = np.full(adata.n_vars, np.nan, dtype=np.float32)
    rank[panel] = sums.mean_rank()
    masks = own_masks(keys, cells, genes)
    var = masks["var"] | {keys.position: rank}
    write(adata, drop=superseded(adata, *uns), obs=masks["obs"], var=var, varp=varp, uns=uns)


def _networks(keys: EdgeKeys, sums: AttentionSums, maps: Maps, scale: int, group: int | None) -> dict[str, Any]:
    names = maps.names(keys)
    return {keys.key: sums.mean(None, scale, group)} | {
        name: sums.mean(index, scale, group) for index, name in enumerate(names)
    }
