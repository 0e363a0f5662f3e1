from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from scepsis._core._edge_slots import own_masks, pack, provenance, superseded
from scepsis._core._keys import EdgeKeys
from scepsis._core._memory import require_memory
from scepsis._core._panel_values import of_panel, panel_values
from scepsis._core._partitions import sum_log_parts
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rows import is_dask
from scepsis._core._store import record, write
from scepsis._core._validate import require_choice, require_key
from scepsis._core._values import lognorm

if TYPE_CHECKING:
    from scepsis._core._panel_values import Blocks
    from scepsis._core._types import Data, FloatArray, IntArray, Mask
    from scepsis._core._values import Values
    from scepsis.edges._correlation import PairMoments

Method = Literal["spearman", "pearson"]


def correlation_edges(
    adata: Data,
    *,
    method: Method = "spearman",
    layer: str | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    memory_limit: int | None = None,
    key_added: str | None = None,
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    r"""
    Correlate genes over the cells that edges are made from: what attention has to beat :cite:p:`kendiukhov2026`.

    For average ranks :math:`r` of log-normalised values (the values themselves with ``method="pearson"``),

    .. math:: \rho_{ij} = \frac{\sum_c (r_{ci} - \bar r_i)(r_{cj} - \bar r_j)}
        {\sqrt{\sum_c (r_{ci} - \bar r_i)^2 \sum_c (r_{cj} - \bar r_j)^2}}.

    Parameters
    ----------
    adata
        Cells x genes.
    method
        ``"spearman"`` or ``"pearson"``.
    layer
        Log-normalised values; ``layers["lognorm"]`` when not given and present, else ``X`` when ``uns["log1p"]``
        says so, else computed from counts.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``; required above 5,000 genes.
    memory_limit
        Bytes that the computation may take; a quarter of the machine's memory when not given.
    key_added
        Name of the result; that of the method when not given.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp[key_added]``
        genes x genes, float32, symmetric and signed (scored by absolute value). NaN on the diagonal, outside the
        panel, and for genes that do not vary among these cells.
    ``uns[key_added]``
        ``params`` and ``edges_keys``.
    ``obs["<key_added>_cells"]``, ``var["<key_added>_genes"]``
        bool, only for masks given as arrays.

    Raises
    ------
    ValueError
        Values that are not log-normalised, a mask that chooses nothing, or more than 5,000 genes without a panel.
    KeyError
        `layer` or a mask does not exist.
    MemoryError
        The panel's matrix would not fit; nothing is computed.

    Notes
    -----
    Values are read in 32 bits and multiplied in 64 bits in blocks of cells: time grows with cells x panel². Ranks
    need whole columns, so for Spearman the panel of the chosen cells is held in memory, sparse. Of a dask array,
    chunks are worked on where dask has them: for Pearson they give the products of all pairs, which add up, for
    Spearman the panel's values, which are ranked here.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.tl.correlation_edges(adata)
    >>> sps.get.edges(adata, "spearman", top=3).columns.tolist()
    ['source', 'target', 'weight']
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(method, get_args(Method), argument="method")
    keys = EdgeKeys(method if key_added is None else key_added)
    require_key(keys.key, argument="key_added")
    cells = choose_cells(target, mask_obs)
    genes = choose_genes(target, mask_var)
    values = lognorm(target, layer)

    from scepsis.edges._correlation import correlation_bytes

    require_memory(
        correlation_bytes(len(cells.index), len(genes.index)),
        memory_limit,
        what=f"Correlation of {len(genes.index)} genes in {len(cells.index)} cells",
        remedy="Choose a smaller panel: `scepsis.pp.select_panel(adata, n_top_genes=...)`.",
    )
    matrix = _correlation(values, cells.index, genes.index, method)

    params = record(
        method=method,
        values=values.slot,
        lognormalized_on_reading=values.totals is not None,
        signed=True,
        scale="correlation",
        layer_rule="single",
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )
    write(
        target,
        drop=superseded(target, keys.key),
        **own_masks(keys, cells, genes),
        varp={keys.key: pack(matrix, genes.index, target.n_vars)},
        uns={keys.key: {"params": params, "edges_keys": [keys.key]}},
    )
    return data if copy else None


def _correlation(values: Values, cells: IntArray, genes: IntArray, method: Method) -> FloatArray:
    from scepsis.edges._correlation import correlation

    if method == "pearson" and is_dask(values.matrix):
        return sum_log_parts(values, cells, _pair_moments, shared=(genes,)).correlation()
    return correlation(panel_values(values, cells, genes), method)


def _pair_moments(blocks: Blocks, genes: IntArray) -> PairMoments:
    from scepsis.edges._correlation import PairMoments

    return PairMoments.of(of_panel(blocks, genes))
