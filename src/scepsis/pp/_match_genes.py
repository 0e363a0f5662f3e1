from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis._core._keys import IN_VOCABULARY, MATCH_GENES, TOKEN_ID
from scepsis._core._match import match
from scepsis._core._resolve import resolve
from scepsis._core._store import record, write

if TYPE_CHECKING:
    from scepsis._core._types import Data
    from scepsis.models import AttentionModel


def match_genes(
    adata: Data,
    model: AttentionModel,
    *,
    gene_ids: str | None = None,
    min_fraction: float = 0.5,
    mod: str | None = None,
    copy: bool = False,
) -> Data | None:
    """
    Find the token of every gene in a model's vocabulary.

    Ensembl ids are compared in upper case and without their version. A model loaded with ``ensembl_mapping=`` maps
    superseded ids first; genes that then share a token are summed when cells are tokenised, and their results stand
    under the first of them.

    Parameters
    ----------
    adata
        Cells x genes.
    model
        From :func:`scepsis.models.load`.
    gene_ids
        Column of ``var`` with the ids that the model reads, or ``"var_names"``. When not given, ``var_names`` are
        tried, then ``var["ensembl_id"]``.
    min_fraction
        Share of genes that must be found, of those in `adata` or in the vocabulary, whichever are fewer.
    mod
        Modality, for MuData.
    copy
        Return a changed copy instead of writing into `adata`.

    Returns
    -------
    None, or the copy. Sets

    ``var["token_id"]``
        int32, -1 for genes without a token. It is used only with models of the same vocabulary.
    ``var["in_vocabulary"]``
        bool.
    ``uns["match_genes"]``
        ``params`` (with the vocabulary's hash) and ``report``: numbers of genes matched, missing and collapsed, and
        the first twenty names of each of the latter two, joined by ``;``.

    Raises
    ------
    ValueError
        Too few genes are found, with what the ids look like and the call that would find more; or ids of the
        vocabulary occur twice and the model has no mapping that collapses them.
    KeyError
        `gene_ids` is no column of ``var``.

    Notes
    -----
    One dictionary look-up per gene.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> sps.pp.match_genes(adata, sps.models.load("demo"))
    >>> int(adata.var["in_vocabulary"].sum())
    300
    """
    data = adata.copy() if copy else adata
    target = resolve(data, mod)
    found = match(target, model, gene_ids, min_fraction)
    params = record(
        model=model.name,
        vocabulary_hash=model.vocabulary.hash,
        vocabulary_kind=model.vocabulary.kind,
        vocabulary_size=len(model.vocabulary.tokens),
        gene_ids=found.gene_ids,
        min_fraction=min_fraction,
    )
    write(
        target,
        var={TOKEN_ID: found.tokens, IN_VOCABULARY: found.in_vocabulary},
        uns={MATCH_GENES: {"params": params, "report": found.report}},
    )
    return data if copy else None
