"""Pairs of genes that share a set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from scepsis._core._edge_frames import SOURCE, TARGET, WEIGHT
from scepsis._core._match import same_but_case
from scepsis._core._memory import require_memory
from scepsis._core._network import DIRECTED
from scepsis._core._validate import listing, require_positive
from scepsis.references._cache import load
from scepsis.references._entries import entry_of
from scepsis.references._frames import RECORD, described
from scepsis.references._layouts import read_gmt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

N_SETS = "n_sets"
#: Bytes for each pair of each set while pairs are counted.
_BYTES = 40


def pairs_of_entry(
    name: str,
    species: str,
    *,
    genes: Iterable[str] | None,
    min_size: int,
    max_size: int | None,
    memory_limit: int | None,
    cache_dir: str | Path | None,
    offline: bool,
) -> pd.DataFrame:
    """Pairs of the sets that an entry of the catalogue names, from the cache or downloaded."""
    require_pairable(genes, min_size, max_size)
    entry = entry_of(name, species)
    sets, origin = load(entry, read_gmt, cache_dir=cache_dir, offline=offline)
    return pairs_of_sets(
        sets, described(entry, origin), genes=genes, min_size=min_size, max_size=max_size, memory_limit=memory_limit
    )


def require_pairable(genes: Iterable[str] | None, min_size: int, max_size: int | None) -> None:
    """Raise for sizes and genes that no sets could be paired by, before any set is read or downloaded."""
    require_positive(min_size, argument="min_size", minimum=2)
    if max_size is not None:
        require_positive(max_size, argument="max_size", minimum=min_size)
    if isinstance(genes, str) or (genes is not None and not hasattr(genes, "__iter__")):
        msg = f"`genes` takes names of genes, such as `adata.var_names`, not {genes!r}."
        raise TypeError(msg)


def pairs_of_sets(
    sets: Mapping[str, Iterable[str]],
    record: dict[str, Any],
    *,
    genes: Iterable[str] | None,
    min_size: int,
    max_size: int | None,
    memory_limit: int | None = None,
) -> pd.DataFrame:
    """Count, for each pair of genes, the sets that hold both; sizes of sets are counted before `genes` are chosen."""
    members = {str(name): dict.fromkeys(str(gene) for gene in one if pd.notna(gene)) for name, one in sets.items()}
    for one in members.values():
        one.pop("", None)
    sizes = np.array([len(one) for one in members.values()], dtype=np.int64)
    fits = (sizes >= min_size) & (sizes <= (np.inf if max_size is None else max_size))
    wanted = None if genes is None else {str(gene) for gene in genes}
    chosen = [
        [gene for gene in one if wanted is None or gene in wanted]
        for one, fit in zip(members.values(), fits, strict=True)
        if fit
    ]
    if wanted is not None:
        _require_same_species(wanted, {gene for one in members.values() for gene in one})
    if not any(len(one) > 1 for one in chosen):
        msg = _nothing(members, fits, wanted)
        raise ValueError(msg)
    names = sorted({gene for one in chosen for gene in one})
    n_pairs = sum(len(one) * (len(one) - 1) // 2 for one in chosen)
    require_memory(
        _BYTES * min(n_pairs, len(names) * (len(names) - 1) // 2), memory_limit, what=f"up to {n_pairs} pairs of genes",
        remedy="Pass `genes=adata.var_names`, or a smaller `max_size=`.",
    )  # fmt: skip
    number = {gene: position for position, gene in enumerate(names)}
    rows = np.repeat(np.arange(len(chosen)), [len(one) for one in chosen])
    columns = np.array([number[gene] for one in chosen for gene in one], dtype=np.int64)
    member = sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(len(chosen), len(names)))
    together = sparse.triu(member.T @ member, 1, format="csr")
    together.sort_indices()
    together = together.tocoo()
    frame = pd.DataFrame(
        {
            SOURCE: pd.Categorical.from_codes(together.row, categories=pd.Index(names)),
            TARGET: pd.Categorical.from_codes(together.col, categories=pd.Index(names)),
            WEIGHT: np.ones(together.nnz, dtype=np.float32),
            N_SETS: together.data.astype(np.int32),
            DIRECTED: np.zeros(together.nnz, dtype=bool),
        }
    )
    frame.attrs[RECORD] = (
        record
        | {
            "n_sets": len(members),
            "n_sets_used": sum(len(one) > 1 for one in chosen),
            "largest_set": max(len(one) for one in chosen),
            "n_pairs": len(frame),
            "min_size": min_size,
        }
        | ({} if max_size is None else {"max_size": max_size})
    )
    return frame


def _require_same_species(wanted: set[str], there: set[str]) -> None:
    """Raise `ValueError` where genes would be those of the sets but for their capitals."""
    if n_same := same_but_case(wanted, there):
        msg = (
            f"{len(wanted & there)} of the {len(wanted)} `genes` (such as {listing(sorted(wanted)[:3])}) are in the "
            f"sets, and {n_same} are but for capitals, as between mouse and human. Pair the genes of the sets, without "
            "`genes=`, and translate the pairs by `scepsis.references.convert_ids(pairs, orthologs)`."
        )
        raise ValueError(msg)


def _nothing(members: Mapping[str, Mapping[str, None]], fits: Any, wanted: set[str] | None) -> str:
    if not fits.any():
        return f"None of the {len(members)} sets has a size within `min_size` and `max_size`."
    some = [gene for one in members.values() for gene in one][:3]
    if wanted is None:
        return f"None of the {len(members)} sets holds two genes (the first genes are {listing(some)})."
    return (
        f"No set holds two of the {len(wanted)} `genes` (such as {listing(sorted(wanted)[:3])}); the sets hold names "
        f"such as {listing(some)}. If these are two namespaces, pass the names that the sets are written in, or "
        "translate the pairs by `scepsis.references.convert_ids`."
    )
