from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scepsis._core._edge_frames import SOURCE, TARGET
from scepsis._core._match import looks_like
from scepsis._core._network import DIRECTED
from scepsis._core._validate import listing
from scepsis.references._frames import RECORD, finished

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)
_EXAMPLES = 20


def convert_ids(
    reference: pd.DataFrame,
    mapping: Mapping[str, str] | pd.DataFrame,
    *,
    known: Iterable[str] | None = None,
    min_fraction: float = 0.5,
) -> pd.DataFrame:
    """
    Write a reference in other names: symbols or Ensembl ids, present symbols for aliases, orthologs.

    Parameters
    ----------
    reference
        Frame with the columns ``source`` and ``target``.
    mapping
        Old name -> new name, as a dict, or as a frame whose first column is old and second new. An old name with
        several new ones stands for none of them, and is left out.
    known
        Names that are right already, for example ``adata.var_names``: they stay, whatever `mapping` says. Needed for
        aliases, because the alias of one gene can be the symbol of another.
    min_fraction
        Share of the names that must have a new one (or be `known`), below which the mapping is taken for the wrong one.

    Returns
    -------
    Frame with the same columns. Pairs with a name that has none anew are left out; pairs that become one, or a gene
    with itself, are merged or left out. ``frame.attrs["reference"]["conversion"]`` is the report: ``n_names``,
    ``n_known``, ``n_converted``, ``n_ambiguous``, ``n_unmapped``, ``n_merged`` (new names that stand for several old
    ones), ``n_pairs_before``, ``n_pairs_after``, and the first twenty names of those ambiguous and unmapped, joined by
    ``;``.

    Raises
    ------
    KeyError
        `reference` lacks ``source`` or ``target``.
    TypeError
        `mapping` is neither a dict nor a frame of two columns.
    ValueError
        Fewer than `min_fraction` of the names have a new one, or no pair is left.

    Notes
    -----
    Version numbers of Ensembl ids are not taken off. One look-up per name.

    Examples
    --------
    >>> import pandas as pd
    >>> import scepsis as sps
    >>> net = pd.DataFrame({"source": ["Myc", "Spi1"], "target": ["Tert", "Bglap"], "weight": 1.0})
    >>> orthologs = {"Myc": "MYC", "Tert": "TERT", "Spi1": "SPI1"}
    >>> human = sps.references.convert_ids(net, orthologs)
    >>> human[["source", "target"]].values.tolist()
    [['MYC', 'TERT']]
    >>> human.attrs["reference"]["conversion"]["unmapped"]
    'Bglap'
    """
    missing = [column for column in (SOURCE, TARGET) if column not in reference]
    if missing:
        msg = f"`reference` lacks {listing(missing)}; its columns are {listing(reference.columns)}."
        raise KeyError(msg)
    if not 0 <= min_fraction <= 1:
        msg = f"`min_fraction` must lie between 0 and 1, not {min_fraction!r}."
        raise ValueError(msg)
    new, ambiguous = _look_up(mapping)
    stay = {str(name) for name in known} if known is not None else set()
    both = pd.concat([reference[side].astype(object) for side in (SOURCE, TARGET)]).dropna()
    names = [str(name) for name in pd.unique(both)]
    found = {name: name if name in stay else new.get(name, "") for name in names}
    without = [name for name, to in found.items() if not to]
    if len(names) - len(without) < max(min_fraction * len(names), 1):
        msg = (
            f"{len(names) - len(without)} of the {len(names)} names of `reference` (such as {listing(names[:3])}, "
            f"which look like {looks_like(names)}) have a new one; at least {min_fraction:.0%} are needed. `mapping` "
            f"starts with {listing(list(new)[:3])}, which look like {looks_like(list(new)[:1000])}. If these are one "
            "kind in the other order, swap the columns of `mapping`; or accept fewer by `min_fraction=`."
        )
        raise ValueError(msg)
    frame = reference.copy()
    for side in (SOURCE, TARGET):
        known_here = frame[side].notna()
        frame[side] = frame[side].astype(object).astype(str).map(found).where(known_here, "")
    named = (frame[SOURCE] != "") & (frame[TARGET] != "")
    used = pd.Series([to for to in found.values() if to])
    unclear = [name for name in without if name in ambiguous]
    unmapped = [name for name in without if name not in ambiguous]
    record: dict[str, Any] = dict(reference.attrs.get(RECORD, {}))
    result = finished(
        frame.loc[named.to_numpy(), :],
        directed=True if DIRECTED not in reference else bool(reference[DIRECTED].all()),
        record={"name": "reference"} | record,
    )
    if DIRECTED not in reference:
        del result[DIRECTED]
    report = {
        "n_names": len(names),
        "n_known": sum(name in stay for name in names),
        "n_converted": sum(bool(to) and name not in stay for name, to in found.items()),
        "n_ambiguous": len(unclear),
        "n_unmapped": len(unmapped),
        "n_merged": int((used.value_counts() > 1).sum()),
        "n_pairs_before": len(reference),
        "n_pairs_after": len(result),
        "ambiguous": ";".join(unclear[:_EXAMPLES]),
        "unmapped": ";".join(unmapped[:_EXAMPLES]),
    }
    logger.info(
        "%d of %d names have a new one (%d ambiguous, %d unmapped); %d of %d pairs are left", len(used), len(names),
        len(unclear), len(unmapped), len(result), len(reference),
    )  # fmt: skip
    result.attrs[RECORD] = result.attrs[RECORD] | {"conversion": report}
    return result


def _look_up(mapping: Mapping[str, str] | pd.DataFrame) -> tuple[dict[str, str], set[str]]:
    """New name of every old one that has exactly one, and the old names that have several."""
    if isinstance(mapping, pd.DataFrame):
        if mapping.shape[1] != 2:
            msg = (
                f"`mapping` has the columns {listing(mapping.columns)}; pass the two that are meant, old names first: "
                "`mapping[[old, new]]`."
            )
            raise TypeError(msg)
        pairs = mapping.dropna().astype(str).reset_index(drop=True)
    elif hasattr(mapping, "items"):
        pairs = pd.DataFrame(list(mapping.items()), columns=["old", "new"]).dropna().astype(str)
    else:
        msg = f"`mapping` must be a dict or a frame of two columns, not {type(mapping).__name__}."
        raise TypeError(msg)
    old, new = pairs.iloc[:, 0], pairs.iloc[:, 1]
    pairs = pairs.drop(index=pairs.index[((old == "") | (new == "")).to_numpy()]).drop_duplicates()
    old, new = pairs.iloc[:, 0], pairs.iloc[:, 1]
    several = old.duplicated(keep=False).to_numpy(dtype=bool)
    clear = np.flatnonzero(~several)
    return dict(zip(old.iloc[clear], new.iloc[clear], strict=True)), set(old[several])
