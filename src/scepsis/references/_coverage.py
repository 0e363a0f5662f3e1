from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scepsis._core._edge_frames import SOURCE, TARGET
from scepsis._core._match import VAR_NAMES, columns_with, folded, slot_of
from scepsis._core._resolve import resolve
from scepsis._core._validate import listing, require_column

if TYPE_CHECKING:
    from scepsis._core._types import Data

_EXAMPLES = 20


def coverage(
    reference: pd.DataFrame, adata: Data, *, gene_symbols: str | None = None, mod: str | None = None
) -> pd.DataFrame:
    """
    Count how much of a reference a data set can see.

    Parameters
    ----------
    reference
        Frame with the columns ``source`` and ``target``.
    adata
        Cells x genes.
    gene_symbols
        Column of ``var`` that `reference` is written in; None means ``var_names``.
    mod
        Modality, for MuData.

    Returns
    -------
    Frame with the rows ``source``, ``target``, ``genes`` (either) and ``pairs``, and the columns ``what``, ``n`` (of
    the reference), ``n_found`` (that `adata` has), ``fraction``, ``n_other_case`` (names that differ from one of
    `adata` in capitals alone: many of them mean another species), ``best_place`` (where in ``var`` most of the names
    are) and ``missing`` (the first twenty, joined by ``;``).

    Raises
    ------
    KeyError
        `reference` lacks ``source`` or ``target``, or `gene_symbols` is no column.

    Notes
    -----
    Pairs are counted as rows. Nothing is written.

    Examples
    --------
    >>> import scepsis as sps
    >>> adata = sps.datasets.demo()
    >>> net = adata.uns["simulate_screen"]["network"]
    >>> sps.references.coverage(net, adata)["fraction"].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    target = resolve(adata, mod)
    absent = [column for column in (SOURCE, TARGET) if column not in reference]
    if absent:
        msg = f"`reference` lacks {listing(absent)}; its columns are {listing(reference.columns)}."
        raise KeyError(msg)
    place = VAR_NAMES if gene_symbols is None else gene_symbols
    have = {
        str(name)
        for name in (target.var_names if gene_symbols is None else require_column(target.var, place, slot="var"))
    }
    lower = {folded(name) for name in have}
    names = {side: [str(name) for name in reference[side].dropna().unique()] for side in (SOURCE, TARGET)}
    names["genes"] = list(dict.fromkeys(names[SOURCE] + names[TARGET]))
    best = columns_with(target.var, names["genes"])
    rows = []
    for what, wanted in names.items():
        missing = [name for name in wanted if name not in have]
        rows.append(
            {
                "what": what,
                "n": len(wanted),
                "n_found": len(wanted) - len(missing),
                "n_other_case": sum(folded(name) in lower for name in missing),
                "missing": ";".join(missing[:_EXAMPLES]),
            }
        )
    both = reference[SOURCE].astype(object).isin(have) & reference[TARGET].astype(object).isin(have)
    rows.append({"what": "pairs", "n": len(reference), "n_found": int(both.sum()), "n_other_case": 0, "missing": ""})
    frame = pd.DataFrame(rows)
    frame.insert(3, "fraction", frame["n_found"] / frame["n"])
    frame.insert(5, "best_place", slot_of(best[0][0]).strip("`") if best else "")
    return frame
