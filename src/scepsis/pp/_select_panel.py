from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from scepsis._core._edge_slots import provenance
from scepsis._core._keys import EDGE_PANEL, SELECT_CELLS, SELECT_PANEL, AssignmentKeys, EdgeKeys
from scepsis._core._labels import ANY_NUMBER, COMPLEMENT, perturbed_genes, read_labels, read_overlapping
from scepsis._core._match import tokens_for
from scepsis._core._resolve import Choice, choose_cells, resolve
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_column, require_positive
from scepsis._core._values import lognorm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scepsis._core._types import BoolArray, Data, FloatArray, IntArray, Mask
    from scepsis._core._values import Values
    from scepsis.models import AttentionModel

logger = logging.getLogger(__name__)


def select_panel(
    adata: Data,
    model: AttentionModel | None = None,
    *,
    n_top_genes: int = 2000,
    force: Sequence[str] | Literal["perturbed"] | None = None,
    gene_symbols: str | None = None,
    mask_obs: Mask = None,
    layer: str | None = None,
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    """
    Choose the genes that edges are stored for: the most variable ones among the cells that edges are made from.

    Genes are ranked by their dispersion, normalised within bins of mean expression, as
    :func:`scanpy.pp.highly_variable_genes` does with ``flavor="seurat"``, over all genes of `adata`. With a `model`
    only genes of its vocabulary are taken, and one gene of those that share a token. Genes never seen in these cells
    are not taken unless forced.

    Parameters
    ----------
    adata
        Cells x genes.
    model
        From :func:`scepsis.models.load`; without it every gene can be taken.
    n_top_genes
        Number of genes taken by rank.
    force
        Genes taken whatever their rank, on top of `n_top_genes`: a list of names, or ``"perturbed"`` for the labels
        of the column that :func:`scepsis.pp.select_cells` was given. None forces none; how many perturbed genes stay
        outside is then logged and recorded, since none of them can be scored as a source of edges.
    gene_symbols
        Column of ``var`` in which forced genes and perturbations are named; ``var_names`` when not given.
    mask_obs
        Cells to rank on: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else
        all.
    layer
        Log-normalised values; ``layers["lognorm"]`` when not given and present, else ``X`` when ``uns["log1p"]``
        says so, else computed from counts.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``var["edge_panel"]``
        bool.
    ``uns["select_panel"]["params"]``
        with the number of genes that only force brought in (``n_forced``) and of perturbed genes outside
        (``n_perturbed_outside``), and number and hashes of cells and genes.
    ``obs["select_panel_cells"]``
        bool, only when `mask_obs` is an array.

    Raises
    ------
    ValueError
        Values that are not log-normalised, genes of another namespace than the model's, or none of `force` in
        `adata`.
    KeyError
        A column or layer does not exist, or `force="perturbed"` without :func:`scepsis.pp.select_cells`.

    Notes
    -----
    Reads the chosen cells once.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.pp.select_panel(adata, sps.models.load("demo"), n_top_genes=100, force="perturbed")
    >>> int(adata.var["edge_panel"].sum()) >= 100
    True
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_positive(n_top_genes, argument="n_top_genes")
    if isinstance(force, str) and force != "perturbed":
        msg = f"`force` takes a list of genes, 'perturbed' or None, not {force!r}."
        raise ValueError(msg)
    cells = choose_cells(target, mask_obs)
    allowed = np.ones(target.n_vars, dtype=bool) if model is None else tokens_for(target, model).owner
    perturbed = _perturbed(target, gene_symbols, required=isinstance(force, str))
    forced = _forced(target, force, perturbed, gene_symbols)

    rank = _dispersion(lognorm(target, layer), cells.index)
    ranked = _top(rank, allowed, int(n_top_genes))
    panel = ranked | (forced & allowed)
    outside = perturbed & ~panel
    _say(target, forced & ~allowed, outside)
    keys = EdgeKeys(SELECT_PANEL)
    params = record(
        n_top_genes=n_top_genes,
        force=force if force is None or isinstance(force, str) else "list",
        gene_symbols=gene_symbols,
        layer=layer,
        model=None if model is None else model.name,
        vocabulary_hash=None if model is None else model.vocabulary.hash,
        n_forced=int((panel & ~ranked).sum()),
        n_perturbed=int(perturbed.sum()),
        n_perturbed_outside=int(outside.sum()),
        **provenance(target, cells, Choice(panel, EDGE_PANEL), cells_name=keys.cells, genes_name=keys.genes),
    )
    write(
        target,
        obs={keys.cells: cells.mask} if cells.name is None else {},
        var={EDGE_PANEL: panel},
        uns={SELECT_PANEL: {"params": params}},
    )
    return data if copy else None


def _perturbed(adata: AnnData, gene_symbols: str | None, *, required: bool) -> BoolArray:
    """Genes that some label of the screen names; those that were assigned, where cells have several perturbations."""
    params = adata.uns.get(SELECT_CELLS, {}).get("params", {})
    column = adata.obs.get(params.get("groupby"))
    if column is None or (not required and set(column.dropna()) <= {params["control"]}):
        if required:
            msg = (
                "`force='perturbed'` takes the labels from the column that `scepsis.pp.select_cells` was given, and "
                "`adata.uns['select_cells']` shows none. Call "
                "`scepsis.pp.select_cells(adata, groupby=..., control=...)` first, or pass a list of genes."
            )
            raise KeyError(msg)
        return np.zeros(adata.n_vars, dtype=bool)
    groupby = params["groupby"]
    labels = read_labels(adata, groupby, params["control"])
    if adata.uns.get(AssignmentKeys(groupby).uns, {}).get("params", {}).get("max_targets") == ANY_NUMBER:
        labels, _ = read_overlapping(adata, groupby, COMPLEMENT)
    genes = perturbed_genes(adata, labels, control=params["control"], gene_symbols=gene_symbols).genes
    return np.asarray(adata.var_names.isin([gene for gene in genes if gene]), dtype=bool)


def _forced(
    adata: AnnData, force: Sequence[str] | str | None, perturbed: BoolArray, gene_symbols: str | None
) -> BoolArray:
    if force is None:
        return np.zeros(adata.n_vars, dtype=bool)
    if isinstance(force, str):
        return perturbed
    where = "`adata.var_names`" if gene_symbols is None else f"`adata.var[{gene_symbols!r}]`"
    names = adata.var_names if gene_symbols is None else require_column(adata.var, gene_symbols, slot="var")
    mask = np.asarray(names.isin(list(force)), dtype=bool)
    absent = sorted(set(force) - set(names[mask]))
    if force and not mask.any():
        msg = f"None of the genes in `force` ({listing(force)}) is in {where}, which holds {listing(names, limit=3)}."
        raise ValueError(msg)
    if absent:
        logger.warning("%d genes of `force` are not in %s: %s", len(absent), where, listing(absent, limit=50))
    return mask


def _dispersion(values: Values, cells: IntArray) -> FloatArray:
    """Normalised dispersion of every gene; NaN for genes without any."""
    import scanpy as sc
    from anndata import AnnData

    matrix = sparse.vstack([block for _, block in values.log_blocks(cells)], format="csr")
    if len(np.unique(matrix.indices[matrix.data > 0])) < 2:
        msg = f"`{values.slot}` holds fewer than two expressed genes in the {len(cells)} cells chosen."
        raise ValueError(msg)
    table = sc.pp.highly_variable_genes(AnnData(matrix), flavor="seurat", inplace=False)
    rank: FloatArray = table["dispersions_norm"].to_numpy(dtype=np.float64)
    return rank


def _top(rank: FloatArray, allowed: BoolArray, n_top_genes: int) -> BoolArray:
    """The `n_top_genes` allowed genes of highest rank; ties in the order of ``var``."""
    candidates = np.flatnonzero(allowed & ~np.isnan(rank))
    if len(candidates) < n_top_genes:
        logger.info("all %d genes that vary and can be taken are taken", len(candidates))
    mask = np.zeros(len(rank), dtype=bool)
    mask[candidates[np.argsort(-rank[candidates], kind="stable")][:n_top_genes]] = True
    return mask


def _say(adata: AnnData, foreign: BoolArray, outside: BoolArray) -> None:
    if foreign.any():
        names = listing(adata.var_names[foreign])
        logger.warning("%d forced genes have no token of their own and stay out: %s", int(foreign.sum()), names)
    if outside.any():
        names = listing(adata.var_names[outside])
        logger.warning(
            "%d perturbed genes are outside the panel and cannot be scored as sources (`force='perturbed'` takes "
            "those that can be taken): %s",
            int(outside.sum()),
            names,
        )
