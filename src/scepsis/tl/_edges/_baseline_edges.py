from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from scepsis._core._edge_slots import own_masks, pack, provenance, superseded
from scepsis._core._gene_table import FEATURES
from scepsis._core._keys import EdgeKeys
from scepsis._core._memory import require_memory
from scepsis._core._panel_values import panel_values
from scepsis._core._progress import progress_bar
from scepsis._core._resolve import choose_cells, choose_genes, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._types import BaselineMethod
from scepsis._core._validate import listing, require_between, require_choice, require_key, require_positive
from scepsis._core._values import lognorm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anndata import AnnData
    from scipy import sparse

    from scepsis._core._resolve import Choice
    from scepsis._core._types import Data, FloatArray, IntArray, Mask, Seed

#: What a weight is, and whether its sign is one of regulation.
SCALES = {
    "mutual_information": ("nats", False),
    "partial_correlation": ("partial correlation", True),
    "ridge": ("standardised coefficient", True),
    "genie3_like": ("share of variance", False),
    "gene_product": ("product of gene features", False),
}
#: Methods in which a target is predicted from sources.
PREDICTING = ("ridge", "genie3_like")


def baseline_edges(
    adata: Data,
    *,
    method: BaselineMethod,
    sources: Sequence[str] | None = None,
    feature: str = "mean",
    n_bins: int = 5,
    penalty: float = 0.1,
    n_trees: int = 100,
    layer: str | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    memory_limit: int | None = None,
    n_jobs: int = 1,
    show_progress_bar: bool = True,
    key_added: str | None = None,
    mod: str | None = None,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Make edges without any model that was trained on other cells, to stand in the same tables as attention.

    All methods read log-normalised values of the same cells and genes as `scepsis.tl.correlation_edges`, and every
    tool that scores edges takes what they store. Row i, column j is the edge from **source** gene i to **target** j.

    Parameters
    ----------
    adata
        Cells x genes.
    method
        ``"mutual_information"`` in nats, of binned values. ``"partial_correlation"`` given all other genes of the
        panel, with the covariance shrunk as by :cite:t:`ledoit2004`. ``"ridge"``: coefficient of the source in a ridge
        regression of the target on all sources. ``"genie3_like"``: importance of the source in extremely randomised
        trees that predict the target from all sources :cite:p:`huynhthu2010`. ``"gene_product"``: product of a feature
        of both genes, which knows nothing of pairs.
    sources
        Genes that others are predicted from (``ridge``, ``genie3_like``), for example transcription factors; rows of
        other genes are NaN. All genes of the panel when not given.
    feature
        ``"mean"``, ``"variance"`` or ``"detection_rate"``, for ``gene_product``.
    n_bins
        Bins of a gene, for ``mutual_information``: zero is one, the others hold equally many non-zero values.
    penalty
        Penalty on squared coefficients of standardised genes over the number of cells, for ``ridge``.
    n_trees
        Trees for each target, for ``genie3_like``.
    layer
        Log-normalised values; ``layers["lognorm"]`` when not given and present, else ``X`` when ``uns["log1p"]``
        says so, else computed from counts.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``; required above 5,000 genes.
    memory_limit
        Bytes that the computation may take; a quarter of the machine's memory when not given.
    n_jobs
        Threads (``mutual_information``) or processes (``genie3_like``).
    show_progress_bar
        Show a progress bar, for ``genie3_like``.
    key_added
        Name of the result; that of the method when not given, ``<feature>_product`` for ``gene_product``.
    mod
        Modality, for MuData.
    rng
        Seed of the trees, one generator for each target.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp[key_added]``
        genes x genes, float32. NaN on the diagonal, outside the panel, in rows of genes that are no source, and, but
        for products, for genes that do not vary among these cells. Partial correlations and coefficients are signed
        and scored by their absolute value; mutual information, partial correlations and products are symmetric.
    ``uns[key_added]``
        ``params`` (with the ``shrinkage`` of partial correlations) and ``edges_keys``.
    ``obs["<key_added>_cells"]``, ``var["<key_added>_genes"]``
        bool, only for masks given as arrays.

    Raises
    ------
    ValueError
        Values that are not log-normalised, a mask that chooses nothing, more than 5,000 genes without a panel, a
        method or parameter that does not exist, `sources` for a method without any, or outside the panel.
    KeyError
        `layer` or a mask does not exist.
    MemoryError
        It would not fit; nothing is computed.

    Notes
    -----
    For G genes, S sources and N cells: ``mutual_information`` counts bits of cells, ``G² (n_bins - 1)² N / 128``
    words. ``partial_correlation`` and ``ridge`` take one product of dense values and one inverse, ``G² N + G³``.
    ``genie3_like`` grows ``G n_trees`` trees on N cells, hours for 2,000 genes from each other: name `sources`, and
    choose fewer cells. All hold the panel of the chosen cells in memory, dense but for ``mutual_information`` and
    ``gene_product``; of a dask array they read the panel's values and work here.

    .. math:: I_{ij} = \sum_{a,b} p_{ab} \log \frac{p_{ab}}{p_a p_b}, \qquad
        r_{ij} = \frac{- P_{ij}}{\sqrt{P_{ii} P_{jj}}}, \quad P = ((1 - \delta) R + \delta I)^{-1}, \qquad
        \beta_{\cdot j} = (R_{ss} + \lambda I)^{-1} R_{sj}

    ``genie3_like`` is the algorithm, not the code, of GENIE3: its numbers are not those that other implementations
    give. Without normalising a target's importances to add up to 1, targets that are easy to predict would come first.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata)
    >>> sps.tl.baseline_edges(adata, method="partial_correlation")
    >>> sps.get.edges(adata, "partial_correlation", top=3).columns.tolist()
    ['source', 'target', 'weight']
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_choice(method, get_args(BaselineMethod), argument="method")
    require_choice(feature, FEATURES, argument="feature")
    require_between(n_bins, 1, 256, argument="n_bins")
    require_between(penalty, 0, np.inf, argument="penalty")
    for argument, value in (("n_trees", n_trees), ("n_jobs", n_jobs)):
        require_positive(value, argument=argument)
    product = f"{feature}_product"
    keys = EdgeKeys(key_added if key_added is not None else product if method == "gene_product" else method)
    require_key(keys.key, argument="key_added")
    seed = resolve_seed(rng)
    cells = choose_cells(target, mask_obs)
    genes = choose_genes(target, mask_var)
    chosen = _source_positions(target, genes, sources, method)
    values = lognorm(target, layer)
    names = target.var_names[genes.index]
    job = _Job(method, len(cells.index), len(names), chosen, feature, int(n_bins), float(penalty), n_trees, n_jobs)
    job.require_fit(memory_limit)
    seeds = [int(child(seed, method, name).integers(2**31)) for name in names] if method == "genie3_like" else []
    matrix, found = job.run(panel_values(values, cells.index, genes.index), seeds, show=show_progress_bar)

    scale, signed = SCALES[method]
    params = record(
        method=method, values=values.slot, lognormalized_on_reading=values.totals is not None, signed=signed,
        scale=scale, layer_rule="single", sources=None if sources is None else sorted(names[chosen]), seed=seed,
        **job.options(), **found,
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
    )  # fmt: skip
    write(
        target,
        drop=superseded(target, keys.key),
        **own_masks(keys, cells, genes),
        varp={keys.key: pack(matrix, genes.index, target.n_vars)},
        uns={keys.key: {"params": params, "edges_keys": [keys.key]}},
    )
    return data if copy else None


def _source_positions(adata: AnnData, genes: Choice, sources: Sequence[str] | None, method: str) -> IntArray:
    """Where in the panel the genes stand that others are predicted from."""
    names = adata.var_names[genes.index]
    if sources is None:
        return np.arange(len(names))
    if method not in PREDICTING:
        msg = f"`sources` is for {listing(PREDICTING)}: {method!r} has an edge of every pair of the panel."
        raise ValueError(msg)
    asked = list(dict.fromkeys([sources] if isinstance(sources, str) else map(str, sources)))
    missing = [name for name in asked if name not in names]
    if missing or not asked:
        msg = (
            f"`sources` names genes that are not in the panel: {listing(missing)}. Put them into the panel "
            "(`scepsis.pp.select_panel(adata, force=[...])`), and name genes as `adata.var_names` does."
        )
        raise ValueError(msg)
    return np.sort(names.get_indexer(asked))


@dataclass(frozen=True)
class _Job:
    """One method on one panel."""

    method: BaselineMethod
    n_cells: int
    n_genes: int
    sources: IntArray
    feature: str
    n_bins: int
    penalty: float
    n_trees: int
    n_jobs: int

    def options(self) -> dict[str, Any]:
        """Parameters that this method has."""
        own = {
            "mutual_information": ("n_bins",), "ridge": ("penalty",), "genie3_like": ("n_trees",),
            "gene_product": ("feature",),
        }  # fmt: skip
        return {name: getattr(self, name) for name in own.get(self.method, ())}

    def require_fit(self, memory_limit: int | None) -> None:
        from scepsis.edges._linear import linear_bytes
        from scepsis.edges._mutual_information import mutual_information_bytes
        from scepsis.edges._tree_importance import tree_bytes

        size = self.n_cells, self.n_genes
        needed = {
            "mutual_information": mutual_information_bytes(*size, self.n_bins),
            "genie3_like": tree_bytes(*size),
            "gene_product": 16 * self.n_genes**2,
        }.get(self.method, linear_bytes(*size))
        require_memory(
            needed,
            memory_limit,
            what=f"{self.method} of {self.n_genes} genes in {self.n_cells} cells",
            remedy="Choose fewer genes or cells: `scepsis.pp.select_panel(adata, n_top_genes=...)`, "
            "`scepsis.pp.select_cells(adata, n_cells=...)`.",
        )

    def run(
        self, blocks: Iterable[sparse.csr_matrix], seeds: list[int], *, show: bool
    ) -> tuple[FloatArray, dict[str, float]]:
        """Edges among the panel, and what was found on the way."""
        if self.method == "gene_product":
            return self._product(blocks), {}
        from scipy import sparse

        values = sparse.vstack(list(blocks), format="csc")
        if self.method == "mutual_information":
            from scepsis.edges._mutual_information import binned, mutual_information

            return mutual_information(binned(values, self.n_bins), self.n_bins, n_jobs=self.n_jobs), {}
        from scepsis.edges import _linear, _tree_importance

        dense = values.toarray()
        if self.method == "partial_correlation":
            matrix, shrinkage = _linear.partial_correlation(dense)
            return matrix, {"shrinkage": shrinkage}
        if self.method == "ridge":
            return _linear.ridge(dense, self.sources, self.penalty), {}
        with progress_bar(total=self.n_genes, desc="genie3_like", unit="target", show=show) as bar:
            trees = partial(_tree_importance.tree_importance, n_trees=self.n_trees, n_jobs=self.n_jobs)
            return trees(dense, self.sources, seeds, on_target=bar.update), {}

    def _product(self, blocks: Iterable[sparse.csr_matrix]) -> FloatArray:
        from scepsis.stats._column_moments import column_moments

        feature: FloatArray = getattr(column_moments(blocks, self.n_genes), self.feature)
        matrix = np.outer(feature, feature).astype(np.float32)
        np.fill_diagonal(matrix, np.nan)
        return matrix
