from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from scepsis._core._edge_slots import own_masks, pack, provenance, superseded
from scepsis._core._keys import EdgeKeys
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._states._request import choose_strata, make_measure, require_candidates, require_fit, require_score

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anndata import AnnData

    from scepsis._core._groups import Strata
    from scepsis._core._resolve import Choice
    from scepsis._core._types import Data, FloatArray, IntArray, Mask, Seed
    from scepsis.edges._cssi import Aggregation
    from scepsis.models import AttentionModel
    from scepsis.tl._states._measures import Measure

Score: TypeAlias = "Literal['spearman', 'pearson', 'attention'] | Callable[[FloatArray], Any]"


def cssi(  # noqa: PLR0913 - strata, scores and panels each have their own
    adata: Data,
    *,
    groupby: str | None = None,
    score: Score = "spearman",
    model: AttentionModel | None = None,
    layers: int | Sequence[int] | None = None,
    edges: str = "attention",
    aggregation: Aggregation = "max",
    min_cells: int = 20,
    min_detected: int = 1,
    use_rep: str | None = None,
    resolution: float = 1.0,
    n_neighbors: int = 15,
    candidates: Sequence[str] | None = None,
    layer: str | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    key_added: str = "cssi",
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Make one network per cell state, and their aggregate: cell-state stratified interpretability (CSSI).

    An edge :math:`\rho_1` that exists in one state of :math:`n_1` of :math:`N` cells is diluted in all cells together
    to about :math:`(n_1 / N) \rho_1`, as long as the states have the same means and variances; the maximum over states
    keeps it :cite:p:`kendiukhov2026`. For networks :math:`w^{(k)}` of states :math:`k` with :math:`n_k` cells each,
    `aggregation` is one of

    ========================  ==========================================================================
    ``"max"``                 :math:`\max_k w^{(k)}`; of correlations the one of largest size, signed
    ``"mean"``                :math:`\sum_k n_k w^{(k)} / \sum_k n_k`
    ``"mean_unweighted"``     the mean over states, however many cells each has
    ``"median"``              the median over states
    ``"range"``, ``"std"``    :math:`\max_k w^{(k)} - \min_k w^{(k)}`, the standard deviation over states
    ``"deviation"``           :math:`\max_k |w^{(k)} - w|` from the network :math:`w` of all these cells
    ``"weighted_deviation"``  :math:`\sum_k n_k |w^{(k)} - w| / \sum_k n_k`
    ``"rank"``                the mean over states of a pair's rank, as a share of all pairs
    ========================  ==========================================================================

    over the states in which a pair was evaluated. **A maximum over noisy small states grows by itself**: whether it
    gained anything is for :func:`scepsis.tl.cssi_null` to say.

    Parameters
    ----------
    adata
        Cells x genes.
    groupby
        Column of ``obs`` with the states. Of MuData also one of another modality, ``"prot:leiden"``. Without it,
        states are Leiden clusters of a neighbour graph on `use_rep`.
    score
        ``"spearman"`` or ``"pearson"`` correlation of log-normalised values, ``"attention"``, or a function that turns
        values (cells x genes, float32) into genes x genes.
    model
        Reads attention within the states, in one pass, from :func:`scepsis.models.load`. Without it, attention is
        what ``tl.attention_edges(adata, model, groupby=groupby, ...)`` has stored.
    layers
        Layers whose mean is taken, with `model`; all of them when not given.
    edges
        Name of the stored attention, without `model`.
    aggregation
        See above.
    min_cells
        States with fewer of the chosen cells are left out, and listed.
    min_detected
        Cells of a state in which a gene must be seen (be other than zero) to have edges there. **Raise it for real
        counts**: two genes that are seen in the same single cell of a small state correlate by 1, and fill the top of
        a maximum. With 1, a single state is what :func:`scepsis.tl.correlation_edges` says of its cells.
    use_rep
        Slot of ``obsm`` to cluster; the model's embedding when not given.
    resolution
        Of Leiden.
    n_neighbors
        Neighbours of each cell in the graph.
    candidates
        Genes of the panel whose edges out (rows, sources) are stored; all of them when not given.
    layer
        Log-normalised values; ``layers["lognorm"]`` when not given and present, else ``X`` when ``uns["log1p"]``
        says so, else computed from counts.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``; required above 5,000 genes.
    memory_limit
        Bytes that the computation and the networks may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar, with `model`.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    rng
        Seed of the clustering, and for families of models that sample.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp[key_added]``
        genes x genes, float32: the aggregate, source in rows and target in columns. With a single state it is that
        state's network, whatever the aggregation.
    ``varp["<key_added>_<slug>"]``
        one network per state; NaN for a gene that does not vary within it, or is seen in too few of its cells.
    ``varp["<key_added>_z"]``
        for correlations, the value of largest size of :math:`\sqrt{n_k - 3} \operatorname{atanh} \rho^{(k)}`: the
        maximum on a scale on which small states do not win by noise.
    ``varp["<key_added>_pooled"]``
        the network of all these cells together, where it was needed (deviations) or came for nothing (`model`).
    ``obs["<key_added>_strata"]``
        categorical: the state of each cell that was used.
    ``uns[key_added]``
        ``params``, ``edges_keys`` and ``strata`` (``group``, ``slug``, ``n_obs``, ``status``: ``too_few_units`` was
        left out).

    Raises
    ------
    TypeError
        A continuous column as `groupby`.
    KeyError
        A column, slot or stored network does not exist.
    ValueError
        Labels of other cells than the chosen ones, no state of `min_cells` cells, `candidates` outside the panel,
        stored attention of other states or of cells that have changed, values that are not log-normalised.
    MemoryError
        The networks would not fit; nothing is computed.

    Notes
    -----
    Values are read once and held sparse; states are then worked on one after the other, so that beyond the networks
    themselves memory does not grow with their number (``"median"`` looks at all of them again). Time is that of
    correlating all cells once.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, n_cells=500)
    >>> sps.tl.cssi(adata, groupby="cell_state")
    >>> adata.uns["cssi"]["strata"]["slug"].tolist()
    ['state1', 'state2', 'state3', 'state4', 'state5']
    >>> sps.get.edges(adata, "cssi", group="state2", top=10).columns.tolist()
    ['source', 'target', 'weight', 'group']
    """
    from scepsis.edges._cssi import AGGREGATIONS

    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_key(key_added, argument="key_added")
    require_choice(aggregation, AGGREGATIONS, argument="aggregation")
    require_positive(min_cells, argument="min_cells")
    require_score(score, model, layers, min_detected)
    keys = EdgeKeys(key_added)
    seed = resolve_seed(rng)
    cells = choose_cells(target, mask_obs)
    genes = choose_genes(target, mask_var)
    require_candidates(target, genes, candidates)
    strata, clustered = choose_strata(
        data, target, cells, groupby=groupby, use_rep=use_rep, model=model, resolution=resolution,
        n_neighbors=n_neighbors, min_cells=min_cells, seed=seed,
    )  # fmt: skip
    measure = make_measure(
        target, score, cells, genes, strata, model=model, layers=layers, edges=edges, groupby=groupby, layer=layer,
        min_detected=min_detected, candidates=candidates, seed=seed, show=show_progress_bar, memory_limit=memory_limit,
    )  # fmt: skip
    require_fit(target, len(measure.genes), strata, memory_limit, candidates)
    found = _compute(measure, strata, aggregation, keys, _left_out(target, measure.genes, candidates))
    signed = measure.signed if not callable(score) else any(np.nanmin(one, initial=0) < 0 for one in found.values())
    said = (
        measure.record()
        | clustered
        | {
            "score": score if isinstance(score, str) else getattr(score, "__name__", "function"),
            "seed": seed,
        }
    )
    params = record(
        method="cssi",
        edges=edges if score == "attention" and model is None else None,
        aggregation=aggregation,
        groupby=groupby,
        min_cells=min_cells,
        candidates=None if candidates is None else sorted(candidates),
        n_strata=len(strata.members),
        status="ok" if len(strata.members) > 1 else "single_stratum",
        signed=signed,
        scale=measure.scale,
        **said,
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )
    _write(target, keys, found, measure.genes, strata, params, cells, genes)
    return data if copy else None


def _left_out(adata: AnnData, genes: IntArray, candidates: Sequence[str] | None) -> IntArray | None:
    """Positions among the panel of genes whose rows are not kept; None when all are."""
    return None if candidates is None else np.flatnonzero(~adata.var_names[genes].isin(list(candidates)))


def _compute(
    measure: Measure, strata: Strata, aggregation: Aggregation, keys: EdgeKeys, left_out: IntArray | None
) -> dict[str, FloatArray]:
    """Networks by their slot, the aggregate first."""
    from scepsis.edges._cssi import NEED_POOLED, FisherMaximum, aggregate

    networks = measure.within(strata.members)
    free = measure.scale != "correlation" and hasattr(networks, "sums")
    pooled = networks.pooled() if free or aggregation in NEED_POOLED else None
    shape = (len(measure.genes), len(measure.genes))
    fisher = FisherMaximum(shape) if measure.scale == "correlation" else None
    kept: dict[str, FloatArray] = {}

    def each() -> Any:
        for slug, size, network in zip(strata.slugs, strata.sizes, networks.each(), strict=True):
            if left_out is not None:
                network[left_out] = np.nan
            kept[keys.group(slug).key] = network
            if fisher is not None:
                fisher.add(network, size)
            yield size, network

    aggregated = aggregate(each(), aggregation, signed=measure.signed, pooled=pooled)
    found: dict[str, FloatArray] = {} if aggregated is None else {keys.key: aggregated}
    if fisher is not None:
        found[keys.z] = fisher.result()
    if pooled is not None:
        if left_out is not None:
            pooled[left_out] = np.nan
        found[keys.pooled] = pooled
    return found | kept


def _write(
    adata: AnnData,
    keys: EdgeKeys,
    found: dict[str, FloatArray],
    panel: IntArray,
    strata: Strata,
    params: dict[str, Any],
    cells: Choice,
    genes: Choice,
) -> None:
    masks = own_masks(keys, cells, genes)
    write(
        adata,
        drop=superseded(adata, keys.key),
        obs=masks["obs"] | {keys.strata: strata.column(adata.n_obs)},
        var=masks["var"],
        varp={key: pack(network, panel, adata.n_vars) for key, network in found.items()},
        uns={keys.key: {"params": params, "edges_keys": list(found), "strata": strata.table}},
    )
