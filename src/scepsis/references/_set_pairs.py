from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scepsis._core._edge_frames import SOURCE, TARGET
from scepsis._core._validate import listing
from scepsis.references._sets import pairs_of_sets, require_pairable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def set_pairs(
    sets: Mapping[str, Iterable[str]] | pd.DataFrame,
    *,
    genes: Iterable[str] | None = None,
    min_size: int = 2,
    max_size: int | None = None,
    name: str = "sets",
    memory_limit: int | None = None,
) -> pd.DataFrame:
    """
    Turn gene sets into a reference: the pairs of genes that share a set.

    Parameters
    ----------
    sets
        Sets by name, or a frame with the set in ``source`` and the gene in ``target``, as decoupler gives them (for
        example its ``op.hallmark``).
    genes
        Genes to pair, for example ``adata.var_names``; None pairs all.
    min_size
        Genes (of the whole set) that a set must have.
    max_size
        Genes that it may have.
    name
        What the sets are called, for the record.
    memory_limit
        Bytes that pairs may take; None is a quarter of the machine.

    Returns
    -------
    Frame of unordered pairs, each once, with the columns ``source`` and ``target`` (categorical, in alphabetical
    order), ``weight`` (1), ``n_sets`` (that hold both) and ``directed`` (False): tools take them with
    ``universe="unordered"``. ``frame.attrs["reference"]`` holds ``name``, and numbers of sets and pairs.

    Raises
    ------
    KeyError
        A frame lacks ``source`` or ``target``.
    TypeError
        `sets` is neither; `genes` is a single name.
    ValueError
        Sizes are out of range; no set of that size holds two of `genes`.
    MemoryError
        There are too many pairs.

    Notes
    -----
    A set of n genes has n (n - 1) / 2 pairs, so the largest sets decide most of the result. Sizes are those of the
    whole sets, whichever `genes` are chosen.

    Examples
    --------
    >>> import scepsis as sps
    >>> pairs = sps.references.set_pairs({"glycolysis": ["HK1", "PFKM", "PKM"], "starch": ["HK1", "PFKM"]})
    >>> pairs[["source", "target", "n_sets"]].values.tolist()
    [['HK1', 'PFKM', 2], ['HK1', 'PKM', 1], ['PFKM', 'PKM', 1]]
    """
    require_pairable(genes, min_size, max_size)
    if isinstance(sets, pd.DataFrame):
        missing = [column for column in (SOURCE, TARGET) if column not in sets]
        if missing:
            msg = (
                f"`sets` lacks {listing(missing)}; its columns are {listing(sets.columns)}. A frame of gene sets has "
                "the set in 'source' and the gene in 'target'."
            )
            raise KeyError(msg)
        sets = {str(one): part.tolist() for one, part in sets.groupby(SOURCE, sort=False, observed=True)[TARGET]}
    elif not hasattr(sets, "items"):
        msg = f"`sets` must be a dict from names to genes or a frame, not {type(sets).__name__}."
        raise TypeError(msg)
    alone = [one for one, members in sets.items() if isinstance(members, str)]
    if alone:
        msg = f"`sets[{alone[0]!r}]` is a string; pass the genes of a set as a list."
        raise TypeError(msg)
    return pairs_of_sets(
        sets, {"name": name}, genes=genes, min_size=min_size, max_size=max_size, memory_limit=memory_limit
    )
