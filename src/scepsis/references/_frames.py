"""From what a file lists to the frame that every function here returns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_frames import SOURCE, TARGET, WEIGHT
from scepsis._core._network import DIRECTED

if TYPE_CHECKING:
    from scepsis.references._cache import Origin
    from scepsis.references._entries import Entry

logger = logging.getLogger(__name__)
#: Key of ``frame.attrs``.
RECORD = "reference"


def described(entry: Entry, origin: Origin, **asked: Any) -> dict[str, Any]:
    """Where a reference is from, in plain values."""
    return {
        "name": entry.name.partition("_links")[0],
        "species": entry.species,
        "version": entry.version,
        "licence": entry.licence,
        "relation": entry.relation,
        "url": entry.url,
        "date": origin.date,
        "sha256": origin.sha256,
        "checksum": origin.checksum,
    } | asked


def finished(frame: pd.DataFrame, *, directed: bool, record: dict[str, Any]) -> pd.DataFrame:
    """
    Pairs of two different genes, each once, the first row of each kept.

    Undirected pairs are those without an order: the names of a pair are sorted. Names are trimmed, and rows without one
    left out. The first columns are ``source, target, weight``; ``directed`` says whether the order means something.
    """
    n_rows = len(frame)
    frame = frame.copy()
    if DIRECTED not in frame:
        frame[DIRECTED] = directed
    codes, names = pd.factorize(np.concatenate([frame[side].astype(object).to_numpy() for side in (SOURCE, TARGET)]))
    trimmed = np.array([str(name).strip() for name in names] + [""], dtype=object)  # a missing name has code -1
    order, number = np.unique(trimmed, return_inverse=True)
    source, target = np.split(number[codes], 2)
    swapped = ~frame[DIRECTED].to_numpy(dtype=bool) & (source > target)
    source, target = np.where(swapped, target, source), np.where(swapped, source, target)
    frame[SOURCE], frame[TARGET] = order[source], order[target]
    named = (order[source] != "") & (order[target] != "")
    repeated = pd.DataFrame({SOURCE: source, TARGET: target}).duplicated().to_numpy()
    kept = named & ~repeated & (source != target)
    if not kept.any():
        msg = f"{record.get('name', 'The reference')} lists no pair of two different genes."
        raise ValueError(msg)
    first = [name for name in (SOURCE, TARGET, WEIGHT) if name in frame]
    columns = [*first, *(name for name in frame.columns if name not in first)]
    result: pd.DataFrame = frame.loc[kept, columns].reset_index(drop=True)
    logger.info("%s: %d pairs from %d rows", record.get("name", "reference"), len(result), n_rows)
    result.attrs[RECORD] = record | {"n_rows": n_rows, "n_pairs": len(result)}
    return result
