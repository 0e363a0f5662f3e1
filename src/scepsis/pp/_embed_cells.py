from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scepsis._core._edge_slots import provenance
from scepsis._core._keys import embedding
from scepsis._core._match import tokens_for
from scepsis._core._memory import require_memory
from scepsis._core._model_runs import cell_blocks, model_record, require_model, require_tokens, warn_of_few_genes
from scepsis._core._progress import progress_bar
from scepsis._core._resolve import Choice, resolve
from scepsis._core._rng import resolve_seed
from scepsis._core._store import record, write
from scepsis._core._validate import require_key, require_positive

if TYPE_CHECKING:
    from scepsis._core._types import Data, Seed
    from scepsis.models import AttentionModel


def embed_cells(
    adata: Data,
    model: AttentionModel,
    *,
    key_added: str | None = None,
    mod: str | None = None,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    show_progress_bar: bool = True,
    rng: Seed = 0,
    copy: bool = False,
) -> Data | None:
    """
    Embed all cells by a model's last layer, for neighbours, clusters and the strata of edges.

    How tokens are pooled belongs to the family (``model.cls_pooling``): scGPT :cite:p:`cui2024` gives the hidden
    state of its ``<cls>`` token, Geneformer :cite:p:`theodoris2023` and the others the mean over gene tokens, special
    ones left out. States are those after the last layer, as they are: Geneformer's own extractor stops one layer
    earlier unless told otherwise, and scGPT's scales its vectors to unit length.

    Parameters
    ----------
    adata
        Cells x genes with raw counts in ``layers["counts"]`` or ``X``. All cells are embedded and all genes tokenised,
        whatever was chosen for edges.
    model
        From :func:`scepsis.models.load`.
    key_added
        Name of the result; ``"X_<family>"`` when not given.
    mod
        Modality, for MuData.
    batch_size
        Cells per forward pass; without it as many as make about 8,192 tokens, halved where memory runs out. Changes
        results by rounding only.
    memory_limit
        Bytes that the result may take; a quarter of the machine's memory when not given.
    show_progress_bar
        Show a progress bar.
    rng
        Seed for families that sample genes or values; rank-value encoding draws nothing.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``obsm[key_added]``
        cells x width, float32, ``obsm["X_geneformer"]`` or ``obsm["X_scgpt"]`` by default. NaN for a cell without any
        gene of the vocabulary.
    ``uns[key_added]["params"]``
        with the model, how tokens were pooled (``pooling``), the seed, hashes of cells and genes, and the numbers of
        cells without tokens and of cells cut at the model's length.

    Raises
    ------
    ValueError
        Values that are no counts, genes of another namespace, or no cell with a gene of the vocabulary.
    MemoryError
        The result would not fit; nothing is computed.

    Notes
    -----
    One forward pass. Cells of like length are run together within blocks that are read one at a time, so backed
    matrices are never read whole.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()[:50].copy()
    >>> sps.pp.embed_cells(adata, sps.models.load("demo"), show_progress_bar=False)
    >>> adata.obsm["X_geneformer"].shape[0]
    50
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    require_model(model)
    key = embedding(model.family) if key_added is None else key_added
    require_key(key, argument="key_added")
    seed = resolve_seed(rng)
    if batch_size is not None:
        require_positive(batch_size, argument="batch_size")
    match = tokens_for(target, model)
    require_memory(
        4 * target.n_obs * model.n_heads * model.head_size,
        memory_limit,
        what=f"Embeddings of {target.n_obs} cells",
        remedy="Embed fewer cells at a time: `scepsis.pp.embed_cells(adata[...].copy(), model)`.",
    )
    warn_of_few_genes(match, model)

    from scepsis.edges._embedding import embed

    cells = np.arange(target.n_obs)
    with progress_bar(
        total=target.n_obs, desc=f"embeddings of {model.name}", unit="cell", show=show_progress_bar
    ) as bar:
        found = embed(
            model,
            cell_blocks(target, cells, seed),
            n_cells=target.n_obs,
            tokens=match.tokens,
            batch_size=batch_size,
            on_cells=bar.update,
        )
    require_tokens(found.n_without_tokens, target.n_obs, fate="are NaN")

    everything = (Choice(np.ones(n, dtype=bool), "") for n in target.shape)
    params = record(
        pooling="cls" if model.cls_pooling else "mean",
        batch_size=batch_size,
        seed=seed,
        n_cells_without_tokens=found.n_without_tokens,
        n_cells_truncated=found.n_truncated,
        **model_record(model, match),
        **provenance(target, *everything, cells_name="", genes_name=""),
    )
    write(target, obsm={key: found.values}, uns={key: {"params": params}})
    return data if copy else None
