"""From the genes of a data set to the tokens of a vocabulary, and what to say when they do not meet."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from scepsis._core._keys import ENSEMBL_ID, MATCH_GENES, TOKEN_ID
from scepsis._core._validate import listing, require_column

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from scepsis._core._types import BoolArray

logger = logging.getLogger(__name__)
#: What `gene_ids` is called when it is no column.
VAR_NAMES = "var_names"
MIN_FRACTION = 0.5
_KINDS = {"ensembl": "Ensembl ids", "symbol": "gene symbols"}
_VERSION = re.compile(r"\.\d+$")
_EXAMPLES = 20
#: Share of names that would be found in other capitals from which on another species is suspected.
_SAME_BUT_CASE = 0.2
#: Share of these that are the same in both at most.
_BY_CHANCE = 0.05


class VocabularyLike(Protocol):
    """Genes that a model can read."""

    @property
    def tokens(self) -> Mapping[str, int]: ...
    @property
    def kind(self) -> str: ...
    @property
    def mapping(self) -> Mapping[str, str]: ...
    @property
    def hash(self) -> str: ...


class HasVocabulary(Protocol):
    """A model, as far as matching needs it."""

    @property
    def name(self) -> str: ...
    @property
    def vocabulary(self) -> VocabularyLike: ...


@dataclass(frozen=True)
class Match:
    """Tokens of the genes of one AnnData."""

    #: Token id of every gene of ``adata.var``, -1 where the vocabulary has none.
    tokens: NDArray[np.int32]
    #: Where the ids stood: ``"var_names"`` or a column of ``var``.
    gene_ids: str
    #: Counts and examples, in a form that can be stored; empty when the tokens were read back.
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def in_vocabulary(self) -> BoolArray:
        """Whether a gene has a token."""
        return self.tokens >= 0

    @property
    def owner(self) -> BoolArray:
        """The first gene of every token: the one under whose name results of collapsed genes are stored."""
        _, first = np.unique(self.tokens, return_index=True)
        owner = np.zeros(len(self.tokens), dtype=bool)
        owner[first] = True
        return owner & self.in_vocabulary


def tokens_for(adata: AnnData, model: HasVocabulary) -> Match:
    """
    Tokens of `adata` for `model`: ``var["token_id"]`` when it belongs to the same vocabulary, else matched anew.

    Matching anew looks where the last match found its ids, then in ``var_names``, then in ``var["ensembl_id"]``.
    """
    entry = adata.uns.get(MATCH_GENES)
    params = dict(entry["params"]) if hasattr(entry, "get") and "params" in entry else {}
    if params.get("vocabulary_hash") == model.vocabulary.hash and TOKEN_ID in adata.var:
        stored = adata.var[TOKEN_ID]
        if stored.dtype.kind in "iu":
            return Match(stored.to_numpy(dtype=np.int32), str(params.get("gene_ids", VAR_NAMES)))
    recorded = params.get("gene_ids")
    places = [recorded] if recorded and _exists(adata, recorded) else []
    return _first_match(adata, model, [*places, *_usual_places(adata)], float(params.get("min_fraction", MIN_FRACTION)))


def match(
    adata: AnnData, model: HasVocabulary, gene_ids: str | None = None, min_fraction: float = MIN_FRACTION
) -> Match:
    """Match anew: by `gene_ids` alone when given, else ``var_names``, else ``var["ensembl_id"]``."""
    if not 0 <= min_fraction <= 1:
        msg = f"`min_fraction` must lie between 0 and 1, not {min_fraction!r}."
        raise ValueError(msg)
    if gene_ids is None:
        return _first_match(adata, model, _usual_places(adata), min_fraction)
    if gene_ids != VAR_NAMES:
        require_column(adata.var, gene_ids, slot="var")
    return _first_match(adata, model, [gene_ids], min_fraction)


def columns_with(var: pd.DataFrame, wanted: Iterable[str], *, normalise: bool = False) -> list[tuple[str, int]]:
    """Columns of ``var``, and ``"var_names"``, in which ids of `wanted` occur: name and number, best first."""
    known = set(wanted)
    found = []
    for name in (VAR_NAMES, *var.columns):
        if name != VAR_NAMES and var[name].dtype.kind not in "OUST" and not isinstance(var[name].dtype, _TEXT):
            continue
        ids = set(_ids(var, str(name)))
        number = len(({_ensembl(one) for one in ids} if normalise else ids) & known)
        if number:
            found.append((str(name), number))
    return sorted(found, key=lambda pair: -pair[1])


def looks_like(ids: Iterable[str]) -> str:
    """Name the kind of id that most of `ids` are."""
    kinds = [_kind(one) for one in ids if one]
    return max(dict.fromkeys(kinds), key=kinds.count) if kinds else "nothing"


def folded(name: str) -> str:
    """A name without its capitals: symbols of mouse genes differ from human ones in these alone, most of them."""
    return name.casefold()


def same_but_case(wanted: Collection[str], known: Collection[str]) -> int:
    """
    How many names are known in other capitals, if that is what tells the two kinds apart; else 0.

    A few names are the same in two species (C3, F2), so that finding them means nothing.
    """
    n_found = len(set(wanted) & set(known))
    n_same = len({folded(name) for name in wanted} & {folded(name) for name in known})
    many = n_same - n_found >= _SAME_BUT_CASE * min(len(wanted), len(known))
    return n_same if many and n_found < _BY_CHANCE * n_same else 0


def unversioned(name: str) -> str:
    """An Ensembl id without the version behind its dot; any other name as it is."""
    return _VERSION.sub("", name) if _kind(name) != "gene symbols" else name


def _kind(one: str) -> str:
    if re.fullmatch(r"ENSG\d+(\.\d+)?", one, re.IGNORECASE):
        return "Ensembl ids"
    if re.fullmatch(r"ENS[A-Z]{3,4}G\d+(\.\d+)?", one, re.IGNORECASE):
        return "Ensembl ids of another species"
    return "numbers" if one.isdigit() else "gene symbols"


_TEXT = (pd.CategoricalDtype, pd.StringDtype)


def _exists(adata: AnnData, gene_ids: str) -> bool:
    return gene_ids == VAR_NAMES or gene_ids in adata.var


def _usual_places(adata: AnnData) -> list[str]:
    return [name for name in (VAR_NAMES, ENSEMBL_ID) if _exists(adata, name)]


def _ids(var: pd.DataFrame, name: str) -> list[str]:
    """Ids as strings, "" where there is none."""
    column = var.index.to_series() if name == VAR_NAMES else var[name]
    return ["" if missing else str(one) for one, missing in zip(column, column.isna(), strict=True)]


def _ensembl(one: str) -> str:
    return _VERSION.sub("", one.strip().upper())


def _canonical(ids: Sequence[str], vocabulary: VocabularyLike) -> list[str]:
    if vocabulary.kind == "ensembl":
        ids = [_ensembl(one) for one in ids]
    return [vocabulary.mapping.get(one, one) for one in ids] if vocabulary.mapping else list(ids)


def _first_match(adata: AnnData, model: HasVocabulary, places: Sequence[str], min_fraction: float) -> Match:
    vocabulary = model.vocabulary
    # A file with every annotated gene cannot have half of them in a vocabulary that is smaller than that.
    possible = min(adata.n_vars, len(vocabulary.tokens))
    for place in places:
        ids = _ids(adata.var, place)
        canonical = _canonical(ids, vocabulary)
        tokens = np.array([vocabulary.tokens.get(one, -1) for one in canonical], dtype=np.int32)
        n_matched = int((tokens >= 0).sum())
        if n_matched and n_matched >= min_fraction * possible:
            _require_distinct(ids, tokens, vocabulary, place)
            logger.info(
                "%d of %d genes are in the vocabulary of %s (by %s)",
                n_matched,
                adata.n_vars,
                model.name,
                slot_of(place),
            )
            return Match(tokens, place, _report(adata, tokens, n_matched / possible))
    raise ValueError(_diagnosis(adata, model, places[0], min_fraction))


def _require_distinct(ids: Sequence[str], tokens: NDArray[np.int32], vocabulary: VocabularyLike, place: str) -> None:
    """Genes that share a token are summed only when the model came with a mapping that says so."""
    if vocabulary.mapping:
        return
    known = tokens[tokens >= 0]
    values, times = np.unique(known, return_counts=True)
    repeated = set(values[times > 1].tolist())
    if repeated:
        names = [one for one, token in zip(ids, tokens.tolist(), strict=True) if token in repeated]
        msg = (
            f"{slot_of(place)} names {len(repeated)} genes of the vocabulary more than once: {listing(names)}. "
            "Sum or drop the duplicates first"
        )
        if vocabulary.kind == "ensembl":
            msg += ", or load the model with `ensembl_mapping=`, which collapses old ids"
        msg += "."
        raise ValueError(msg)


def _report(adata: AnnData, tokens: NDArray[np.int32], fraction: float) -> dict[str, Any]:
    known = tokens >= 0
    values, times = np.unique(tokens[known], return_counts=True)
    shared = np.isin(tokens, values[times > 1])
    return {
        "n_genes": int(adata.n_vars),
        "n_matched": int(known.sum()),
        "n_missing": int((~known).sum()),
        "n_collapsed": int((times - 1).sum()),
        "fraction": min(1.0, fraction),
        "missing": ";".join(adata.var_names[~known][:_EXAMPLES]),
        "collapsed": ";".join(adata.var_names[shared][:_EXAMPLES]),
    }


def slot_of(gene_ids: str) -> str:
    """Write the place of ids as a slot, for messages."""
    return f"`adata.{VAR_NAMES}`" if gene_ids == VAR_NAMES else f"`adata.var[{gene_ids!r}]`"


def _diagnosis(adata: AnnData, model: HasVocabulary, place: str, min_fraction: float) -> str:
    vocabulary = model.vocabulary
    ids = _ids(adata.var, place)
    n_matched = sum(one in vocabulary.tokens for one in _canonical(ids, vocabulary))
    wanted = _KINDS.get(vocabulary.kind, vocabulary.kind)
    text = (
        f"{n_matched} of {adata.n_vars} ids in {slot_of(place)} (such as {listing(ids[:3])}) are among the "
        f"{len(vocabulary.tokens):,} genes of {model.name!r}, which reads {wanted} such as "
        f"{next(iter(vocabulary.tokens), '')!r}; at least {min_fraction:.0%} are needed. "
        f"They look like {looks_like(ids)}. "
    )
    wanted_ids = {*vocabulary.tokens, *vocabulary.mapping}
    columns = columns_with(adata.var, wanted_ids, normalise=vocabulary.kind == "ensembl")
    better = [(name, number) for name, number in columns if name != place and number > n_matched]
    if better:
        name, number = better[0]
        text += f"{slot_of(name)} matches {number}: call `scepsis.pp.match_genes(adata, model, gene_ids={name!r})`"
    else:
        column = ENSEMBL_ID if vocabulary.kind == "ensembl" else "gene_symbol"
        text += (
            f"No column of `adata.var` holds more: put {wanted} into one, for example "
            f"`adata.var[{column!r}]`, and call `scepsis.pp.match_genes(adata, model, gene_ids={column!r})`"
        )
    return text + (", or accept fewer by `min_fraction=`." if n_matched else ".")
