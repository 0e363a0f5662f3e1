from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from scepsis._core._edge_slots import own_masks, pack, provenance, superseded
from scepsis._core._gene_table import SAMPLE_OF
from scepsis._core._hashing import hash_strings
from scepsis._core._keys import EdgeKeys
from scepsis._core._match import tokens_for
from scepsis._core._memory import require_memory
from scepsis._core._model_runs import cell_blocks, model_record, require_model, require_tokens, warn_of_few_genes
from scepsis._core._progress import progress_bar
from scepsis._core._resolve import Choice, choose_cells, choose_genes, resolve
from scepsis._core._rng import child, resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import listing, require_between, require_choice, require_key, require_positive
from scepsis._core._values import counts
from scepsis.tl._shared._run import owned_panel, source_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

    from scepsis._core._match import Match
    from scepsis._core._types import Data, FloatArray, IntArray, Mask, Seed
    from scepsis.edges._insilico import Insilico, InsilicoSums
    from scepsis.models import AttentionModel

Kind = Literal["delete", "overexpress"]
Readout = Literal["embedding", "masked_logits"]

logger = logging.getLogger(__name__)


def insilico_perturbation(
    adata: Data,
    model: AttentionModel,
    *,
    sources: Sequence[str] | None = None,
    kind: Kind = "delete",
    readout: Readout = "embedding",
    mask_share: float = 0.15,
    n_cells: int | None = None,
    mask_obs: Mask = None,
    mask_var: Mask = None,
    max_passes: int = 50_000,
    key_added: str = "insilico",
    mod: str | None = None,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    r"""
    Change source genes in cells and see what a model makes of the targets: counterfactual edges.

    Every cell is run as it is, and once more for each source, whose token is taken out or put before all others (as in
    the in-silico perturbation of :cite:t:`theodoris2023`). With :math:`h_j` for the hidden states of target `j` after
    the last layer, and :math:`C_{ij}` for the cells in which source `i` is changed and `j` is a token,

    .. math:: S_{ij} = \frac{1}{|C_{ij}|} \sum_{c \in C_{ij}} \bigl(1 - \cos(h^{(c)}_j, h^{(c, i)}_j)\bigr).

    The last hidden states are reached by every layer and every head, so that, unlike attention that is read somewhere
    in the middle, nothing in the model is out of reach of this readout. What is stored is what
    :func:`scepsis.tl.attention_edges` stores, and is audited in the same way. To do so to a model with heads taken
    out, call this inside ``with model.intervene(...):``.

    A changed source also moves the ranks of the tokens after it, in families that read ranks, by one. That is part of
    the cell as the model would read it, and moves every target a little: the position baseline shows how much of a
    score it carries.

    Parameters
    ----------
    adata
        Cells x genes with raw counts in ``layers["counts"]`` or ``X``. All genes are tokenised, whatever the panel.
    model
        From :func:`scepsis.models.load`.
    sources
        Genes of the panel that are changed; all of the panel when not given, which is rarely affordable.
    kind
        ``"delete"`` takes the token out of the cells that have it. In a causal model only genes ranked after the
        source can be moved, and only they are targets. ``"overexpress"`` puts the token first in every cell, with the
        highest value of the cell where a family has values; cells that lack it get it.
    readout
        ``"embedding"`` as above. ``"masked_logits"``: a share of each cell's panel genes is masked, and with
        :math:`\ell_j` for the log-probability of `j` at its masked position an edge is the mean of
        :math:`\ell_j - \ell_j^{(i)}` (deletion) or :math:`\ell_j^{(i)} - \ell_j` (over-expression): signed, above 0
        where the source speaks for the target. Needs a masked language model that was loaded with its head; a pair
        counts in the cells in which the target is masked and the source is not.
    mask_share
        Share of a cell's tokens that is masked, for ``"masked_logits"``.
    n_cells
        A random sample of so many of the chosen cells. It is on record whose sample it is, so that scoring tools take
        these edges beside edges and features of all chosen cells, and say that they are noisier.
    mask_obs
        Cells: a boolean array or ``obs`` column. ``obs["edge_cells"]`` when not given and present, else all.
    mask_var
        Panel genes, likewise with ``var["edge_panel"]``; required above 5,000 genes.
    max_passes
        Forward passes of one cell that the call may take. More are refused before any is made.
    key_added
        Name of the result.
    mod
        Modality, for MuData.
    batch_size
        Cells per forward pass; without it as many as make about 8,192 tokens (131,072 on a GPU), halved where memory
        runs out. Changes results by rounding only.
    memory_limit
        Bytes that sums and results may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar.
    rng
        Seed of the sample of cells, of the masks, and for families that sample genes or values.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``varp[key_added]``
        genes x genes, float32, source to target; NaN on the diagonal, in rows of genes that are no source, and where no
        cell is. ``"embedding"``: 0 to 2, unsigned. ``"masked_logits"``: natural logarithms, signed.
    ``varp["<key_added>_n_cells"]``
        int32, cells behind each pair.
    ``var["<key_added>_position"]``
        float32, mean 0-based rank of the gene's token over the cells that have it.
    ``uns[key_added]``
        ``params``, ``edges_keys``, and ``sources``: ``gene, n_cells`` (cells in which it was changed) and ``status``,
        ``not_applied`` for one that could be changed in none and has no edges.
    ``obs["<key_added>_cells"]``, ``var["<key_added>_genes"]``
        bool, only for a sample of cells and for masks given as arrays.

    Raises
    ------
    ValueError
        Values that are no counts, genes of another namespace, sources that are not in the panel and the vocabulary, a
        model without what `readout` needs, more than `max_passes`.
    MemoryError
        What was asked for would not fit; nothing is computed.

    Notes
    -----
    The cost is one forward pass per cell, and one more per cell and source (``"delete"``: per source that the cell
    has): hundreds of times that of attention, which needs one pass for all sources. Sums take
    ``12 * sources * panel`` bytes; of cells, only those of one batch are held.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.select_cells(adata, groupby="perturbation", control="non-targeting")
    >>> genes = list(adata.var_names[adata.var["is_perturbed"]])[:3]
    >>> model = sps.models.load("demo")
    >>> sps.tl.insilico_perturbation(adata, model, sources=genes, n_cells=20, show_progress_bar=False)
    >>> sps.get.edges(adata, "insilico")["source"].nunique()
    3
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_model(model)
    require_choice(kind, get_args(Kind), argument="kind")
    require_choice(readout, get_args(Readout), argument="readout")
    require_between(mask_share, 0, 1, argument="mask_share")
    require_key(key_added, argument="key_added")
    for value, name in ((n_cells, "n_cells"), (batch_size, "batch_size"), (max_passes, "max_passes")):
        if value is not None:
            require_positive(value, argument=name)
    seed = resolve_seed(rng)
    chosen = choose_cells(target, mask_obs)
    cells = _sampled(chosen, n_cells, seed)
    genes = choose_genes(target, mask_var)
    match = tokens_for(target, model)
    panel = owned_panel(match, genes)
    rows = source_positions(target, panel, sources) or tuple(range(len(panel)))
    reading = _reading(model, match, panel, rows, kind, readout, mask_share, batch_size)
    _require_fit(target, cells, match, panel, rows, kind, max_passes, memory_limit)
    warn_of_few_genes(match, model)

    sums = _run(target, cells, reading, seed, show=show_progress_bar)

    keys = EdgeKeys(key_added)
    n_empty, n_truncated, n_tokens, n_passes = sums.totals.tolist()
    masked = readout == "masked_logits"
    params = record(
        method="insilico",
        kind=kind,
        readout=readout,
        mask_share=mask_share if masked else None,
        signed=masked,
        scale="log_probability" if masked else "cosine_distance",
        layer_rule="single",
        sources=sorted(target.var_names[panel[list(rows)]]),
        causal=model.causal,
        batch_size=batch_size,
        seed=seed,
        n_passes=n_passes,
        n_cells_without_tokens=n_empty,
        n_cells_truncated=n_truncated,
        mean_tokens=n_tokens / (len(cells.index) - n_empty),
        **model_record(model, match),
        **provenance(target, cells, genes, cells_name=keys.cells, genes_name=keys.genes),
        **({} if cells is chosen else _sample_record(target, chosen)),
    )
    _write(target, keys, sums, panel, rows, params, cells, genes)
    return data if copy else None


def _sampled(cells: Choice, n_cells: int | None, seed: int) -> Choice:
    """The cells, or a sample of them with no name but its own."""
    if n_cells is None or n_cells >= len(cells.index):
        if n_cells is not None and n_cells > len(cells.index):
            logger.warning("%d cells were asked for, and there are %d: all are used", n_cells, len(cells.index))
        return cells
    mask = np.zeros(len(cells.mask), dtype=bool)
    mask[child(seed, "insilico_perturbation").choice(cells.index, n_cells, replace=False)] = True
    return Choice(mask, None)


def _sample_record(adata: AnnData, chosen: Choice) -> dict[str, Any]:
    """Which cells a sample is from."""
    return {SAMPLE_OF: hash_strings(adata.obs_names[chosen.mask]), f"n_{SAMPLE_OF}": int(chosen.mask.sum())}


def _reading(
    model: AttentionModel,
    match: Match,
    panel: IntArray,
    rows: Sequence[int],
    kind: Kind,
    readout: Readout,
    share: float,
    batch_size: int | None,
) -> Insilico:
    from scepsis.edges._insilico import Insilico
    from scepsis.edges._masked_logits import MaskedLogits

    options: dict[str, Any] = {
        "tokens": match.tokens,
        "panel": match.tokens[panel],
        "sources": rows,
        "kind": kind,
        "batch_size": batch_size,
    }
    return MaskedLogits(model, share=share, **options) if readout == "masked_logits" else Insilico(model, **options)


def _require_fit(
    adata: AnnData,
    cells: Choice,
    match: Match,
    panel: IntArray,
    rows: Sequence[int],
    kind: Kind,
    max_passes: int,
    memory_limit: int | None,
) -> None:
    """Count what the call would take, before it is made; a cell cut at the model's length may take less."""
    n_pairs = len(rows) * len(panel)
    stored = 8 * (adata.n_vars**2 if 2 * n_pairs >= adata.n_vars**2 else 2 * n_pairs)
    require_memory(
        12 * n_pairs + 4 * len(panel) ** 2 + stored,
        memory_limit,
        what=f"In-silico perturbation of {len(rows)} sources x {len(panel)} genes",
        remedy="Name fewer `sources=`, or choose a smaller panel (`scepsis.pp.select_panel`).",
    )
    n = len(cells.index)
    tokens = match.tokens[panel[list(rows)]]
    if kind == "delete":
        columns = np.flatnonzero(np.isin(match.tokens, tokens))
        n_changes = sum(int((block[:, columns] > 0).sum()) for _, block in counts(adata).blocks(cells.index))
    else:
        n_changes = n * len(rows)
    logger.info("%d cells and %d changes of them are to be run", n, n_changes)
    if n + n_changes > max_passes:
        msg = (
            f"{len(rows)} sources in {n} cells take {n + n_changes:,} forward passes of one cell, over "
            f"`max_passes={max_passes:,}`. Name fewer genes as `sources=` (those that were perturbed, say), take a "
            "sample by `n_cells=`, or raise `max_passes`."
        )
        raise ValueError(msg)


def _run(adata: AnnData, cells: Choice, reading: Insilico, seed: int, *, show: bool) -> InsilicoSums:
    rows = cells.index
    with progress_bar(total=len(rows), desc=f"{reading.kind} in {reading.model.name}", unit="cell", show=show) as bar:
        for _, block, seeds in cell_blocks(adata, rows, seed):
            reading.add(block, seeds, bar.update)
    require_tokens(int(reading.sums.totals[0]), len(rows), fate="were left out")
    return reading.sums


def _spread(values: FloatArray | IntArray, rows: Sequence[int], n: int, fill: float) -> Any:
    result = np.full((n, n), fill, dtype=values.dtype)
    result[list(rows)] = values
    return result


def _sources(adata: AnnData, sums: InsilicoSums, panel: IntArray, rows: Sequence[int]) -> pd.DataFrame:
    """In how many cells each source was changed."""
    import pandas as pd

    names = adata.var_names[panel[list(rows)]].to_numpy(dtype=object)
    absent = sums.n_changed == 0
    if absent.any():
        logger.warning("no cell could be run with and without %s: they have no edges", listing(names[absent]))
    status = np.where(absent, "not_applied", "ok").astype(object)
    return pd.DataFrame({"gene": names, "n_cells": sums.n_changed, "status": status})


def _write(
    adata: AnnData,
    keys: EdgeKeys,
    sums: InsilicoSums,
    panel: IntArray,
    rows: Sequence[int],
    params: dict[str, Any],
    cells: Choice,
    genes: Choice,
) -> None:
    rank = np.full(adata.n_vars, np.nan, dtype=np.float32)
    rank[panel] = sums.mean_rank()
    masks = own_masks(keys, cells, genes)
    write(
        adata,
        drop=superseded(adata, keys.key),
        obs=masks["obs"],
        var=masks["var"] | {keys.position: rank},
        varp={
            keys.key: pack(_spread(sums.means(), rows, len(panel), np.nan), panel, adata.n_vars),
            keys.n_cells: pack(_spread(sums.n_cells, rows, len(panel), 0), panel, adata.n_vars),
        },
        uns={keys.key: {"params": params, "edges_keys": [keys.key], "sources": _sources(adata, sums, panel, rows)}},
    )
