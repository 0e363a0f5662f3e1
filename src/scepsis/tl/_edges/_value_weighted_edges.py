from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, get_args

from scepsis._core._edge_slots import own_masks, pack, provenance, superseded
from scepsis._core._groups import Groups
from scepsis._core._keys import EdgeKeys
from scepsis._core._match import tokens_for
from scepsis._core._model_runs import warn_of_few_genes
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._types import Variant
from scepsis._core._validate import require_choice, require_key, require_positive
from scepsis.tl._shared._request import Maps, resolve_layer_rule
from scepsis.tl._shared._run import Run, owned_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepsis._core._types import Data, LayerRule, Mask, Seed
    from scepsis.edges._value_weighted import ContextExtraction
    from scepsis.models import AttentionModel


def value_weighted_edges(
    adata: Data,
    model: AttentionModel,
    *,
    layers: int | Sequence[int] | None,
    variant: Variant = "cosine",
    center: bool = False,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    key_added: str = "value_weighted",
    layer_rule: LayerRule | None = None,
    mod: str | None = None,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Compare what genes take from their cells: attention together with the values that it weighs.

    This is analysis A26 of :cite:t:`kendiukhov2026`. The context of gene `i` in head `h` of cell `c` is what attention
    hands on, :math:`z^{(c,h)}_i = \sum_m a^{(c,h)}_{im} v^{(c,h)}_m` with `m` over all tokens of the cell, special
    ones included. For the cells :math:`C_{ij}` in which both genes are tokens, ``variant="cosine"`` gives

    .. math:: W_{ij} = \frac{1}{|C_{ij}|} \sum_{c \in C_{ij}} \frac{1}{H} \sum_h
        \frac{z^{(c,h)}_i \cdot z^{(c,h)}_j}{\lVert z^{(c,h)}_i \rVert \, \lVert z^{(c,h)}_j \rVert}.

    Edges are symmetric: two genes are alike, neither is source or target of the other. In a causal model, too, every
    pair in one cell counts, since no mask stands between two contexts.

    Cells are streamed as by :func:`scepsis.tl.attention_edges`: hooks on the output projections see one layer at a
    time, sums over pairs are all that is kept, and layers above the last one asked for are not run.

    Parameters
    ----------
    adata
        Cells x genes with raw counts in ``layers["counts"]`` or ``X``. All genes are tokenised, whatever the panel.
    model
        From :func:`scepsis.models.load`.
    layers
        0-based layers to read; None for all of them. Choose before scores are seen: the best of many layers is a
        selection.
    variant
        ``"cosine"`` as above. ``"centroid"`` is the cosine between the two genes' mean contexts, each over all cells
        with that gene, averaged over heads; it needs no cell with both, and no sums over pairs. ``"dot"`` leaves the
        lengths of contexts in.
    center
        Take away, in every cell and layer, the mean context of the cell's genes first. Contexts share a large common
        part, which otherwise makes all cosines alike; what remains sums to zero within a cell, so that two genes
        that are alone in a cell are opposites.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``; required above 5,000 genes.
    key_added
        Name of the result.
    layer_rule
        How the layers were chosen, recorded with the edges: ``"frozen"`` before labels were seen, ``"nested"`` in
        cross-validation, ``"single"`` when there was nothing to choose. Without it, all layers of a model count as
        ``"single"`` and a subset as ``"unrecorded"``. A record of `scepsis.tl.select_layer` in ``uns["select_layer"]``
        speaks for itself: the layer that it names needs no word, and no other passes as frozen.
    mod
        Modality, for MuData.
    batch_size
        Cells per forward pass; without it as many as make about 8,192 tokens, halved where memory runs out. Changes
        results by rounding only.
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

    ``varp["<key_added>_L<layer>"]``
        genes x genes, float32, one for each layer; symmetric and signed (scored by absolute value). NaN on the
        diagonal, where no cell holds both genes (``"centroid"``: where one is in no cell), and where a context has
        no length.
    ``varp[key_added]``
        their mean, when several layers were asked for.
    ``varp["<key_added>_n_cells"]``
        int32, cells in which both genes are tokens (on the diagonal, cells with the gene).
    ``uns[key_added]``
        ``params`` and ``edges_keys``.
    ``obs["<key_added>_cells"]``, ``var["<key_added>_genes"]``
        bool, only for masks given as arrays.

    Raises
    ------
    ValueError
        Values that are no counts, genes of another namespace, layers that do not exist, a panel without genes of the
        vocabulary.
    MemoryError
        What was asked for would not fit; nothing is computed.
    RuntimeError
        The check on the first batch failed: the model does not compute what its modules suggest.

    Notes
    -----
    Time is that of the encoder up to the last layer plus, per layer and cell, panel tokens² x width. Sums take
    ``8 * layers * panel**2`` bytes, with ``"centroid"`` ``8 * layers * panel * width``.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, groupby="perturbation", control="non-targeting")
    >>> sps.tl.value_weighted_edges(adata, sps.models.load("demo"), layers=1, show_progress_bar=False)
    >>> adata.varp["value_weighted_L1"].shape
    (300, 300)
    """
    from scepsis.edges._value_weighted import ContextPlan

    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(variant, get_args(Variant), argument="variant")
    require_choice(center, (False, True), argument="center")
    require_key(key_added, argument="key_added")
    maps = Maps.of(model, layers, None)
    rule = resolve_layer_rule(target, model, maps, layer_rule)
    seed = resolve_seed(rng)
    if batch_size is not None:
        require_positive(batch_size, argument="batch_size")
    cells = choose_cells(target, mask_obs)
    genes = choose_genes(target, mask_var)
    match = tokens_for(target, model)
    panel = owned_panel(match, genes)
    plan = ContextPlan(
        len(panel),
        maps.layers,
        variant=variant,
        center=center,
        n_heads=model.n_heads,
        head_size=model.head_size,
    )
    run = _ContextRun(target, model, cells, Groups.none(target.n_obs), match, panel, plan, seed, batch_size)
    run.require_fit(memory_limit)
    warn_of_few_genes(match, model)

    sums = run.extract(show=show_progress_bar)

    keys = EdgeKeys(key_added)
    params = record(
        method="value_weighted",
        variant=variant,
        center=center,
        signed=True,
        scale="dot" if variant == "dot" else "cosine",
        layer_rule=rule,
        **run.record(sums),
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )
    edges = {keys.layer(layer): sums.mean(index, 0) for index, layer in enumerate(maps.layers)}
    if len(edges) > 1:
        edges = {keys.key: sums.mean(None, 0)} | edges
    write(
        target,
        drop=superseded(target, keys.key),
        **own_masks(keys, cells, genes),
        varp={key: pack(values, panel, target.n_vars) for key, values in edges.items()}
        | {keys.n_cells: pack(sums.pair_counts(), panel, target.n_vars)},
        uns={keys.key: {"params": params, "edges_keys": list(edges)}},
    )
    return data if copy else None


class _ContextRun(Run):
    """A run that reads contexts in place of attention."""

    what: ClassVar[str] = "value-weighted edges"
    cheaper: ClassVar[str] = "fewer `{kind}`"

    def reader(self) -> type[ContextExtraction]:
        from scepsis.edges._value_weighted import ContextExtraction

        return ContextExtraction
